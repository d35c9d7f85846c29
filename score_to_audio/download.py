"""Downloads: resumed where they broke off, tried again, within the room on the disk.

Proxies are those of the usual variables (``HTTPS_PROXY``, ``NO_PROXY``, ...). Files of Hugging Face are taken
from its cache where they are there, and asked for with its token.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from score_to_audio.errors import InputError, OutputError
from score_to_audio.files import exclusive, nearest, replace_atomically, sha256_of, writing
from score_to_audio.progress import report

if TYPE_CHECKING:
    import httpx

MAX_SIZE = 8 * 2**30
"""Bytes of any file; the largest published checkpoint, MIDI-VALLE with optimizer state, is far smaller."""
ATTEMPTS = 5
"""In a row that bring nothing new."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before another attempt: doubled each time, or what the server asks for."""
TIMEOUT = 30.0
"""Seconds without an answer."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Status codes that may pass."""
HUGGING_FACE = "https://huggingface.co"


class _TryAgain(Exception):
    """What may pass, and the seconds after which the server wants to be asked again."""

    def __init__(self, what: str, seconds: float | None = None) -> None:
        super().__init__(what)
        self.seconds = seconds


def download(url: str, target: Path, *, sha256: str | None = None) -> None:
    """Download a file. What has arrived when the process ends is kept in ``FILE.part``, and completed by the
    next call if the server can do so and its file is still the same.

    Raises ``InputError`` where the file cannot be had or has another hash, ``OutputError`` for want of room.
    """
    import httpx

    part = target.with_name(f"{target.name}.part")
    with writing(part), exclusive(part):
        try:
            with httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers=_headers(url)) as client:
                _fetch(client, url, part)
        except BaseException:
            if not part.stat().st_size:
                _forget(part)
            raise
        if sha256 and sha256_of(part) != sha256:
            found = sha256_of(part)[:12]
            _forget(part)
            raise InputError(
                f"{url}: not the file that was expected (sha256 {found}, known {sha256[:12]}); try again, or "
                "get it elsewhere"
            )
        replace_atomically(part, target)
        _source_of(part).unlink(missing_ok=True)


def check_room(folder: Path, size: int) -> None:
    """Raises ``OutputError`` if the folder, which need not exist, has no room for ``size`` bytes."""
    free = shutil.disk_usage(nearest(folder)).free
    if size > free:
        raise OutputError(
            f"{folder}: needs {size / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; make room there and run the "
            "same command again"
        )


def _fetch(client: httpx.Client, url: str, part: Path) -> None:
    failures = 0
    while True:
        before = part.stat().st_size
        try:
            return _fetch_rest(client, url, part)
        except _TryAgain as error:
            failures = failures + 1 if part.stat().st_size <= before else 1
            if failures == ATTEMPTS:
                raise InputError(
                    f"{url}: download failed ({error}); run the same command later, it continues there"
                ) from error
            wait = FIRST_WAIT * 2 ** (failures - 1) if error.seconds is None else error.seconds
            time.sleep(min(wait, LONGEST_WAIT))


def _fetch_rest(client: httpx.Client, url: str, part: Path) -> None:
    """Append what ``part`` lacks, or all of it where the server has another file by now."""
    import httpx

    try:
        with client.stream("GET", url, headers=_resuming(url, part)) as response:
            start = _start(response, part)
            length = response.headers.get("content-length", "")
            total = start + int(length) if length.isdecimal() else 0
            if total > MAX_SIZE:
                raise InputError(f"{url}: larger than {MAX_SIZE >> 30} GB; is it the checkpoint?")
            check_room(part.parent, total - start)
            if not start:
                _source_of(part).write_text(json.dumps({"url": url, "same": _validator(response.headers)}))
            _append(response, part, start, total)
    except httpx.TransportError as error:
        raise _TryAgain(str(error) or type(error).__name__) from error
    except (httpx.InvalidURL, httpx.RequestError) as error:
        raise InputError(f"{url}: cannot be downloaded ({error}); check the address and the proxy") from error


def _start(response: httpx.Response, part: Path) -> int:
    """Where in the file the answer begins. Raises ``_TryAgain`` where it cannot be used."""
    status = response.status_code
    if status in BUSY:
        seconds = response.headers.get("retry-after", "")
        raise _TryAgain(f"status {status}", float(seconds) if seconds.isdecimal() else None)
    have = part.stat().st_size
    if status == 206 and response.headers.get("content-range", "").startswith(f"bytes {have}-"):
        return have
    if status in (206, 416):
        _source_of(part).unlink(missing_ok=True)
        raise _TryAgain("the server cannot continue the file")
    if status != 200:
        ways = {401: _LOG_IN, 403: _LOG_IN, 407: "; check the proxy"}
        raise InputError(f"{response.url}: the server answers {status}{ways.get(status, '')}")
    return 0


_LOG_IN = "; agree to the conditions on its page and set HF_TOKEN, where it asks for that"


def _append(response: httpx.Response, part: Path, start: int, total: int) -> None:
    done = start
    with part.open("r+b") as file:
        file.truncate(start)
        file.seek(start)
        for block in response.iter_raw():
            done += len(block)
            if done > MAX_SIZE:
                raise InputError(f"{response.url}: larger than {MAX_SIZE >> 30} GB; is it the checkpoint?")
            file.write(block)
            report(done / 1e6, max(total, done) / 1e6, "MB")


# --------------------------------------------------------------------------------------- unfinished files


def _source_of(part: Path) -> Path:
    """The file that says where ``part`` comes from."""
    return part.with_name(f"{part.name}.json")


def _resuming(url: str, part: Path) -> Mapping[str, str]:
    """Headers that ask for what ``part`` lacks of the same file."""
    size, source = part.stat().st_size, {}
    with suppress(OSError, ValueError):
        source = json.loads(_source_of(part).read_text("utf-8"))
    if not size or not isinstance(source, dict) or source.get("url") != url or not source.get("same"):
        return {}
    return {"Range": f"bytes={size}-", "If-Range": str(source["same"])}


def _validator(headers: Mapping[str, str]) -> str:
    """What tells versions of a file apart; "" where the server says nothing that does."""
    etag = headers.get("etag", "")
    return headers.get("last-modified", "") if etag.startswith("W/") or not etag else etag


def _forget(part: Path) -> None:
    _source_of(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------- Hugging Face


def _headers(url: str) -> dict[str, str]:
    """Plain bytes, which a break leaves usable; Hugging Face's token for its own site."""
    token = _token() if url.startswith(f"{HUGGING_FACE}/") else ""
    return {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})


def _home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{cache}/huggingface").expanduser()


def _token() -> str:
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    path = Path(os.environ.get("HF_TOKEN_PATH") or _home() / "token").expanduser()
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def cached_by_hugging_face(url: str) -> Path | None:
    """The file of this address in the cache that Hugging Face's programs share, if it is there."""
    found = re.fullmatch(rf"{re.escape(HUGGING_FACE)}/([^/]+)/([^/]+)/resolve/([^/]+)/(.+)", url)
    if not found:
        return None
    owner, name, revision, file = found.groups()
    hub = Path(os.environ.get("HF_HUB_CACHE") or _home() / "hub").expanduser()
    repository = hub / f"models--{owner}--{name}"
    with suppress(OSError, ValueError):
        revision = (repository / "refs" / revision).read_text("utf-8").strip()
    path = repository / "snapshots" / revision / file
    return path if path.is_file() else None

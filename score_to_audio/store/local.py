"""The store: every intermediate and final file, found again by what determines its content.

    ROOT/ab/abcdef.../.lock           locked by whoever makes the artifact
                      audio.wav       the file
                      manifest.json   what the file is and how it came to be; written last
                      parts/*.npz     finished parts of an artifact that is not whole yet
    ROOT/.in-use                      which artifacts living processes rely on (see ``locks.Claims``)

No manifest means no artifact, so that a process may be killed at any moment. What is found is whole: the
file's size and modification time are those of the manifest; where only the time differs, the hash decides.
Hashing on every hit would cost 0.6 ms per MB and find beyond that only what changes bytes behind the file
system's back; ``get(key, verify="hash")`` looks for that too.

The store is a cache of derived files: what is missing or damaged is made again, and manifests are not
trusted to name files outside it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from score_to_audio.errors import StoreError
from score_to_audio.files import exclusive, replace_atomically, sha256_of
from score_to_audio.progress import Arrays
from score_to_audio.store.locks import Claims, claims
from score_to_audio.types import Artifact, Provenance

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
LOCK = ".lock"
PARTS = "parts"
TEMPORARY = ".tmp-"
CLAIMS = ".in-use"

MakeFile = Callable[[Path], Iterable[str] | None]
"""Writes an artifact to the path; may return notices for ``Artifact.notices``."""
MAX_MANIFEST_SIZE = 1 << 20
"""Bytes; a larger one is not ours."""
KEY = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

WAYS_OUT = {
    errno.ENOSPC: "make room (`score-to-audio store prune`) or set SCORE_TO_AUDIO_STORE to a disk with space",
    errno.EDQUOT: "make room (`score-to-audio store prune`) or set SCORE_TO_AUDIO_STORE to a disk with space",
    errno.EFBIG: "raise the limit (`ulimit -f`) or set SCORE_TO_AUDIO_STORE to another file system",
    errno.EROFS: "set SCORE_TO_AUDIO_STORE to a folder that can be written to",
    errno.ENOLCK: "set SCORE_TO_AUDIO_STORE to a file system with locks",
}
"""What to do about errors of the file system; these come from writing, so they are about the store even where
they name no file."""
UNWRITABLE = WAYS_OUT[errno.EROFS]
UNEXPLAINED = (
    "check that its disk has room and can be written to, or set SCORE_TO_AUDIO_STORE to another folder"
)
"""For libraries that keep the reason to themselves."""


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds."""

    count: int
    """Whole artifacts."""
    bytes: int
    """Of everything, unfinished work included."""
    by_model: Mapping[str, tuple[int, int]]
    """"stage/model" -> (artifacts, bytes)."""
    unfinished: int
    """Artifacts that are being made, or whose maker stopped."""
    oldest: datetime | None
    newest: datetime | None
    """When the least and the most recently used artifact was used."""


@dataclass(frozen=True)
class PruneReport:
    """What pruning did."""

    count: int
    """Artifacts deleted, unfinished ones included."""
    bytes: int
    """Freed."""
    spared: int
    """Artifacts that were to go but are in use by a running process."""


def artifact_key(description: Mapping[str, Any]) -> str:
    """sha256 of the description as canonical JSON: keys sorted, no white space, ASCII.

    Raises ``ValueError``, naming the place, for what JSON cannot say exactly: NaN, infinities, keys that
    are not text, and anything but text, numbers, booleans, null, lists and mappings.
    """
    return hashlib.sha256(_canonical_json(description).encode("ascii")).hexdigest()


def _canonical_json(value: Mapping[str, Any]) -> str:
    return json.dumps(_plain(value, "description"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{place} has the key {key!r}: only text can be a key of JSON")
        return {key: _plain(value[key], f"{place}.{key}") for key in value}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value!r}: JSON has no such number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{place} is of type {type(value).__name__}, which JSON does not have")


class Store:
    """Artifacts below one folder, shared by any number of processes. Nothing is written until needed.

    Every method raises ``StoreError`` where the folder cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    @property
    def location(self) -> str:
        """What ``open_store`` makes the same store from."""
        return str(self.root)

    @property
    def folder(self) -> Path:
        """The same as ``root``."""
        return self.root

    # ------------------------------------------------------------------------------------------ reading

    def get(self, key: str, *, verify: Literal["time", "hash"] = "time") -> Artifact | None:
        """The artifact, if it is there and whole; it then stays until this process ends.

        ``verify="hash"`` reads the file in any case (once per process).
        """
        with self._explained():
            folder = self._folder(key)
            if not (folder / MANIFEST).is_file() or not self._claims().claim(key):
                return None
            entry = _read_entry(folder)
            if entry is None or not _is_whole(folder, entry, verify):
                return None
            with suppress(OSError):  # a read-only store remembers no uses
                os.utime(folder / MANIFEST)
            return entry.artifact

    def path(self, artifact: Artifact) -> Path:
        """Where the artifact's file is; never outside the store."""
        folder = self._folder(artifact.key)
        path = self.root / artifact.path
        if path.parent != folder or not NAME.fullmatch(path.name) or path.is_symlink():
            raise StoreError(f"{self.root}: {artifact.path!r} is no file of this store; delete its folder")
        return path

    def provenance(self, artifact: Artifact) -> Provenance:
        """How the artifact came to be."""
        with self._explained():
            entry = _read_entry(self._folder(artifact.key))
        if entry is None:
            raise StoreError(f"{self.root}: the record of {artifact.path} is gone or damaged; run again")
        return entry.provenance

    def manifest(self, key: str) -> bytes:
        """The artifact's manifest as it is on disk, for whoever copies the artifact; the file has the name
        that it says. Raises ``StoreError`` where there is none."""
        with self._explained():
            return (self._folder(key) / MANIFEST).read_bytes()

    # ------------------------------------------------------------------------------------------- making

    def get_or_make(
        self,
        key: str,
        *,
        name: str,
        media_type: str,
        provenance: Provenance,
        make: MakeFile,
    ) -> tuple[Artifact, bool]:
        """The artifact, and whether it was there already.

        Where it was not, ``make`` writes the file to the path that it gets (with the suffix of ``name``).
        Others who want the same artifact wait for it. Whatever ``make`` raises passes through, except that
        a full or unwritable store is a ``StoreError``; in either case the store stays as it was.
        """
        if not NAME.fullmatch(name) or name == MANIFEST:
            raise ValueError(f"{name!r} cannot be the name of a file in the store")
        if artifact := self.get(key):
            return artifact, True
        with self._explained(), exclusive(self._folder(key) / LOCK):
            if artifact := self.get(key):
                return artifact, True
            try:
                return self._make(key, name, media_type, provenance, make), False
            finally:
                _clear(self._folder(key))

    def _make(
        self,
        key: str,
        name: str,
        media_type: str,
        provenance: Provenance,
        make: MakeFile,
    ) -> Artifact:
        folder = self._folder(key)
        _sweep(folder)  # of a maker who died: the lock is ours, so nobody else is writing here
        temporary = _temporary(folder, name)
        notices = tuple(make(temporary) or ())
        status = _date(temporary)
        artifact = Artifact(
            key=key,
            media_type=media_type,
            path=f"{key[:2]}/{key}/{name}",
            size=status.st_size,
            sha256=sha256_of(temporary),
            notices=notices,
        )
        manifest = Entry(artifact, provenance, status.st_mtime_ns).to_json()
        replace_atomically(temporary, folder / name)
        self._claims().claim(key)
        temporary = _temporary(folder, MANIFEST)
        temporary.write_text(manifest, encoding="utf-8")
        replace_atomically(temporary, folder / MANIFEST)
        return artifact

    def cached_part(self, key: str, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays kept as part ``name`` of the unfinished artifact ``key``, else made and kept now.

        Meant for use within the ``make`` of ``get_or_make``. Parts go once the artifact is whole, or when
        the store is pruned. Raises ``ValueError`` for arrays of Python objects.
        """
        parts, label = self._folder(key) / PARTS, hashlib.sha256(name.encode()).hexdigest()[:32]
        with self._explained():
            kept = _read_part(parts, label)
        if kept is not None:
            return kept
        arrays = {column: np.asarray(values) for column, values in make().items()}
        for column, values in arrays.items():
            if values.dtype.hasobject:
                raise ValueError(f"{column!r} of part {name!r} holds Python objects: keep plain arrays only")
        with self._explained():
            _write_part(parts, label, arrays)
        return arrays

    # ---------------------------------------------------------------------------------------- upkeep

    def check(self) -> None:
        """Raises ``StoreError`` where the folder cannot be read; one that is not there yet will be made."""
        with self._explained(), suppress(FileNotFoundError):
            next(self.root.iterdir(), None)

    def info(self) -> StoreInfo:
        """What the store holds; reads every manifest."""
        with self._explained():
            found = [(usage.bytes, usage.last_use, _read_entry(usage.folder)) for usage in self._usages()]
        return summarized(found)

    def prune(self, *, older_than: timedelta | None = None, max_size: int | None = None) -> PruneReport:
        """Delete what was not used for ``older_than``, then the least recently used until ``max_size``
        bytes remain; and what dead processes left half-written.

        Safe beside running work: what a living process makes, or has got from the store, is spared.
        """
        count = freed = spared = 0
        with self._explained():
            usages = sorted(self._usages(), key=lambda usage: usage.last_use)
            remaining = sum(usage.bytes for usage in usages)
            too_old = time.time() - older_than.total_seconds() if older_than is not None else -math.inf
            for usage in usages:
                goes = usage.last_use <= too_old or (max_size is not None and remaining > max_size)
                if not goes and not usage.leftovers:
                    continue
                gone = self._delete(usage) if goes else self._sweep(usage)
                count += goes and gone is not None
                spared += goes and gone is None
                freed += gone or 0
                remaining -= gone or 0
        return PruneReport(count, freed, spared)

    def _delete(self, usage: _Usage) -> int | None:
        """Bytes freed; None where the artifact is in use."""
        with (
            exclusive(usage.folder / LOCK, wait=False) as held,
            self._claims().reserved(usage.folder.name) as free,
        ):
            if not (held and free):
                return None
            _remove(usage.folder)
            return usage.bytes

    def _sweep(self, usage: _Usage) -> int:
        """Bytes freed."""
        with exclusive(usage.folder / LOCK, wait=False) as held:
            if not held:
                return 0
            freed = _sweep(usage.folder)
            _clear(usage.folder)
            return freed

    def _usages(self) -> Iterator[_Usage]:
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]/*")):
            if KEY.fullmatch(folder.name) and not self._leads_out(folder):
                with suppress(FileNotFoundError):  # deleted by somebody else meanwhile
                    yield _usage(folder)

    # ------------------------------------------------------------------------------------------ helpers

    def _folder(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no artifact key")
        folder = self.root / key[:2] / key
        if self._leads_out(folder):
            raise StoreError(f"{folder}: is a link that leads out of the store; delete it")
        return folder

    def _leads_out(self, folder: Path) -> bool:
        return folder.is_symlink() or folder.parent.is_symlink()

    def _claims(self) -> Claims:
        return claims(Path(os.path.realpath(self.root / CLAIMS)))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what the operating system says about the store's files into a ``StoreError``."""
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            ours = str(self.root) in str(error) or (error.filename is None and error.errno in WAYS_OUT)
            if not ours:
                raise
            reason = error.strerror or str(error).rpartition(": ")[2]
            way_out = WAYS_OUT.get(error.errno, UNWRITABLE) if error.errno else UNEXPLAINED
            raise StoreError(f"{self.root}: the store cannot be used ({reason}); {way_out}") from error


def summarized(found: Sequence[tuple[int, float, Entry | None]]) -> StoreInfo:
    """``found``: bytes, last use in seconds since 1970, and the manifest where there is a whole one."""
    by_model: dict[str, tuple[int, int]] = {}
    whole = [(size, last_use, entry) for size, last_use, entry in found if entry]
    for size, _, entry in whole:
        model = f"{entry.provenance.stage}/{entry.provenance.model}"
        count, total = by_model.get(model, (0, 0))
        by_model[model] = (count + 1, total + size)
    used = [datetime.fromtimestamp(last_use, UTC) for _, last_use, _ in whole]
    return StoreInfo(
        count=len(whole),
        bytes=sum(size for size, _, _ in found),
        by_model=by_model,
        unfinished=len(found) - len(whole),
        oldest=min(used, default=None),
        newest=max(used, default=None),
    )


class ArtifactStore(Protocol):
    """What the stages need of a store: a folder (``Store``), or one that machines share (``RemoteStore``)."""

    @property
    def location(self) -> str:
        """What ``open_store`` makes the same store from, in this process or another one."""
        ...

    @property
    def folder(self) -> Path:
        """Of the files on this machine."""
        ...

    def get(self, key: str, *, verify: Literal["time", "hash"] = "time") -> Artifact | None: ...

    def path(self, artifact: Artifact) -> Path: ...

    def provenance(self, artifact: Artifact) -> Provenance: ...

    def get_or_make(
        self,
        key: str,
        *,
        name: str,
        media_type: str,
        provenance: Provenance,
        make: MakeFile,
    ) -> tuple[Artifact, bool]: ...

    def cached_part(self, key: str, name: str, make: Callable[[], Arrays]) -> Arrays: ...

    def check(self) -> None:
        """Raises ``StoreError`` where the store does not answer."""

    def info(self) -> StoreInfo: ...

    def prune(self, *, older_than: timedelta | None = None, max_size: int | None = None) -> PruneReport: ...


def open_store(location: str) -> ArtifactStore:
    """The store in a folder, or below a URL of any file system that fsspec knows ("s3://bucket/prefix").

    Raises ``StoreError`` for a URL that cannot be used.
    """
    if "://" not in location:
        return Store(Path(location))
    return _remote_store(location, _cache_of(location))


@cache
def _remote_store(url: str, folder: Path) -> ArtifactStore:
    """One per process, so that all its threads know when the other side does not answer."""
    from score_to_audio.store.remote import RemoteStore

    return RemoteStore(url, Store(folder))


def default_store() -> ArtifactStore:
    """The store at ``SCORE_TO_AUDIO_STORE``, else in the user's cache folder."""
    if location := os.environ.get("SCORE_TO_AUDIO_STORE"):
        return open_store(location)
    return Store(_user_folder() / "store")


def _cache_of(url: str) -> Path:
    """The folder for what is in use of a shared store: ``SCORE_TO_AUDIO_STORE_CACHE``, else one per URL."""
    if folder := os.environ.get("SCORE_TO_AUDIO_STORE_CACHE"):
        return Path(folder)
    return _user_folder() / "store-cache" / hashlib.sha256(url.encode()).hexdigest()[:16]


def _user_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("score-to-audio"))


# ------------------------------------------------------------------------------------------ manifests


@dataclass(frozen=True)
class Entry:
    """What a manifest says (``parse_manifest``)."""

    artifact: Artifact
    provenance: Provenance
    mtime_ns: int
    """Modification time of the file when it was whole."""

    def to_json(self) -> str:
        body = asdict(self) | {"format": MANIFEST_FORMAT}
        return json.dumps({"check": artifact_key(body), **body}, indent=1)


def _read_entry(folder: Path) -> Entry | None:
    """None where the manifest is missing, damaged, or speaks of anything but a file of this folder."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return parse_manifest(file.read(MAX_MANIFEST_SIZE), folder.name)
    except FileNotFoundError:
        return None


def parse_manifest(content: bytes, key: str) -> Entry | None:
    """None where the bytes are no whole manifest of the artifact ``key``."""
    try:
        body = json.loads(content)
        if body.pop("check") != artifact_key(body) or body["format"] != MANIFEST_FORMAT:
            return None
        notices = tuple(map(str, body["artifact"].pop("notices", ())))
        artifact = Artifact(**body["artifact"], notices=notices)
        provenance = Provenance(**body["provenance"])
        mtime_ns = int(body["mtime_ns"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    name = str(artifact.path).rpartition("/")[2]
    if (artifact.key, artifact.path) != (key, f"{key[:2]}/{key}/{name}") or not NAME.fullmatch(name):
        return None
    return Entry(artifact, provenance, mtime_ns)


def _is_whole(folder: Path, entry: Entry, verify: Literal["time", "hash"]) -> bool:
    path = folder / Path(entry.artifact.path).name
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.artifact.size:
        return False
    untouched = status.st_mtime_ns == entry.mtime_ns
    if untouched and verify == "time":
        return True
    if sha256_of(path) != entry.artifact.sha256:
        return False
    if not untouched:  # copied without its times: spare the next process the hashing
        with suppress(OSError):
            os.utime(path, ns=(status.st_atime_ns, entry.mtime_ns))
    return True


# -------------------------------------------------------------------------------------- files, folders


@dataclass(frozen=True)
class _Usage:
    """One artifact's folder, as far as upkeep is concerned."""

    folder: Path
    bytes: int
    last_use: float
    """Seconds since 1970: the manifest's modification time, else the newest of any file."""
    leftovers: bool
    """Something to sweep may be there."""


def _usage(folder: Path) -> _Usage:
    files = {path: path.lstat() for path in [folder, *folder.rglob("*")]}
    manifest = files.get(folder / MANIFEST)
    return _Usage(
        folder=folder,
        bytes=sum(status.st_size for status in files.values() if stat.S_ISREG(status.st_mode)),
        last_use=manifest.st_mtime if manifest else max(status.st_mtime for status in files.values()),
        leftovers=manifest is None or any(path.name.startswith(TEMPORARY) for path in files),
    )


def _temporary(folder: Path, name: str) -> Path:
    return folder / f"{TEMPORARY}{secrets.token_hex(4)}-{name}"


def _date(path: Path) -> os.stat_result:
    """Give a finished file a modification time of its own, and tell its status.

    File systems date writes in steps of up to some milliseconds: without this, a change made right after
    the file was finished might leave it with the same time.
    """
    now = time.time_ns()
    os.utime(path, ns=(now, now - 1_000_000_000 - secrets.randbelow(1_000_000)))
    return path.stat()


def _sweep(folder: Path) -> int:
    """Delete temporary files; the lock is held. Bytes freed."""
    freed = 0
    for path in folder.rglob(f"{TEMPORARY}*"):
        freed += path.lstat().st_size
        path.unlink()
    return freed


def _clear(folder: Path) -> None:
    """After making, failing or dying: leave a whole artifact alone, or parts of one, or nothing at all."""
    with suppress(OSError):
        _sweep(folder)
        if (folder / MANIFEST).exists():
            shutil.rmtree(folder / PARTS, ignore_errors=True)
        elif not any((folder / PARTS).glob("*")):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Delete an artifact's folder; the lock is held, and its file goes last."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
    (folder / LOCK).unlink()
    with suppress(OSError):  # somebody else's lock or artifact is in there
        folder.rmdir()
        folder.parent.rmdir()


def _write_part(parts: Path, label: str, arrays: Arrays) -> None:
    """As ``LABEL-SHA256.npz``: zip's own checksums do not cover its directory."""
    buffer = io.BytesIO()
    np.savez(buffer, np.array(list(arrays), dtype=np.str_), *arrays.values())  # names: `savez` takes few
    content = buffer.getvalue()
    parts.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(parts, label)
    try:
        temporary.write_bytes(content)
        temporary.replace(parts / f"{label}-{hashlib.sha256(content).hexdigest()}.npz")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read_part(parts: Path, label: str) -> dict[str, Any] | None:
    """None where nothing whole is there."""
    for path in parts.glob(f"{label}-*.npz"):
        content = path.read_bytes()
        if path.stem == f"{label}-{hashlib.sha256(content).hexdigest()}":
            with np.load(io.BytesIO(content), allow_pickle=False) as kept:
                names, *values = (kept[column] for column in kept.files)
                return dict(zip(names.tolist(), values, strict=True))
        path.unlink(missing_ok=True)
    return None

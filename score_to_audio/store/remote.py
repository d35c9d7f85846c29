"""A store that machines share: a folder of any file system that fsspec knows, used through a local store.

    URL/ab/abcdef.../SHA256.wav      the file, under the hash of its content
                     manifest.json   as in a local store; uploaded last

Object stores have neither locks nor renaming, and need neither: no manifest means no artifact, a file never
changes under its name, and two machines that make the same artifact at once only waste the time of one. What
comes from there is checked against its hash before anything relies on it; what does not match is deleted and
made again. Work relies on the local copy alone, so that deleting shared artifacts never disturbs it.

Where the shared folder cannot be reached, or written to, work goes on with the local store, with a warning;
what was made meanwhile is uploaded when it is next needed. Settings that cannot work are a ``StoreError``.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from score_to_audio.errors import StoreError
from score_to_audio.files import sha256_of
from score_to_audio.progress import Arrays
from score_to_audio.store.local import (
    KEY,
    MANIFEST,
    Entry,
    MakeFile,
    PruneReport,
    Store,
    StoreInfo,
    parse_manifest,
    summarized,
)
from score_to_audio.types import Artifact, Provenance
from score_to_audio.wording import reason

SHARED = ".shared"
"""Beside a local artifact: it is in the shared folder too; its time is when that was last made sure of."""
DAY = 86_400.0
"""Seconds. After so long the use of an artifact is noted in the shared folder (by uploading its manifest
again), so that pruning by age counts in days. Until then files without one may be an upload under way."""
BREATHER = 60.0
"""Seconds during which a shared folder that failed to answer is left alone."""

ALLOW = "check the credentials; listing the bucket and reading its objects have to be allowed"

log = logging.getLogger(__name__)


class _Unusable(Exception):
    """The file in the shared folder is not what its manifest says, or does not arrive."""


class RemoteStore:
    """Artifacts below ``url``, with ``cache`` for those that are made or used on this machine.

    Raises ``StoreError`` for a URL that cannot be used; other methods do where ``Store``'s do, and where the
    shared folder refuses to be read or does not exist.
    """

    def __init__(self, url: str, cache: Store) -> None:
        self.location = url
        self.cache = cache
        self._files, self._root = _open(url)
        self._bucket = self._root.partition("/")[0]
        """Of an object store, which has no folders to make, and whose bucket is not ours to make; else ""."""
        self._rests_until = {"read": -math.inf, "write": -math.inf}
        """On the monotonic clock."""

    @property
    def folder(self) -> Path:
        """Of the local copies."""
        return self.cache.root

    # ------------------------------------------------------------------------------------------ reading

    def get(self, key: str, *, verify: Literal["time", "hash"] = "time") -> Artifact | None:
        """As ``Store.get``; an artifact that only the shared folder has is copied to this machine."""
        if artifact := self.cache.get(key, verify=verify):
            if self._is_due(artifact):
                self._share(artifact)
            return artifact
        if not (entry := self._entry(key)):
            return None
        try:
            artifact, _ = self.cache.get_or_make(
                key,
                name=Path(entry.artifact.path).name,
                media_type=entry.artifact.media_type,
                provenance=entry.provenance,
                make=lambda destination: self._download(entry, destination),
            )
        except _Unusable:
            return None
        self._share(artifact)
        return artifact

    def path(self, artifact: Artifact) -> Path:
        """Where the artifact's file is on this machine; copied there first where it was made elsewhere."""
        path = self.cache.path(artifact)
        if not path.is_file() and not self.get(artifact.key):
            raise StoreError(f"{self.location}: {artifact.path} is gone; run again")
        return path

    def provenance(self, artifact: Artifact) -> Provenance:
        """How the artifact came to be."""
        self.path(artifact)
        return self.cache.provenance(artifact)

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
        """As ``Store.get_or_make``: found on this machine or in the shared folder, else made and shared."""
        if artifact := self.get(key):
            return artifact, True
        artifact, was_there = self.cache.get_or_make(
            key, name=name, media_type=media_type, provenance=provenance, make=make
        )
        if not was_there or self._is_due(artifact):
            self._share(artifact)
        return artifact, was_there

    def cached_part(self, key: str, name: str, make: Callable[[], Arrays]) -> Arrays:
        """As ``Store.cached_part``, on this machine: parts of unfinished work are not shared."""
        return self.cache.cached_part(key, name, make)

    # ------------------------------------------------------------------------------------------ transfer

    def _entry(self, key: str) -> Entry | None:
        """What the shared folder says about an artifact; None too where it does not answer."""
        content = self._asked("read", lambda: self._files.cat_file(self._at(key, MANIFEST)))
        return parse_manifest(content, key) if content else None

    def _download(self, entry: Entry, destination: Path) -> tuple[str, ...]:
        artifact, source = entry.artifact, self._file(entry.artifact)
        fits = self._asked("read", lambda: self._holds(artifact))
        if fits:
            self._asked("read", lambda: self._files.get_file(source, str(destination)))
            fits = destination.is_file() and sha256_of(destination) == artifact.sha256
        if fits:
            return artifact.notices
        if fits is not None:
            log.warning("%s: %s is damaged there and is made again", self.location, artifact.path)
            self._asked("write", lambda: self._delete([self._at(artifact.key, MANIFEST), source]))
        raise _Unusable

    def _is_due(self, artifact: Artifact) -> bool:
        marker = self._marker(artifact)
        return not marker.is_file() or abs(time.time() - marker.stat().st_mtime) > DAY

    def _share(self, artifact: Artifact) -> None:
        """Make sure that the shared folder has the artifact, and note there that it is in use."""
        if self._asked("write", lambda: self._upload(artifact)):
            with suppress(OSError):  # a local copy that is read-only remembers nothing
                self._marker(artifact).touch()

    def _marker(self, artifact: Artifact) -> Path:
        return self.cache.path(artifact).parent / SHARED

    def _upload(self, artifact: Artifact) -> bool:
        if not self._holds(artifact):
            if not self._bucket:
                self._files.makedirs(self._at(artifact.key), exist_ok=True)
            self._files.put_file(str(self.cache.path(artifact)), self._file(artifact))
        self._files.pipe_file(self._at(artifact.key, MANIFEST), self.cache.manifest(artifact.key))
        return True

    def _holds(self, artifact: Artifact) -> bool:
        try:
            return bool(self._files.info(self._file(artifact))["size"] == artifact.size)
        except FileNotFoundError:
            return False

    # -------------------------------------------------------------------------------------------- upkeep

    def info(self) -> StoreInfo:
        """What the shared folder holds; reads every manifest."""
        with self._explained():
            usages = self._usages()
            paths = [usage.paths[0] for usage in usages if usage.whole]
            manifests = self._files.cat(paths, on_error="omit") if paths else {}
        return summarized(
            [
                (usage.bytes, usage.last_use, parse_manifest(manifests.get(usage.paths[0], b""), usage.key))
                for usage in usages
            ]
        )

    def prune(self, *, older_than: timedelta | None = None, max_size: int | None = None) -> PruneReport:
        """As ``Store.prune``, in the shared folder and in the local copy, each for itself.

        Safe beside running work, here and on other machines: that relies on local copies. The report counts
        the shared artifacts, and the bytes of both.
        """
        local = self.cache.prune(older_than=older_than, max_size=max_size)
        count = freed = 0
        with self._explained():
            usages = sorted(self._usages(), key=lambda usage: usage.last_use)
            remaining = sum(usage.bytes for usage in usages)
            now = time.time()
            too_old = now - older_than.total_seconds() if older_than is not None else -math.inf
            for usage in usages:
                goes = usage.last_use <= too_old or (max_size is not None and remaining > max_size)
                abandoned = usage.last_use < now - DAY
                if not goes or not (usage.whole or abandoned):
                    continue
                self._delete(usage.paths)
                count += 1
                freed += usage.bytes
                remaining -= usage.bytes
        return PruneReport(count, freed + local.bytes, local.spared)

    def check(self) -> None:
        """Raises ``StoreError`` where the shared folder does not answer."""
        with self._explained():
            if self._bucket:
                self._files.info(self._bucket)

    def _usages(self) -> list[_Usage]:
        folders: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        for path, detail in self._files.find(self._root, detail=True).items():
            shard, _, rest = path.removeprefix(self._root).strip("/").partition("/")
            key, _, name = rest.partition("/")
            if KEY.fullmatch(key) and key.startswith(shard) and name:
                folders[key][name] = detail
        return [_usage(key, files) for key, files in folders.items()]

    # ------------------------------------------------------------------------------------------- helpers

    def _at(self, key: str, *name: str) -> str:
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no artifact key")
        return "/".join([self._root, key[:2], key, *name])

    def _file(self, artifact: Artifact) -> str:
        return self._at(artifact.key, artifact.sha256 + Path(artifact.path).suffix)

    def _delete(self, paths: Sequence[str]) -> None:
        """In the order given; what is gone already is no error."""
        for path in paths:
            with suppress(FileNotFoundError):
                self._files.rm_file(path)

    def _asked(self, purpose: Literal["read", "write"], ask: Callable[[], Any]) -> Any:
        """What the shared folder answers; None where it has no such file, or does not answer.

        Whatever its library raises means that it did not answer, but for a folder that is not there or may
        not be read: these are settings to be mended, not to be worked around.
        """
        if time.monotonic() < self._rests_until[purpose]:
            return None
        try:
            return ask()
        except StoreError:
            raise
        except FileNotFoundError as error:
            if purpose == "read":
                return None
            raise StoreError(
                f"{self.location}: does not exist ({reason(error)}); create the bucket or folder"
            ) from error
        except PermissionError as error:
            if purpose == "read":
                raise StoreError(f"{self.location}: {reason(error)}; {ALLOW}") from error
            self._rest(error, "cannot be written to", "write")
        except Exception as error:
            self._rest(error, "does not answer", "read", "write")
        return None

    def _rest(self, error: Exception, what: str, *purposes: str) -> None:
        self._rests_until |= dict.fromkeys(purposes, time.monotonic() + BREATHER)
        log.warning("%s %s (%s); working with %s alone", self.location, what, reason(error), self.cache.root)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """For upkeep, which is of no use without an answer."""
        try:
            yield
        except StoreError:
            raise
        except PermissionError as error:
            raise StoreError(f"{self.location}: {reason(error)}; {ALLOW}") from error
        except Exception as error:
            raise StoreError(f"{self.location}: does not answer ({reason(error)})") from error


def _open(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it."""
    import fsspec

    protocol = url.partition("://")[0]
    try:
        # Listings are not kept: other machines write there too.
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        hint = (
            "pip install score-to-audio[s3]" if protocol == "s3" else f"install what fsspec needs ({error})"
        )
        raise StoreError(f"{url}: the library for {protocol}:// is missing; {hint}") from error
    except Exception as error:
        raise StoreError(f"{url}: is no place for a store ({reason(error)}); check the URL") from error
    return files, root.rstrip("/")


# ------------------------------------------------------------------------------------------- listings


@dataclass(frozen=True)
class _Usage:
    """One artifact in the shared folder, as far as upkeep is concerned."""

    key: str
    paths: tuple[str, ...]
    """The manifest first, where there is one."""
    whole: bool
    """There is a manifest."""
    bytes: int
    last_use: float
    """Seconds since 1970, to the day: when the manifest was last uploaded, else the newest file."""


def _usage(key: str, files: Mapping[str, Mapping[str, Any]]) -> _Usage:
    """``files``: by name, what fsspec says of each."""
    in_order = sorted(files, key=lambda name: name != MANIFEST)
    times = {name: _time(detail) for name, detail in files.items()}
    return _Usage(
        key=key,
        paths=tuple(files[name]["name"] for name in in_order),
        whole=MANIFEST in files,
        bytes=sum(int(detail["size"] or 0) for detail in files.values()),
        last_use=times.get(MANIFEST, max(times.values())),
    )


def _time(detail: Mapping[str, Any]) -> float:
    """When a file was written, in seconds since 1970; file systems call it what they like."""
    names = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")
    value = next((detail[name] for name in names if detail.get(name) is not None), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if value is not None else time.time()

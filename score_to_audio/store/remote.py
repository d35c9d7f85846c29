"""A store that machines share: a folder on any file system that fsspec knows, used through a local store.

    URL/ab/abcdef.../SHA256.flac     the file, named after the hash of its content
                     artifact.json   the artifact record, as in a local store; uploaded last

Object stores have neither locks nor renaming. The layout needs neither: without a record there is no
artifact, the content under a name never changes, and two machines that make the same artifact at once merely
do it twice. Every download is checked against its hash; a wrong file is deleted and made again. Work uses
local copies only, so deleting shared artifacts never disturbs it.

If the shared folder cannot be reached or written to, work continues with the local store and a warning; what
was made meanwhile is uploaded on its next use. Settings that cannot work are a ``StoreError``.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from score_to_audio.errors import StoreError
from score_to_audio.files import sha256_of
from score_to_audio.progress import Arrays
from score_to_audio.store.local import (
    MakeFile,
    PruneReport,
    Store,
    StoreInfo,
    Verify,
    cutoff,
    summarized,
)
from score_to_audio.store.records import KEY, RECORD, ArtifactRecord, parse_record
from score_to_audio.types import Artifact, Provenance
from score_to_audio.wording import reason

SHARED = ".shared"
"""Marks a local artifact that the shared folder has too; its modification time is the last check of that."""
DAY = 86_400.0
"""Seconds. The use of an artifact is noted in the shared folder once a day (its record is uploaded again), so
pruning by age counts in days. Files without a record count as an upload in progress for as long."""
PAUSE = 60.0
"""Seconds without requests after the shared folder failed to answer."""
ALLOW = "check the credentials; listing the bucket and reading its objects must be allowed"

log = logging.getLogger(__name__)


class _Unusable(Exception):
    """The shared file does not match its record, or cannot be downloaded."""


class RemoteStore:
    """Artifacts below ``url``; ``cache`` holds those that are made or used on this machine.

    Raises ``StoreError`` for a URL that cannot be used. Methods raise it as those of ``Store`` do, and if the
    shared folder does not exist or may not be read.
    """

    def __init__(self, url: str, cache: Store) -> None:
        self.location = url
        self.cache = cache
        self._files, self._root = _open(url)
        self._bucket = self._root.partition("/")[0]
        """Of an object store, where no folders are made; "" otherwise."""
        self._paused_until = {"read": -math.inf, "write": -math.inf}
        """On the monotonic clock."""

    @property
    def folder(self) -> Path:
        """Of the local copies."""
        return self.cache.folder

    @property
    def limit(self) -> int | None:
        """Of the local copies, in bytes."""
        return self.cache.limit

    def releasing(self) -> AbstractContextManager[None]:
        """As ``Store.releasing``."""
        return self.cache.releasing()

    # ------------------------------------------------------------------------------------------ reading

    def get(self, key: str, *, verify: Verify = "time") -> Artifact | None:
        """As ``Store.get``; downloads an artifact that only the shared folder has."""
        if artifact := self.cache.get(key, verify=verify):
            if self._is_due(artifact):
                self._share(artifact)
            return artifact
        if not (record := self._record(key)):
            return None
        try:
            artifact, _ = self.cache.get_or_make(
                key,
                name=Path(record.artifact.path).name,
                media_type=record.artifact.media_type,
                provenance=record.provenance,
                make=lambda destination: self._download(record.artifact, destination),
            )
        except _Unusable:
            return None
        self._share(artifact)
        return artifact

    def path(self, artifact: Artifact) -> Path:
        """The artifact's file on this machine; downloads it if another machine made it."""
        path = self.cache.path(artifact)
        if not path.is_file() and not self.get(artifact.key):
            raise StoreError(f"{self.location}: {artifact.path} is gone; run again")
        return path

    def provenance(self, artifact: Artifact) -> Provenance:
        """How the artifact was made."""
        self.path(artifact)
        return self.cache.provenance(artifact)

    # ------------------------------------------------------------------------------------------- making

    def get_or_make(
        self, key: str, *, name: str, media_type: str, provenance: Provenance, make: MakeFile
    ) -> tuple[Artifact, bool]:
        """As ``Store.get_or_make``: found here or in the shared folder, else made and shared."""
        if artifact := self.get(key):
            return artifact, True
        artifact, was_there = self.cache.get_or_make(
            key, name=name, media_type=media_type, provenance=provenance, make=make
        )
        if not was_there or self._is_due(artifact):
            self._share(artifact)
        return artifact, was_there

    def cached_part(self, key: str, name: str, make: Callable[[], Arrays]) -> Arrays:
        """As ``Store.cached_part``; parts are not shared."""
        return self.cache.cached_part(key, name, make)

    # ------------------------------------------------------------------------------------------ transfer

    def _record(self, key: str) -> ArtifactRecord | None:
        """None also if the shared folder does not answer."""
        content = self._asked("read", lambda: self._files.cat_file(self._at(key, RECORD)))
        return parse_record(content, key) if content else None

    def _download(self, artifact: Artifact, destination: Path) -> tuple[str, ...]:
        source = self._file(artifact)
        fits = self._asked("read", lambda: self._holds(artifact))
        if fits:
            self._asked("read", lambda: self._files.get_file(source, str(destination)))
            fits = destination.is_file() and sha256_of(destination) == artifact.sha256
        if fits:
            return artifact.notices
        if fits is not None:
            log.warning("%s: %s is damaged there and is made again", self.location, artifact.path)
            self._asked("write", lambda: self._delete([self._at(artifact.key, RECORD), source]))
        raise _Unusable

    def _is_due(self, artifact: Artifact) -> bool:
        marker = self._marker(artifact)
        return not marker.is_file() or abs(time.time() - marker.stat().st_mtime) > DAY

    def _share(self, artifact: Artifact) -> None:
        """Upload the artifact if the shared folder lacks it, and note its use there."""
        if self._asked("write", lambda: self._upload(artifact)):
            with suppress(OSError):  # a read-only local copy
                self._marker(artifact).touch()

    def _marker(self, artifact: Artifact) -> Path:
        return self.cache.path(artifact).parent / SHARED

    def _upload(self, artifact: Artifact) -> bool:
        if not self._holds(artifact):
            if not self._bucket:
                self._files.makedirs(self._at(artifact.key), exist_ok=True)
            self._files.put_file(str(self.cache.path(artifact)), self._file(artifact))
        self._files.pipe_file(self._at(artifact.key, RECORD), self.cache.record(artifact.key))
        return True

    def _holds(self, artifact: Artifact) -> bool:
        try:
            return bool(self._files.info(self._file(artifact))["size"] == artifact.size)
        except FileNotFoundError:
            return False

    # -------------------------------------------------------------------------------------------- upkeep

    def info(self) -> StoreInfo:
        """What the shared folder holds; reads every record."""
        with self._explained():
            usages = self._usages()
            paths = [usage.paths[0] for usage in usages if usage.whole]
            records = self._files.cat(paths, on_error="omit") if paths else {}
        return summarized(
            [
                (usage.bytes, usage.last_use, parse_record(records.get(usage.paths[0], b""), usage.key))
                for usage in usages
            ]
        )

    def prune(self, *, older_than: timedelta | None = None, max_size: int | None = None) -> PruneReport:
        """As ``Store.prune``, in the shared folder and in the local copies, each by the given limits.

        Safe beside running work on any machine, since it uses local copies. The report counts shared
        artifacts, and the bytes of both.
        """
        local = self.cache.prune(older_than=older_than, max_size=max_size)
        count = freed = 0
        with self._explained():
            usages = sorted(self._usages(), key=lambda usage: usage.last_use)
            remaining, too_old = sum(usage.bytes for usage in usages), cutoff(older_than)
            abandoned = time.time() - DAY
            for usage in usages:
                goes = usage.last_use <= too_old or (max_size is not None and remaining > max_size)
                if goes and (usage.whole or usage.last_use < abandoned):
                    self._delete(usage.paths)
                    count += 1
                    freed += usage.bytes
                    remaining -= usage.bytes
        return PruneReport(count, freed + local.bytes, local.spared)

    def check(self) -> None:
        """Raises ``StoreError`` if the shared folder does not answer."""
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
        """In the order given; files may be missing."""
        for path in paths:
            with suppress(FileNotFoundError):
                self._files.rm_file(path)

    def _asked(self, purpose: Literal["read", "write"], ask: Callable[[], Any]) -> Any:
        """What the shared folder answers; None if it has no such file, or does not answer.

        Any exception of its library counts as no answer, except for a folder that does not exist or may not
        be read: these settings have to be corrected.
        """
        if time.monotonic() < self._paused_until[purpose]:
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
            self._pause(error, "cannot be written to", "write")
        except Exception as error:
            self._pause(error, "does not answer", "read", "write")
        return None

    def _pause(self, error: Exception, what: str, *purposes: str) -> None:
        self._paused_until |= dict.fromkeys(purposes, time.monotonic() + PAUSE)
        log.warning(
            "%s %s (%s); working with %s alone", self.location, what, reason(error), self.cache.folder
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """For upkeep, which fails without an answer."""
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
        # No cached listings: other machines write there too.
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        hint = (
            "pip install score-to-audio[s3]" if protocol == "s3" else f"install what fsspec needs ({error})"
        )
        raise StoreError(f"{url}: the library for {protocol}:// is missing; {hint}") from error
    except Exception as error:
        raise StoreError(f"{url}: cannot be a store ({reason(error)}); check the URL") from error
    return files, root.rstrip("/")


# ------------------------------------------------------------------------------------------- listings


@dataclass(frozen=True)
class _Usage:
    """One artifact in the shared folder, for upkeep."""

    key: str
    paths: tuple[str, ...]
    """The record first, if there is one."""
    whole: bool
    """There is a record."""
    bytes: int
    last_use: float
    """Seconds since 1970, to the day: last upload of the record, else of the newest file."""


def _usage(key: str, files: Mapping[str, Mapping[str, Any]]) -> _Usage:
    """``files``: name -> details by fsspec."""
    in_order = sorted(files, key=lambda name: name != RECORD)
    times = {name: _time(detail) for name, detail in files.items()}
    return _Usage(
        key=key,
        paths=tuple(files[name]["name"] for name in in_order),
        whole=RECORD in files,
        bytes=sum(int(detail["size"] or 0) for detail in files.values()),
        last_use=times.get(RECORD, max(times.values())),
    )


def _time(detail: Mapping[str, Any]) -> float:
    """When a file was written, in seconds since 1970; the key depends on the file system."""
    names = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")
    value = next((detail[name] for name in names if detail.get(name) is not None), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if value is not None else time.time()

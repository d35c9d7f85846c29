"""The store: every file that was made, found by the hash of everything that determines its content.

    FOLDER/ab/abcdef.../.lock           held by the process that makes the artifact
                        audio.flac      the file
                        artifact.json   the artifact record: what the file is, how it was made; written last
                        parts/*.npz     finished parts of an unfinished artifact
    FOLDER/.in-use                      which artifacts running processes use (see ``locks.Claims``)
    FOLDER/.made                        how much was made since the size was checked (see ``limits``)

Without a record there is no artifact, so a process may be killed at any moment. A hit compares the file's
size and modification time with the record and reads the file only if the time alone differs. To hash on every
hit would cost 0.6 ms per MB and would additionally find only changes that leave size and time as they were;
``get(key, verify="hash")`` finds these too.

The store is a cache of derived files: what is missing or damaged is made again. Records are checked before
they are trusted to name a file.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import math
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from score_to_audio.errors import StoreError
from score_to_audio.files import exclusive, replace_atomically, sha256_of
from score_to_audio.progress import Arrays
from score_to_audio.store import limits
from score_to_audio.store.locks import Claims, claims
from score_to_audio.store.records import KEY, MAX_RECORD_SIZE, NAME, RECORD, ArtifactRecord, parse_record
from score_to_audio.types import Artifact, Provenance

if TYPE_CHECKING:
    from score_to_audio.store.remote import RemoteStore

log = logging.getLogger(__name__)

LOCK = ".lock"
PARTS = "parts"
TEMPORARY = ".tmp-"
CLAIMS = ".in-use"

Verify = Literal["time", "hash"]
MakeFile = Callable[[Path], Iterable[str] | None]
"""Writes an artifact to the path; may return notices for ``Artifact.notices``."""

MAKE_ROOM = "make room (`score-to-audio store prune`) or set SCORE_TO_AUDIO_STORE to a disk with space"
UNWRITABLE = "set SCORE_TO_AUDIO_STORE to a folder that can be written to"
UNEXPLAINED = (
    "check that its disk has room and can be written to, or set SCORE_TO_AUDIO_STORE to another folder"
)
"""For errors without a number."""
WAYS_OUT = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EFBIG: "raise the limit (`ulimit -f`) or set SCORE_TO_AUDIO_STORE to another file system",
    errno.EROFS: UNWRITABLE,
    errno.ENOLCK: "set SCORE_TO_AUDIO_STORE to a file system with locks",
}
"""These come from writing, so they concern the store even if they name no file."""


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds."""

    count: int
    """Whole artifacts."""
    bytes: int
    """Of all files, unfinished work included."""
    by_model: Mapping[str, tuple[int, int]]
    """"stage/model" -> (artifacts, bytes)."""
    unfinished: int
    """Artifacts that are being made, or whose process stopped."""
    oldest: datetime | None
    newest: datetime | None
    """Last use of the least and of the most recently used artifact."""


@dataclass(frozen=True)
class PruneReport:
    """What pruning did."""

    count: int
    """Artifacts deleted, unfinished ones included."""
    bytes: int
    """Freed."""
    spared: int
    """Artifacts due for deletion that a running process uses."""


class Store:
    """Artifacts below one folder, shared by any number of processes; writes nothing until needed.

    Every method raises ``StoreError`` if the folder cannot be used.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        """``limit``: bytes that it may take; when it grows beyond, what was not used longest is deleted."""
        self.folder = folder.expanduser().absolute()
        self.limit = limit

    @property
    def location(self) -> str:
        """``open_store`` makes the same store from it, in any process."""
        return str(self.folder)

    # ------------------------------------------------------------------------------------------ reading

    def get(self, key: str, *, verify: Verify = "time") -> Artifact | None:
        """The artifact, if the store has it whole; it is then kept until this process ends, or to the end of
        a block ``releasing``.

        ``verify="hash"`` reads the file in any case (once per process).
        """
        with self._explained():
            home = self._home(key)
            if not (home / RECORD).is_file() or not self._claims().claim(key):
                return None
            record = _read_record(home)
            if record is None or not _is_whole(home, record, verify):
                return None
            with suppress(OSError):  # a read-only store does not note uses
                os.utime(home / RECORD)
            return record.artifact

    def path(self, artifact: Artifact) -> Path:
        """The artifact's file; never outside the store."""
        path = self.folder / artifact.path
        if path.parent != self._home(artifact.key) or not NAME.fullmatch(path.name) or path.is_symlink():
            raise StoreError(f"{self.folder}: {artifact.path!r} is no file of this store; delete its folder")
        return path

    def provenance(self, artifact: Artifact) -> Provenance:
        """How the artifact was made."""
        with self._explained():
            record = _read_record(self._home(artifact.key))
        if record is None:
            raise StoreError(f"{self.folder}: the record of {artifact.path} is gone or damaged; run again")
        return record.provenance

    def record(self, key: str) -> bytes:
        """The artifact record as it is on disk. Raises ``StoreError`` if there is none."""
        with self._explained():
            return (self._home(key) / RECORD).read_bytes()

    # ------------------------------------------------------------------------------------------- making

    def get_or_make(
        self, key: str, *, name: str, media_type: str, provenance: Provenance, make: MakeFile
    ) -> tuple[Artifact, bool]:
        """The artifact, and whether the store had it.

        If not, ``make`` writes the file to the path that it is given (with the suffix of ``name``); other
        processes and threads that need the artifact wait. Exceptions of ``make`` pass through, except that a
        full or unwritable store is a ``StoreError``; in either case the store stays as it was.
        """
        if not NAME.fullmatch(name) or name == RECORD:
            raise ValueError(f"{name!r} cannot be the name of a file in the store")
        if artifact := self.get(key):
            return artifact, True
        with self._explained(), exclusive(self._home(key) / LOCK):
            if artifact := self.get(key):
                return artifact, True
            try:
                artifact = self._make(key, name, media_type, provenance, make)
            finally:
                _clear(self._home(key))
        self._keep_limit(artifact.size)
        return artifact, False

    def _make(self, key: str, name: str, media_type: str, provenance: Provenance, make: MakeFile) -> Artifact:
        home = self._home(key)
        _sweep(home)  # left by a process that died: this one holds the lock
        temporary = _temporary(home, name)
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
        record = ArtifactRecord(artifact, provenance, status.st_mtime_ns)
        replace_atomically(temporary, home / name)
        self._claims().claim(key)
        temporary = _temporary(home, RECORD)
        temporary.write_text(record.to_json(), encoding="utf-8")
        replace_atomically(temporary, home / RECORD)
        return artifact

    def _keep_limit(self, made: int) -> None:
        """Delete what was not used longest if the ``made`` bytes are too many."""
        try:
            with self._explained():
                if self.limit is None or not limits.is_check_due(self.folder, made, self.limit):
                    return
            pruned = self.prune(max_size=self.limit - self.limit // limits.PARTS)
            if pruned.count and limits.is_first(self.folder):
                log.warning(
                    "%s: the store has reached its limit of %s; from now on, what was not used longest is "
                    "deleted (%s changes the limit)",
                    self.folder,
                    limits.size_in_words(self.limit),
                    limits.VARIABLE,
                )
        except (StoreError, OSError) as error:  # the artifact itself is there
            log.warning("%s: cannot be kept below its limit (%s)", self.folder, error)

    def releasing(self) -> AbstractContextManager[None]:
        """A block at whose end artifacts may be deleted that this thread made or got in it."""
        return self._claims().releasing()

    def cached_part(self, key: str, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays kept as part ``name`` of the unfinished artifact ``key``; made and kept if missing.

        For use within the ``make`` of ``get_or_make``. Parts are deleted with the completion of the artifact,
        and by pruning. Raises ``ValueError`` for arrays of Python objects.
        """
        parts, label = self._home(key) / PARTS, hashlib.sha256(name.encode()).hexdigest()[:32]
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

    # ------------------------------------------------------------------------------------------- upkeep

    def check(self) -> None:
        """Raises ``StoreError`` if the folder cannot be read; it need not exist yet."""
        with self._explained(), suppress(FileNotFoundError):
            next(self.folder.iterdir(), None)

    def info(self) -> StoreInfo:
        """What the store holds; reads every record."""
        with self._explained():
            return summarized(
                [(usage.bytes, usage.last_use, _read_record(usage.home)) for usage in self._usages()]
            )

    def prune(self, *, older_than: timedelta | None = None, max_size: int | None = None) -> PruneReport:
        """Delete artifacts unused for ``older_than``, then the least recently used until ``max_size`` bytes
        remain; also delete temporary files of dead processes.

        Safe beside running work: artifacts that a running process makes or has got are spared.
        """
        count = freed = spared = 0
        with self._explained():
            usages = sorted(self._usages(), key=lambda usage: usage.last_use)
            remaining, too_old = sum(usage.bytes for usage in usages), cutoff(older_than)
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
        """Bytes freed; None if the artifact is in use."""
        with (
            exclusive(usage.home / LOCK, wait=False) as held,
            self._claims().reserved(usage.home.name) as free,
        ):
            if not (held and free):
                return None
            _remove(usage.home)
            return usage.bytes

    def _sweep(self, usage: _Usage) -> int:
        """Bytes freed."""
        with exclusive(usage.home / LOCK, wait=False) as held:
            if not held:
                return 0
            freed = _sweep(usage.home)
            _clear(usage.home)
            return freed

    def _usages(self) -> Iterator[_Usage]:
        for home in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*")):
            if KEY.fullmatch(home.name) and not _leads_out(home):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    yield _usage(home)

    # ------------------------------------------------------------------------------------------ helpers

    def _home(self, key: str) -> Path:
        """The folder of an artifact."""
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no artifact key")
        home = self.folder / key[:2] / key
        if _leads_out(home):
            raise StoreError(f"{home}: is a link that leads out of the store; delete it")
        return home

    def _claims(self) -> Claims:
        return claims(Path(os.path.realpath(self.folder / CLAIMS)))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns errors of the operating system that concern the store's files into ``StoreError``."""
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            ours = self.location in str(error) or (error.filename is None and error.errno in WAYS_OUT)
            if not ours:
                raise
            reason = error.strerror or str(error).rpartition(": ")[2]
            way_out = WAYS_OUT.get(error.errno, UNWRITABLE) if error.errno else UNEXPLAINED
            raise StoreError(f"{self.folder}: the store cannot be used ({reason}); {way_out}") from error


ArtifactStore: TypeAlias = "Store | RemoteStore"


def _leads_out(home: Path) -> bool:
    return home.is_symlink() or home.parent.is_symlink()


def summarized(found: Sequence[tuple[int, float, ArtifactRecord | None]]) -> StoreInfo:
    """``found``: bytes, last use in seconds since 1970, and the record of a whole artifact."""
    by_model: dict[str, tuple[int, int]] = {}
    whole = [(size, last_use, record) for size, last_use, record in found if record]
    for size, _, record in whole:
        model = f"{record.provenance.stage}/{record.provenance.model}"
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


def cutoff(older_than: timedelta | None) -> float:
    """Seconds since 1970: what was last used before is due for deletion."""
    return time.time() - older_than.total_seconds() if older_than is not None else -math.inf


# ------------------------------------------------------------------------------------ finding a store


def open_store(location: str) -> ArtifactStore:
    """The store in a folder, or below a URL of any file system that fsspec knows ("s3://bucket/prefix").

    Its folder on this machine is limited in size (``limits.size_limit``). Raises ``StoreError`` for a URL or
    a limit that cannot be used.
    """
    return _remote_store(location, _cache_of(location)) if "://" in location else _limited(Path(location))


def _limited(folder: Path) -> Store:
    folder = folder.expanduser()
    return Store(folder, limits.size_limit(folder))


@cache
def _remote_store(url: str, folder: Path) -> ArtifactStore:
    """One per process, so that all its threads know when the shared folder does not answer."""
    from score_to_audio.store.remote import RemoteStore

    return RemoteStore(url, _limited(folder))


def default_store() -> ArtifactStore:
    """The store at ``SCORE_TO_AUDIO_STORE``, by default in the user's cache folder."""
    return open_store(os.environ.get("SCORE_TO_AUDIO_STORE") or str(_user_folder() / "store"))


def _cache_of(url: str) -> Path:
    """Folder for local copies of a shared store: ``SCORE_TO_AUDIO_STORE_CACHE``, by default one per URL."""
    if folder := os.environ.get("SCORE_TO_AUDIO_STORE_CACHE"):
        return Path(folder)
    return _user_folder() / "store-cache" / hashlib.sha256(url.encode()).hexdigest()[:16]


def _user_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("score-to-audio"))


# -------------------------------------------------------------------------------------- files, folders


def _read_record(home: Path) -> ArtifactRecord | None:
    """None if the record is missing, damaged, or names anything but a file of this folder."""
    try:
        if not (home / RECORD).is_file():
            return None
        with (home / RECORD).open("rb") as file:
            return parse_record(file.read(MAX_RECORD_SIZE), home.name)
    except FileNotFoundError:
        return None


def _is_whole(home: Path, record: ArtifactRecord, verify: Verify) -> bool:
    path = home / Path(record.artifact.path).name
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != record.artifact.size:
        return False
    untouched = status.st_mtime_ns == record.mtime_ns
    if untouched and verify == "time":
        return True
    if sha256_of(path) != record.artifact.sha256:
        return False
    if not untouched:  # copied without its times: save the next process the hashing
        with suppress(OSError):
            os.utime(path, ns=(status.st_atime_ns, record.mtime_ns))
    return True


@dataclass(frozen=True)
class _Usage:
    """The folder of one artifact, for upkeep."""

    home: Path
    bytes: int
    last_use: float
    """Seconds since 1970: modification time of the record, else of the newest file."""
    leftovers: bool
    """There may be temporary files."""


def _usage(home: Path) -> _Usage:
    files = {path: path.lstat() for path in [home, *home.rglob("*")]}
    record = files.get(home / RECORD)
    return _Usage(
        home=home,
        bytes=sum(status.st_size for status in files.values() if stat.S_ISREG(status.st_mode)),
        last_use=record.st_mtime if record else max(status.st_mtime for status in files.values()),
        leftovers=record is None or any(path.name.startswith(TEMPORARY) for path in files),
    )


def _temporary(folder: Path, name: str) -> Path:
    return folder / f"{TEMPORARY}{secrets.token_hex(4)}-{name}"


def _date(path: Path) -> os.stat_result:
    """Give a finished file a modification time of its own, and return its status.

    File systems date writes in steps of up to some milliseconds: a change right after the file was finished
    could otherwise leave its modification time as it was.
    """
    now = time.time_ns()
    os.utime(path, ns=(now, now - 1_000_000_000 - secrets.randbelow(1_000_000)))
    return path.stat()


def _sweep(home: Path) -> int:
    """Delete temporary files; the lock is held. Bytes freed."""
    freed = 0
    for path in home.rglob(f"{TEMPORARY}*"):
        freed += path.lstat().st_size
        path.unlink()
    return freed


def _clear(home: Path) -> None:
    """Leave a whole artifact without parts, or the parts of an unfinished one, or nothing."""
    with suppress(OSError):
        _sweep(home)
        if (home / RECORD).exists():
            shutil.rmtree(home / PARTS, ignore_errors=True)
        elif not any((home / PARTS).glob("*")):
            _remove(home)


def _remove(home: Path) -> None:
    """Delete an artifact's folder; the lock is held, and its file is deleted last."""
    (home / RECORD).unlink(missing_ok=True)
    for path in home.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
    (home / LOCK).unlink()
    with suppress(OSError):  # another process has its lock or artifact there
        home.rmdir()
        home.parent.rmdir()


def _write_part(parts: Path, label: str, arrays: Arrays) -> None:
    """As ``LABEL-SHA256.npz``: the checksums of zip do not cover its directory."""
    buffer = io.BytesIO()
    np.savez(buffer, np.array(list(arrays), dtype=np.str_), *arrays.values())  # `savez` takes few names
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
    """None if there is no whole part."""
    for path in parts.glob(f"{label}-*.npz"):
        content = path.read_bytes()
        if path.stem == f"{label}-{hashlib.sha256(content).hexdigest()}":
            with np.load(io.BytesIO(content), allow_pickle=False) as kept:
                names, *values = (kept[column] for column in kept.files)
                return dict(zip(names.tolist(), values, strict=True))
        path.unlink(missing_ok=True)
    return None

"""Files: hashes, locks, atomic replacement, and errors that say why a file cannot be written."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from score_to_audio.errors import InputError, OutputError

TEMPORARY = ".score-to-audio-"
"""Start of the names of unfinished files in folders that are not ours alone."""

MAKE_ROOM = "make room there and run the same command again; what is finished is kept"
CHOOSE_ANOTHER = "choose a folder that can be written to"
WAYS_OUT = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EFBIG: "raise the limit (`ulimit -f`) or choose a folder on another file system",
    errno.EROFS: CHOOSE_ANOTHER,
    errno.EACCES: CHOOSE_ANOTHER,
    errno.EPERM: CHOOSE_ANOTHER,
    errno.ENAMETOOLONG: "shorten the name of the score",
    errno.EISDIR: "move away what is there under this name",
    errno.EEXIST: "move away what is there under this name",
    errno.ENOTDIR: "move away what is there under this name",
}
"""What to do about errors that trying again does not mend."""


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turns errors of the file system that stay until somebody does something into an ``OutputError``."""
    try:
        yield
    except OSError as error:
        way_out = WAYS_OUT.get(error.errno or 0)
        if way_out is None:
            raise
        raise OutputError(f"{what}: cannot be written ({error.strerror}); {way_out}") from error


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file ``path``, made with its folder where missing; the block may delete it.

    Yields whether the lock is held: always where ``wait``, otherwise only if nobody else holds it.
    Excludes threads as well as processes; is not re-entrant.
    """
    descriptor = _locked(path, wait=wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(path: Path, *, wait: bool) -> int | None:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # somebody deleted the folder since the line above
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_open_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # deleted by its last holder: whoever comes next locks another file


def is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sha256_of(path: Path) -> str:
    """sha256 of a file's content; computed again only when its size, inode or modification time changes."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=4096)
def _sha256(path: Path, _size: int, _mtime_ns: int, _inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_output_folder(folder: Path) -> None:
    """To be asked before work whose results go there; makes nothing.

    Raises ``InputError`` where the folder could not be made or written to.
    """
    there = nearest(folder)
    if not may_write_to(there):
        raise InputError(
            f"{folder}: results cannot be written there: {there} is not a folder that you may write to; give "
            "another output folder"
        )


def may_write_to(path: Path) -> bool:
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def nearest(path: Path) -> Path:
    """``path``, or the nearest of the folders around it that is there."""
    path = path.absolute()
    return next((one for one in (path, *path.parents) if os.access(one, os.F_OK)), Path(path.anchor))


def replace_atomically(temporary: Path, destination: Path) -> None:
    """Move a finished file over its destination, so that nobody ever sees half of it."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(destination)


@contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """A path beside ``destination`` to write to; at the end of the block the file takes its place.

    If the block fails, the file goes and the destination stays as it was. If the process dies, ``sweep``
    deletes the file: it is locked as long as its writer lives.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    with exclusive(temporary):
        try:
            yield temporary
            temporary.chmod(0o644)
            replace_atomically(temporary, destination)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def sweep(folders: Iterable[Path]) -> int:
    """Delete what dead processes left unfinished in these folders; how many files that were."""
    swept = 0
    for folder in folders:
        for path in folder.glob(f"{TEMPORARY}*"):
            with suppress(OSError), exclusive(path, wait=False) as held:
                if held:
                    path.unlink()
                    swept += 1
    return swept

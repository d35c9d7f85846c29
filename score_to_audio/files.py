"""Files: hashes, locks, atomic replacement, and errors that tell the way out."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from score_to_audio.errors import InputError, OutputError

TEMPORARY = ".score-to-audio-"
"""Start of the names of unfinished files in the user's folders."""

MAKE_ROOM = "make room there and run the same command again; what is finished is kept"
CHOOSE_ANOTHER = "choose a folder that can be written to"
MOVE_AWAY = "move away what is there under this name"
WAYS_OUT = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EFBIG: "raise the limit (`ulimit -f`) or choose a folder on another file system",
    errno.EROFS: CHOOSE_ANOTHER,
    errno.EACCES: CHOOSE_ANOTHER,
    errno.EPERM: CHOOSE_ANOTHER,
    errno.ENAMETOOLONG: "shorten the name of the score",
    errno.EISDIR: MOVE_AWAY,
    errno.EEXIST: MOVE_AWAY,
    errno.ENOTDIR: MOVE_AWAY,
}
"""For errors that a retry does not cure."""

COPY_BLOCK = 1 << 20
"""Bytes."""


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """A block that writes ``what``: errors that a retry does not cure become ``OutputError``."""
    try:
        yield
    except OSError as error:
        way_out = WAYS_OUT.get(error.errno or 0)
        if way_out is None:
            raise
        raise OutputError(f"{what}: cannot be written ({error.strerror}); {way_out}") from error


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file ``path``, which is made if missing, and which the block may delete.

    Yields whether the lock is held: True with ``wait``, otherwise False if it is held elsewhere. Excludes
    threads as well as processes; not re-entrant.
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
        except FileNotFoundError:  # the folder was deleted since the line above
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
        os.close(descriptor)  # its last holder deleted it: lock its successor


def is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def user_folder(variable: str, name: str) -> Path:
    """The folder that an environment variable names, by default ``name`` in the user's data folder."""
    if location := os.environ.get(variable):
        return Path(location).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("score-to-audio")) / name


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, remembered until its size, inode or modification time changes."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=4096)
def _sha256(path: Path, _size: int, _mtime_ns: int, _inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_output_folder(folder: Path) -> None:
    """Raises ``InputError`` if results could not be written to the folder, which need not exist."""
    there = nearest(folder)
    if not may_write_to(there):
        raise InputError(
            f"{folder}: cannot be written: {there} is not a folder that you may write to; "
            "choose another output folder"
        )


def may_write_to(path: Path) -> bool:
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def nearest(path: Path) -> Path:
    """``path``, or the nearest parent that exists."""
    path = path.absolute()
    return next((one for one in (path, *path.parents) if os.access(one, os.F_OK)), Path(path.anchor))


def replace_atomically(temporary: Path, destination: Path) -> None:
    """Move a finished file over its destination: no process ever sees half of it."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(destination)


FICLONE = 0x40049409
"""linux/fs.h: share the blocks of another file until one of the two is written to (Btrfs, XFS, bcachefs)."""


def copy_file(source: Path, destination: Path) -> None:
    """Copy content and modification time; where the file system can, the copy shares the blocks of the source
    until either is changed. Never a hard link, through which an editor would change the source."""
    with source.open("rb") as original, destination.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), FICLONE, original.fileno())
        except OSError:
            shutil.copyfileobj(original, copy, COPY_BLOCK)
    copy_time(source, destination)


def copy_time(source: Path, destination: Path) -> None:
    status = source.stat()
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """A path beside ``destination`` to write to; the file replaces it at the end of the block.

    If the block fails, the file is deleted and the destination stays as it was. If the process dies,
    ``sweep`` deletes the file, which is locked as long as its process lives.
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
    """Delete the unfinished files of dead processes in these folders; returns their number."""
    swept = 0
    for folder in folders:
        for path in folder.glob(f"{TEMPORARY}*"):
            with suppress(OSError), exclusive(path, wait=False) as held:
                if held:
                    path.unlink()
                    swept += 1
    return swept

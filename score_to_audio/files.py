"""Hashes of files, each computed once per file and process."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path


def sha256_of(path: Path) -> str:
    """sha256 of a file's content; computed again only when its size, inode or modification time changes."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=4096)
def _sha256(path: Path, _size: int, _mtime_ns: int, _inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_atomically(temporary: Path, destination: Path) -> None:
    """Move a finished file over its destination, so that nobody ever sees half of it."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(destination)

"""Which artifacts running processes use: record locks that the kernel frees when a process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

from score_to_audio.files import is_open_at


class Claims:
    """Which keys living processes rely on, so that nobody deletes what somebody is about to read.

    Each key stands for one byte of one file. A process claims a key by locking that byte (POSIX record
    lock, shared) until it ends; whoever wants to delete needs the byte for himself. Record locks belong to
    a process, hence one instance per file and process (``claims``), and sets for the threads within it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = Lock()
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._descriptor: int | None = None
        self._claimed: set[str] = set()
        self._reserved: set[str] = set()

    def claim(self, key: str) -> bool:
        """Rely on ``key`` until this process ends. False while somebody is deleting it."""
        with self._guard:
            self._refresh()
            if key in self._claimed:
                return True
            if key in self._reserved or not self._lock(key, fcntl.LOCK_SH | fcntl.LOCK_NB):
                return False
            self._claimed.add(key)
            return True

    @contextmanager
    def reserved(self, key: str) -> Iterator[bool]:
        """Keep everybody from claiming ``key`` during the block. Yields False where somebody has."""
        with self._guard:
            self._refresh()
            free = key not in self._claimed | self._reserved and self._lock(
                key, fcntl.LOCK_EX | fcntl.LOCK_NB
            )
            if free:
                self._reserved.add(key)
        try:
            yield free
        finally:
            if free:
                with self._guard:
                    self._lock(key, fcntl.LOCK_UN)
                    self._reserved.discard(key)

    def _refresh(self) -> None:
        """Forget locks that mean nothing any more: a forked child has none of its parent's, and a folder
        that somebody deleted and made again has another file."""
        stale = self._descriptor is not None and not is_open_at(self._descriptor, self._path)
        if stale or self._process != os.getpid():
            self._forget()

    def _lock(self, key: str, kind: int) -> bool:
        """False if another process is in the way. True without a lock where a store is read-only and has
        no file of claims: nothing is deleted there either."""
        if self._descriptor is None:
            self._descriptor = self._open()
        if self._descriptor is None:
            return True
        try:
            fcntl.lockf(self._descriptor, kind, 1, int(key[:15], 16))
        except (BlockingIOError, PermissionError):  # POSIX allows both
            return False
        return True

    def _open(self) -> int | None:
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            try:
                return os.open(self._path, flags, 0o666)
            except OSError:
                continue
        return None


@cache
def claims(path: Path) -> Claims:
    """The claims of this process in the file ``path``."""
    return Claims(path)

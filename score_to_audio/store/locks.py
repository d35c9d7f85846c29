"""Which artifacts running processes use: record locks, which the kernel releases when a process dies."""

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
    """The artifacts in use, so that pruning does not delete a file that a process is about to read.

    Each key maps to one byte of one file. A process that uses an artifact holds a shared POSIX record lock on
    that byte until it ends; a process that deletes the artifact holds an exclusive one. Record locks belong
    to a process, so there is one instance per file and process (``claims``), and sets for its threads.
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
        """Use ``key`` until this process ends. False while it is being deleted."""
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
        """A block during which no process can claim ``key``. Yields False if one already has."""
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
        """Forget invalid locks: a forked child does not inherit its parent's locks, and a folder that was
        deleted and made again has another file."""
        stale = self._descriptor is not None and not is_open_at(self._descriptor, self._path)
        if stale or self._process != os.getpid():
            self._forget()

    def _lock(self, key: str, kind: int) -> bool:
        """False if another process holds a conflicting lock. True without a lock in a read-only store that
        has no file of claims: nothing can be deleted there."""
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

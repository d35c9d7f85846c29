"""Which artifacts running processes use: record locks, which the kernel releases when a process dies."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from threading import Lock

from score_to_audio.files import is_open_at


class Claims:
    """The artifacts in use, so that pruning does not delete a file that a process is about to read.

    Each key maps to one byte of one file. A process that uses an artifact holds a shared POSIX record lock on
    that byte, until it ends or to the end of a block ``releasing``; a process that deletes the artifact holds
    an exclusive one. Record locks belong to a process, so there is one instance per file and process
    (``claims``), and counts for its threads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = Lock()
        self._block: ContextVar[set[str] | None] = ContextVar("claims", default=None)
        """What the innermost block ``releasing`` of this thread claimed."""
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._descriptor: int | None = None
        self._claimed: Counter[str] = Counter()
        """Key -> blocks that use it; those without a block never end."""
        self._reserved: set[str] = set()

    def claim(self, key: str) -> bool:
        """Use ``key`` to the end of the block ``releasing``, without one until this process ends. False
        while it is being deleted."""
        with self._guard:
            self._refresh()
            if key in self._reserved:
                return False
            if not self._claimed[key] and not self._lock(key, fcntl.LOCK_SH | fcntl.LOCK_NB):
                return False
            block = self._block.get()
            if block is None or key not in block:
                self._claimed[key] += 1
            if block is not None:
                block.add(key)
            return True

    @contextmanager
    def releasing(self) -> Iterator[None]:
        """A block whose claims end with it."""
        block: set[str] = set()
        outer = self._block.set(block)
        try:
            yield
        finally:
            self._block.reset(outer)
            with self._guard:
                for key in block:
                    self._release(key)

    def _release(self, key: str) -> None:
        if self._claimed[key]:  # else forgotten meanwhile
            self._claimed[key] -= 1
            if not self._claimed[key]:
                del self._claimed[key]
                self._lock(key, fcntl.LOCK_UN)

    @contextmanager
    def reserved(self, key: str) -> Iterator[bool]:
        """A block during which no process can claim ``key``. Yields False if one already has."""
        with self._guard:
            self._refresh()
            free = (
                not self._claimed[key]
                and key not in self._reserved
                and self._lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

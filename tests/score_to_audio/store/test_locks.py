"""Lock files that may be deleted while others wait for them; claims on what is about to be read."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event, Thread

import pytest

from score_to_audio.files import exclusive
from score_to_audio.store.locks import Claims

KEYS = ("a" * 64, "b" * 64)
PATIENCE = 20
"""Seconds."""


def test_a_lock_excludes_and_is_freed(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / ".lock"
    with exclusive(path) as held:
        assert held
        with exclusive(path, wait=False) as second:
            assert not second
    with exclusive(path, wait=False) as held:
        assert held


def test_a_lock_is_freed_by_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / ".lock"):
        raise ZeroDivisionError
    with exclusive(tmp_path / ".lock", wait=False) as held:
        assert held


def test_whoever_waited_for_a_deleted_lock_locks_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "folder" / ".lock"
    holds = Event()
    goes_on = Event()

    def wait_for_the_lock() -> None:
        with exclusive(path):
            holds.set()
            assert goes_on.wait(PATIENCE)

    waiting = Thread(target=wait_for_the_lock)
    with exclusive(path):
        waiting.start()
        time.sleep(0.3)  # it has opened the file and waits
        assert not holds.is_set()
        path.unlink()
        path.parent.rmdir()
    assert holds.wait(PATIENCE)
    with exclusive(path, wait=False) as held:
        assert not held, "two hold the same lock"
    goes_on.set()
    waiting.join(PATIENCE)
    with exclusive(path, wait=False) as held:
        assert held


def test_a_claimed_key_cannot_be_reserved_and_the_reverse(tmp_path: Path) -> None:
    claims = Claims(tmp_path / ".in-use")
    assert claims.claim(KEYS[0])
    assert claims.claim(KEYS[0])
    with claims.reserved(KEYS[0]) as free:
        assert not free
    with claims.reserved(KEYS[1]) as free:
        assert free
        assert not claims.claim(KEYS[1])
        with claims.reserved(KEYS[1]) as again:
            assert not again
    assert claims.claim(KEYS[1])


def test_claims_without_a_folder_to_write_to(tmp_path: Path) -> None:
    """A read-only store: hits are served, and nothing is deleted that would need protection."""
    assert Claims(tmp_path / "missing" / ".in-use").claim(KEYS[0])

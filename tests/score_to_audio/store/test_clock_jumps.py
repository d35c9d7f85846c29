"""Clocks that jump: nothing in the store or in the output folder may depend on what time it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from score_to_audio.files import exclusive, replacing, sweep
from score_to_audio.store import Store
from tests.score_to_audio.store.test_store import CONTENT, KEY, Maker, put

YEAR = 365 * 86400.0
JUMPS = (-40 * YEAR, -3600.0, 0.0, 3600.0, 200 * YEAR)
"""Seconds; forty years back is before 1990, two hundred ahead beyond 32 bits."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes the wall clock jump to so many seconds from now."""
    real, real_ns = time.time, time.time_ns
    jump = [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(jump[0]) * 1_000_000_000)
    return lambda seconds: jump.__setitem__(0, seconds)


@pytest.mark.parametrize("made_at", JUMPS)
@pytest.mark.parametrize("found_at", JUMPS)
def test_an_artifact_is_found_whatever_the_clock_said(
    tmp_path: Path, clock: Callable[[float], None], made_at: float, found_at: float
) -> None:
    clock(made_at)
    first, cached = put(Store(tmp_path))
    assert not cached
    clock(found_at)
    maker = Maker()
    again, cached = put(Store(tmp_path), make=maker)
    assert (again, cached, maker.calls) == (first, True, 0)
    assert Store(tmp_path).info().count == 1


@pytest.mark.parametrize("dated", JUMPS)
def test_files_dated_far_off_are_whole_and_can_be_pruned(tmp_path: Path, dated: float) -> None:
    store = Store(tmp_path)
    artifact, _ = put(store)
    for path in (store.path(artifact), store.path(artifact).with_name("artifact.json")):
        os.utime(path, (time.time() + dated, time.time() + dated))
    assert put(store, make=Maker()) == (artifact, True)
    assert store.path(artifact).read_bytes() == CONTENT
    assert store.info().oldest is not None


def test_a_clock_that_was_ahead_only_delays_pruning_by_age(tmp_path: Path) -> None:
    """What was last used "in the future" is not old; by size it can go."""
    record = tmp_path / KEY[:2] / KEY / "artifact.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    os.utime(record, (time.time() + YEAR, time.time() + YEAR))
    assert Store(tmp_path).prune(older_than=timedelta(days=1)).count == 0
    assert Store(tmp_path).prune(max_size=0).count == 1


@pytest.mark.parametrize("jump", JUMPS)
def test_locks_and_leftovers_do_not_look_at_the_clock(
    tmp_path: Path, clock: Callable[[float], None], jump: float
) -> None:
    with exclusive(tmp_path / "lock"):
        clock(jump)
        with exclusive(tmp_path / "lock", wait=False) as held:
            assert not held
    with replacing(tmp_path / "result") as path:
        path.write_text("under way")
        os.utime(path, (time.time() + jump, time.time() + jump))
        assert sweep([tmp_path]) == 0
    assert (tmp_path / "result").read_text() == "under way"

"""Damaged files of every kind: 15 each, 150 with the mark `fuzz`, as many as you like by `tools/fuzz.py`."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from score_to_audio.errors import InputError
from tests.fuzz.targets import TARGETS, check, mutated

MEMORY = 1 << 30
"""Bytes by which the process may grow at its peak."""


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_good(name: str, tmp_path: Path) -> None:
    """They get through (but for the file that would run something), or the damage would be to nothing."""
    target = TARGETS[name]
    for number, content in enumerate(target.seeds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert check(target, content, folder) is None
        path = folder / f"input{target.suffix}"
        if b"system" in content:
            with pytest.raises(InputError, match=r"posix\.system"):
                target.use(path)
        else:
            target.use(path)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**64 - 1))
def test_damaged_files_are_refused_or_used(name: str, seed: int) -> None:
    feed_damaged_file(name, seed)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**64 - 1))
def test_many_damaged_files_are_refused_or_used(name: str, seed: int) -> None:
    feed_damaged_file(name, seed)


def feed_damaged_file(name: str, seed: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        problem = check(TARGETS[name], mutated(TARGETS[name], Random(seed)), Path(folder))
    assert problem is None, problem
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY

"""Dampers, half-pedalling, sostenuto: the rules, before any sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_to_audio.types import SOFT, SOSTENUTO, SUSTAIN, Controls
from synthesizers.restrikes import next_onset
from synthesizers.sampled_piano.dynamics import level
from synthesizers.sampled_piano.pedals import (
    DAMPERS_DOWN,
    DAMPERS_UP,
    FIRST_UNDAMPED_PITCH,
    damping,
    damping_part,
    history,
    released,
    soft_pedal,
)
from synthesizers.sampled_piano.voices import damping_rate
from tests.synthesizers.performances import notes, pedal


@st.composite
def controls(draw: st.DrawFn) -> Controls:
    events = draw(st.lists(st.tuples(st.floats(0, 60), st.integers(0, 127)), min_size=1, max_size=30))
    return pedal(*sorted(events))


def test_level_rises_strictly_and_smoothly() -> None:
    levels = level(np.arange(1, 128, dtype=float))
    steps = np.diff(levels)
    assert (steps > 0.1).all()
    assert (np.diff(steps) < 0).all()
    assert levels[-1] == pytest.approx(0)


def test_damping_falls_smoothly_from_full_to_none() -> None:
    part = damping_part(np.arange(128, dtype=float))
    assert (part[: int(DAMPERS_DOWN) + 1] == 1).all()
    assert (part[int(DAMPERS_UP) :] == 0).all()
    assert (np.diff(part) <= 0).all()
    assert np.abs(np.diff(part)).max() < 0.12


def test_a_value_holds_until_the_next_and_starts_up() -> None:
    time, value = history(pedal((1.0, 127), (2.0, 30)), SUSTAIN)
    assert (time.tolist(), value.tolist()) == ([0.0, 1.0, 2.0], [0.0, 127.0, 30.0])


def test_of_several_events_at_once_the_last_holds() -> None:
    time, value = history(pedal((0.0, 127), (0.0, 5), (1.0, 9), (1.0, 64)), SUSTAIN)
    assert (time.tolist(), value.tolist()) == ([0.0, 1.0], [5.0, 64.0])


def test_damping_counts_only_while_dampers_lie_on_the_strings() -> None:
    total = damping(pedal((1.0, 127), (3.0, 0)))
    np.testing.assert_allclose(total.at(np.array([0.5, 1.0, 2.0, 3.0, 4.5])), [0.5, 1.0, 1.0, 1.0, 2.5])
    assert total.at(np.array([np.inf]))[0] == np.inf


@given(controls(), st.floats(0, 80))
def test_the_total_is_reached_when_it_is(events: Controls, total: float) -> None:
    line = damping(events)
    time = line.reached(np.array([total]))
    if np.isfinite(time[0]):
        assert line.at(time)[0] == pytest.approx(total, abs=1e-9)
        assert (line.at(np.maximum(time - 1e-3, 0)) <= total + 1e-9).all()
    else:
        assert line.at(np.array([1e6]))[0] < total + 1e-6


@given(controls(), st.lists(st.floats(0, 100), min_size=2, max_size=20).map(sorted))
def test_damping_never_runs_backwards(events: Controls, times: list[float]) -> None:
    line = damping(events)
    passed = np.diff(line.at(np.array(times)))
    assert (passed >= -1e-12).all()
    assert (passed <= np.diff(times) + 1e-9).all()


def test_sostenuto_holds_only_the_keys_that_were_down() -> None:
    onset, offset = np.array([0.0, 0.0, 2.0]), np.array([1.5, 0.5, 2.5])
    held = released(pedal((1.0, 100), (4.0, 0), number=SOSTENUTO), onset, offset)
    assert held.tolist() == [4.0, 0.5, 2.5]


def test_sostenuto_that_stays_down_holds_forever() -> None:
    held = released(pedal((1.0, 127), number=SOSTENUTO), np.array([0.0]), np.array([2.0]))
    assert held.tolist() == [np.inf]


def test_soft_pedal_counts_when_the_note_starts() -> None:
    events = pedal((1.0, 127), (2.0, 0), number=SOFT)
    assert soft_pedal(events, np.array([0.5, 1.0, 1.5, 2.5])).tolist() == [0, 1, 1, 0]


def test_strings_without_dampers() -> None:
    rates = damping_rate(np.arange(21, 109))
    first = FIRST_UNDAMPED_PITCH - 21
    assert (np.diff(rates[:first]) > 0).all()
    assert (rates[first:] == 0).all()


def test_next_blow_on_the_same_key() -> None:
    performance = notes((0, 3, 60, 64), (0, 3, 61, 64), (1, 3, 60, 64), (2, 3, 60, 64))
    assert next_onset(performance).tolist() == [1.0, np.inf, 2.0, np.inf]

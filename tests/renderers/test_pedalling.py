"""Written pedals, and the pedal that follows the harmony."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.pedalling import (
    CHANGE_DELAY,
    HARMONIC_DELAY,
    PRESS_DELAY,
    harmonic_pedal,
    written_pedals,
)
from renderers.tempo import TimeMap
from tests.renderers.score_builder import pedal

SECONDS = TimeMap(np.array([0.0, 1.0]), np.array([0.0, 1.0]))


def _events(controls, number=64):
    mine = controls.number == number
    return [(t, v) for t, v in zip(controls.time[mine].tolist(), controls.value[mine].tolist(), strict=True)]


def test_a_written_pedal_goes_down_just_after_its_place():
    assert _events(written_pedals([pedal(1, 3)], SECONDS)) == [(pytest.approx(1 + PRESS_DELAY), 127), (3, 0)]


def test_a_pedal_change_lifts_and_presses():
    events = _events(written_pedals([pedal(0, 2), pedal(2, 4)], SECONDS))
    assert [value for _, value in events] == [127, 0, 127, 0]
    assert [time for time, _ in events] == pytest.approx([PRESS_DELAY, 2, 2 + CHANGE_DELAY, 4])


def test_overlapping_marks_are_one_pedal():
    assert len(written_pedals([pedal(0, 3), pedal(1, 2), pedal(2, 5)], SECONDS)) == 2


def test_soft_and_sostenuto_pedals_have_their_controllers():
    controls = written_pedals([pedal(0, 2, "soft"), pedal(1, 3, "sostenuto")], SECONDS)
    assert [value for _, value in _events(controls, 67)] == [127, 0]
    assert [value for _, value in _events(controls, 66)] == [127, 0]
    assert (np.diff(controls.time) >= 0).all()


def test_a_pedal_without_extent_is_none():
    assert len(written_pedals([pedal(1, 1)], SECONDS)) == 0
    assert len(written_pedals([], SECONDS)) == 0


# --------------------------------------------------------------------------------- following the harmony


def _chords(*chords, length=1.0):
    """Chords of one beat each, as (onset, offset, pitch) columns, and the beats."""
    rows = [(i * length, (i + 1) * length, pitch) for i, chord in enumerate(chords) for pitch in chord]
    onset, offset, pitch = np.array(rows, np.float64).reshape(-1, 3).T
    return onset, offset, pitch.astype(np.int64), np.arange(len(chords) + 1) * length


C, G7, AM = (48, 64, 67, 72), (43, 65, 71, 74), (45, 64, 69, 72)


def test_the_pedal_changes_with_the_harmony():
    *notes, beats = _chords(C, C, G7, G7, AM)
    events = _events(harmonic_pedal(*notes, beats))
    assert [time for time, value in events if value == 0] == pytest.approx([2, 4, 5])
    presses = [time for time, value in events if value == 127]
    assert presses == pytest.approx([HARMONIC_DELAY, 2 + HARMONIC_DELAY, 4 + HARMONIC_DELAY])


def test_a_broken_chord_is_one_harmony():
    onset = np.arange(8) * 0.5
    pitch = np.array([48, 55, 64, 72, 48, 55, 64, 72])
    events = _events(harmonic_pedal(onset, onset + 0.5, pitch, np.arange(5.0)))
    assert events == [(pytest.approx(HARMONIC_DELAY), 127), (4, 0)]


def test_the_pedal_is_up_in_rests():
    *notes, beats = _chords(C, C, (), C)
    events = _events(harmonic_pedal(*notes, beats))
    assert [time for time, value in events if value == 0] == pytest.approx([2, 4])
    assert [time for time, value in events if value == 127] == pytest.approx(
        [HARMONIC_DELAY, 3 + HARMONIC_DELAY]
    )


def test_a_single_line_stays_dry():
    *notes, beats = _chords((60,), (62,), (64,), (65,))
    assert len(harmonic_pedal(*notes, beats)) == 0


def test_a_long_harmony_is_pedalled_anew():
    *notes, beats = _chords(*[C] * 12)
    assert sum(value == 127 for _, value in _events(harmonic_pedal(*notes, beats))) > 1


def test_nothing_to_pedal():
    nothing = np.zeros(0)
    assert len(harmonic_pedal(nothing, nothing, np.zeros(0, np.int64), np.arange(4.0))) == 0
    *notes, _ = _chords(C)
    assert len(harmonic_pedal(*notes, np.array([0.0]))) == 0


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0.01, 5), st.integers(21, 108)), max_size=30),
    st.floats(0.05, 3),
)
def test_presses_and_lifts_alternate_in_time(rows, beat):
    onset, length, pitch = np.array(rows, np.float64).reshape(-1, 3).T
    controls = harmonic_pedal(onset, onset + length, pitch.astype(np.int64), np.arange(0, 26, beat))
    assert (np.diff(controls.time) > 0).all()
    assert controls.value.tolist() == [127, 0] * (len(controls) // 2)

"""From notes to voices: what the pedal holds, and that every note has a voice of its own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from synthesizers.ddsp_piano.conditioning import (
    FRAME_RATE,
    VOICES,
    conditioning,
    controller_roll,
    piano_roll,
    voice_pitches,
)
from synthesizers.ddsp_piano.notes import Notes, sustained

NO_PEDAL = (np.zeros(0), np.zeros(0, int))


def notes(*rows: tuple[float, float, int]) -> Notes:
    """(onset, offset, pitch) each; velocity 64."""
    onset, offset, pitch = (np.array(column) for column in zip(*rows, strict=True))
    return Notes(onset, offset, pitch, np.full(len(rows), 64))


def pedal(*events: tuple[float, int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    time, value = zip(*events, strict=True)
    return np.array(time, float), np.array(value)


# -------------------------------------------------------------------------------------------- the pedal


@pytest.mark.parametrize(
    ("played", "events", "ends"),
    [
        (notes((0, 1, 60), (0, 4, 64)), pedal((0.5, 64), (3, 63)), [3, 4]),  # held until the pedal goes up
        (notes((0, 1, 60)), pedal((2, 127), (3, 0)), [1]),  # pressed too late
        (notes((0, 1, 60), (2, 3, 60)), pedal((0.5, 127), (5, 0)), [2, 5]),  # struck again
        (notes((0, 3, 60), (2, 4, 60)), pedal((0.5, 127), (5, 0)), [2, 5]),  # struck again before its release
        (notes((0, 1, 60)), pedal((0.5, 127), (2, 100), (3, 0)), [3]),  # half-changes above 64 hold
        (notes((0, 1, 60), (4, 5, 62)), pedal((0.5, 127)), [5, 5]),  # never released
        (notes((0, 1, 60)), NO_PEDAL, [1]),
    ],
)
def test_how_long_notes_sound(
    played: Notes, events: tuple[NDArray[np.float64], NDArray[np.int64]], ends: list[float]
) -> None:
    held, end = sustained(played, *events, float(played.offset.max()))
    assert held.offset.tolist() == ends
    assert end == max(ends)


def test_of_notes_that_begin_together_on_a_key_one_stays() -> None:
    held, _ = sustained(notes((1, 2, 60), (1, 3, 60)), *pedal((0.5, 127), (4, 0)), 3.0)
    assert (held.onset.tolist(), held.offset.tolist()) == ([1], [4])


times = st.integers(0, 200).map(lambda n: n / 20)
some_notes = st.lists(
    st.tuples(times, st.integers(1, 60), st.integers(58, 62)).map(lambda t: (t[0], t[0] + t[1] / 20, t[2])),
    min_size=1,
    max_size=12,
).map(lambda rows: notes(*sorted(rows)))
some_events = st.lists(st.tuples(times, st.sampled_from([0, 127])), max_size=8).map(
    lambda rows: pedal(*sorted(rows)) if rows else NO_PEDAL
)


@given(some_notes, some_events)
def test_the_pedal_never_moves_a_beginning_nor_holds_a_note_beyond_the_last_event(
    played: Notes, events: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> None:
    held, end = sustained(played, *events, float(played.offset.max()))
    begun = {(float(a), int(p)) for a, p in zip(played.onset, played.pitch, strict=True)}
    assert {(float(a), int(p)) for a, p in zip(held.onset, held.pitch, strict=True)} == begun
    assert (held.offset > held.onset).all()
    last = max(played.offset.max(), *events[0].tolist(), 0)
    assert held.offset.max() <= end <= last


# ---------------------------------------------------------------------------------------------- the roll


def test_a_note_shorter_than_a_frame_has_one() -> None:
    roll = piano_roll(notes((1.0, 1.0005, 60)), 2.0)
    assert np.flatnonzero(roll.velocity[:, 60 - 21]).tolist() == [FRAME_RATE]
    assert np.flatnonzero(roll.onset_velocity[:, 60 - 21]).tolist() == [FRAME_RATE]


def test_pitches_that_a_piano_lacks_are_left_out() -> None:
    roll = piano_roll(notes((0, 1, 20), (0, 1, 21), (0, 1, 108), (0, 1, 109)), 1.0)
    assert np.flatnonzero(roll.velocity.any(0)).tolist() == [0, 87]


def test_controllers_of_the_pedals_and_the_one_between() -> None:
    time, number = np.array([0.1, 0.1, 0.5, 0.5, 9.0]), np.array([64, 64, 67, 1, 64])
    roll = controller_roll(time, number, np.array([5, 127, 0, 99, 1]), FRAME_RATE)
    assert roll[25].tolist() == [128, 0, 0, 0]
    assert roll[125].tolist() == [0, 0, 0, 1]
    assert np.count_nonzero(roll) == 2


# ---------------------------------------------------------------------------------------------- the voices

keys = st.lists(st.frozensets(st.integers(0, 87), max_size=40), min_size=1, max_size=30)


def sounding(frames: list[frozenset[int]]) -> NDArray[np.bool_]:
    roll = np.zeros((len(frames), 88), bool)
    for row, found in zip(roll, frames, strict=True):
        row[list(found)] = True
    return roll


@settings(deadline=None)
@given(keys)
def test_every_pitch_has_one_voice_and_keeps_it(frames: list[frozenset[int]]) -> None:
    pitch = voice_pitches(sounding(frames), None)
    assert pitch.shape[1] == max(VOICES, *(len(found) for found in frames))
    for found, row in zip(frames, pitch, strict=True):
        assert sorted(row[row > 0].tolist()) == [key + 21 for key in sorted(found)]
    for before, after in pairwise(pitch):
        stayed = set(before.tolist()) & set(after.tolist()) - {0}
        assert all(np.argmax(before == one) == np.argmax(after == one) for one in stayed)


@settings(deadline=None)
@given(keys)
def test_a_limited_polyphony_keeps_the_highest(frames: list[frozenset[int]]) -> None:
    pitch = voice_pitches(sounding(frames), VOICES)
    assert pitch.shape[1] == VOICES
    for found, row in zip(frames, pitch, strict=True):
        assert sorted(row[row > 0].tolist()) == [key + 21 for key in sorted(found)[-VOICES:]]


def test_voices_take_turns() -> None:
    """A voice that has just become free is taken last: its note has time to fade."""
    frames = [frozenset([key]) for key in range(40)]
    pitch = voice_pitches(sounding(frames), None)
    assert pitch.argmax(1).tolist() == [n % VOICES for n in range(40)]


def test_conditioning_begins_with_silence_and_has_the_length_asked_for() -> None:
    roll = piano_roll(notes((0, 1, 60)), 1.0)
    for frames in (100, 1000):
        found = conditioning(roll, controller_roll(*NO_PEDAL, NO_PEDAL[1], 251), frames, warm_up=0.1)
        assert len(found) == 25 + frames
        assert not found.pitch[:25].any()
        assert found.pitch[25, 0] == 60
        assert found.velocity[25:28, 0].tolist() == [64, 64, 0]

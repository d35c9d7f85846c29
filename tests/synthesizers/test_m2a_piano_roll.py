"""M2A's piano rolls: the published one is pretty_midi's, the default one loses no note that it could show."""

from __future__ import annotations

from math import ceil

import numpy as np
import pretty_midi
from hypothesis import given
from hypothesis import strategies as st

from synthesizers.m2a import official
from synthesizers.m2a.piano_roll import (
    FRAME_RATE,
    FRAMES_PER_CELL,
    Losses,
    PedalledNotes,
    encoder_input,
    losses,
    piano_roll,
)

CELL = FRAMES_PER_CELL / FRAME_RATE
"""Seconds."""


def notes(
    rows: list[tuple[float, float, int, int]], pedal: list[tuple[float, int]] | None = None
) -> PedalledNotes:
    """Rows of (onset, duration, pitch, velocity) and pedal events of (time, value)."""
    columns = np.array(rows, np.float64).reshape(-1, 4)
    events = np.array(pedal or [], np.float64).reshape(-1, 2)
    return PedalledNotes(
        onset=columns[:, 0],
        offset=columns[:, 0] + columns[:, 1],
        pitch=columns[:, 2].astype(np.int64),
        velocity=columns[:, 3].astype(np.int64),
        pedal_time=events[:, 0],
        pedal_value=events[:, 1].astype(np.int64),
    )


seconds = st.floats(0, 4)
played = st.lists(
    st.tuples(seconds, st.floats(0.002, 2), st.integers(60, 63), st.integers(1, 127)), min_size=1, max_size=30
)
pedalled = st.lists(st.tuples(seconds, st.integers(0, 127)), max_size=12).map(sorted)


def pretty(found: PedalledNotes) -> pretty_midi.PrettyMIDI:
    midi, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    for row in zip(found.velocity, found.pitch, found.onset, found.offset, strict=True):
        piano.notes.append(pretty_midi.Note(*row))
    for time, value in zip(found.pedal_time, found.pedal_value, strict=True):
        piano.control_changes.append(pretty_midi.ControlChange(64, value, time))
    midi.instruments.append(piano)
    return midi


@given(played, pedalled)
def test_the_published_roll_is_that_of_pretty_midi(
    rows: list[tuple[float, float, int, int]], pedal: list[tuple[float, int]]
) -> None:
    found = notes(rows, pedal)
    midi = pretty(found)
    roll = official.piano_roll(found, midi.get_end_time())
    wanted = midi.get_piano_roll(FRAME_RATE, pedal_threshold=64)
    np.testing.assert_array_equal(roll.T, wanted)


@given(played, pedalled)
def test_no_note_vanishes_from_the_default_roll(
    rows: list[tuple[float, float, int, int]], pedal: list[tuple[float, int]]
) -> None:
    found = notes(rows, pedal)
    cells = piano_roll(found, 8)
    assert losses(cells, found).vanished == 0
    assert 0 <= cells.min() <= cells.max() <= found.velocity.max()
    assert (cells.any(axis=0) == np.isin(np.arange(128), found.pitch)).all()


@given(st.lists(st.tuples(st.floats(3.01, 8), st.floats(0.01, 9)), min_size=1, max_size=20), pedalled)
def test_strokes_of_a_key_that_are_three_cells_apart_are_all_seen(
    rows: list[tuple[float, float]], pedal: list[tuple[float, int]]
) -> None:
    onset = np.cumsum([gap * CELL for gap, _ in rows])
    found = notes([(a, b * CELL, 60, 64) for a, (_, b) in zip(onset, rows, strict=True)], pedal)
    assert losses(piano_roll(found, onset[-1] + 8), found) == Losses(len(rows), 0, 0)


def test_what_the_published_roll_loses() -> None:
    """A note between two cells, and one struck again while the pedal is down."""
    found = notes([(0.013, 0.02, 60, 64), (0.5, 0.1, 64, 70), (1.0, 0.1, 64, 70)], [(0.4, 127), (1.5, 0)])
    published = official.piano_roll(found, 2.0)[::FRAMES_PER_CELL]
    assert losses(published, found) == Losses(notes=3, vanished=1, merged=1)
    cells = piano_roll(found, 2.0)
    assert losses(cells, found) == Losses(notes=3, vanished=0, merged=0)
    assert cells[ceil(1.0 / CELL) - 1, 64] == 0
    assert cells[ceil(1.4 / CELL), 64] == 70


def test_an_unreleased_pedal_holds_to_the_last_event() -> None:
    found = notes([(0.0, 0.1, 60, 64), (2.0, 0.1, 62, 64)], [(0.05, 127)])
    assert not official.piano_roll(found, 2.1)[30:, 60].any()
    assert piano_roll(found, 3)[: ceil(2.1 / CELL), 60].all()


def test_the_row_that_ends_a_segment() -> None:
    rows = encoder_input(np.full((3, 128), 127))
    assert rows.dtype == np.float32
    assert (rows[:3] == 1).all()
    assert (rows[3] == -1).all()


def test_nothing_played() -> None:
    empty = notes([])
    assert not piano_roll(empty, 0.2).any()
    assert official.piano_roll(empty, 0.0).shape == (0, 128)
    assert losses(piano_roll(empty, 0.2), empty) == Losses(0, 0, 0)

"""Tokens: ranges, order, and how the published program pairs note events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthesizers.midi_valle import official
from synthesizers.midi_valle.network import MidiValleConfig
from synthesizers.midi_valle.tokens import (
    BOS,
    EOS,
    NoteArray,
    notes_of_tokens,
    tokens_of_grid,
    tokens_of_notes,
)

LAST_ONSET = 31.99

NOTE = st.tuples(
    st.floats(0, LAST_ONSET), st.floats(0, 20), st.integers(21, 108), st.integers(1, 127)
)  # onset, duration, pitch, velocity


def notes_of(rows: list[tuple[float, float, int, int]]) -> NoteArray:
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return NoteArray(
        columns[:, 0], columns[:, 0] + columns[:, 1], columns[:, 2].astype(int), columns[:, 3].astype(int)
    )


@given(st.lists(NOTE, max_size=30))
def test_tokens_stay_within_the_models_tables(rows: list[tuple[float, float, int, int]]) -> None:
    tokens = tokens_of_notes(notes_of(rows))
    assert tokens.shape == (len(rows) + 2, 6)
    assert (tokens >= 0).all()
    assert (tokens < np.array(MidiValleConfig().field_rows)).all()
    assert (tokens[0] == BOS).all()
    assert (tokens[-1] == EOS).all()


@given(st.lists(NOTE, min_size=1, max_size=30))
def test_tokens_say_when_notes_start_and_how_long_they_are(rows: list[tuple[float, float, int, int]]) -> None:
    notes = notes_of(rows)
    tokens = tokens_of_notes(notes)[1:-1]
    start = (tokens[:, 5] - 4) * 384 + tokens[:, 4] - 4
    assert (np.diff(start) >= 0).all()
    assert np.abs(np.sort(notes.onset) * 192 - start).max() <= 0.5 + 1e-6
    intervals = np.minimum(np.diff(start), 383)
    assert (tokens[1:, 3] - 388 == intervals).all()
    assert tokens[0, 3] == 388
    assert sorted(tokens[:, 0] + 17) == sorted(notes.pitch.tolist())
    durations = sorted(np.clip(np.floor((notes.offset - notes.onset) * 192 + 0.5), 1, 1152).tolist())
    assert np.allclose(sorted((tokens[:, 2] - 3).tolist()), durations)


@given(st.lists(NOTE, max_size=30))
def test_tokens_give_the_notes_back(rows: list[tuple[float, float, int, int]]) -> None:
    tokens = tokens_of_notes(notes_of(rows))
    again = tokens_of_notes(notes_of_tokens(tokens))
    # Those of one tick may be in another order, which the fourth column, the interval, does not tell.
    assert sorted(np.delete(again, 3, axis=1).tolist()) == sorted(np.delete(tokens, 3, axis=1).tolist())


def test_a_note_of_no_length_gets_one_tick() -> None:
    tokens = tokens_of_notes(notes_of([(1.0, 0.0, 60, 64)]))
    assert tokens[1].tolist() == [60 - 17, 4 + 32, 4, 388, 4 + 192, 4]


def test_order_is_by_onset_then_pitch() -> None:
    tokens = tokens_of_notes(notes_of([(1.0, 1.0, 72, 9), (0.5, 1.0, 70, 9), (1.0, 1.0, 48, 9)]))
    assert (tokens[1:-1, 0] + 17).tolist() == [70, 48, 72]


@pytest.mark.parametrize("row", [(32.0, 1.0, 60, 64), (0.0, 1.0, 20, 64), (0.0, 1.0, 109, 64)])
def test_notes_outside_the_ranges_are_refused(row: tuple[float, float, int, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        tokens_of_notes(notes_of([row]))


def test_velocity_goes_to_the_nearest_and_up_on_ties() -> None:
    one = np.array([0])
    found = [int(tokens_of_grid(one, one + 1, one + 60, one + v)[1, 1]) for v in (1, 2, 3, 4, 126, 127)]
    assert found == [4, 5, 5, 6, 67, 67]


# ------------------------------------------------------------------------ the published program's files


def events(*rows: tuple[int, int, int]) -> official.TrackEvents:
    """Rows of tick, pitch, velocity."""
    tick, pitch, velocity = np.array(rows).T
    return official.TrackEvents(tick, pitch, velocity, np.zeros_like(tick))


def notes_in(*rows: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Start, duration and velocity index of the notes in events at 96 ticks per quarter."""
    tokens = official.tokens_of_events(events(*rows), 96)[1:-1]
    return [(int((t[5] - 4) * 384 + t[4] - 4), int(t[2] - 3), int(t[1] - 4)) for t in tokens]


def test_the_oldest_open_note_ends_first() -> None:
    assert notes_in((0, 60, 20), (10, 60, 40), (30, 60, 0), (50, 60, 0)) == [(0, 30, 10), (10, 40, 20)]


def test_ends_come_before_starts_of_the_same_tick_whatever_the_order() -> None:
    assert notes_in((0, 60, 20), (30, 60, 40), (30, 60, 0), (50, 60, 0)) == [(0, 30, 10), (30, 20, 20)]


def test_notes_without_end_and_ends_without_note_count_for_nothing() -> None:
    assert notes_in((0, 61, 0), (5, 60, 20)) == []


def test_a_note_of_no_length_hangs_until_the_next_end() -> None:
    assert notes_in((10, 60, 20), (10, 60, 0), (40, 60, 30), (90, 60, 0)) == [(10, 80, 10)]


def test_notes_outside_the_piano_vanish() -> None:
    assert notes_in((0, 20, 20), (5, 20, 0), (0, 108, 20), (5, 108, 0)) == [(0, 5, 10)]


@given(st.lists(NOTE, max_size=20))
def test_written_and_read_notes_lie_on_the_files_grid(rows: list[tuple[float, float, int, int]]) -> None:
    read = official.as_written(notes_of(rows))
    assert len(read) <= len(rows)
    ticks = np.concatenate([read.onset, read.offset]) * 440
    np.testing.assert_allclose(ticks, np.round(ticks), atol=1e-6)
    assert (read.offset > read.onset).all()


def test_segments_lose_what_the_published_program_loses() -> None:
    notes = notes_of([(1.0, 1.0, 60, 64), (4.0, 2.0, 62, 64), (2.0, 3.0, 64, 64)])
    kept = official.segment_notes(notes, 0.0, 5.0)
    assert kept.pitch.tolist() == [60]  # 62 crosses the end, 64 ends exactly there
    carried = official.segment_notes(notes, 5.0, 5.5)
    assert carried.pitch.tolist() == [62]
    assert carried.onset.tolist() == [0.0]
    assert carried.offset.tolist() == [1.0]  # not cut at the end


def test_cut_points_end_before_the_piece_does() -> None:
    assert official.cut_points(16.0) == [0.0]
    assert len(official.cut_points(100.0)) == 6

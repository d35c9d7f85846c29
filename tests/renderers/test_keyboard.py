"""Performances on one keyboard: repeated notes, unisons, notes outside the piano's range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.keyboard import REPEAT_GAP, SAME_STROKE, TimedNotes, on_one_keyboard, to_performance
from score_to_audio.types import Controls


def _played(*rows):
    """Rows (onset, offset, pitch, velocity)."""
    columns = np.array(rows, np.float64).reshape(-1, 4)
    return TimedNotes(
        np.arange(len(rows)), columns[:, 0], columns[:, 1], columns[:, 2].astype(np.int64), columns[:, 3]
    )


def _rows(played):
    columns = (played.source, played.onset, played.offset, played.pitch, played.velocity)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_repeated_note_is_released_before_it_is_struck_again():
    struck = on_one_keyboard(_played((0, 1, 60, 64), (1, 2, 60, 64)))
    assert struck.offset == pytest.approx([1 - REPEAT_GAP, 2])


def test_a_very_quick_repetition_is_released_half_way():
    struck = on_one_keyboard(_played((0, 1, 60, 64), (0.03, 2, 60, 64)))
    assert struck.offset == pytest.approx([0.015, 2])


def test_a_unison_is_one_stroke_with_the_name_of_the_first():
    rows = _rows(on_one_keyboard(_played((0, 1, 60, 50), (0, 2, 60, 80), (0, 1, 64, 64))))
    assert rows == [(0, 0.0, 2.0, 60, 80.0), (2, 0.0, 1.0, 64, 64.0)]


def test_a_held_key_that_another_voice_strikes_again_is_held_to_the_end():
    struck = on_one_keyboard(_played((0, 4, 60, 64), (1, 1.5, 60, 64)))
    assert struck.offset == pytest.approx([1 - REPEAT_GAP, 4])


def test_a_note_without_length_still_sounds():
    assert on_one_keyboard(_played((1, 1, 60, 64))).offset[0] > 1


def test_notes_beyond_the_keyboard_are_left_out():
    result = to_performance(_played((0, 1, 20, 64), (0, 1, 109, 64), (0, 1, 60, 64)), "abc", Controls.none())
    assert result.pitch.tolist() == [60]
    assert result.score_ids == ("c",)


def test_a_performance_starts_at_zero_even_with_grace_notes_before_the_beat():
    controls = Controls(np.array([0.0]), np.array([64]), np.array([127]))
    result = to_performance(_played((-0.1, 0, 62, 64), (0, 1, 60, 64)), "ab", controls)
    assert result.onset == pytest.approx([0, 0.1])
    assert result.offset == pytest.approx([0.1, 1.1])
    assert result.controls.time == pytest.approx([0.1])


def test_velocities_are_rounded_and_limited():
    result = to_performance(
        _played((0, 1, 60, -5), (1, 2, 60, 63.6), (2, 3, 60, 300)), "abc", Controls.none()
    )
    assert result.velocity.tolist() == [1, 64, 127]


def test_nothing():
    assert len(to_performance(_played(), "", Controls.none())) == 0


_times = st.floats(-1, 20)
_row = st.tuples(_times, _times, st.integers(15, 112), st.floats(-50, 200))


@given(st.lists(_row, max_size=40))
def test_no_two_notes_on_one_key_overlap(rows):
    result = to_performance(_played(*rows), [str(i) for i in range(len(rows))], Controls.none())
    for pitch in set(result.pitch.tolist()):
        onset, offset = result.onset[result.pitch == pitch], result.offset[result.pitch == pitch]
        interval = np.diff(onset)
        assert (interval >= SAME_STROKE - 1e-9).all()
        assert (onset[1:] - offset[:-1] >= np.minimum(REPEAT_GAP, interval / 2) - 1e-9).all()
    order = np.lexsort((result.pitch, result.onset))
    assert (order == np.arange(len(result))).all()


@given(st.lists(_row, max_size=40))
def test_every_key_that_is_struck_is_struck_at_that_time(rows):
    playable = [row for row in rows if 21 <= row[2] <= 108]
    struck = on_one_keyboard(_played(*playable))
    for onset, _, pitch, _ in playable:
        near = np.abs(struck.onset[struck.pitch == pitch] - onset)
        # Strokes closer than SAME_STROKE are one; a chain of them has the time of its first.
        assert near.min() < SAME_STROKE * len(playable)

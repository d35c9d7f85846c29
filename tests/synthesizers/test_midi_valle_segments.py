"""Segments and takes: everything is played, at its time, within what the model can take."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthesizers.midi_valle.segments import (
    SHORTEST_REMAINDER,
    cut,
    loudness_at_frames,
    notes_between,
)
from synthesizers.midi_valle.takes import TAIL, Take, official_takes, runs, takes_of
from synthesizers.midi_valle.tokens import Notes

RATE = 50.0
PROMPT = Notes(np.array([0.1, 1.0]), np.array([0.9, 2.5]), np.array([60, 64]), np.array([60, 70]))
PROMPT_FRAMES = 150


@st.composite
def pieces(draw: st.DrawFn) -> Notes:
    """Up to a few minutes: notes with arbitrary gaps, some of them long rests."""
    gaps = draw(
        st.lists(st.sampled_from([0.0, 0.05, 0.21, 0.5, 1.3, 4.0, 25.0, 60.0]), min_size=1, max_size=60)
    )
    lengths = draw(
        st.lists(st.sampled_from([0.01, 0.1, 0.4, 2.0, 9.0, 40.0]), min_size=len(gaps), max_size=len(gaps))
    )
    onset = np.cumsum(gaps)
    pitch = 30 + np.arange(len(gaps)) * 7 % 60
    return Notes(onset, onset + np.array(lengths), pitch, 20 + np.arange(len(gaps)) * 13 % 100)


def takes_for(notes: Notes, *, segment_length: float = 16.0, continuation: bool = False) -> list[Take]:
    return takes_of(
        notes, PROMPT, PROMPT_FRAMES, RATE, segment_length=segment_length, continuation=continuation
    )


@settings(deadline=None, max_examples=40)
@given(pieces(), st.floats(4, 24), st.floats(5, 29))
def test_segments_cover_the_piece(notes: Notes, wished: float, longest: float) -> None:
    frames = int(np.ceil(notes.offset.max() * RATE))
    segments = cut(notes, frames, RATE, wished=wished, longest=longest)
    assert segments[0].start == 0
    assert segments[-1].end == frames
    assert all(one.end == other.start for one, other in pairwise(segments))
    assert all(0 < segment.frames <= longest * RATE for segment in segments)


@settings(deadline=None, max_examples=40)
@given(pieces(), st.floats(4, 24))
def test_every_moment_of_every_note_is_in_a_segment(notes: Notes, wished: float) -> None:
    frames = int(np.ceil(notes.offset.max() * RATE))
    played = np.zeros(len(notes))
    lost = np.zeros(len(notes))
    for segment in cut(notes, frames, RATE, wished=wished, longest=28):
        start, end = segment.start / RATE, segment.end / RATE
        part = notes_between(notes, start, end)
        assert (part.onset >= 0).all()
        assert (part.offset <= end - start + 1e-9).all()
        overlap = np.maximum(np.minimum(notes.offset, end) - np.maximum(notes.onset, start), 0)
        remainder = (notes.onset < start) & (notes.offset - start < SHORTEST_REMAINDER)
        lost += np.where(remainder, overlap, 0)
        assert np.sum(part.offset - part.onset) == pytest.approx(np.sum(overlap[~remainder]), abs=1e-6)
        played += np.where(remainder, 0, overlap)
    np.testing.assert_allclose(played + lost, notes.offset - notes.onset, atol=1e-6)
    assert (lost < SHORTEST_REMAINDER).all()
    assert (played > 0).all()


def test_cuts_fall_into_rests() -> None:
    onset = np.arange(0, 60, 0.25)
    onset = onset[(np.abs(onset - 15) > 0.5) & (np.abs(onset - 33) > 0.5)]
    notes = Notes(onset, onset + 0.25, np.full(len(onset), 60), np.full(len(onset), 80))
    segments = cut(notes, 60 * 50, RATE, wished=16, longest=28)
    loudness = loudness_at_frames(notes, 60 * 50, RATE)
    assert all(loudness[segment.end] == 0 for segment in segments)


def test_a_cut_right_before_an_attack_is_better_than_right_after() -> None:
    notes = Notes(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([60, 62]), np.array([80, 80]))
    loudness = loudness_at_frames(notes, 100, RATE)
    assert loudness[50] == 0  # the first is released, the second not yet struck
    assert loudness[49] < loudness[51]


@settings(deadline=None, max_examples=40)
@given(pieces(), st.floats(4, 24), st.booleans())
def test_takes_play_everything_at_its_time(notes: Notes, wished: float, continuation: bool) -> None:
    takes = takes_for(notes, segment_length=wished, continuation=continuation)
    struck = sum(len(take.tokens) - 2 - len(PROMPT) for take in takes)
    assert struck >= len(notes)
    for take in takes:
        assert take.tokens[:, 5].max() < 20, "prompt, context and segment stay inside the bar table"
        assert 0 < take.least_frames <= take.most_frames
        assert take.context == 0 or continuation
    for one, other in pairwise(takes):
        assert one.start + one.most_frames <= other.start
    for run in runs(takes):
        for one, other in pairwise(run):
            assert one.start + one.most_frames == other.start
    last = takes[-1]
    assert last.start + last.least_frames >= notes.offset.max() * RATE - 1
    assert last.start + last.most_frames >= notes.offset.max() * RATE + TAIL * RATE - 1


@settings(deadline=None, max_examples=20)
@given(pieces())
def test_runs_have_no_frame_missing_inside(notes: Notes) -> None:
    """A take that another follows at once makes exactly the frames up to it."""
    for run in runs(takes_for(notes)):
        for take in run[:-1]:
            assert take.least_frames == take.most_frames


def test_a_short_piece_is_one_take() -> None:
    notes = Notes(np.array([0.5]), np.array([1.0]), np.array([60]), np.array([64]))
    (take,) = takes_for(notes)
    assert take.start == 0
    assert (take.least_frames, take.most_frames) == (50, 50 + 150)
    assert len(take.tokens) == 2 + 2 + 1


def test_nothing_to_play() -> None:
    assert takes_for(Notes(*(np.zeros(0),) * 2, *(np.zeros(0, np.int64),) * 2)) == []


def test_rests_are_not_generated() -> None:
    notes = Notes(np.array([0.0, 100.0]), np.array([1.0, 101.0]), np.array([60, 62]), np.array([64, 64]))
    takes = takes_for(notes)
    assert len(takes) == 2
    assert len(runs(takes)) == 2
    assert sum(take.most_frames for take in takes) < 40 * 50


def test_a_continuation_hears_the_held_note_from_its_real_start() -> None:
    onset = np.arange(0, 40, 0.5)
    held = np.array([0.0])
    notes = Notes(
        np.concatenate([onset, held]),
        np.concatenate([onset + 0.4, np.array([40.0])]),
        np.concatenate([np.full(len(onset), 72), np.array([36])]),
        np.full(len(onset) + 1, 64),
    )
    plain, continued = takes_for(notes), takes_for(notes, continuation=True)
    assert [take.context for take in plain] == [0] * len(plain)
    assert [take.context for take in continued[1:]] == [100] * (len(continued) - 1)
    assert continued[0].context == 0
    assert len(continued[1].tokens) > len(plain[1].tokens)


def test_official_takes_lose_the_rest_and_short_pieces() -> None:
    notes = Notes(np.array([0.0, 17.0]), np.array([1.0, 18.0]), np.array([60, 62]), np.array([64, 64]))
    takes = official_takes(notes, 18.0, PROMPT, 2.5, 16)
    assert len(takes) == 1
    assert len(takes[0].tokens) == 2 + 2 + 1  # the note at 17 s comes after the last cut
    assert takes[0].most_frames == 16 * 5 + 1
    assert official_takes(notes, 16.0, PROMPT, 2.5, 16) == []


def test_official_takes_refuse_what_the_bar_table_cannot_hold() -> None:
    notes = Notes(np.array([16.0]), np.array([16.5]), np.array([60]), np.array([64]))
    with pytest.raises(ValueError, match="32 seconds"):
        official_takes(notes, 20.0, PROMPT, 30.0, 16)

"""Segments: everything is played, at its time, within the limits of the model."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthesizers.midi_valle import official
from synthesizers.midi_valle.segments import (
    MIN_REMAINDER,
    TAIL,
    SegmentRequest,
    connected,
    cut,
    loudness_at_frames,
    notes_between,
    segment_requests,
)
from synthesizers.midi_valle.tokens import NoteArray

RATE = 50.0
PROMPT = NoteArray(np.array([0.1, 1.0]), np.array([0.9, 2.5]), np.array([60, 64]), np.array([60, 70]))
PROMPT_FRAMES = 150


@st.composite
def pieces(draw: st.DrawFn) -> NoteArray:
    """Up to a few minutes: notes with arbitrary gaps, some of them long rests."""
    gaps = draw(
        st.lists(st.sampled_from([0.0, 0.05, 0.21, 0.5, 1.3, 4.0, 25.0, 60.0]), min_size=1, max_size=60)
    )
    lengths = draw(
        st.lists(st.sampled_from([0.01, 0.1, 0.4, 2.0, 9.0, 40.0]), min_size=len(gaps), max_size=len(gaps))
    )
    onset = np.cumsum(gaps)
    pitch = 30 + np.arange(len(gaps)) * 7 % 60
    return NoteArray(onset, onset + np.array(lengths), pitch, 20 + np.arange(len(gaps)) * 13 % 100)


def requests_for(
    notes: NoteArray, segment_length: float = 16.0, continuation: bool = False
) -> list[SegmentRequest]:
    return segment_requests(
        notes, PROMPT, PROMPT_FRAMES, RATE, segment_length=segment_length, continuation=continuation
    )


@settings(deadline=None, max_examples=40)
@given(pieces(), st.floats(4, 24), st.floats(5, 29))
def test_segments_cover_the_piece(notes: NoteArray, target: float, longest: float) -> None:
    frames = int(np.ceil(notes.offset.max() * RATE))
    segments = cut(notes, frames, RATE, target_length=target, max_length=longest)
    assert segments[0].start == 0
    assert segments[-1].stop == frames
    assert all(one.stop == other.start for one, other in pairwise(segments))
    assert all(0 < len(segment) <= longest * RATE for segment in segments)


@settings(deadline=None, max_examples=40)
@given(pieces(), st.floats(4, 24))
def test_every_moment_of_every_note_is_in_a_segment(notes: NoteArray, target: float) -> None:
    frames = int(np.ceil(notes.offset.max() * RATE))
    played = np.zeros(len(notes))
    lost = np.zeros(len(notes))
    for segment in cut(notes, frames, RATE, target_length=target, max_length=28):
        start, end = segment.start / RATE, segment.stop / RATE
        part = notes_between(notes, start, end)
        assert (part.onset >= 0).all()
        assert (part.offset <= end - start + 1e-9).all()
        overlap = np.maximum(np.minimum(notes.offset, end) - np.maximum(notes.onset, start), 0)
        remainder = (notes.onset < start) & (notes.offset - start < MIN_REMAINDER)
        lost += np.where(remainder, overlap, 0)
        assert np.sum(part.offset - part.onset) == pytest.approx(np.sum(overlap[~remainder]), abs=1e-6)
        played += np.where(remainder, 0, overlap)
    np.testing.assert_allclose(played + lost, notes.offset - notes.onset, atol=1e-6)
    assert (lost < MIN_REMAINDER).all()
    assert (played > 0).all()


def test_cuts_fall_into_rests() -> None:
    onset = np.arange(0, 60, 0.25)
    onset = onset[(np.abs(onset - 15) > 0.5) & (np.abs(onset - 33) > 0.5)]
    notes = NoteArray(onset, onset + 0.25, np.full(len(onset), 60), np.full(len(onset), 80))
    segments = cut(notes, 60 * 50, RATE, target_length=16, max_length=28)
    loudness = loudness_at_frames(notes, 60 * 50, RATE)
    assert all(loudness[segment.stop] == 0 for segment in segments)


def test_a_cut_right_before_an_attack_is_better_than_right_after() -> None:
    notes = NoteArray(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([60, 62]), np.array([80, 80]))
    loudness = loudness_at_frames(notes, 100, RATE)
    assert loudness[50] == 0  # the first is released, the second not yet struck
    assert loudness[49] < loudness[51]


@settings(deadline=None, max_examples=40)
@given(pieces(), st.floats(4, 24), st.booleans())
def test_requests_play_everything_at_its_time(notes: NoteArray, target: float, continuation: bool) -> None:
    requests = requests_for(notes, segment_length=target, continuation=continuation)
    struck = sum(len(request.tokens) - 2 - len(PROMPT) for request in requests)
    assert struck >= len(notes)
    for request in requests:
        assert request.tokens[:, 5].max() < 20, "prompt, context and segment stay inside the bar table"
        assert 0 < request.min_frames <= request.max_frames
        assert request.context == 0 or continuation
    for one, other in pairwise(requests):
        assert one.start + one.max_frames <= other.start
    for run in connected(requests):
        for one, other in pairwise(run):
            assert one.start + one.max_frames == other.start
    last = requests[-1]
    assert last.start + last.min_frames >= notes.offset.max() * RATE - 1
    assert last.start + last.max_frames >= notes.offset.max() * RATE + TAIL * RATE - 1


@settings(deadline=None, max_examples=20)
@given(pieces())
def test_runs_have_no_frame_missing_inside(notes: NoteArray) -> None:
    """A request that another follows at once makes exactly the frames up to it."""
    for run in connected(requests_for(notes)):
        for request in run[:-1]:
            assert request.min_frames == request.max_frames


def test_a_short_piece_is_one_segment() -> None:
    notes = NoteArray(np.array([0.5]), np.array([1.0]), np.array([60]), np.array([64]))
    (request,) = requests_for(notes)
    assert request.start == 0
    assert (request.min_frames, request.max_frames) == (50, 50 + 150)
    assert len(request.tokens) == 2 + 2 + 1


def test_nothing_to_play() -> None:
    assert requests_for(NoteArray(*(np.zeros(0),) * 2, *(np.zeros(0, np.int64),) * 2)) == []


def test_rests_are_not_generated() -> None:
    notes = NoteArray(np.array([0.0, 100.0]), np.array([1.0, 101.0]), np.array([60, 62]), np.array([64, 64]))
    requests = requests_for(notes)
    assert len(requests) == 2
    assert len(connected(requests)) == 2
    assert sum(request.max_frames for request in requests) < 40 * 50


def test_a_continuation_reads_the_held_note_from_its_real_start() -> None:
    onset = np.arange(0, 40, 0.5)
    held = np.array([0.0])
    notes = NoteArray(
        np.concatenate([onset, held]),
        np.concatenate([onset + 0.4, np.array([40.0])]),
        np.concatenate([np.full(len(onset), 72), np.array([36])]),
        np.full(len(onset) + 1, 64),
    )
    plain, continued = requests_for(notes), requests_for(notes, continuation=True)
    assert [request.context for request in plain] == [0] * len(plain)
    assert [request.context for request in continued[1:]] == [100] * (len(continued) - 1)
    assert continued[0].context == 0
    assert len(continued[1].tokens) > len(plain[1].tokens)


def test_official_segments_lose_the_rest_and_short_pieces() -> None:
    notes = NoteArray(np.array([0.0, 17.0]), np.array([1.0, 18.0]), np.array([60, 62]), np.array([64, 64]))
    requests = official.segment_requests(notes, 18.0, PROMPT, 2.5)
    assert len(requests) == 1
    assert len(requests[0].tokens) == 2 + 2 + 1  # the note at 17 s comes after the last cut
    assert requests[0].max_frames == 16 * 5 + 1
    assert official.segment_requests(notes, 16.0, PROMPT, 2.5) == []


def test_official_segments_refuse_what_the_bar_table_cannot_hold() -> None:
    notes = NoteArray(np.array([16.0]), np.array([16.5]), np.array([60]), np.array([64]))
    with pytest.raises(ValueError, match="32 seconds"):
        official.segment_requests(notes, 20.0, PROMPT, 30.0)

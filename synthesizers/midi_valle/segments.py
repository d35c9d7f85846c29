"""Segments of a performance that the model can generate, without losing music.

Cuts fall on frames of the codec, so that codes of neighbouring segments join without a gap, and at the
quietest places. A note that sounds across a cut ends there and goes on in the next segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

from synthesizers.midi_valle.tokens import (
    MAX_SEQUENCE_SECONDS,
    TICKS_PER_SECOND,
    NoteArray,
    Tokens,
    tokens_of_notes,
)

DECAY = 1.0
"""Seconds in which a held note is taken to fade to 1/e, for finding quiet places; of the order of a piano's
early decay in the middle register (Weinreich, "Coupled piano strings", JASA 62, 1977)."""
LENGTH_WEIGHT = 3.0
"""Cost of a segment of twice the target length, in just-struck notes of full velocity under its cut. Segments
of equal length also end together, which suits a batch."""
MIN_LENGTH, MAX_LENGTH = 0.6, 1.25
"""Of the target length; the last segment may be shorter."""
MIN_REMAINDER = 0.1
"""Seconds: a shorter remainder of a note after a cut is not struck again."""
TAIL = 3.0
"""Seconds that the sound may ring on after the last note before a rest or the end; the model ends it earlier
by itself."""
CONTEXT = 2.0
"""Seconds of the previous segment that a continuation reads, after the prompt."""
MARGIN = 1 / TICKS_PER_SECOND
"""Seconds kept free at the end of the longest sequence, because onsets are rounded to the tokens' grid."""


@dataclass(frozen=True)
class SegmentRequest:
    """What the model reads for a segment, and how much it writes. Frames are the codec's."""

    start: int
    """Frame of the piece at which the segment begins."""
    tokens: Tokens
    """Of the prompt, of the context where there is one, and of the segment."""
    min_frames: int
    max_frames: int
    """Equal to ``min_frames`` where the next segment follows at once, so that each begins at its time."""
    context: int = 0
    """Frames before ``start`` whose codes follow the prompt's."""


def segment_requests(
    notes: NoteArray,
    prompt: NoteArray,
    prompt_frames: int,
    frame_rate: float,
    *,
    segment_length: float,
    continuation: bool,
) -> list[SegmentRequest]:
    """Requests that together play all of the notes (any number, in any order), each at its time.

    ``prompt``: notes of the prompt, none later than its ``prompt_frames`` frames. ``segment_length``: target
    in seconds. ``continuation``: a segment that follows another at once also reads the end of that one.
    """
    if not len(notes):
        return []
    prompt_length = prompt_frames / frame_rate
    context_length = CONTEXT if continuation else 0.0
    room = MAX_SEQUENCE_SECONDS - prompt_length - context_length - MARGIN
    frames = ceil(float(notes.offset.max()) * frame_rate)
    segments = [
        segment
        for segment in cut(notes, frames, frame_rate, target_length=segment_length, max_length=room)
        if len(notes_between(notes, segment.start / frame_rate, segment.stop / frame_rate))
    ]
    requests: list[SegmentRequest] = []
    for index, segment in enumerate(segments):
        follows = index > 0 and segments[index - 1].stop == segment.start
        context = min(round(context_length * frame_rate), len(segments[index - 1])) if follows else 0
        part = notes_between(notes, (segment.start - context) / frame_rate, segment.stop / frame_rate)
        min_frames = max_frames = len(segment)
        next_start = segments[index + 1].start if index + 1 < len(segments) else None
        if next_start != segment.stop:
            last_offset = float(part.offset.max()) * frame_rate - context
            tail = round(TAIL * frame_rate)
            max_frames += tail if next_start is None else min(tail, next_start - segment.stop)
            min_frames = min(ceil(last_offset), len(segment))
        tokens = tokens_of_notes(NoteArray.joined(prompt, part.shifted(prompt_length)))
        requests.append(SegmentRequest(segment.start, tokens, min_frames, max_frames, context))
    return requests


def connected(requests: Sequence[SegmentRequest]) -> list[list[SegmentRequest]]:
    """Requests in groups whose members follow each other without a rest."""
    groups: list[list[SegmentRequest]] = []
    for request in requests:
        if groups and groups[-1][-1].start + groups[-1][-1].max_frames == request.start:
            groups[-1].append(request)
        else:
            groups.append([request])
    return groups


def cut(
    notes: NoteArray, frames: int, frame_rate: float, *, target_length: float, max_length: float
) -> list[range]:
    """Segments, as ranges of frames, that cover ``frames`` frames and are as quiet as possible at their ends.

    Lengths in seconds. The cuts minimize the sum of the loudness under them and of the squared deviations
    from the target, over the whole piece (dynamic programming).
    """
    longest = max(1, int(min(target_length * MAX_LENGTH, max_length) * frame_rate))
    target = min(target_length * frame_rate, longest)
    shortest = min(max(1, int(target_length * MIN_LENGTH * frame_rate)), max(1, longest // 2))
    loudness = loudness_at_frames(notes, frames, frame_rate)
    deviation = LENGTH_WEIGHT * (np.arange(longest + 1) / target - 1) ** 2

    costs = np.full(frames + 1, np.inf)
    costs[0] = 0.0
    previous = np.zeros(frames + 1, np.int64)
    for end in range(1, frames + 1):
        starts = np.arange(max(0, end - longest), end - (1 if end == frames else shortest) + 1)
        if len(starts):
            totals = costs[starts] + deviation[end - starts]
            best = int(np.argmin(totals))
            costs[end], previous[end] = totals[best] + loudness[end], starts[best]

    borders = [frames]
    while borders[-1] > 0:
        borders.append(int(previous[borders[-1]]))
    return [range(start, end) for start, end in pairwise(reversed(borders))]


def loudness_at_frames(notes: NoteArray, frames: int, frame_rate: float) -> NDArray[np.float64]:
    """[frames + 1] sum of the decayed velocities (0..1) of the notes that are held at each possible cut."""
    loudness = np.zeros(frames + 1)
    first = np.floor(notes.onset * frame_rate).astype(np.int64) + 1
    last = np.minimum(np.ceil(notes.offset * frame_rate).astype(np.int64) - 1, frames)
    for start, stop, onset, velocity in zip(first, last, notes.onset, notes.velocity, strict=True):
        times = np.arange(start, stop + 1) / frame_rate - onset
        loudness[start : stop + 1] += velocity / 127 * np.exp(-times / DECAY)
    return loudness


def notes_between(notes: NoteArray, start: float, end: float) -> NoteArray:
    """The notes of [start, end) seconds, cut at both ends, with times from ``start`` on.

    A note that began before goes on unless less than ``MIN_REMAINDER`` of it is left.
    """
    carried = (notes.onset < start) & (notes.offset - start >= MIN_REMAINDER)
    inside = (notes.onset >= start) & (notes.onset < end)
    part = notes.where(carried | inside)
    onset = np.maximum(part.onset, start) - start
    return NoteArray(onset, np.minimum(part.offset, end) - start, part.pitch, part.velocity)

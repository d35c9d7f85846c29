"""Cutting a performance into segments that the model can take, without losing music.

Cuts fall on frames of the codec, so that segments of codes join without a gap, and where the least sounds. A
note that sounds across a cut ends there and is continued by the next segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from synthesizers.midi_valle.tokens import Notes

DECAY = 1.0
"""Seconds in which a held note is taken to fade to 1/e, for finding quiet places; of the order of a piano's
early decay in the middle register (Weinreich, "Coupled piano strings", JASA 62, 1977)."""
LENGTH_WEIGHT = 3.0
"""How much a segment of twice the wished length costs, in fresh notes of full velocity under its cut. Segments
of one length also end together, which is what a batch does best."""
SHORTEST_PART = 0.6
"""Of the wished length: what a segment that is not the last may shrink to."""
LONGEST_PART = 1.25
"""Of the wished length: what a segment may grow to."""
SHORTEST_REMAINDER = 0.1
"""Seconds: what is left of a note after a cut and shorter is not struck again."""

Frames = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """A stretch of a piece, in frames of the codec."""

    start: int
    end: int

    @property
    def frames(self) -> int:
        return self.end - self.start


def cut(notes: Notes, frames: int, frame_rate: float, *, wished: float, longest: float) -> list[Segment]:
    """Segments that cover ``frames`` frames without gap or overlap, as quiet as possible at their borders.

    ``wished``: seconds; ``longest``: seconds that none may exceed. The last may be short; the others keep
    between ``SHORTEST_PART`` and ``LONGEST_PART`` of the wish. The cuts minimize the sum of what sounds under
    them and of the squared deviations from the wish, over the whole piece (dynamic programming).
    """
    most = max(1, int(min(wished * LONGEST_PART, longest) * frame_rate))
    target = min(wished * frame_rate, most)
    least = min(max(1, int(wished * SHORTEST_PART * frame_rate)), max(1, most // 2))
    sounding = loudness_at_frames(notes, frames, frame_rate)
    deviation = LENGTH_WEIGHT * (np.arange(most + 1) / target - 1) ** 2

    costs = np.full(frames + 1, np.inf)
    costs[0] = 0.0
    previous = np.zeros(frames + 1, np.int64)
    for end in range(1, frames + 1):
        shortest = 1 if end == frames else least
        starts = np.arange(max(0, end - most), end - shortest + 1)
        if len(starts):
            totals = costs[starts] + deviation[end - starts]
            best = int(np.argmin(totals))
            costs[end], previous[end] = totals[best] + sounding[end], starts[best]

    borders = [frames]
    while borders[-1] > 0:
        borders.append(int(previous[borders[-1]]))
    borders.reverse()
    return [Segment(start, end) for start, end in pairwise(borders)]


def loudness_at_frames(notes: Notes, frames: int, frame_rate: float) -> NDArray[np.float64]:
    """[frames + 1] how much sounds where a cut could be: for every held note its velocity (0..1), decayed."""
    loudness = np.zeros(frames + 1)
    first = np.floor(notes.onset * frame_rate).astype(np.int64) + 1
    last = np.minimum(np.ceil(notes.offset * frame_rate).astype(np.int64) - 1, frames)
    for start, stop, onset, velocity in zip(first, last, notes.onset, notes.velocity, strict=True):
        times = np.arange(start, stop + 1) / frame_rate - onset
        loudness[start : stop + 1] += velocity / 127 * np.exp(-times / DECAY)
    return loudness


def notes_between(notes: Notes, start: float, end: float) -> Notes:
    """The notes of the stretch [start, end) seconds, from its start on, cut at its borders.

    A note that began before is continued, unless less than ``SHORTEST_REMAINDER`` of it is left.
    """
    carried = (notes.onset < start) & (notes.offset - start >= SHORTEST_REMAINDER)
    inside = (notes.onset >= start) & (notes.onset < end)
    part = notes.where(carried | inside)
    onset = np.maximum(part.onset, start) - start
    return Notes(onset, np.minimum(part.offset, end) - start, part.pitch, part.velocity)

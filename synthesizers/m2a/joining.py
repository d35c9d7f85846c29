"""Segments that overlap, and one spectrum out of theirs.

Spectra are crossfaded at fixed frames and the vocoder runs over the whole: the sound's phase has no seam, and
time stays where the notes put it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthesizers.m2a.piano_roll import FRAMES_PER_CELL, SEGMENT_CELLS

Spectrum = NDArray[np.float32]

OVERLAP_CELLS = 24
"""1.15 s: the notes that sound at a join have been struck in both segments, or have faded."""
FADE_FRAMES = 16
"""0.19 s, at the end of the overlap."""


def overlapping_segments(cells: int) -> list[range]:
    """Cells of segments of at most 200 that together cover a piece."""
    starts = range(0, max(cells - OVERLAP_CELLS, 1), SEGMENT_CELLS - OVERLAP_CELLS)
    return [range(start, min(start + SEGMENT_CELLS, cells)) for start in starts]


def joined_spectra(spectra: Sequence[Spectrum], segments: Sequence[range]) -> Spectrum:
    """Each segment's frames [4 T, bins], or more -> those of the piece [4 cells, bins]."""
    joined = np.zeros((segments[-1].stop * FRAMES_PER_CELL, spectra[0].shape[1]), np.float32)
    rising = (np.arange(1, FADE_FRAMES + 1, dtype=np.float32) / (FADE_FRAMES + 1))[:, None]
    written = 0
    for spectrum, segment in zip(spectra, segments, strict=True):
        start = segment.start * FRAMES_PER_CELL
        frames = spectrum[: len(segment) * FRAMES_PER_CELL]
        fade = slice(max(written - FADE_FRAMES, 0), written)
        overlapping = frames[fade.start - start : written - start]
        joined[fade] += (overlapping - joined[fade]) * rising[: len(overlapping)]
        joined[written : start + len(frames)] = frames[written - start :]
        written = start + len(frames)
    return joined

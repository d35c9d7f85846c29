"""From segments to a whole piece.

By default segments overlap, their spectra are crossfaded at fixed frames, and the vocoder runs over the
whole: no seam in the sound's phase, and time stays where the notes put it. ``published_join`` is the official
way: waveforms are shifted until they correlate best, so that each join moves what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthesizers.m2a.piano_roll import FRAMES_PER_CELL, SEGMENT_CELLS

Samples = NDArray[np.float32]

# ------------------------------------------------------------------------------- overlapping segments

OVERLAP_CELLS = 24
"""1.15 s: the notes that sound at a join have been struck in both segments, or have faded."""
FADE_FRAMES = 16
"""0.19 s, at the end of the overlap."""


@dataclass(frozen=True)
class Segment:
    """Cells [start, end) of a piece."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def overlapping_segments(cells: int) -> list[Segment]:
    """Segments of at most 200 cells that together cover a piece."""
    step = SEGMENT_CELLS - OVERLAP_CELLS
    starts = range(0, max(cells - OVERLAP_CELLS, 1), step)
    return [Segment(start, min(start + SEGMENT_CELLS, cells)) for start in starts]


def joined_spectra(spectra: Sequence[Samples], segments: Sequence[Segment]) -> Samples:
    """Each segment's frames [4 T, bins], or more -> those of the piece [4 cells, bins]."""
    joined = np.zeros((segments[-1].end * FRAMES_PER_CELL, spectra[0].shape[1]), np.float32)
    rising = (np.arange(1, FADE_FRAMES + 1, dtype=np.float32) / (FADE_FRAMES + 1))[:, None]
    written = 0
    for spectrum, segment in zip(spectra, segments, strict=True):
        start = segment.start * FRAMES_PER_CELL
        frames = spectrum[: len(segment) * FRAMES_PER_CELL]
        fade = slice(max(written - FADE_FRAMES, 0), written)
        seen = frames[fade.start - start : written - start]
        joined[fade] += (seen - joined[fade]) * rising[: len(seen)]
        joined[written : start + len(frames)] = frames[written - start :]
        written = start + len(frames)
    return joined


# ---------------------------------------------------------------------------------------- the official way

SHIFT, FRAME_LENGTH = 288, 1200
"""Samples: hop and window of the spectrum."""
BUFFER = 4 * SHIFT + FRAME_LENGTH
OVERLAP = 1488
"""Samples."""


def published_join(waves: Sequence[Samples]) -> Samples:
    """Waveforms of consecutive segments -> one; those shorter than 98 ms are left out, but for the first.

    Raises ``ValueError`` where that is too short to be joined: the official script fails there.
    """
    done: list[Samples] = []
    left = waves[0]
    for right in waves[1:]:
        if len(right) < BUFFER:
            continue
        if len(left) < BUFFER:
            raise ValueError("the first segment is shorter than 98 ms")
        done.append(left[:-BUFFER])
        left = np.concatenate([_blended(left[-BUFFER:], right[:BUFFER]), right[BUFFER:]])
    return np.concatenate([*done, left])


def _blended(left: Samples, right: Samples) -> Samples:
    """The end of one waveform and the beginning of the next, one over the other where they correlate best."""
    similarity = np.correlate(left[-OVERLAP:], right[:OVERLAP], "same")
    lag = int(similarity.argmax()) - OVERLAP // 2
    overlap = OVERLAP - lag
    window = np.hanning(2 * overlap)
    blended = np.zeros(2 * BUFFER - overlap)
    blended[:BUFFER] = left
    blended[BUFFER - overlap : BUFFER] *= window[overlap:]
    blended[-BUFFER:] += np.concatenate([right[:overlap] * window[:overlap], right[overlap:]])
    return blended.astype(np.float32)


def as_pcm(samples: Samples) -> Samples:
    """Samples as they come back from a 16-bit file: floor(32768 x) / 32768, clipped."""
    return np.asarray(np.clip(np.floor(samples * 32768), -32768, 32767) / 32768, np.float32)

"""Joining the sound of segments as the published program can. All but ``naive`` shorten the piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]
"""[samples] at 32 kHz."""

Weights = NDArray[np.float64]

CROSSFADE = 640
"""Samples that overlap in ``crossfade``: 20 ms."""
FADE = 1600
"""Samples that overlap in ``fade``: 50 ms."""
SEARCH = 2560
"""Samples that ``concat`` compares for the best alignment: 80 ms."""
SHORTEST_PIECE = 4096
"""Samples: ``concat`` drops later pieces below it."""


def naive(pieces: Sequence[Sound]) -> Sound:
    """One after the other."""
    return np.concatenate(pieces)


def crossfade(pieces: Sequence[Sound]) -> Sound:
    """With a linear crossfade of 20 ms."""
    return _crossfaded(pieces, CROSSFADE)


def fade(pieces: Sequence[Sound]) -> Sound:
    """With a linear crossfade of 50 ms."""
    return _crossfaded(pieces, FADE)


def concat(pieces: Sequence[Sound]) -> Sound:
    """Overlapped where the end of the one correlates best with the beginning of the next.

    Raises ``ValueError`` where the first piece is shorter than ``SHORTEST_PIECE``.
    """
    if len(pieces[0]) < SHORTEST_PIECE:
        raise ValueError(f"the first segment is shorter than {SHORTEST_PIECE} samples")
    joined = pieces[0]
    for piece in pieces[1:]:
        if len(piece) >= SHORTEST_PIECE:
            overlap = SEARCH - _best_lag(joined[-SEARCH:], piece[:SEARCH])
            weights = np.hanning(2 * overlap)
            joined = _overlapped(joined, piece, weights[overlap:], weights[:overlap])
    return joined


MODES: dict[str, Callable[[Sequence[Sound]], Sound]] = {
    "naive": naive,
    "crossfade": crossfade,
    "fade": fade,
    "concat": concat,
}


def _crossfaded(pieces: Sequence[Sound], overlap: int) -> Sound:
    rising = np.linspace(0.0, 1.0, overlap)
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = _overlapped(joined, piece, rising[::-1], rising)
    return joined


def _best_lag(ending: Sound, beginning: Sound) -> int:
    """Samples, -SEARCH / 2 .. SEARCH / 2 - 1."""
    from scipy.signal import correlate

    return int(np.argmax(correlate(ending, beginning, mode="same"))) - SEARCH // 2


def _overlapped(joined: Sound, piece: Sound, falling: Weights, rising: Weights) -> Sound:
    overlap = len(rising)
    middle = joined[-overlap:] * falling + piece[:overlap] * rising
    return np.concatenate([joined[:-overlap], middle.astype(np.float32), piece[overlap:]])

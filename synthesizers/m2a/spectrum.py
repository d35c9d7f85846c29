"""The acoustic model's spectrum: 128 bands, one per MIDI note, log amplitude, 12 ms apart (Shi et al., 2023).

Synthesis does not compute it: the model writes normalised spectra and the vocoder reads them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 24_000
"""Hz."""
HOP = 288
"""Samples: 12 ms."""
TRANSFORM = 32_768
"""Samples of the Fourier transform."""
BANDS = 128


@cache
def filter_bank(bins: int = TRANSFORM // 2 + 1) -> NDArray[np.float32]:
    """[128, bins] triangles from each MIDI note's lower neighbour to its upper one, of equal area; the last
    row is constant. Bin k is taken to lie at k * 12000 / bins Hz."""
    frequency = np.arange(bins) * (SAMPLE_RATE / 2) / bins
    notes = 440.0 * 2.0 ** ((np.arange(BANDS) - 69) / 12)
    centre, upper = notes[:-1, None], notes[1:, None]
    lower = np.concatenate([[0.0], notes[:-2]])[:, None]
    rising, falling = (frequency - lower) / (centre - lower), (upper - frequency) / (upper - centre)
    triangles = np.maximum(0, np.minimum(rising, falling)) / (upper - lower)
    return np.concatenate([triangles, np.full((1, bins), 1 / bins)]).astype(np.float32)

"""The acoustic model's spectrum: 128 bands, one per MIDI note, log amplitude, 12 ms apart (Shi et al., 2023).

Only training computes it: in synthesis the model writes normalised spectra and the vocoder reads them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SAMPLE_RATE = 24_000
"""Hz."""
HOP = 288
"""Samples: 12 ms."""
TRANSFORM = 32_768
"""Samples of the Fourier transform."""
BANDS = 128
WINDOW = 1200
"""Samples of the transform that are not zero."""
MIN_POWER, MIN_AMPLITUDE = 1e-10, 1e-5


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


def log_spectrum(samples: Tensor) -> Tensor:
    """Samples [n] at 24 kHz, n > 16384 -> [1 + n // 288, 128], logarithm to base 10 of amplitude."""
    spectrum = torch.stft(
        samples,
        TRANSFORM,
        hop_length=HOP,
        win_length=WINDOW,
        window=torch.hann_window(WINDOW),
        pad_mode="reflect",
        return_complex=True,
    )
    amplitude = torch.sqrt(torch.clamp(torch.view_as_real(spectrum).square().sum(-1), min=MIN_POWER))
    bank = torch.from_numpy(filter_bank())
    return torch.log10(torch.clamp(amplitude.t() @ bank.t(), min=MIN_AMPLITUDE))

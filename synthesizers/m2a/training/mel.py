"""The log mel spectrum by which sounds are compared in training."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthesizers.m2a.spectrum import SAMPLE_RATE

TRANSFORM, HOP, BANDS = 1024, 256, 80
MIN_POWER = 1e-10
LINEAR_TOP, MEL_WIDTH = 1000.0, 200 / 3
"""Slaney's scale: linear up to 1 kHz, ``MEL_WIDTH`` Hz per mel, logarithmic from there."""
LOG_STEP = np.log(6.4) / 27
"""Natural logarithm of the ratio of frequencies one mel apart, above."""


def log_mel(samples: Tensor) -> Tensor:
    """Samples [B, n] at 24 kHz, n > 512 -> [B, 1 + n // 256, 80], natural logarithm of amplitude."""
    spectrum = torch.stft(
        samples,
        TRANSFORM,
        hop_length=HOP,
        window=torch.hann_window(TRANSFORM, device=samples.device),
        pad_mode="reflect",
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    amplitude = power.clamp(min=MIN_POWER).sqrt().mT
    bank = torch.from_numpy(mel_bank()).to(samples)
    return (amplitude @ bank).clamp(min=MIN_POWER).log()


@cache
def mel_bank() -> NDArray[np.float32]:
    """[513, 80] triangles of equal area between the 82 frequencies that are equidistant in mel (M. Slaney,
    Auditory Toolbox, 1998; the default of librosa)."""
    edges = _frequencies(np.linspace(0.0, float(_mels(SAMPLE_RATE / 2)), BANDS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, TRANSFORM // 2 + 1)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (upper - lower)
    return np.ascontiguousarray(triangles.T.astype(np.float32))


def _mels(frequency: float) -> float:
    if frequency < LINEAR_TOP:
        return frequency / MEL_WIDTH
    return float(LINEAR_TOP / MEL_WIDTH + np.log(frequency / LINEAR_TOP) / LOG_STEP)


def _frequencies(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = LINEAR_TOP * np.exp(LOG_STEP * (mels - LINEAR_TOP / MEL_WIDTH))
    return np.where(mels * MEL_WIDTH < LINEAR_TOP, mels * MEL_WIDTH, above)

"""Change of sample rate as torchaudio does it: by default, which is how EnCodec's inputs are prepared, and
with its Kaiser window, which is how MIDI-VALLE's authors prepare sounds for the Frechet audio distance.

Windowed-sinc interpolation (Smith, "Digital Audio Resampling", CCRMA).
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ZERO_CROSSINGS = 6
"""Of the sinc on either side (torchaudio's ``lowpass_filter_width``)."""
ROLLOFF = 0.99
"""Cut-off as a fraction of the lower Nyquist frequency (torchaudio's ``rolloff``)."""
BLOCK = 1 << 20
"""Output positions convolved at once, to bound the memory that the convolution's workspace takes."""


def resample(sound: Tensor, rate: int, new_rate: int) -> Tensor:
    """Sound [..., samples] at ``rate`` Hz -> [..., ceil(samples * new_rate / rate)] at ``new_rate`` Hz."""
    return _resample(sound, rate, new_rate, ZERO_CROSSINGS, ROLLOFF, _hann)


def kaiser_resample(
    sound: Tensor, rate: int, new_rate: int, *, zero_crossings: int, rolloff: float, beta: float
) -> Tensor:
    """``resample`` with a Kaiser window of shape ``beta`` and other lengths (see the constants)."""
    norm = np.i0(beta)
    return _resample(
        sound, rate, new_rate, zero_crossings, rolloff, lambda x: np.i0(beta * np.sqrt(1 - x**2)) / norm
    )


Window = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Of a place within the window, -1..1."""


def _hann(place: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cos(np.pi * place / 2) ** 2)


def _resample(
    sound: Tensor, rate: int, new_rate: int, zero_crossings: int, rolloff: float, window: Window
) -> Tensor:
    if rate == new_rate:
        return sound
    old, new = rate // gcd(rate, new_rate), new_rate // gcd(rate, new_rate)
    kernel = torch.from_numpy(_kernel(old, new, zero_crossings, rolloff, window)).to(sound)
    width = (kernel.shape[-1] - old) // 2
    length = -(-sound.shape[-1] * new // old)
    rows = torch.nn.functional.pad(sound.reshape(-1, 1, sound.shape[-1]), (width, width + old))
    steps = (rows.shape[-1] - kernel.shape[-1]) // old + 1
    pieces = []
    for start in range(0, steps, BLOCK):
        stop = min(start + BLOCK, steps)
        piece = rows[..., start * old : (stop - 1) * old + kernel.shape[-1]]
        pieces.append(torch.nn.functional.conv1d(piece, kernel, stride=old))  # [rows, new, steps]
    interleaved = torch.cat(pieces, dim=-1).transpose(1, 2).reshape(len(rows), -1)
    return interleaved[:, :length].reshape(*sound.shape[:-1], length)


def _kernel(old: int, new: int, zero_crossings: int, rolloff: float, window: Window) -> NDArray[np.float32]:
    """[new, 1, taps]: one filter per output phase, on the input grid."""
    base = rolloff * min(old, new)
    width = int(np.ceil(zero_crossings * old / base))
    taps = np.arange(-width, width + old)[None, :] / old
    phases = np.arange(new)[:, None] / new
    time = np.clip(base * (taps - phases), -zero_crossings, zero_crossings)
    kernel = np.sinc(time) * window(time / zero_crossings) * base / old
    return kernel.astype(np.float32)[:, None, :]

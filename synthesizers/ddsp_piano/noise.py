"""Filtered noise: each frame of white noise goes through a filter of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from score_to_audio.seeding import generator
from synthesizers.ddsp_piano.network import HOP, NOISE_BANDS, squashed

BIAS = -5.0
"""Added to raw noise bands: untrained networks are nearly silent."""
TAPS = 2 * (NOISE_BANDS - 1)
DELAY = 2
"""Samples by which the noise is late: the filter's centre is tap 63, and 61 samples are cut off."""
SIZE = 3 * HOP
"""Samples of a frame after its filter: -60 to 128 around its start, with room for a circular convolution."""


def magnitudes(raw: Tensor) -> Tensor:
    """Raw noise bands [..., 64] -> magnitudes at 64 frequencies from 0 to 8 kHz."""
    return squashed(raw + BIAS)


White = Callable[[int, Tensor, Tensor], Tensor]
"""(first frame of a block, its frames [N], voices [N]) -> white noise [N, 64], uniform in [-1, 1)."""


def white_noise(seed: int) -> White:
    """White noise for a piece; every block has a generator of its own."""

    def draw(first: int, frame: Tensor, _voice: Tensor) -> Tensor:
        return 2 * torch.rand(len(frame), HOP, generator=generator(seed, first)) - 1

    return draw


class FilteredNoise:
    """The noise of all voices, added up, in blocks that follow each other.

    The filters are symmetric (windowed, zero phase), so that their spectra are real and come from the
    magnitudes by one matrix product; voices are added up as spectra, and one transform per frame goes back.
    """

    def __init__(self) -> None:
        self._response = _responses()
        turn = torch.arange(SIZE // 2 + 1, dtype=torch.float64) * (HOP + DELAY) / SIZE
        self._delay = torch.polar(torch.ones_like(turn), -2 * math.pi * turn).to(torch.complex64)
        self._pending = torch.zeros(2, HOP)

    def block(self, frame: Tensor, magnitude: Tensor, white: Tensor, frames: int) -> Tensor:
        """The noise of ``frames`` more frames, [frames, 64] samples, one frame behind.

        Frame numbers [N] from 0 on, in which voices sound, with magnitudes [N, 64] and white noise [N, 64].
        The first row of the first block lies before time 0.
        """
        spectrum = torch.zeros(frames, len(self._delay), dtype=torch.complex64)
        if len(frame):  # in a long rest there is none, which the transform refuses
            filtered = torch.fft.rfft(white, SIZE) * (magnitude @ self._response)
            # Real numbers: index_add_ is ten times slower on complex ones.
            torch.view_as_real(spectrum).index_add_(0, frame, torch.view_as_real(filtered))
        pieces = torch.fft.irfft(spectrum * self._delay, SIZE).unflatten(1, (3, HOP))
        sound = torch.zeros(frames + 2, HOP)
        sound[:2] = self._pending
        for part in range(3):
            sound[part : part + frames] += pieces[:, part]
        self._pending = sound[frames:].clone()
        return sound[:frames]

    def rest(self) -> Tensor:
        """[1, 64]: the last frame, once all blocks are done."""
        return self._pending[:1]


def _responses() -> Tensor:
    """[64, 97]: what a magnitude of 1 at one frequency is as the spectrum of a windowed filter."""
    impulse = torch.fft.irfft(torch.eye(NOISE_BANDS, dtype=torch.float64), TAPS)
    centred = impulse.roll(TAPS // 2, 1) * torch.hann_window(TAPS, dtype=torch.float64)
    around_zero = torch.zeros(NOISE_BANDS, SIZE, dtype=torch.float64)
    around_zero[:, :TAPS] = centred
    return torch.fft.rfft(around_zero.roll(-(TAPS // 2), 1)).real.float()

"""The recorded room: convolution with an impulse response, block by block."""

from __future__ import annotations

import torch
from torch import Tensor


class Reverb:
    """Adds the room to a sound that comes in blocks."""

    def __init__(self, impulse_response: Tensor) -> None:
        """float32 [taps]; its first sample, the sound itself, is replaced by 1."""
        self._response = impulse_response.clone()
        self._response[0] = 1
        self._pending = torch.zeros(len(impulse_response) - 1)
        self._spectra: dict[int, Tensor] = {}

    def block(self, dry: Tensor) -> Tensor:
        """[n] -> [n]"""
        size = 1 << (len(dry) + len(self._response) - 2).bit_length()
        if size not in self._spectra:
            self._spectra[size] = torch.fft.rfft(self._response, size)
        wet = torch.fft.irfft(torch.fft.rfft(dry, size) * self._spectra[size], size)
        wet = wet[: len(dry) + len(self._response) - 1]
        wet[: len(self._pending)] += self._pending
        self._pending = wet[len(dry) :].clone()
        return wet[: len(dry)]

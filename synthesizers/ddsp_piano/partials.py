"""The partials of a piano's notes: frequencies by pitch, amplitudes from controls. V voices, T frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthesizers.ddsp_piano.conditioning import FRAME_RATE
from synthesizers.ddsp_piano.network import HOP, PARTIALS, PITCHES, STRINGS, DdspPiano, squashed

SAMPLE_RATE = FRAME_RATE * HOP
"""Hz: 16000."""
NYQUIST = SAMPLE_RATE / 2
LOWEST_FREQUENCY = 20.0
"""Hz of the first string up to which a voice is silent: pitch 0 has 8 Hz."""
LEAST_SUM = 1e-7
"""That stands for 0 where amplitudes are divided by their sum."""


@dataclass(frozen=True)
class Partials:
    """Of one piano, by MIDI pitch 0..127."""

    stretch: Tensor
    """[128, 96] float32: relative shift of each partial against a multiple of the fundamental."""
    frequency: Tensor
    """[128, 2, 96] float32: Hz of the partials of both strings."""
    audible: Tensor
    """[128, 96] bool: the partials below half the sample rate, by the first string."""
    sounding: Tensor
    """[128] bool: the pitches that are notes."""


def partials(model: DdspPiano, piano: int) -> Partials:
    pitch = torch.arange(PITCHES, dtype=torch.float32)
    number = torch.arange(1, PARTIALS + 1, dtype=torch.float32)
    coefficient = model.coefficients(pitch, piano).clamp(min=0)
    stretch = torch.sqrt(1 + coefficient[:, None] * number**2) - 1
    fundamental = model.frequencies(pitch, piano)
    frequency = fundamental[..., None] * number * (1 + stretch[:, None])
    audible = frequency[:, 0] < NYQUIST
    return Partials(stretch, frequency, audible, fundamental[:, 0] > LOWEST_FREQUENCY)


@dataclass(frozen=True)
class Amplitudes:
    """How loud a voice is and how its partials share it; zero rows where it is silent."""

    overall: Tensor
    """[..., T] of each string."""
    shares: Tensor
    """[..., T, 96], adding up to 1."""

    @property
    def partials(self) -> Tensor:
        """[..., T, 96]"""
        return self.overall[..., None] * self.shares


def amplitudes(raw: Tensor, pitch: Tensor, of: Partials) -> Amplitudes:
    """Raw controls [..., 97] (amplitude, partials) and MIDI pitches [...] -> amplitudes."""
    overall = squashed(raw[..., 0].clone()) * of.sounding[pitch] / STRINGS
    shares = squashed(raw[..., 1:].clone()) * of.audible[pitch]
    total = shares.sum(-1, keepdim=True)
    return Amplitudes(overall, shares / torch.where(total == 0, LEAST_SUM, total))

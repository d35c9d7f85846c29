"""The loss of DExter: the noise (Ho et al., NeurIPS 2020), and what is left of the codec without it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from renderers.dexter.network import Denoiser
from renderers.dexter.sampler import Prediction, Schedule, noise_of
from renderers.dexter.training.forward import denoise

COLUMNS = ("tempo", "velocity", "timing", "duration", "pedal")
"""Of the performance codec, as the losses are called."""
RECONSTRUCTION = 0.2 / len(COLUMNS)
"""Weight of each column's reconstruction."""
UNCONDITIONAL = 0.0
"""What replaces the condition to learn the unconditional prediction: the sampler's value. It is the smallest
value of a condition, too, but no window has it everywhere."""
OFFICIAL_UNCONDITIONAL = -1.0
"""The same in the published training, which its sampler does not know."""


@dataclass(frozen=True)
class Draws:
    """What is random in a step, for B windows of T notes."""

    noise: Tensor
    """[B, T, 5] standard normal."""
    steps: Tensor
    """[B] int64 diffusion steps."""
    dropped: Tensor
    """[B] bool: windows without their condition."""


@dataclass(frozen=True)
class Loss:
    """The parts of the loss, and what they were computed from."""

    diffusion: Tensor
    """Mean absolute error of the network's output."""
    reconstruction: Tensor
    """[5] weighted mean square errors of the codec's columns."""
    noised: Tensor
    """[B, T, 5]"""
    condition: Tensor
    """[B, T, 4] normalised, replaced where dropped."""
    predicted_noise: Tensor
    predicted_codec: Tensor

    def total(self) -> Tensor:
        return self.diffusion + self.reconstruction.sum()


def draws(shape: torch.Size, schedule: Schedule, dropout: float, random: torch.Generator) -> Draws:
    """``shape``: of the codec [B, T, 5]; ``dropout``: probability of a window without condition."""
    return Draws(
        noise=torch.randn(shape, generator=random),
        steps=torch.randint(len(schedule), (shape[0],), generator=random),
        dropped=torch.rand(shape[0], generator=random) < dropout,
    )


def loss(
    network: Denoiser,
    schedule: Schedule,
    codec: Tensor,
    condition: Tensor,
    drawn: Draws,
    *,
    prediction: Prediction = "epsilon",
    official: bool = False,
) -> Loss:
    """The loss of standardised codecs [B, T, 5] under normalised conditions [B, T, 4]; padding counts, as the
    sampler fills it, too.

    The codec without the predicted noise e is (x_t - sqrt(1 - A) e) / sqrt(A). This multiplies the errors of
    e by up to 150 where noise hides the codec, so a small network learns nothing there; their squares are
    divided by 1 / A here. A network that predicts v has no such factor. ``official``: the published formula
    instead, x_t / sqrt(A) - e / sqrt(1 - A) within -1 .. 1, and the published value of a dropped condition.
    """
    signal = schedule.sqrt_alphas_cumprod.to(codec)[drawn.steps][:, None, None]
    spread = schedule.sqrt_one_minus_alphas_cumprod.to(codec)[drawn.steps][:, None, None]
    noised = signal * codec + spread * drawn.noise
    value = OFFICIAL_UNCONDITIONAL if official else UNCONDITIONAL
    given = condition.masked_fill(drawn.dropped[:, None, None], value)
    output = denoise(network, noised, given, drawn.steps)
    predicted = noise_of(output, noised, signal, spread, prediction)
    wanted = drawn.noise if prediction == "epsilon" else signal * drawn.noise - spread * codec
    if official:
        found = (noised / signal - predicted / spread).clamp(-1, 1)
        errors = (codec - found).square()
    else:
        found = (noised - spread * predicted) / signal
        errors = ((codec - found) * (signal if prediction == "epsilon" else 1)).square()
    return Loss(
        diffusion=functional.l1_loss(output, wanted),
        reconstruction=RECONSTRUCTION * errors.mean(dim=(0, 1)),
        noised=noised,
        condition=given,
        predicted_noise=predicted,
        predicted_codec=found,
    )

"""What the codec and the discriminator are trained for (section 3.4 of the paper).

Sounds are [B, 1, samples]."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from synthesizers.codecs.training.discriminator import Judgement, stft

MEL_WINDOWS = (64, 128, 256, 512, 1024)
"""Samples of the STFT windows of the mel loss."""
BANDS = 64
"""Narrow windows leave some of them empty."""
LOWEST = 64.0
"""Hz; the highest band ends at half the sample rate."""
FLOOR = 1e-5
"""Of a band's power under the logarithm."""
Scale = Literal["power", "amplitude"]
"""Of the linear difference. Of powers the gradient grows with the sound: large ones overshoot at first."""


def discriminator_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Hinge loss, mean over the parts."""
    parts = [
        functional.relu(1 - of_real.logit).mean() + functional.relu(1 + of_fake.logit).mean()
        for of_real, of_fake in zip(real, fake, strict=True)
    ]
    return torch.stack(parts).mean()


def adversarial_loss(fake: Sequence[Judgement]) -> Tensor:
    """Low where the discriminator takes the sound for a recording; mean over the parts."""
    return torch.stack([-one.logit.mean() for one in fake]).mean()


def feature_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Mean absolute difference of the discriminator's maps, mean over maps and parts."""
    differences = [
        functional.l1_loss(mine, theirs)
        for of_real, of_fake in zip(real, fake, strict=True)
        for theirs, mine in zip(of_real.maps, of_fake.maps, strict=True)
    ]
    return torch.stack(differences).mean()


def spectral_loss(
    sound: Tensor,
    target: Tensor,
    sample_rate: int,
    windows: Sequence[int] = MEL_WINDOWS,
    bands: int = BANDS,
    scale: Scale = "power",
) -> Tensor:
    """Differences of mel spectra, linear and logarithmic, over all window lengths."""
    terms = []
    for window in windows:
        ours, theirs = (mel_spectrum(one, window, sample_rate, bands) for one in (sound, target))
        linear = (linear_mel(ours, scale) - linear_mel(theirs, scale)).abs().mean()
        terms.append(linear + (log_mel(ours) - log_mel(theirs)).square().mean())
    return torch.stack(terms).sum() / (2 * len(terms))


def linear_mel(power: Tensor, scale: Scale) -> Tensor:
    return power if scale == "power" else (FLOOR + power).sqrt()


def log_mel(power: Tensor) -> Tensor:
    return torch.log10(FLOOR + power)


def mel_spectrum(sound: Tensor, window: int, sample_rate: int, bands: int = BANDS) -> Tensor:
    """[B, bands, frames] powers; as many frames as quarters of windows, rounded up."""
    hop = window // 4
    inner = (window - hop) // 2
    padded = functional.pad(sound.float(), (inner, inner), mode="reflect")[:, 0]
    padded = functional.pad(padded, (0, -sound.shape[-1] % hop))
    spectrum = stft(padded, torch.hann_window(window, device=sound.device))
    parts = torch.view_as_real(spectrum)
    return _mel_bands(window, sample_rate, bands).to(sound.device) @ parts.square().sum(dim=-1)


@lru_cache
def _mel_bands(window: int, sample_rate: int, bands: int) -> Tensor:
    """[bands, frequencies] triangles of equal height, equally wide on the scale of HTK (S. Young et al., "The
    HTK Book", section 5.4)."""
    frequencies = torch.linspace(0, sample_rate / 2, window // 2 + 1)
    lowest, highest = (2595 * torch.log10(torch.tensor(1 + one / 700)) for one in (LOWEST, sample_rate / 2))
    mels = torch.linspace(float(lowest), float(highest), bands + 2)
    corners = (700 * (10 ** (mels / 2595) - 1))[:, None]
    rising = (frequencies - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies) / (corners[2:] - corners[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)

"""The losses of M2A: of the spectrum (Li et al., AAAI 2019; guided attention: Tachibana et al., ICASSP 2018)
and of the sound (HiFi-GAN, Kong et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthesizers.m2a.training.forward import Spectra
from synthesizers.m2a.training.mel import log_mel

STOP_WEIGHT = 5.0
"""Of the one frame that ends a segment."""
ATTENTION_WEIGHT, ATTENTION_WIDTH = 10.0, 0.4
GUIDED_LAYERS, GUIDED_HEADS = 2, 2
"""The last decoder layers, and the first heads of each, that are guided along the diagonal."""
MEL_WEIGHT, FEATURE_WEIGHT = 45.0, 2.0
TRANSFORMS = (512, 1024, 2048, 4096)
"""Samples of the transforms of ``spectral_distance``; the longest tell the lowest semitones apart."""
MIN_AMPLITUDE = 1e-3
"""Of a bin of these."""


@dataclass(frozen=True)
class SpectrumLoss:
    """Parts of the loss of the spectrum."""

    distance: Tensor
    """Mean absolute difference, before plus after the postnet."""
    stop: Tensor
    attention: Tensor

    def total(self) -> Tensor:
        return self.distance + self.stop + self.attention


def spectrum_loss(made: Spectra, frames: Tensor, attention_width: float = ATTENTION_WIDTH) -> SpectrumLoss:
    """``frames``: [B, F, feature_bins], true. Padding does not count. ``attention_width``: of the diagonal
    along which attention is guided, as a share of the segment."""
    wanted = frames[:, : made.before.shape[1]]
    valid = valid_frames(made)
    before, after = ((one - wanted).abs()[valid].mean() for one in (made.before, made.after))
    weight = made.stop.new_tensor(STOP_WEIGHT)
    stop = functional.binary_cross_entropy_with_logits(
        made.stop[valid], stop_labels(made)[valid], pos_weight=weight
    )
    return SpectrumLoss(before + after, stop, attention_loss(made, attention_width))


def valid_frames(made: Spectra) -> Tensor:
    """[B, S r] bool"""
    return torch.arange(made.stop.shape[1], device=made.stop.device) < made.frames[:, None]


def stop_labels(made: Spectra) -> Tensor:
    """[B, S r] 1 at the last frame of each segment."""
    at = torch.arange(made.stop.shape[1], device=made.stop.device)
    return (at == made.frames[:, None] - 1).to(made.stop)


def attention_loss(made: Spectra, width: float) -> Tensor:
    """How far the guided weights of the source are from the diagonal."""
    weights = guided_attention(made)
    step, row = (torch.arange(size, device=weights.device) for size in weights.shape[2:])
    steps, inputs = made.steps[:, None, None], made.inputs[:, None, None]
    apart = row[None, None] / inputs - step[None, :, None] / steps
    penalty = 1 - torch.exp(-apart.square() / (2 * width**2))
    valid = (row[None, None] < inputs) & (step[None, :, None] < steps)
    # All heads have the same cells, so that the mean over cells is that of the heads' mean.
    return ATTENTION_WEIGHT * (weights.mean(dim=1) * penalty)[valid].mean()


def guided_attention(made: Spectra) -> Tensor:
    """[B, layers x heads, S, T + 1], the last layer first."""
    guided = made.attention[::-1][:GUIDED_LAYERS]
    return torch.cat([weights[:, :GUIDED_HEADS] for weights in guided], dim=1)


# ------------------------------------------------------------------------------------------- the sound

Judgements = Sequence[Sequence[Tensor]]
"""Per discriminator the outputs of its layers, the judgement last."""


@dataclass(frozen=True)
class SoundLoss:
    """Parts of the generator's loss of the sound, each with its weight."""

    adversarial: Tensor
    features: Tensor
    mel: Tensor
    spectra: Tensor

    def total(self) -> Tensor:
        return self.adversarial + self.features + self.mel + self.spectra


def sound_loss(
    made: Tensor, wanted: Tensor, of_made: Judgements, of_wanted: Judgements, spectra_weight: float = 0.0
) -> SoundLoss:
    """``made``, ``wanted``: [B, samples]; ``of_made``, ``of_wanted``: what the discriminators say of them,
    nothing where there are none.

    Sums over discriminators and layers; the judgement is a layer, too. ``spectra_weight``: of
    ``spectral_distance``, which the published training has not."""
    zero = made.new_zeros(())
    adversarial = [(outputs[-1] - 1).square().mean() for outputs in of_made]
    features = [
        functional.l1_loss(one, other.detach())
        for outputs, true in zip(of_made, of_wanted, strict=True)
        for one, other in zip(outputs, true, strict=True)
    ]
    return SoundLoss(
        adversarial=torch.stack(adversarial).sum() if adversarial else zero,
        features=FEATURE_WEIGHT * torch.stack(features).sum() if features else zero,
        mel=MEL_WEIGHT * functional.l1_loss(log_mel(made), log_mel(wanted)),
        spectra=spectra_weight * spectral_distance(made, wanted) if spectra_weight else zero,
    )


def spectral_distance(made: Tensor, wanted: Tensor) -> Tensor:
    """Difference of amplitudes relative to the wanted ones, plus the mean difference of their logarithms;
    mean over several resolutions (R. Yamamoto et al., Parallel WaveGAN, ICASSP 2020)."""
    distances = []
    for size in TRANSFORMS:
        one, other = (_amplitudes(sound, size) for sound in (made, wanted))
        relative = torch.linalg.norm(one - other) / torch.linalg.norm(other).clamp(min=MIN_AMPLITUDE)
        distances.append(relative + functional.l1_loss(one.log(), other.log()))
    return torch.stack(distances).mean()


def _amplitudes(samples: Tensor, size: int) -> Tensor:
    """[B, n] -> [B, 1 + size / 2, 1 + 4 n / size]"""
    window = torch.hann_window(size, device=samples.device)
    spectrum = torch.stft(
        samples, size, hop_length=size // 4, window=window, pad_mode="reflect", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp(min=MIN_AMPLITUDE**2).sqrt()


@dataclass(frozen=True)
class DiscriminatorLoss:
    """Sums over discriminators."""

    real: Tensor
    fake: Tensor

    def total(self) -> Tensor:
        return self.real + self.fake


def discriminator_loss(of_made: Judgements, of_wanted: Judgements) -> DiscriminatorLoss:
    return DiscriminatorLoss(
        real=torch.stack([(outputs[-1] - 1).square().mean() for outputs in of_wanted]).sum(),
        fake=torch.stack([outputs[-1].square().mean() for outputs in of_made]).sum(),
    )

"""The two turns of a joint step: first acoustic model and vocoder learn, then the discriminators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from score_to_audio.training.optimization import Precision, mixed_precision
from synthesizers.m2a.network import AcousticModel
from synthesizers.m2a.training.discriminators import Discriminators
from synthesizers.m2a.training.forward import Batch, Spectra, spectra
from synthesizers.m2a.training.losses import (
    ATTENTION_WIDTH,
    DiscriminatorLoss,
    SoundLoss,
    SpectrumLoss,
    discriminator_loss,
    sound_loss,
    spectrum_loss,
)
from synthesizers.m2a.training.weight_norm import norm_convolutions
from synthesizers.vocoders.hifigan import HifiGan


class JointModel(nn.Module):
    """Acoustic model, vocoder with weight norm, and discriminators."""

    precision: Precision = "float32"
    """In which vocoder and discriminators compute."""
    adversarial: bool = True
    """Whether there are discriminators."""
    spectra_weight: float = 0.0
    """Of ``losses.spectral_distance``."""
    attention_width: float = ATTENTION_WIDTH
    """See ``losses.spectrum_loss``."""

    def __init__(self, acoustic: AcousticModel, vocoder: HifiGan, discriminators: Discriminators) -> None:
        super().__init__()
        norm_convolutions(vocoder)
        self.text2mel = acoustic
        self.vocoder = vocoder
        self.discriminator = discriminators

    def sound(self, frames: Tensor) -> Tensor:
        """[B, F, feature_bins] -> [B, F hop]"""
        with mixed_precision(frames.device, self.precision):
            sound: Tensor = self.vocoder(frames.mT)
        return sound.float()

    def judgements(self, audio: Tensor) -> list[list[Tensor]]:
        """[B, samples] -> per discriminator the outputs of its layers."""
        if not self.adversarial:
            return []
        with mixed_precision(audio.device, self.precision):
            judgements: list[list[Tensor]] = self.discriminator(audio)
        return [[output.float() for output in outputs] for outputs in judgements]


@dataclass(frozen=True)
class SoundTurn:
    """What the vocoder makes of parts of spectra."""

    window: Tensor
    """[B, W, feature_bins] that it read."""
    sound: Tensor
    """[B, W hop]"""
    wanted: Tensor
    """The same part of the recording."""
    loss: SoundLoss


@dataclass(frozen=True)
class GeneratorTurn:
    """The result of a generator's turn."""

    spectra: Spectra
    spectrum_loss: SpectrumLoss
    vocoder: SoundTurn

    def total(self) -> Tensor:
        return self.spectrum_loss.total() + self.vocoder.loss.total()


def generator_turn(
    model: JointModel, batch: Batch, masks: Sequence[Tensor], starts: Tensor, window: int
) -> GeneratorTurn:
    """``starts``: [B] first frame of each segment's window of ``window`` frames."""
    made = spectra(model.text2mel, batch, masks)
    sound = sound_turn(model, made.after, batch.audio, starts, window)
    return GeneratorTurn(made, spectrum_loss(made, batch.frames, model.attention_width), sound)


def sound_turn(model: JointModel, frames: Tensor, audio: Tensor, starts: Tensor, window: int) -> SoundTurn:
    """``frames``: [B, F, feature_bins], made or true; ``audio``: [B, samples]."""
    hop = model.vocoder.config.hop
    part = windows(frames, starts, window)
    sound = model.sound(part)
    wanted = windows(audio[..., None], starts * hop, window * hop)[..., 0]
    judgements = model.judgements(sound), model.judgements(wanted)
    loss = sound_loss(sound, wanted, *judgements, model.spectra_weight)
    return SoundTurn(part, sound, wanted, loss)


def discriminator_turn(model: JointModel, turn: SoundTurn) -> DiscriminatorLoss:
    """With the sound of the generator's turn."""
    return discriminator_loss(model.judgements(turn.sound.detach()), model.judgements(turn.wanted))


def window_starts(draws: Tensor, batch: Batch, frames: int, window: int) -> Tensor:
    """[B] int64 from draws [B] in 0 .. 1; ``frames``: of the spectra that are made."""
    room = (batch.frame_counts.clamp(max=frames) - window).clamp(min=0)
    return (draws.to(room.device) * room).floor().long()


def windows(rows: Tensor, starts: Tensor, length: int) -> Tensor:
    """[B, T, columns] -> [B, length, columns] from each start on."""
    index = starts[:, None] + torch.arange(length, device=rows.device)
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))

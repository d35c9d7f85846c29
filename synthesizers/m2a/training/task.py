"""What a batch teaches M2A: acoustic model and vocoder each for itself, then both together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from score_to_audio.seeding import generator, numpy_generator
from score_to_audio.training.loop import Figures, Moment, Schedule, Task, in_batches
from score_to_audio.training.optimization import Optimization, set_dropout
from synthesizers.m2a.training.forward import Batch, prenet_masks, spectra
from synthesizers.m2a.training.losses import spectrum_loss
from synthesizers.m2a.training.mel import log_mel
from synthesizers.m2a.training.turns import (
    GeneratorTurn,
    JointModel,
    SoundTurn,
    discriminator_turn,
    generator_turn,
    sound_turn,
    window_starts,
)

Stage = Literal["acoustic", "vocoder", "joint"]


class TrainingSettings(BaseModel):
    """Hyperparameters of the training; defaults are the published joint training's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acoustic_epochs: int = Field(default=0, ge=0, description="Of the acoustic model alone, first.")
    vocoder_epochs: int = Field(default=0, ge=0, description="Of the vocoder alone, on true spectra, second.")
    joint_epochs: int = Field(default=200, ge=0, description="Of both together, last.")
    batch_segments: int = Field(default=8, ge=1, description="Segments per batch.")
    window: int = Field(default=32, ge=4, description="Frames of 12 ms per segment that the vocoder learns.")
    learning_rate: float = Field(default=1.25e-5, gt=0)
    decay: float = Field(default=0.999875, gt=0, le=1, description="Of the learning rate per epoch.")
    betas: tuple[float, float] = Field(default=(0.5, 0.9), description="Of Adam.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Of the acoustic model.")
    postnet_dropout: float = Field(default=0.5, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @property
    def epochs(self) -> int:
        return self.acoustic_epochs + self.vocoder_epochs + self.joint_epochs

    def stage(self, epoch: int) -> Stage:
        """Of an epoch, counted from 0."""
        if epoch < self.acoustic_epochs:
            return "acoustic"
        return "vocoder" if epoch < self.acoustic_epochs + self.vocoder_epochs else "joint"


@dataclass(frozen=True)
class Segment:
    """A part of a recording."""

    cells: NDArray[np.int16]
    """[T, 128] velocities."""
    frames: NDArray[np.float32]
    """[F, 128] spectrum, not normalised."""
    audio: NDArray[np.float32]
    """[samples]"""


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation [128] of the spectrum."""

    mean: Tensor
    deviation: Tensor


def batch(segments: Sequence[Segment], normalisation: Normalisation, device: torch.device) -> Batch:
    """Segments of one length."""
    cells, frames, audio = (
        torch.from_numpy(np.stack([np.asarray(getattr(one, name), np.float32) for one in segments]))
        for name in ("cells", "frames", "audio")
    )
    count = len(segments)
    normal = (frames - normalisation.mean) / normalisation.deviation
    return Batch(
        cells=cells.to(device),
        cell_counts=torch.full((count,), cells.shape[1], device=device),
        frames=normal.to(device),
        frame_counts=torch.full((count,), frames.shape[1], device=device),
        audio=audio.to(device),
    )


@dataclass
class Optimizations:
    """Of the two players."""

    generator: Optimization
    discriminator: Optimization


def begin(model: JointModel, settings: TrainingSettings) -> Optimizations:
    """What is there before the first epoch."""
    set_dropout(model.text2mel, settings.dropout)
    set_dropout(model.text2mel.postnet, settings.postnet_dropout)

    def optimization(network: nn.Module) -> Optimization:
        optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=settings.betas)
        return Optimization(network, optimizer)

    players = nn.ModuleDict({"text2mel": model.text2mel, "vocoder": model.vocoder})
    return Optimizations(optimization(players), optimization(model.discriminator))


def schedule(settings: TrainingSettings) -> Schedule:
    return Schedule(epochs=settings.epochs, seed=settings.seed)


def task(
    model: JointModel,
    optimizations: Optimizations,
    segments: Sequence[Segment],
    judged: Sequence[Segment],
    normalisation: Normalisation,
    settings: TrainingSettings,
) -> Task[Sequence[int]]:
    """Training on ``segments``; ``judged``: segments that say how good it is."""
    device = model.text2mel.feat_out.weight.device

    def plan(epoch: int) -> list[Sequence[int]]:
        order = numpy_generator(settings.seed, epoch).permutation(len(segments)).tolist()
        return in_batches(order, settings.batch_segments)

    def step(chosen: Sequence[int], moment: Moment) -> Figures:
        model.train()
        rate = settings.learning_rate * settings.decay**moment.epoch
        for one in (optimizations.generator, optimizations.discriminator):
            one.set_learning_rate(rate)
        part = batch([segments[index] for index in chosen], normalisation, device)
        return _step(model, optimizations, part, settings, settings.stage(moment.epoch), moment.random)

    def validate() -> Figures:
        model.eval()
        random = generator(settings.seed)
        with torch.no_grad():
            figures = [_figures(model, batch([one], normalisation, device), random) for one in judged]
        return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}

    return Task(plan, step, validate, merit)


def merit(figures: Figures) -> float:
    return -(figures["valid spectrum"] + figures["valid mel"])


def _step(
    model: JointModel,
    optimizations: Optimizations,
    part: Batch,
    settings: TrainingSettings,
    stage: Stage,
    random: torch.Generator,
) -> dict[str, float]:
    figures = dict.fromkeys(("loss", "spectrum", "sound", "discriminator"), 0.0)
    if stage == "acoustic":
        total = spectrum_loss(spectra(model.text2mel, part, _masks(model, part, random)), part.frames).total()
        figures["spectrum"] = total.item()
        sound = None
    elif stage == "vocoder":
        starts = _starts(model, part, settings, random)
        sound = sound_turn(model, part.frames, part.audio, starts, settings.window)
        total = sound.loss.total()
    else:
        turn = _joint(model, part, settings, random)
        sound, total = turn.vocoder, turn.total()
        figures["spectrum"] = turn.spectrum_loss.total().item()
    total.backward()
    optimizations.generator.update()
    optimizations.discriminator.optimizer.zero_grad(set_to_none=True)  # those of the generator's turn
    figures["loss"] = total.item()
    if sound is not None:
        figures["sound"] = sound.loss.total().item()
        figures["discriminator"] = _judge(model, sound, optimizations)
    return figures


def _judge(model: JointModel, sound: SoundTurn, optimizations: Optimizations) -> float:
    loss = discriminator_turn(model, sound).total()
    loss.backward()
    optimizations.discriminator.update()
    return loss.item()


def _joint(
    model: JointModel, part: Batch, settings: TrainingSettings, random: torch.Generator
) -> GeneratorTurn:
    masks = _masks(model, part, random)
    starts = _starts(model, part, settings, random)
    return generator_turn(model, part, masks, starts, settings.window)


def _masks(model: JointModel, part: Batch, random: torch.Generator) -> list[Tensor]:
    config = model.text2mel.config
    steps = part.frames.shape[1] // config.reduction_factor
    return prenet_masks(config, len(part.frames), steps, random, part.frames.device)


def _starts(model: JointModel, part: Batch, settings: TrainingSettings, random: torch.Generator) -> Tensor:
    r = model.text2mel.config.reduction_factor
    draws = torch.rand(len(part.frames), generator=random, dtype=torch.float64)
    return window_starts(draws, part, part.frames.shape[1] // r * r, settings.window)


def _figures(model: JointModel, part: Batch, random: torch.Generator) -> dict[str, float]:
    """Distances from the truth of a pass with true frames."""
    made = spectra(model.text2mel, part, _masks(model, part, random))
    count = made.after.shape[1]
    sound = model.vocoder(made.after.mT)
    wanted = part.audio[:, : sound.shape[1]]
    return {
        "valid spectrum": (made.after - part.frames[:, :count]).abs().mean().item(),
        "valid mel": (log_mel(sound) - log_mel(wanted)).abs().mean().item(),
    }

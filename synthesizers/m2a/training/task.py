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
from score_to_audio.training.optimization import Optimization, Precision, set_dropout
from synthesizers.m2a.decoding import StepLimits, decode, drawn_masks
from synthesizers.m2a.training.forward import Batch, encoder_inputs, prenet_masks, spectra
from synthesizers.m2a.training.losses import ATTENTION_WIDTH, spectrum_loss
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
BETAS: dict[Stage, tuple[float, float]] = {
    "acoustic": (0.9, 0.999),
    "vocoder": (0.8, 0.99),
    "joint": (0.5, 0.9),
}
"""Of Adam: PyTorch's own, HiFi-GAN's, and those of the published joint training."""

VALIDATION_BATCH = 8
"""Segments validated together."""


class TrainingSettings(BaseModel):
    """Hyperparameters of the training; defaults are the published joint training's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acoustic_epochs: int = Field(default=0, ge=0, description="Of the acoustic model alone, first.")
    vocoder_epochs: int = Field(default=0, ge=0, description="Of the vocoder alone, on true spectra, second.")
    joint_epochs: int = Field(default=200, ge=0, description="Of both together, last.")
    epoch_batches: int = Field(default=0, ge=0, description="Batches per epoch; 0: every segment once.")
    batch_segments: int = Field(default=8, ge=1, description="Segments per batch.")
    window: int = Field(default=32, ge=4, description="Frames of 12 ms per segment that the vocoder learns.")
    acoustic_rate: float = Field(default=5e-4, gt=0, description="Highest learning rate of the first stage.")
    warm_up: int = Field(
        default=8000, ge=1, description="Batches over which it rises; then it falls with their root."
    )
    vocoder_rate: float = Field(default=2e-4, gt=0, description="Learning rate of the second stage.")
    learning_rate: float = Field(default=1.25e-5, gt=0, description="Of the joint stage.")
    decay: float = Field(default=0.999875, gt=0, le=1, description="Of the two latter rates per epoch.")
    adversarial: bool = Field(default=True, description="Whether discriminators judge the sound.")
    spectra_weight: float = Field(
        default=0.0, ge=0, description="Of the distance of spectra of several resolutions; published: none."
    )
    attention_width: float = Field(
        default=ATTENTION_WIDTH,
        gt=0,
        description="Of the guide of attention; share of a segment.",
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Of the acoustic model.")
    postnet_dropout: float = Field(default=0.5, ge=0, lt=1)
    save_every: int = Field(default=0, ge=0, description="Batches after which the state is saved; 0: epochs.")
    validation_segments: int = Field(default=16, ge=1, description="Segments that judge, at most.")
    precision: Precision = Field(default="float32", description="Of vocoder and discriminators.")
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
    model.precision, model.adversarial = settings.precision, settings.adversarial
    model.spectra_weight, model.attention_width = settings.spectra_weight, settings.attention_width
    set_dropout(model.text2mel, settings.dropout)
    set_dropout(model.text2mel.postnet, settings.postnet_dropout)

    def optimization(network: nn.Module) -> Optimization:
        return Optimization(network, torch.optim.Adam(network.parameters()))

    players = nn.ModuleDict({"text2mel": model.text2mel, "vocoder": model.vocoder})
    return Optimizations(optimization(players), optimization(model.discriminator))


def rate(settings: TrainingSettings, epoch: int, batches: int) -> float:
    """The learning rate after ``epoch`` epochs and ``batches`` batches."""
    stage = settings.stage(epoch)
    if stage == "acoustic":
        done, rising = batches + 1, settings.warm_up
        return settings.acoustic_rate * min(done / rising, (rising / done) ** 0.5)
    first = settings.acoustic_epochs + (settings.vocoder_epochs if stage == "joint" else 0)
    highest = settings.learning_rate if stage == "joint" else settings.vocoder_rate
    return highest * settings.decay ** (epoch - first)


def _set_stage(optimization: Optimization, stage: Stage, learning_rate: float) -> None:
    """Gradients are clipped in the first stage alone, as published."""
    optimization.gradient_norm = 1.0 if stage == "acoustic" else None
    for group in optimization.optimizer.param_groups:
        group.update(lr=learning_rate, betas=BETAS[stage])


def schedule(settings: TrainingSettings) -> Schedule:
    return Schedule(epochs=settings.epochs, save_every=settings.save_every, seed=settings.seed)


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
        random = numpy_generator(settings.seed, epoch)
        wanted = settings.epoch_batches * settings.batch_segments or len(segments)
        orders = [random.permutation(len(segments)) for _ in range(0, wanted, len(segments))]
        return in_batches(np.concatenate(orders)[:wanted].tolist(), settings.batch_segments)

    def step(chosen: Sequence[int], moment: Moment) -> Figures:
        model.train()
        stage = settings.stage(moment.epoch)
        for one in (optimizations.generator, optimizations.discriminator):
            _set_stage(one, stage, rate(settings, moment.epoch, moment.total))
        part = batch([segments[index] for index in chosen], normalisation, device)
        return _step(model, optimizations, part, settings, stage, moment.random)

    def validate() -> Figures:
        model.eval()
        with torch.inference_mode():
            parts = [batch(some, normalisation, device) for some in in_batches(judged, VALIDATION_BATCH)]
            figures = [_figures(model, part, settings.seed) for part in parts]
        return {name: float(np.concatenate([one[name] for one in figures]).mean()) for name in figures[0]}

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
        made = spectra(model.text2mel, part, _masks(model, part, random))
        total = spectrum_loss(made, part.frames, model.attention_width).total()
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
        if model.adversarial:
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


def _figures(model: JointModel, part: Batch, seed: int) -> dict[str, NDArray[np.float32]]:
    """Distances [B] from the truth of what the synthesizer would play: the decoder reads its own frames."""
    acoustic, count = model.text2mel, len(part.frames)
    steps = part.frames.shape[1] // acoustic.config.reduction_factor
    rows = encoder_inputs(part.cells, part.cell_counts)
    generators = [generator(seed, index) for index in range(count)]
    masks = drawn_masks(acoustic.config, generators, [steps] * count, "frame")
    decoded = decode(acoustic, list(acoustic.memory(rows)), masks, [StepLimits(steps, steps)] * count)
    made = torch.stack([one.frames for one in decoded])
    sound = model.sound(made)
    spectrum = (made - part.frames[:, : made.shape[1]]).abs().mean(dim=(1, 2))
    mel = (log_mel(sound) - log_mel(part.audio[:, : sound.shape[1]])).abs().mean(dim=(1, 2))
    return {"valid spectrum": spectrum.cpu().numpy(), "valid mel": mel.cpu().numpy()}

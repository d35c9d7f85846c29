"""What one batch teaches, and how the training goes on from batch to batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.functional import dropout

from renderers.virtuosonet.network import EncodedScore, VirtuosoNetwork
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.training import forward
from renderers.virtuosonet.training.batches import Batch, Slice, TrainingPiece, batch, grouped, slices
from renderers.virtuosonet.training.losses import Loss, loss
from score_to_audio.seeding import numpy_generator
from score_to_audio.training.loop import Figures, Moment, Schedule, Task, cosine
from score_to_audio.training.optimization import Optimization, exponential_average


class TrainingSettings(BaseModel):
    """Hyperparameters of the training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=40, ge=1)
    slice_notes: int = Field(default=400, ge=16, description="Approximate number of notes per slice.")
    batch_slices: int = Field(default=16, ge=1, description="Slices per batch.")
    mean_share: float = Field(
        default=0.6, ge=0, le=1, description="Share of slices with the mean performance as target."
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="Maximum; decays to 0 along a cosine.")
    warm_up: float = Field(default=0.02, ge=0, lt=1, description="Share of the training with a linear rise.")
    weight_decay: float = Field(default=0.02, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    divergence: float = Field(default=0.02, ge=0, description="Weight of the style vectors' divergence.")
    teacher: float = Field(
        default=0.5, ge=0, le=1, description="Initial share of slices with teacher forcing."
    )
    teacher_until: float = Field(
        default=0.4, gt=0, le=1, description="Share of the training after which teacher forcing ends."
    )
    passes: int = Field(default=3, ge=1, description="Maximum number of passes over a batch.")
    average: float = Field(default=0.995, ge=0, lt=1, description="Decay of the weights' moving average.")
    seed: int = Field(default=0, ge=0)


def begin(network: VirtuosoNetwork, settings: TrainingSettings) -> Optimization:
    """What is there before the first epoch."""
    optimization = Optimization(
        network=network,
        optimizer=torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        ),
        average=exponential_average(network, settings.average),
        gradient_norm=settings.gradient_norm,
    )
    _set_dropout(network, settings.dropout)
    network.train()
    return optimization


def schedule(settings: TrainingSettings) -> Schedule:
    return Schedule(epochs=settings.epochs, seed=settings.seed)


def task(
    optimization: Optimization,
    pieces: Sequence[TrainingPiece],
    statistics: Statistics,
    settings: TrainingSettings,
    validate: Callable[[VirtuosoNetwork], Figures],
    merit: Callable[[Figures], float],
) -> Task[list[Slice]]:
    """Training on slices of the pieces."""

    def plan(epoch: int) -> list[list[Slice]]:
        random = numpy_generator(settings.seed, epoch)
        chosen = slices(pieces, settings.slice_notes, settings.mean_share, random)
        return grouped(chosen, settings.batch_slices)

    def step(chosen: list[Slice], moment: Moment) -> Figures:
        return _step(optimization, batch(pieces, chosen, statistics), settings, moment)

    return Task(plan, step, lambda: validate(averaged(optimization)), merit)


def averaged(optimization: Optimization) -> VirtuosoNetwork:
    """The network with the averaged weights."""
    network = optimization.averaged
    assert isinstance(network, VirtuosoNetwork)
    return network


def _step(optimization: Optimization, batch: Batch, settings: TrainingSettings, moment: Moment) -> Figures:
    network = optimization.network
    assert isinstance(network, VirtuosoNetwork)
    rate = cosine(moment.done, highest=settings.learning_rate, warm_up=settings.warm_up)
    optimization.set_learning_rate(rate)
    parts = _loss(network, batch, settings, moment.done, moment.random)
    total = parts.total(settings.divergence)
    total.backward()
    optimization.update()
    return {name: value.item() for name, value in {"loss": total, **vars(parts)}.items()}


def _loss(
    network: VirtuosoNetwork, batch: Batch, settings: TrainingSettings, done: float, random: torch.Generator
) -> Loss:
    score = _dropped_out(forward.encode(network, batch), settings.dropout)
    style = forward.style(network.performance_encoder, score, batch)
    z = style.sample(random) * ~batch.of_mean[:, None]
    target = forward.feedback_of_target(batch)
    zeros = forward.Outputs(torch.zeros_like(target.notes), torch.zeros_like(target.measures))
    share = settings.teacher * max(0.0, 1 - done / settings.teacher_until)
    earlier = forward.mixed(target, zeros, share, batch, random)
    passes = int(torch.randint(1, settings.passes + 1, (), generator=random))
    with torch.no_grad():
        for _ in range(passes - 1):
            outputs = forward.decode(network, score, batch, z, earlier)
            earlier = forward.mixed(target, outputs, share, batch, random)
    return loss(forward.decode(network, score, batch, z, earlier), batch, style)


def _set_dropout(network: VirtuosoNetwork, share: float) -> None:
    """Set the dropout between the layers of recurrences with several layers."""
    for module in network.modules():
        if isinstance(module, nn.GRU) and module.num_layers > 1:
            module.dropout = share


def _dropped_out(score: EncodedScore, share: float) -> EncodedScore:
    """The encoded score with dropout."""
    return replace(
        score,
        note_rnn=dropout(score.note_rnn, share),
        voice_rnn=dropout(score.voice_rnn, share),
        beat=dropout(score.beat, share),
        measure=dropout(score.measure, share),
    )

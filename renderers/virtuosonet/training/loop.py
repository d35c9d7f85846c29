"""The training loop. Random generators are seeded per epoch, so that a resumed training gives the same
weights as an uninterrupted one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.functional import dropout
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from renderers.virtuosonet.network import EncodedScore, VirtuosoNetwork
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.training import forward
from renderers.virtuosonet.training.batches import Batch, TrainingPiece, batches, slices
from renderers.virtuosonet.training.losses import Loss, loss
from score_to_audio.seeding import generator, numpy_generator

Figures = Mapping[str, float]


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


@dataclass
class TrainingState:
    """A training at the end of an epoch."""

    network: VirtuosoNetwork
    average: AveragedModel
    """The moving average of the weights, which is the result."""
    optimizer: torch.optim.Optimizer
    epoch: int
    """Number of completed epochs."""
    history: list[dict[str, float]]
    """Losses and validation figures of each epoch."""


def begin(network: VirtuosoNetwork, settings: TrainingSettings) -> TrainingState:
    """The state before the first epoch."""
    return TrainingState(
        network=network,
        average=AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average)),
        optimizer=torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        ),
        epoch=0,
        history=[],
    )


def to_tensors(state: TrainingState) -> dict[str, Any]:
    """The state as tensors and plain values."""
    return {
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "history": state.history,
    }


def restore(state: TrainingState, saved: Mapping[str, Any]) -> None:
    """Set a new state to a saved one (``to_tensors``)."""
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.epoch = saved["epoch"]
    state.history = list(saved["history"])


def epochs(
    state: TrainingState,
    pieces: Sequence[TrainingPiece],
    statistics: Statistics,
    settings: TrainingSettings,
    validate: Callable[[VirtuosoNetwork], Figures],
) -> Iterator[dict[str, float]]:
    """Train to the end; yields the new entry of the history after every epoch."""
    while state.epoch < settings.epochs:
        losses = _epoch(state, pieces, statistics, settings)
        state.epoch += 1
        figures = {"epoch": float(state.epoch), **losses, **validate(averaged(state))}
        state.history.append(figures)
        yield figures


def averaged(state: TrainingState) -> VirtuosoNetwork:
    """The network with the averaged weights."""
    network = state.average.module
    assert isinstance(network, VirtuosoNetwork)
    return network


def _epoch(
    state: TrainingState, pieces: Sequence[TrainingPiece], statistics: Statistics, settings: TrainingSettings
) -> dict[str, float]:
    seed = settings.seed, state.epoch
    chosen = slices(pieces, settings.slice_notes, settings.mean_share, numpy_generator(*seed))
    steps = math.ceil(len(chosen) / settings.batch_slices)
    random = generator(*seed)
    _set_dropout(state.network, settings.dropout)
    state.network.train()
    sums: dict[str, float] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(*seed, 1).initial_seed())  # dropout takes no generator
        for step, batch in enumerate(batches(pieces, chosen, settings.batch_slices, statistics)):
            done = (state.epoch + step / steps) / settings.epochs
            for name, value in _step(state, batch, settings, done, random).items():
                sums[name] = sums.get(name, 0.0) + value / steps
    return sums


def _step(
    state: TrainingState, batch: Batch, settings: TrainingSettings, done: float, random: torch.Generator
) -> dict[str, float]:
    """``done``: completed share of the training."""
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(settings, done)
    parts = _loss(state.network, batch, settings, done, random)
    total = parts.total(settings.divergence)
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), settings.gradient_norm)
    state.optimizer.step()
    state.average.update_parameters(state.network)
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


def learning_rate(settings: TrainingSettings, done: float) -> float:
    """After a share ``done`` of the training."""
    rising = min(1.0, (done + 1e-3) / settings.warm_up) if settings.warm_up else 1.0
    return settings.learning_rate * rising * (1 + math.cos(math.pi * done)) / 2


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

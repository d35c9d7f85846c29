"""Epoch after epoch. Every epoch draws from generators that its number seeds, so that a training that is
resumed after an epoch ends where one that was never interrupted does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.functional import dropout
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from renderers.virtuosonet.network import EncodedScore, VirtuosoNet
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.training import forward
from renderers.virtuosonet.training.batches import Batch, Piece, batches, slices
from renderers.virtuosonet.training.losses import Loss, loss

Figures = Mapping[str, float]


class Settings(BaseModel):
    """How the network is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=40, ge=1, description="Times through all pieces.")
    slice_notes: int = Field(default=400, ge=16, description="Notes of a slice, about.")
    batch_slices: int = Field(default=16, ge=1, description="Slices side by side.")
    mean_share: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Share of slices learnt from the mean of all pianists, style zero.",
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="Highest; falls to 0 along a cosine.")
    warm_up: float = Field(default=0.02, ge=0, lt=1, description="Share of the training in which it rises.")
    weight_decay: float = Field(default=0.02, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0, description="Longer gradients are shortened to this.")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    divergence: float = Field(default=0.02, ge=0, description="Weight of the style vectors' divergence.")
    teacher: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of slices at first that hear the pianist, not themselves.",
    )
    teacher_until: float = Field(default=0.4, gt=0, le=1, description="Share of the training when it is 0.")
    passes: int = Field(default=3, ge=1, description="Passes over a batch, at most.")
    average: float = Field(default=0.995, ge=0, lt=1, description="Decay of the weights' moving average.")
    seed: int = Field(default=0, ge=0)


@dataclass
class State:
    """A training at the end of an epoch."""

    network: VirtuosoNet
    average: AveragedModel
    """The weights that are kept: a moving average."""
    optimizer: torch.optim.Optimizer
    epoch: int
    """Epochs done."""
    history: list[dict[str, float]]
    """One entry per epoch."""


def begin(network: VirtuosoNet, settings: Settings) -> State:
    """Before the first epoch."""
    return State(
        network=network,
        average=AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average)),
        optimizer=torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        ),
        epoch=0,
        history=[],
    )


def to_tensors(state: State) -> dict[str, Any]:
    """Everything that is needed to go on, as tensors and plain values."""
    return {
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "history": state.history,
    }


def restore(state: State, saved: Mapping[str, Any]) -> None:
    """Bring a state that has just begun to where another one was."""
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.epoch = saved["epoch"]
    state.history = list(saved["history"])


def epochs(
    state: State,
    pieces: Sequence[Piece],
    statistics: Statistics,
    settings: Settings,
    validate: Callable[[VirtuosoNet], Figures],
) -> Iterator[dict[str, float]]:
    """Train to the end; after every epoch the figures that were added to the history."""
    while state.epoch < settings.epochs:
        losses = _epoch(state, pieces, statistics, settings)
        state.epoch += 1
        figures = {"epoch": float(state.epoch), **losses, **validate(averaged(state))}
        state.history.append(figures)
        yield figures


def averaged(state: State) -> VirtuosoNet:
    """The network with the averaged weights."""
    network = state.average.module
    assert isinstance(network, VirtuosoNet)
    return network


def _epoch(
    state: State, pieces: Sequence[Piece], statistics: Statistics, settings: Settings
) -> dict[str, float]:
    random = np.random.default_rng([settings.seed, state.epoch])
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    chosen = slices(pieces, settings.slice_notes, settings.mean_share, random)
    steps = math.ceil(len(chosen) / settings.batch_slices)
    _set_dropout(state.network, settings.dropout)
    state.network.train()
    sums: dict[str, float] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random.integers(2**62)))  # of dropout, which takes no generator
        for step, batch in enumerate(batches(pieces, chosen, settings.batch_slices, statistics)):
            done = (state.epoch + step / steps) / settings.epochs
            for name, value in _step(state, batch, settings, done, generator).items():
                sums[name] = sums.get(name, 0.0) + value / steps
    return sums


def _step(
    state: State, batch: Batch, settings: Settings, done: float, generator: torch.Generator
) -> dict[str, float]:
    """``done``: share of the training that lies behind."""
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(settings, done)
    found = _loss(state.network, batch, settings, done, generator)
    total = found.total(settings.divergence)
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), settings.gradient_norm)
    state.optimizer.step()
    state.average.update_parameters(state.network)
    return {name: value.item() for name, value in {"loss": total, **vars(found)}.items()}


def _loss(
    network: VirtuosoNet, batch: Batch, settings: Settings, done: float, generator: torch.Generator
) -> Loss:
    score = _dropped_out(forward.encode(network, batch), settings.dropout)
    style = forward.style(network.performance_encoder, score, batch)
    z = style.sample(generator) * ~batch.of_mean[:, None]
    target = forward.feedback_of_target(batch)
    nothing = forward.Outputs(torch.zeros_like(target.notes), torch.zeros_like(target.measures))
    share = settings.teacher * max(0.0, 1 - done / settings.teacher_until)
    earlier = forward.mixed(target, nothing, share, batch, generator)
    passes = int(torch.randint(1, settings.passes + 1, (), generator=generator))
    with torch.no_grad():
        for _ in range(passes - 1):
            made = forward.decode(network, score, batch, z, earlier)
            earlier = forward.mixed(target, made, share, batch, generator)
    return loss(forward.decode(network, score, batch, z, earlier), batch, style)


def learning_rate(settings: Settings, done: float) -> float:
    """At a share of the training."""
    rising = min(1.0, (done + 1e-3) / settings.warm_up) if settings.warm_up else 1.0
    return settings.learning_rate * rising * (1 + math.cos(math.pi * done)) / 2


def _set_dropout(network: VirtuosoNet, share: float) -> None:
    """Between the layers of the recurrences that have several."""
    for module in network.modules():
        if isinstance(module, nn.GRU) and module.num_layers > 1:
            module.dropout = share


def _dropped_out(score: EncodedScore, share: float) -> EncodedScore:
    """What the decoder hears of the score, with gaps."""
    return replace(
        score,
        note_rnn=dropout(score.note_rnn, share),
        voice_rnn=dropout(score.voice_rnn, share),
        beat=dropout(score.beat, share),
        measure=dropout(score.measure, share),
    )

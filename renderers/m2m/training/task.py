"""What a batch teaches M2M, and how its weights move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from renderers.m2m.network import M2MNetwork
from renderers.m2m.training import losses
from renderers.m2m.training.examples import Block, Example, batch, blocks
from score_to_audio.seeding import numpy_generator
from score_to_audio.training.loop import Figures, Moment, Schedule, Task, cosine, in_batches
from score_to_audio.training.optimization import (
    Optimization,
    Precision,
    exponential_average,
    mixed_precision,
    set_dropout,
)


class TrainingSettings(BaseModel):
    """Hyperparameters of the training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=40, ge=1)
    batch_blocks: int = Field(default=16, ge=1, description="Blocks of notes per batch.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Maximum; decays to 0 along a cosine.")
    warm_up: float = Field(default=0.02, ge=0, lt=1, description="Share of the training with a linear rise.")
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    accumulation: int = Field(default=1, ge=1, description="Batches per update.")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    transposition: int = Field(
        default=3, ge=0, le=12, description="Semitones up or down by which blocks are transposed at most."
    )
    weighting: Literal["gradnorm", "fixed"] = Field(
        default="gradnorm", description="Weights of the heads: learnt, or their numbers of classes."
    )
    average: float = Field(default=0.99, ge=0, lt=1, description="Decay of the weights' moving average.")
    precision: Precision = Field(default="float32", description="Of matrix products.")
    patience: int = Field(default=0, ge=0, description="Epochs without a better one; 0: no early stop.")
    compatibility: Literal["none", "official"] = Field(
        default="none",
        description="official: the published schedule of the learning rate, and GradNorm's own loss reaches "
        "the network.",
    )
    seed: int = Field(default=0, ge=0)


@dataclass
class HeadWeights:
    """[3] weights of the heads' losses, which GradNorm moves."""

    values: Tensor

    def state_dict(self) -> dict[str, Tensor]:
        return {"values": self.values}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.values = saved["values"]


def begin(network: M2MNetwork, settings: TrainingSettings) -> tuple[Optimization, HeadWeights]:
    """What is there before the first epoch."""
    set_dropout(network, settings.dropout)
    network.train()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    optimization = Optimization(
        network=network,
        optimizer=optimizer,
        average=exponential_average(network, settings.average),
        accumulation=settings.accumulation,
        gradient_norm=None if settings.compatibility == "official" else settings.gradient_norm,
    )
    return optimization, HeadWeights(torch.ones(len(network.config.classes)))


def schedule(settings: TrainingSettings) -> Schedule:
    return Schedule(epochs=settings.epochs, patience=settings.patience, seed=settings.seed)


def task(
    optimization: Optimization,
    weights: HeadWeights,
    examples: Sequence[Example],
    settings: TrainingSettings,
    validate: Callable[[], Figures],
    merit: Callable[[Figures], float],
) -> Task[Sequence[Block]]:
    """Training on blocks of the examples."""
    network = optimization.network
    assert isinstance(network, M2MNetwork)
    length = network.config.positions - 2

    def plan(epoch: int) -> list[Sequence[Block]]:
        chosen = blocks(examples, length, settings.transposition, numpy_generator(settings.seed, epoch))
        return in_batches(chosen, settings.batch_blocks)

    def step(chosen: Sequence[Block], moment: Moment) -> Figures:
        device = network.out_linear.weight.device
        one = batch(examples, chosen, length).to(device)
        optimization.set_learning_rate(_learning_rate(settings, moment))
        with mixed_precision(device, settings.precision):
            own = losses.head_losses(network(one.tokens, one.mask, one.style), one.targets, one.mask)
        total = _backward(network, own, weights, settings)
        optimization.update()
        velocity, ioi, duration = own.tolist()
        return {"loss": total, "velocity loss": velocity, "ioi loss": ioi, "duration loss": duration}

    return Task(plan, step, validate, merit)


def _backward(network: M2MNetwork, own: Tensor, weights: HeadWeights, settings: TrainingSettings) -> float:
    """Add to the gradients, move the weights of the heads; returns the total."""
    if settings.weighting == "fixed":
        total = losses.fixed_weight_total(own, network.config.classes)
        total.backward()
        return total.item()
    backward = losses.backward_officially if settings.compatibility == "official" else losses.backward
    weights.values = backward(own, weights.values.to(own), network.out_linear)
    return float((weights.values * own.detach()).sum())


def _learning_rate(settings: TrainingSettings, moment: Moment) -> float:
    if settings.compatibility == "official":
        return settings.learning_rate * losses.published_learning_rate(moment.total)
    return cosine(moment.done, highest=settings.learning_rate, warm_up=settings.warm_up)

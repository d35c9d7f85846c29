"""Training one network. Generators are explicit, so that the same settings give the same weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from renderers.pianist_mean.inference import Weights
from renderers.pianist_mean.model import Statistics
from renderers.pianist_mean.network import Network, Sizes
from renderers.pianist_mean.training.batches import Material, batches, excerpt_count
from renderers.pianist_mean.training.loss import PARTS, loss
from score_to_audio.training.loop import cosine
from score_to_audio.training.optimization import mixed_precision


class TrainingSettings(BaseModel):
    """Hyperparameters; the defaults are those of the shipped checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folds: int = Field(
        default=5,
        ge=1,
        description="Networks, each trained without one fold of the pieces; 1: with all pieces.",
    )
    epochs: int = Field(default=24, ge=1)
    width: int = Field(default=96, ge=8, description="Of all layers.")
    excerpt_slices: int = Field(default=160, ge=16, description="Slices (onsets) per excerpt.")
    most_excerpts: int = Field(default=4, ge=1, description="Excerpts of a piece per epoch at most.")
    batch_excerpts: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0, description="Maximum; decays to 0 along a cosine.")
    warm_up: float = Field(default=0.05, gt=0, lt=1, description="Share of the training with a linear rise.")
    weight_decay: float = Field(default=0.3, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    augmented: bool = Field(
        default=True, description="Transpose excerpts, and omit groups of features at random."
    )
    average: float = Field(default=0.99, ge=0, lt=1, description="Decay of the weights' moving average.")
    seed: int = Field(default=0, ge=0)


def train_network(
    pieces: Sequence[Material], statistics: Statistics, settings: TrainingSettings, fold: int
) -> Generator[str, None, Weights]:
    """Yields a line per epoch; returns the moving average of the weights after all epochs."""
    first = pieces[0].features
    sizes = Sizes(first.notes.shape[1], first.beats.shape[1], width=settings.width)
    generator = np.random.default_rng((settings.seed, fold))
    per_epoch = math.ceil(excerpt_count(pieces, settings) / settings.batch_excerpts)
    steps = settings.epochs * per_epoch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**31)))  # neither modules nor dropout take a generator
        network = Network(sizes, settings.dropout)
        average = copy.deepcopy(network)
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
        step = 0
        for epoch in range(settings.epochs):
            network.train()
            total = torch.zeros(len(PARTS))
            for excerpts in batches(pieces, statistics, settings, generator):
                rate = cosine(step / steps, highest=settings.learning_rate, warm_up=settings.warm_up)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with mixed_precision("cpu", "bfloat16"):
                    notes, beats = network(excerpts.batch)
                value, parts = loss(notes.float(), beats.float(), excerpts)
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
                optimizer.step()
                _follow(average, network, min(settings.average, (1 + step) / (10 + step)))
                total += parts
                step += 1
            figures = " ".join(
                f"{name} {part:.3f}" for name, part in zip(PARTS, total / per_epoch, strict=True)
            )
            yield f"epoch {epoch + 1}: {figures}"
    return {name: value.numpy() for name, value in average.state_dict().items()}


def _follow(average: Network, network: Network, decay: float) -> None:
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

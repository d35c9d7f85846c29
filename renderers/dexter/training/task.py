"""What a batch teaches DExter, and how its weights move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from renderers.dexter.generation import DiffusionSettings
from renderers.dexter.network import Denoiser
from renderers.dexter.sampler import Prediction
from renderers.dexter.sampler import schedule as noise_schedule
from renderers.dexter.training.examples import Example, Statistics, Window, batch, windows
from renderers.dexter.training.losses import COLUMNS, Draws, draws, loss
from score_to_audio.seeding import numpy_generator
from score_to_audio.training.loop import Figures, Moment, Schedule, Task, cosine, in_batches
from score_to_audio.training.optimization import (
    Optimization,
    Precision,
    exponential_average,
    mixed_precision,
)


class TrainingSettings(BaseModel):
    """Hyperparameters of the training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=60, ge=1)
    batch_windows: int = Field(default=16, ge=1, description="Windows of notes per batch.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Maximum; decays to 0 along a cosine.")
    warm_up: float = Field(default=0.02, ge=0, lt=1, description="Share of the training with a linear rise.")
    gradient_norm: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    accumulation: int = Field(default=1, ge=1, description="Batches per update.")
    condition_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the windows that learn without their score."
    )
    mixup: float = Field(
        default=0.25, ge=0, le=1, description="Share of the windows that are the mean of two performances."
    )
    average: float = Field(default=0.995, ge=0, lt=1, description="Decay of the weights' moving average.")
    precision: Precision = Field(default="float32", description="Of matrix products.")
    validation_steps: int = Field(default=10, ge=2, description="Steps of the sampler in validation.")
    prediction: Prediction = Field(
        default="v", description="What a new network learns; epsilon: the noise, as published."
    )
    compatibility: Literal["none", "official"] = Field(
        default="none",
        description="official: the published reconstruction of the codec and the published value of a "
        "dropped condition, a constant learning rate, no clipping.",
    )
    seed: int = Field(default=0, ge=0)


def begin(network: Denoiser, settings: TrainingSettings) -> Optimization:
    """What is there before the first epoch."""
    return Optimization(
        network=network.train(),
        optimizer=torch.optim.Adam(network.parameters(), lr=settings.learning_rate),
        average=exponential_average(network, settings.average),
        accumulation=settings.accumulation,
        gradient_norm=None if settings.compatibility == "official" else settings.gradient_norm,
    )


def schedule(settings: TrainingSettings) -> Schedule:
    return Schedule(epochs=settings.epochs, seed=settings.seed)


def task(
    optimization: Optimization,
    examples: Sequence[Example],
    diffusion: DiffusionSettings,
    settings: TrainingSettings,
    validate: Callable[[], Figures],
    merit: Callable[[Figures], float],
) -> Task[Sequence[Window]]:
    """Training on windows of the examples."""
    network = optimization.network
    assert isinstance(network, Denoiser)
    statistics = Statistics(np.array(diffusion.means, np.float32), np.array(diffusion.stds, np.float32))
    noise = noise_schedule(diffusion.timesteps, diffusion.beta_start, diffusion.beta_end)
    official = settings.compatibility == "official"

    def plan(epoch: int) -> list[Sequence[Window]]:
        random = numpy_generator(settings.seed, epoch)
        return in_batches(windows(examples, diffusion.window, settings.mixup, random), settings.batch_windows)

    def step(chosen: Sequence[Window], moment: Moment) -> Figures:
        device = network.input_projection.weight.device
        one = batch(examples, chosen, diffusion.window, statistics)
        drawn = draws(one.codec.shape, noise, settings.condition_dropout, moment.random)
        if not official:
            rate = cosine(moment.done, highest=settings.learning_rate, warm_up=settings.warm_up)
            optimization.set_learning_rate(rate)
        with mixed_precision(device, settings.precision):
            parts = loss(
                network,
                noise,
                one.codec.to(device),
                one.condition.to(device),
                Draws(*(value.to(device) for value in vars(drawn).values())),
                prediction=diffusion.prediction,
                official=official,
            )
        total = parts.total()
        total.backward()
        optimization.update()
        columns = zip(COLUMNS, parts.reconstruction.tolist(), strict=True)
        return {
            "loss": total.item(),
            "diffusion loss": parts.diffusion.item(),
            **{f"{name} loss": value for name, value in columns},
        }

    return Task(plan, step, validate, merit)

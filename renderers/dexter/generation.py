"""From the score codec of a piece to its performance codec: windows are sampled in batches and joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renderers.dexter import official, sampler
from renderers.dexter.network import Denoiser
from renderers.dexter.performance_codec import DATASET_MEANS, DATASET_STDS, CodecName
from renderers.dexter.windows import Joining, cut, join, normalised_condition

WINDOWS_AT_ONCE = 8
"""Limits the memory of long pieces; larger batches are no faster."""


@dataclass(frozen=True)
class DiffusionSettings:
    """Settings of a checkpoint beside its tensors; defaults are the released configuration."""

    timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    window: int = 200
    """Notes per window."""
    condition_dropout: float = 0.1
    means: tuple[float, ...] = DATASET_MEANS
    stds: tuple[float, ...] = DATASET_STDS
    """Statistics of the performance codec."""
    prediction: sampler.Prediction = "epsilon"
    codec: CodecName = "published"

    @property
    def overlap(self) -> int:
        """Notes that two windows share."""
        return min(10, self.window // 4)


@dataclass(frozen=True)
class SamplingOptions:
    """How a performance is sampled."""

    sampler: sampler.SamplerName = "dpm-solver++"
    steps: int = 30
    """Of dpm-solver++ and ddim."""
    guidance: float = 1.2
    change: float = 0.75
    """With a source performance: share of the diffusion that is repeated, 0..1."""
    joining: Joining = "crossfade"
    with_condition_dropout: bool = False
    """As in the published script (``official.guided_with_dropout``)."""


class CodecGenerator:
    """A denoiser with its schedule and statistics."""

    def __init__(self, network: Denoiser, settings: DiffusionSettings) -> None:
        self.network, self.settings = network, settings
        self.schedule = sampler.schedule(settings.timesteps, settings.beta_start, settings.beta_end)
        self._means, self._stds = torch.tensor(settings.means), torch.tensor(settings.stds)

    @torch.inference_mode()
    def generate(
        self,
        score_codec: NDArray[np.float32],
        options: SamplingOptions,
        seed: int,
        *,
        source: NDArray[np.float32] | None = None,
        report: Callable[[float, float], None] = lambda _done, _total: None,
    ) -> NDArray[np.float32]:
        """Score codec [N, 4] -> performance codec [N, 5] in its units.

        ``source``: performance codec [N, 5] to start from; ``report``: called with the number of completed
        steps and of all steps.
        """
        window, overlap = self.settings.window, self.settings.overlap
        condition = normalised_condition(cut(score_codec, window, overlap))
        sources = None
        if source is not None:
            normalised = sampler.normalise(torch.from_numpy(source), self._means, self._stds)
            sources = cut(normalised.numpy(), window, overlap)
        start, steps = self._plan(options, from_source=source is not None)
        total = len(steps) * len(condition) / WINDOWS_AT_ONCE
        parts = []
        for first in range(0, len(condition), WINDOWS_AT_ONCE):
            windows = slice(first, first + WINDOWS_AT_ONCE)
            draws = 1 + len(steps) if options.sampler == "ddpm" else 1
            noise = self._noise(condition[windows], seed, first, draws)
            x = noise[0]
            if sources is not None:
                x = sampler.noised(sources[windows], start, self.schedule, noise[0])
            predict = self._prediction(condition[windows], options, steps, seed, first)
            for done, state in enumerate(self._states(x, predict, options, steps, noise[1:]), start=1):
                x = state
                report(done + first / WINDOWS_AT_ONCE * len(steps), total)
            parts.append(x)
        codec = sampler.denormalise(torch.cat(parts), self._means, self._stds)
        return join(codec, len(score_codec), overlap, options.joining)

    def _plan(self, options: SamplingOptions, *, from_source: bool) -> tuple[int, list[int]]:
        """(diffusion step at which a source is noised, steps to take)."""
        start, transfer = len(self.schedule) - 1, sampler.ddpm_steps(self.schedule)
        if from_source:
            start, transfer = sampler.transfer_steps(self.schedule, options.change)
        if options.sampler == "ddpm":
            return start, transfer
        return start, sampler.few_steps(self.schedule, options.steps, start=start - 1)

    def _noise(self, condition: Tensor, seed: int, first: int, draws: int) -> Tensor:
        """[draws, W, T, 5] for the start and, if the sampler draws any, for each step."""
        shape = (condition.shape[1], self.network.config.performance_columns)
        windows = range(first, first + len(condition))
        return torch.stack([sampler.window_noise(seed, window, shape, draws) for window in windows], dim=1)

    def _prediction(
        self, condition: Tensor, options: SamplingOptions, steps: list[int], seed: int, first: int
    ) -> sampler.Predict:
        """The guided network; arguments and results are on the CPU."""
        device = self.network.input_projection.weight.device
        condition = condition.to(device)
        if options.with_condition_dropout:
            masks = official.dropout_masks(len(condition), self.settings.condition_dropout, seed, first)
            predict = official.guided_with_dropout(
                self.network, condition, masks, weight=options.guidance, steps=steps
            )
        else:
            predict = sampler.guided(self.network, condition, weight=options.guidance, steps=steps)
        signal, spread = self.schedule.sqrt_alphas_cumprod, self.schedule.sqrt_one_minus_alphas_cumprod

        def noise(x: Tensor, step: int) -> Tensor:
            output = predict(x.to(device), step).cpu()
            return sampler.noise_of(output, x, signal[step], spread[step], self.settings.prediction)

        return noise

    def _states(
        self, x: Tensor, predict: sampler.Predict, options: SamplingOptions, steps: list[int], noise: Tensor
    ) -> Iterator[Tensor]:
        if options.sampler == "ddpm":
            at = {step: index for index, step in enumerate(steps)}
            return sampler.ddpm(x, predict, self.schedule, lambda step: noise[at[step]], steps)
        solver = sampler.ddim if options.sampler == "ddim" else sampler.dpm_solver
        return solver(x, predict, self.schedule, steps)

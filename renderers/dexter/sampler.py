"""From noise to performance codec: the schedule, and the samplers that walk it with classifier-free guidance.

"ddpm" is the published sampler (Ho et al., NeurIPS 2020, with Ho and Salimans' guidance, 2022): 999 steps.
"ddim" (Song et al., ICLR 2021, eta = 0) and "dpm-solver++" (Lu et al., 2022, second order, multistep) reach
the data in 20 to 50.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from renderers.dexter.network import Denoiser, ProjectedCondition

SamplerName = Literal["ddpm", "ddim", "dpm-solver++"]


@dataclass(frozen=True)
class Schedule:
    """Linear noise schedule, float32 [timesteps] each."""

    betas: Tensor
    alphas: Tensor
    sqrt_alphas_cumprod: Tensor
    sqrt_one_minus_alphas_cumprod: Tensor
    sqrt_recip_alphas: Tensor
    posterior_variance: Tensor

    def __len__(self) -> int:
        return len(self.betas)


def schedule(timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Schedule:
    betas = torch.linspace(beta_start, beta_end, timesteps)
    alphas = 1.0 - betas
    cumulative = torch.cumprod(alphas, dim=0)
    before = torch.cat([torch.ones(1), cumulative[:-1]])
    return Schedule(
        betas=betas,
        alphas=alphas,
        sqrt_alphas_cumprod=torch.sqrt(cumulative),
        sqrt_one_minus_alphas_cumprod=torch.sqrt(1.0 - cumulative),
        sqrt_recip_alphas=torch.sqrt(1.0 / alphas),
        posterior_variance=betas * (1.0 - before) / (1.0 - cumulative),
    )


Predict = Callable[[Tensor, int], Tensor]
"""(x [W, T, 5], step) -> guided noise prediction of the same shape."""
Noise = Callable[[int], Tensor]
"""Step -> standard normal noise of the shape of x."""


def guided(network: Denoiser, condition: Tensor, *, weight: float, steps: list[int]) -> Predict:
    """The prediction w eps(x, score) + (1 - w) eps(x, nothing), both in one batch.

    ``condition``: normalised [W, T, 4]; nothing is an all-zero condition (training used -1; so does not the
    published sampler). ``steps``: all diffusion steps that will be asked for.
    """
    both = _with_unconditional(network, condition)
    denoise = _at_steps(network, steps, condition.device)
    return lambda x, step: _guide(denoise(x, both, step), weight)


def guided_with_dropout(
    network: Denoiser, condition: Tensor, masks: Iterator[Tensor], *, weight: float, steps: list[int]
) -> Predict:
    """As ``guided``, with the condition dropout that the published script leaves on.

    ``masks``: [W] per pass, conditional and unconditional in turn; True: the window's condition is -1.
    """
    both = _with_unconditional(network, condition).projected
    dropped = network.condition(torch.full_like(condition[:1, :1], -1.0)).projected
    denoise = _at_steps(network, steps, condition.device)

    def predict(x: Tensor, step: int) -> Tensor:
        mask = torch.cat([next(masks), next(masks)])[None, :, None, None]
        return _guide(denoise(x, ProjectedCondition(torch.where(mask, dropped, both)), step), weight)

    return predict


def _with_unconditional(network: Denoiser, condition: Tensor) -> ProjectedCondition:
    """The condition of all windows, then as many without any."""
    projected = network.condition(condition).projected
    nothing = network.condition(torch.zeros_like(condition[:1, :1])).projected
    return ProjectedCondition(torch.cat([projected, nothing.expand_as(projected)], dim=1))


def _at_steps(
    network: Denoiser, steps: list[int], device: torch.device
) -> Callable[[Tensor, ProjectedCondition, int], Tensor]:
    packed = network.packed()
    projections = network.step_projections(torch.tensor(steps, device=device))
    index = {step: position for position, step in enumerate(steps)}
    return lambda x, condition, step: packed.denoise(x, condition, projections[:, index[step], None])


def _guide(predictions: Tensor, weight: float) -> Tensor:
    with_score, alone = predictions.chunk(2)
    return weight * with_score + (1 - weight) * alone


def ddpm_step(x: Tensor, eps: Tensor, step: int, s: Schedule, noise: Tensor | None) -> Tensor:
    """x_t -> x_(t-1); without noise its mean."""
    mean = s.sqrt_recip_alphas[step] * (x - s.betas[step] * eps / s.sqrt_one_minus_alphas_cumprod[step])
    return mean if noise is None else mean + torch.sqrt(s.posterior_variance[step]) * noise


def ddpm_steps(s: Schedule) -> list[int]:
    """999 of 1000: the published sampler never uses the last one, and takes its start as step 998."""
    return list(range(len(s) - 2, -1, -1))


def ddpm(x: Tensor, predict: Predict, s: Schedule, noise: Noise, steps: list[int]) -> Iterator[Tensor]:
    """The state after each step."""
    for step in steps:
        x = ddpm_step(x, predict(x, step), step, s, noise(step) if step else None)
        yield x


def ddpm_means(x: Tensor, predict: Predict, s: Schedule, steps: list[int]) -> Iterator[Tensor]:
    """As ``ddpm`` without any noise: what a model trained for transfer does."""
    for step in steps:
        x = ddpm_step(x, predict(x, step), step, s, None)
        yield x


def few_steps(s: Schedule, count: int, *, start: int | None = None) -> list[int]:
    """At most ``count`` diffusion steps from ``start`` (the noisiest that the published sampler uses) to 0.

    Their distance grows with the noise (Song et al., appendix D.2, quadratic): equally spaced ones misjudge
    the spread of Gaussian data by 14 to 22 % in 30 steps, these by 2 to 6 %.
    """
    top = len(s) - 2 if start is None else start
    return sorted({round(step) for step in np.linspace(0, 1, count) ** 2 * top} | {0}, reverse=True)


def ddim(x: Tensor, predict: Predict, s: Schedule, steps: list[int]) -> Iterator[Tensor]:
    """Deterministic (eta = 0); the last step ends at the data."""
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        eps = predict(x, step)
        data = (x - s.sqrt_one_minus_alphas_cumprod[step] * eps) / s.sqrt_alphas_cumprod[step]
        if following is None:
            x = data
        else:
            x = s.sqrt_alphas_cumprod[following] * data + s.sqrt_one_minus_alphas_cumprod[following] * eps
        yield x


def dpm_solver(x: Tensor, predict: Predict, s: Schedule, steps: list[int]) -> Iterator[Tensor]:
    """DPM-Solver++(2M): second order in the log signal-to-noise ratio, one prediction per step."""
    log_snr = torch.log(s.sqrt_alphas_cumprod / s.sqrt_one_minus_alphas_cumprod)
    previous: tuple[Tensor, Tensor] | None = None
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        data = (x - s.sqrt_one_minus_alphas_cumprod[step] * predict(x, step)) / s.sqrt_alphas_cumprod[step]
        if following is None:
            x = data
        else:
            width = log_snr[following] - log_snr[step]
            estimate = data
            if previous is not None:
                earlier, earlier_width = previous
                estimate = data + 0.5 * (width / earlier_width) * (data - earlier)
            shrink = s.sqrt_one_minus_alphas_cumprod[following] / s.sqrt_one_minus_alphas_cumprod[step]
            x = shrink * x - s.sqrt_alphas_cumprod[following] * torch.expm1(-width) * estimate
            previous = data, width
        yield x


def normalise(codec: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    """Performance codec [..., 5] in its own units -> as the network knows it."""
    return (codec - means) / stds


def noised(codec: Tensor, step: int, s: Schedule, noise: Tensor) -> Tensor:
    """A codec as it is at a diffusion step: where transfer from a source performance starts."""
    return s.sqrt_alphas_cumprod[step] * codec + s.sqrt_one_minus_alphas_cumprod[step] * noise


def transfer_steps(s: Schedule, share: float) -> tuple[int, list[int]]:
    """(step at which the source is noised, steps that remove the noise again) for ``share`` 0..1 of all."""
    start = int((len(s) - 1) * share)
    return start, list(range(start - 1, -1, -1))


def denormalise(x: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    """The inverse of ``normalise``."""
    return x * stds + means


def window_noise(seed: int, window: int, shape: tuple[int, ...], draws: int) -> Tensor:
    """[draws, *shape] standard normal numbers of one window: the same whatever windows run beside it."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + window)
    return torch.randn((draws, *shape), generator=generator)

"""From noise to performance codec: the noise schedule, classifier-free guidance, and the samplers.

"ddpm" is the published sampler (Ho et al., NeurIPS 2020; guidance by Ho & Salimans, 2022) with 999 steps.
"ddim" (Song et al., ICLR 2021, eta = 0) and "dpm-solver++" (Lu et al., 2022, second order, multistep) need 20
to 50."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from renderers.dexter.network import Denoiser, ProjectedCondition
from score_to_audio.seeding import generator

SamplerName = Literal["ddpm", "ddim", "dpm-solver++"]
Prediction = Literal["epsilon", "v"]
"""What the network gives: the noise, or v = sqrt(A) noise - sqrt(1 - A) data (Salimans & Ho, ICLR 2022)."""


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
    """Classifier-free guidance, w eps(x, score) + (1 - w) eps(x, zeros), with both terms in one batch.

    ``condition``: normalised [W, T, 4]; the unconditional prediction has an all-zero condition, as in the
    published sampler (training used -1). ``steps``: all diffusion steps that will be predicted.
    """
    both = with_unconditional(network, condition)
    denoise = at_steps(network, steps, condition.device)
    return lambda x, step: combined(denoise(x, both, step), weight)


def with_unconditional(network: Denoiser, condition: Tensor) -> ProjectedCondition:
    """The conditions of W windows, followed by W all-zero ones."""
    projected = network.condition(condition).projected
    zeros = network.condition(torch.zeros_like(condition[:1, :1])).projected
    return ProjectedCondition(torch.cat([projected, zeros.expand_as(projected)], dim=1))


def at_steps(
    network: Denoiser, steps: list[int], device: torch.device
) -> Callable[[Tensor, ProjectedCondition, int], Tensor]:
    """The denoiser (x, condition, step) with precomputed projections of the steps."""
    packed = network.packed()
    projections = network.step_projections(torch.tensor(steps, device=device))
    index = {step: position for position, step in enumerate(steps)}
    return lambda x, condition, step: packed.denoise(x, condition, projections[:, index[step], None])


def combined(predictions: Tensor, weight: float) -> Tensor:
    """Conditional and unconditional predictions [2 W, T, 5] -> guided predictions [W, T, 5]."""
    conditional, unconditional = predictions.chunk(2)
    return weight * conditional + (1 - weight) * unconditional


def ddpm_step(x: Tensor, eps: Tensor, step: int, s: Schedule, noise: Tensor | None) -> Tensor:
    """x_t -> x_(t-1), or its mean if ``noise`` is None."""
    mean = s.sqrt_recip_alphas[step] * (x - s.betas[step] * eps / s.sqrt_one_minus_alphas_cumprod[step])
    return mean if noise is None else mean + torch.sqrt(s.posterior_variance[step]) * noise


def ddpm_steps(s: Schedule) -> list[int]:
    """Steps 998 to 0 of 1000: the published sampler does not use the noisiest one."""
    return list(range(len(s) - 2, -1, -1))


def ddpm(x: Tensor, predict: Predict, s: Schedule, noise: Noise, steps: list[int]) -> Iterator[Tensor]:
    """The state after each step."""
    for step in steps:
        x = ddpm_step(x, predict(x, step), step, s, noise(step) if step else None)
        yield x


def few_steps(s: Schedule, count: int, *, start: int | None = None) -> list[int]:
    """At most ``count`` diffusion steps from ``start`` (default: that of ``ddpm_steps``) to 0.

    Quadratic spacing (Song et al., appendix D.2): in 30 steps it gives the standard deviation of Gaussian
    data within 2 to 6 %, equal spacing within 14 to 22 %."""
    top = len(s) - 2 if start is None else start
    return sorted({round(step) for step in np.linspace(0, 1, count) ** 2 * top} | {0}, reverse=True)


def ddim(x: Tensor, predict: Predict, s: Schedule, steps: list[int]) -> Iterator[Tensor]:
    """Deterministic (eta = 0); the last step gives the data."""
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


def noise_of(output: Tensor, x: Tensor, signal: Tensor, spread: Tensor, prediction: Prediction) -> Tensor:
    """The noise in x = signal * data + spread * noise from the network's output."""
    return output if prediction == "epsilon" else signal * output + spread * x


def normalise(codec: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    """Performance codec [..., 5] in its units -> normalised."""
    return (codec - means) / stds


def noised(codec: Tensor, step: int, s: Schedule, noise: Tensor) -> Tensor:
    """A normalised codec at a diffusion step: the start of transfer from a source performance."""
    return s.sqrt_alphas_cumprod[step] * codec + s.sqrt_one_minus_alphas_cumprod[step] * noise


def transfer_steps(s: Schedule, share: float) -> tuple[int, list[int]]:
    """(step at which the source is noised, steps that denoise it) for ``share`` 0..1 of the diffusion."""
    start = int((len(s) - 1) * share)
    return start, list(range(start - 1, -1, -1))


def denormalise(x: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    """The inverse of ``normalise``."""
    return x * stds + means


def window_noise(seed: int, window: int, shape: tuple[int, ...], draws: int) -> Tensor:
    """[draws, *shape] standard normal noise of one window, independent of the other windows of its batch."""
    return torch.randn((draws, *shape), generator=generator(seed, window))

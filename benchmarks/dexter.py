"""DExter's speed and the accuracy of its few-step samplers, at full size with filled weights.

    python -m benchmarks.dexter [--device cuda] [--threads 1] [--distance]

Times are processor time where nothing else is said: the official figure to compare with was taken on a shared
machine. ``--distance`` compares 20 to 50 steps with the full 999, which takes long without a GPU.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from renderers.dexter import sampler, windows
from renderers.dexter.network import Denoiser, DenoiserConfig
from renderers.dexter.performance_codec import DATASET_STDS
from tests.parity.golden_files import fill

OFFICIAL_STEP = 0.95
"""Seconds of processor time per reverse step (two passes) for 3 windows of 200 notes, one thread, float32
(fact sheet, section 12: 0.94 to 0.97, median of 5)."""
COLUMNS = ("beat period", "velocity", "timing", "articulation", "pedal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--distance", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network = Denoiser(DenoiserConfig())
    fill(network, "open")
    network = network.requires_grad_(False).to(arguments.device)
    condition = example_condition().to(arguments.device)
    with torch.inference_mode():
        if arguments.distance:
            print_distances(network, condition[:1])
            return
        print(f"3 windows of 200 notes, {arguments.device}, {arguments.threads} thread(s)")
        print(f"{'':<14}{'seconds per step':>18}{'times official':>18}")
        print(f"{'official':<14}{OFFICIAL_STEP:>18.3f}{1:>18.1f}")
        plain = plain_step_time(network, condition, arguments.device)
        print(f"{'plain, here':<14}{plain:>18.3f}{OFFICIAL_STEP / plain:>18.1f}")
        for dtype in (torch.float32, torch.bfloat16):
            seconds = step_time(network.to(dtype), condition, arguments.device)
            name = str(dtype).removeprefix("torch.")
            print(
                f"{name:<14}{seconds:>18.3f}{OFFICIAL_STEP / seconds:>18.1f}{plain / seconds:>18.1f} x plain"
            )


def example_condition() -> Tensor:
    """Three windows of an invented score: rising onsets, lengths, pitches, voices."""
    generator = torch.Generator().manual_seed(0)
    length = torch.randint(1, 9, (3, 200), generator=generator).float()
    pitch = torch.randint(36, 90, (3, 200), generator=generator).float()
    voice = torch.randint(1, 5, (3, 200), generator=generator).float()
    return windows.normalised_condition(torch.stack([length.cumsum(1), length, pitch, voice], dim=2))


def step_time(network: Denoiser, condition: Tensor, device: str) -> float:
    """Median seconds of a guided step."""
    predict = sampler.guided(network, condition, weight=1.2, steps=[500])
    x = torch.randn((3, 200, 5), generator=torch.Generator().manual_seed(1)).to(device)
    return median_time(lambda: predict(x, 500), device)


def median_time(work: Callable[[], object], device: str, repeats: int = 7) -> float:
    clock: Callable[[], float] = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for _ in range(repeats):
        started = clock()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(clock() - started)
    return statistics.median(times[1:])


def plain_step_time(network: Denoiser, condition: Tensor, device: str) -> float:
    """The same step by torch's convolutions in two passes without precomputed parts, for comparison under the
    same load."""

    def one_pass(x: Tensor, given: Tensor) -> Tensor:
        hidden = functional.relu(network.input_projection(x.transpose(1, 2)))
        embedded = network.diffusion_embedding(torch.full((3,), 500, device=x.device))
        skips = torch.zeros_like(hidden)
        for layer in network.residual_layers:
            y = layer.dilated_conv(hidden + layer.diffusion_projection(embedded)[..., None])
            gate, content = (y + layer.conditioner_projection(given.transpose(1, 2))).chunk(2, dim=1)
            gated = layer.output_projection(torch.sigmoid(gate) * torch.tanh(content))
            residual, skip = gated.chunk(2, dim=1)
            hidden = (hidden + residual) / math.sqrt(2)
            skips = skips + skip
        hidden = functional.relu(network.skip_projection(skips / math.sqrt(network.config.layers)))
        return network.output_projection(hidden).transpose(1, 2)

    x = torch.randn((3, 200, 5), generator=torch.Generator().manual_seed(1)).to(device)
    return median_time(lambda: (one_pass(x, condition), one_pass(x, torch.zeros_like(condition))), device)


SOLVERS = {"ddim": sampler.ddim, "dpm-solver++": sampler.dpm_solver}


def print_distances(network: Denoiser, condition: Tensor) -> None:
    """Root mean square distance from the full run per column, against that between two seeds; one window."""
    reference = full_run(network, condition, seed=1, step_seed=11)
    print(f"\n{'in units of the codec':<34}{''.join(f'{name:>14}' for name in COLUMNS)}")
    print(f"{'standard deviation, full run':<34}{spread(reference)}")
    print(f"{'full run, other seed':<34}{distance(full_run(network, condition, 2, 12), reference)}")
    print(f"{'full run, other step noise':<34}{distance(full_run(network, condition, 1, 12), reference)}")
    for name in SOLVERS:
        many = few_steps_run(network, condition, name, 999, seed=1)
        print(f"{name + ' in 999 steps':<34}{distance(many, reference)}")
        for count in (20, 30, 50):
            started = time.perf_counter()
            x = few_steps_run(network, condition, name, count, seed=1)
            seconds = time.perf_counter() - started
            print(f"{f'{name} in {count} ({seconds:.1f} s)':<34}{distance(x, reference)}")
            print(f"{'    from its own 999 steps':<34}{distance(x, many)}")
            other = few_steps_run(network, condition, name, count, seed=2)
            print(f"{'    from its other seed':<34}{distance(x, other)}")
            print(f"{'    standard deviation':<34}{spread(x)}")


def full_run(network: Denoiser, condition: Tensor, seed: int, step_seed: int) -> Tensor:
    """The published sampler: 999 steps from one seed's start with another's noise in each step."""
    s = sampler.schedule()
    steps = sampler.ddpm_steps(s)
    later = noise(condition, step_seed, 1000)
    predict = sampler.guided(network, condition, weight=1.2, steps=steps)
    *_, x = sampler.ddpm(noise(condition, seed, 1)[0], predict, s, lambda step: later[step], steps)
    return x


def few_steps_run(network: Denoiser, condition: Tensor, solver: str, count: int, seed: int) -> Tensor:
    s = sampler.schedule()
    steps = sampler.few_steps(s, count)
    predict = sampler.guided(network, condition, weight=1.2, steps=steps)
    *_, x = SOLVERS[solver](noise(condition, seed, 1)[0], predict, s, steps)
    return x


def noise(condition: Tensor, seed: int, draws: int) -> Tensor:
    """[draws, windows, notes, 5]"""
    windows, notes, _ = condition.shape
    drawn = [sampler.window_noise(seed, window, (notes, 5), draws) for window in range(windows)]
    return torch.stack(drawn, dim=1).to(condition.device)


def spread(x: Tensor) -> str:
    values = x.flatten(0, 1).std(0).cpu() * torch.tensor(DATASET_STDS)
    return "".join(f"{value:>14.4f}" for value in values)


def distance(a: Tensor, b: Tensor) -> str:
    values = ((a - b) ** 2).flatten(0, 1).mean(0).sqrt().cpu() * torch.tensor(DATASET_STDS)
    return "".join(f"{value:>14.4f}" for value in values)


if __name__ == "__main__":
    main()

"""A training of seconds: a linear map with dropout, learnt from random numbers. Run as a program by the test
that kills it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import dropout, mse_loss

from score_to_audio.seeding import generator
from score_to_audio.training.folder import TrainingFolder
from score_to_audio.training.loop import Figures, Moment, Schedule, Task, TrainingState, train
from score_to_audio.training.optimization import Optimization, exponential_average

BATCHES = 7
"""Per epoch; the third would be split by an accumulation of 3."""


def begin(**options: Any) -> Optimization:
    network = nn.Linear(3, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)
    average = exponential_average(network, 0.5)
    return Optimization(network, torch.optim.Adam(network.parameters(), lr=0.1), average, **options)


def task(optimization: Optimization) -> Task[int]:
    def plan(epoch: int) -> list[int]:
        return torch.randperm(BATCHES, generator=generator(5, epoch)).tolist()

    def step(item: int, moment: Moment) -> Figures:
        rows = torch.randn(4, 3, generator=generator(6, item))
        noise = torch.randn(4, 2, generator=moment.random)
        target = rows[:, :2] * 2 - 1 + 0.01 * noise
        loss = mse_loss(optimization.network(dropout(rows, 0.1)), target)
        loss.backward()
        optimization.update()
        return {"loss": loss.item()}

    def validate() -> Figures:
        rows = torch.randn(9, 3, generator=generator(7))
        with torch.no_grad():
            return {"error": mse_loss(optimization.averaged(rows), rows[:, :2] * 2 - 1).item()}

    return Task(plan, step, validate, merit=lambda figures: -figures["error"])


def run(folder: Path, schedule: Schedule, **options: Any) -> Iterator[dict[str, float]]:
    optimization = begin(**options)
    state = TrainingState({"optimization": optimization})
    keeper = TrainingFolder(folder, repr(schedule), lambda _: optimization.averaged.state_dict())
    keeper.resume(state)
    yield from train(state, schedule, task(optimization), keeper)


if __name__ == "__main__":
    for figures in run(Path(sys.argv[1]), Schedule(epochs=3, save_every=2, seed=1), accumulation=3):
        print(figures, flush=True)

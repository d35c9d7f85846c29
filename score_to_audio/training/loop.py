"""The loop over epochs and batches.

A training that is killed and started again ends with the same bytes as an undisturbed one: everything that
changes is in ``TrainingState``, and random numbers are drawn from generators whose states are kept with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch

from score_to_audio import progress
from score_to_audio.seeding import generator

Figures = Mapping[str, float]
Item = TypeVar("Item")
"""What a batch is made of."""


class Stateful(Protocol):
    """Modules, optimizers, ``Optimization``, and whatever else keeps what it has learnt."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


@dataclass(frozen=True)
class Schedule:
    """How long a training lasts."""

    epochs: int
    batches: int = 0
    """Batches at most, of all epochs together; 0: no limit. The last epoch may then be shorter."""
    patience: int = 0
    """Ends after so many epochs without a better merit; 0: never."""
    save_every: int = 0
    """Batches after which the state is saved within an epoch; 0: only at its end."""
    seed: int = 0


@dataclass
class TrainingState:
    """A training between two batches."""

    parts: Mapping[str, Stateful]
    """All that changes in a step."""
    epoch: int = 0
    """Number of completed epochs."""
    batch: int = 0
    """Number of completed batches of the current epoch."""
    total: int = 0
    """Number of completed batches of all epochs."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the figures of the current epoch's batches."""
    random: Mapping[str, Any] = field(default_factory=dict)
    """States of the generators within an epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Means of the steps' figures and the figures of the validation, of each epoch."""

    def state_dict(self) -> dict[str, Any]:
        return {
            **{name: part.state_dict() for name, part in self.parts.items()},
            "epoch": self.epoch,
            "batch": self.batch,
            "total": self.total,
            "sums": self.sums,
            "random": self.random,
            "history": self.history,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.epoch, self.batch, self.total = saved["epoch"], saved["batch"], saved["total"]
        self.sums, self.random = dict(saved["sums"]), dict(saved["random"])
        self.history = list(saved["history"])


@dataclass(frozen=True)
class Moment:
    """Where in the training a step is."""

    epoch: int
    """Number of completed epochs."""
    total: int
    """Number of completed batches of all epochs."""
    done: float
    """Completed share of the training, 0..1."""
    random: torch.Generator
    """On the CPU, seeded anew for each epoch."""


@dataclass(frozen=True)
class Task(Generic[Item]):
    """What is trained."""

    plan: Callable[[int], Sequence[Item]]
    """Epoch -> what each of its batches is made of: small, and the same whenever it is asked for."""
    step: Callable[[Item, Moment], Figures]
    """Trains on one batch. Dropout and other code without a generator argument uses PyTorch's own, which is
    seeded as well."""
    validate: Callable[[], Figures]
    """After each epoch."""
    merit: Callable[[Figures], float]
    """Of an epoch's figures; the highest is best."""


class Keeper(Protocol):
    """Saves a training; see ``TrainingFolder``."""

    def save(self, state: TrainingState) -> None:
        """So that it can continue."""

    def complete(self, state: TrainingState, *, best: bool) -> None:
        """After an epoch; ``best``: none before it has a higher merit."""


def train(
    state: TrainingState, schedule: Schedule, task: Task[Item], keeper: Keeper
) -> Iterator[dict[str, float]]:
    """Train to the end, from wherever ``state`` is; yields the new entry of the history after every epoch."""
    while not ended(state, schedule, task.merit):
        _epoch(state, schedule, task, keeper)
        batches = max(1, state.batch)
        means = {name: value / batches for name, value in state.sums.items()}
        state.epoch += 1
        state.batch, state.sums, state.random = 0, {}, {}
        figures = {"epoch": float(state.epoch), **means, **task.validate()}
        best = all(task.merit(figures) >= task.merit(epoch) for epoch in state.history)
        state.history.append(figures)
        keeper.complete(state, best=best)
        yield figures


def ended(state: TrainingState, schedule: Schedule, merit: Callable[[Figures], float]) -> bool:
    """Whether there is nothing left to do."""
    if state.epoch >= schedule.epochs or 0 < schedule.batches <= state.total:
        return True
    merits = [merit(figures) for figures in state.history]
    return bool(merits) and 0 < schedule.patience < len(merits) - merits.index(max(merits))


def _epoch(state: TrainingState, schedule: Schedule, task: Task[Item], keeper: Keeper) -> None:
    plan = task.plan(state.epoch)
    random = generator(schedule.seed, state.epoch)
    with torch.random.fork_rng():
        torch.manual_seed(generator(schedule.seed, state.epoch, 1).initial_seed())
        _set_random(state.random, random)
        while state.batch < len(plan) and not 0 < schedule.batches <= state.total:
            done = _done(state, schedule, len(plan))
            moment = Moment(state.epoch, state.total, done, random)
            for name, value in task.step(plan[state.batch], moment).items():
                state.sums[name] = state.sums.get(name, 0.0) + value
            state.batch += 1
            state.total += 1
            progress.report(state.batch, len(plan), f"batches of epoch {state.epoch + 1}")
            if schedule.save_every and state.batch % schedule.save_every == 0 and state.batch < len(plan):
                state.random = _random(random)
                keeper.save(state)


def _done(state: TrainingState, schedule: Schedule, batches: int) -> float:
    of_epochs = (state.epoch + state.batch / batches) / schedule.epochs
    return max(of_epochs, state.total / schedule.batches) if schedule.batches else of_epochs


def _random(random: torch.Generator) -> dict[str, Any]:
    states = {"epoch": random.get_state(), "torch": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _set_random(states: Mapping[str, Any], random: torch.Generator) -> None:
    if states:
        random.set_state(states["epoch"])
        torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def in_batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in their order, ``size`` by ``size``; the last batch may be smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def cosine(done: float, *, highest: float, warm_up: float) -> float:
    """A learning rate that rises linearly over a share ``warm_up`` of the training, then falls to 0."""
    rising = min(1.0, (done + 1e-3) / warm_up) if warm_up else 1.0
    return highest * rising * (1 + math.cos(math.pi * done)) / 2

"""The loop that all trainers share: resumption, accumulation, averages, ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from score_to_audio import progress
from score_to_audio.errors import InputError
from score_to_audio.training.folder import BEST, CURVE, LAST
from score_to_audio.training.loop import Figures, Moment, Schedule, Task, TrainingState, cosine, ended, train
from score_to_audio.training.optimization import Optimization, exponential_average, unbiased_average
from tests.paths import PROJECT
from tests.score_to_audio.training.linear_training import BATCHES, begin, run

MIDWAY = Schedule(epochs=3, save_every=2, seed=1)
SAVES = 3 * (BATCHES // 2 + 1)
"""Of ``last.pt`` in a training of this schedule."""


class DiedError(Exception):
    pass


def assert_same_bytes(one: Path, other: Path) -> None:
    for name in (LAST, BEST, CURVE):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("death", range(SAVES + 2 * 3))
def test_a_training_that_dies_at_any_file_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: int
) -> None:
    """Dies before the file of number ``death`` is there; accumulated gradients are kept as well."""
    list(run(tmp_path / "undisturbed", MIDWAY, accumulation=3))
    written = 0
    replace = Path.replace

    def dying(path: Path, target: Any) -> Path:
        nonlocal written
        written += 1
        if written == death + 1:
            raise DiedError
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dying)
        try:
            list(run(tmp_path / "killed", MIDWAY, accumulation=3))
        except DiedError:
            pass
        else:
            assert written <= death  # the best checkpoint is not written after every epoch
    list(run(tmp_path / "killed", MIDWAY, accumulation=3))
    assert_same_bytes(tmp_path / "undisturbed", tmp_path / "killed")


def test_a_killed_training_ends_with_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.score_to_audio.training.linear_training"]
    with subprocess.Popen(
        [*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        running.kill()
    list(run(tmp_path / "killed", MIDWAY, accumulation=3))
    list(run(tmp_path / "undisturbed", MIDWAY, accumulation=3))
    assert_same_bytes(tmp_path / "undisturbed", tmp_path / "killed")


def test_another_configuration_does_not_go_on(tmp_path: Path) -> None:
    list(run(tmp_path, Schedule(epochs=1)))
    with pytest.raises(InputError, match="another configuration"):
        list(run(tmp_path, Schedule(epochs=2)))


def test_it_reports_every_batch(tmp_path: Path) -> None:
    heard: list[tuple[float, float, str]] = []
    with progress.listening(lambda *report: heard.append(report)):
        list(run(tmp_path, Schedule(epochs=2)))
    assert [done for done, _, _ in heard] == [*range(1, BATCHES + 1)] * 2
    assert {unit for _, _, unit in heard} == {"batches of epoch 1", "batches of epoch 2"}


# ----------------------------------------------------------------------------------------------- ends


def test_batches_end_a_training_within_an_epoch(tmp_path: Path) -> None:
    history = list(run(tmp_path, Schedule(epochs=9, batches=BATCHES + 2)))
    assert [figures["epoch"] for figures in history] == [1, 2]
    assert torch.load(tmp_path / LAST, weights_only=True)["training"]["total"] == BATCHES + 2


def test_patience_ends_a_training() -> None:
    merits = iter([0.1, 0.3, 0.3, 0.2, 0.1, 0.9])
    state = TrainingState({})
    quick = Task[int](
        plan=lambda epoch: [0],
        step=lambda item, moment: {"loss": 1.0},
        validate=lambda: {"merit": next(merits)},
        merit=lambda figures: figures["merit"],
    )
    kept = Kept()
    schedule = Schedule(epochs=9, patience=3)
    assert len(list(train(state, schedule, quick, kept))) == 5
    assert kept.best == [1, 2, 3]  # a tie is better
    assert ended(state, schedule, quick.merit)
    assert not ended(state, Schedule(epochs=9), quick.merit)


class Kept:
    def __init__(self) -> None:
        self.best: list[int] = []

    def save(self, state: TrainingState) -> None: ...

    def complete(self, state: TrainingState, *, best: bool) -> None:
        self.best += [state.epoch] if best else []


def test_moments_count_the_share_that_is_done() -> None:
    shares: list[float] = []

    def step(item: int, moment: Moment) -> Figures:
        shares.append(moment.done)
        return {}

    quick = Task[int](lambda epoch: [0, 1], step, dict, lambda figures: 0.0)
    list(train(TrainingState({}), Schedule(epochs=2), quick, Kept()))
    list(train(TrainingState({}), Schedule(epochs=4, batches=2), quick, Kept()))
    assert shares == [0, 0.25, 0.5, 0.75, 0, 0.5]


def test_the_cosine_rises_then_falls() -> None:
    rates = [cosine(done, highest=2.0, warm_up=0.1) for done in (0.0, 0.05, 0.1, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2]
    assert rates[2:] == pytest.approx([1.951, 1.0, 0.0], abs=1e-3)


# -------------------------------------------------------------------------------------------- updates


def test_accumulated_batches_are_one_large_batch() -> None:
    rows = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    one, three = begin(), begin(accumulation=3)
    one.network(rows).square().sum().backward()
    assert one.update()
    updated = []
    for part in rows.split(2):
        three.network(part).square().sum().backward()
        updated.append(three.update())
    assert updated == [False, False, True]
    torch.testing.assert_close(one.network.state_dict(), three.network.state_dict())


def test_gradients_are_clipped() -> None:
    network = nn.Linear(2, 1)
    before = network.weight.detach().clone()
    clipped = Optimization(network, torch.optim.SGD(network.parameters(), lr=1.0), gradient_norm=0.5)
    (100 * network(torch.tensor([[3.0, 4.0]]))).sum().backward()
    clipped.update()
    assert (network.weight - before).norm() < 0.5


def test_averages() -> None:
    network = nn.BatchNorm1d(1)
    usual, unbiased = exponential_average(network, 0.9), unbiased_average(network, 0.9)
    for value in (1.0, 2.0, 4.0):
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_mean.fill_(value)  # type: ignore[union-attr, operator]
        usual.update_parameters(network)
        unbiased.update_parameters(network)
    assert usual.module.weight.item() == pytest.approx(0.9 * (0.9 + 0.1 * 2) + 0.1 * 4)
    exact = (0.81 + 0.9 * 2 + 4) / (0.81 + 0.9 + 1)
    assert unbiased.module.weight.item() == pytest.approx(exact)
    assert unbiased.module.running_mean.item() == pytest.approx(exact)

"""The training of M2M against recordings of the authors' code; tolerances of the sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from renderers.m2m.network import M2MNetwork
from renderers.m2m.training import losses
from tests.parity.golden_files import Recording, case_name, load_cases
from tests.parity.test_m2m import CONFIG, ids, network

LEARNING_RATE = 2e-5


@pytest.fixture
def tiny() -> M2MNetwork:
    """A copy that can be trained: its dropout is 0."""
    built = M2MNetwork(network("tiny").config)
    built.load_state_dict(network("tiny").state_dict())
    return built.train()


def relative(found: Any, recorded: NDArray[Any], tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), recorded, rtol=tolerance, atol=0)


def head_losses(built: M2MNetwork, recorded: Recording) -> tuple[list[torch.Tensor], torch.Tensor]:
    mask = torch.from_numpy(recorded["mask"])
    logits = list(built(ids(recorded["x"]), mask, ids(recorded["style"])[:, 0]))
    return logits, losses.head_losses(logits, ids(recorded["y"]), mask)


def check_gradients(built: M2MNetwork, recorded: Recording, norms: str, arrays: str) -> None:
    parameters = dict(built.named_parameters())
    for name, norm in zip(recorded["param_names"], recorded[norms], strict=True):
        gradient = parameters[str(name)].grad
        assert gradient is not None or norm == 0
        if gradient is not None:
            np.testing.assert_allclose(gradient.norm(), norm, rtol=1e-4, atol=1e-7)
    for key in recorded.named(arrays):
        gradient, wanted = parameters[key.removeprefix(arrays)].grad, recorded[key]
        assert gradient is not None
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("path", load_cases("m2m", "training/*.npz"), ids=case_name)
def test_every_recorded_array(path: Path, tiny: M2MNetwork) -> None:
    recorded = Recording(path)
    logits, own = head_losses(tiny, recorded)
    for name, head in zip(CONFIG["tiny"]["output_features"], logits, strict=True):
        np.testing.assert_allclose(head.detach(), recorded[f"logits/{name}"], rtol=0, atol=1e-4)
    relative(own.detach(), recorded["loss"], 1e-5)
    total = losses.fixed_weight_total(own, tiny.config.classes)
    relative(total.detach(), recorded["fixed_weight_total"], 1e-5)
    gradients = losses.head_gradients(own, tiny.out_linear.weight)
    relative(gradients.flatten(1).norm(dim=1), recorded["grad_norm_per_head"], 1e-4)
    wanted = recorded["out_linear_grad_per_head"]
    np.testing.assert_allclose(gradients, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())

    new = losses.backward(own, torch.ones(3), tiny.out_linear)
    relative(new, recorded["steps/weights_after"][0], 1e-5)
    check_gradients(tiny, recorded, "grad_norms_weighted_loss_only", "step0/grad_weighted_loss_only/")

    tiny.zero_grad()
    _, own = head_losses(tiny, recorded)
    losses.backward_officially(own, torch.ones(3), tiny.out_linear)
    check_gradients(tiny, recorded, "step0/grad_norms", "step0/grad/")

    check_steps(tiny, recorded)
    for step, factor in zip(recorded["schedule_step"], recorded["schedule_factor"], strict=True):
        relative(losses.published_learning_rate(int(step)), factor, 1e-9)
    recorded.check_complete()


def check_steps(built: M2MNetwork, recorded: Recording) -> None:
    """Whole steps on one batch, the schedule having been advanced 38 times before."""
    optimizer = torch.optim.Adam(built.parameters(), lr=LEARNING_RATE)
    weights = torch.ones(3)
    for step, rate in enumerate(recorded["steps/lr"]):
        optimizer.zero_grad()
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * losses.published_learning_rate(38 + step)
        relative(optimizer.param_groups[0]["lr"], rate, 1e-9)
        _, own = head_losses(built, recorded)
        weights = losses.backward_officially(own, weights, built.out_linear)
        optimizer.step()
        relative(own.detach(), recorded["steps/loss"][step], 1e-5)
        relative(weights, recorded["steps/weights_after"][step], 1e-5)
        relative((weights * own).sum().detach(), recorded["steps/total"][step], 1e-5)

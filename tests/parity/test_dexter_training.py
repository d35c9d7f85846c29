"""The training of DExter against recordings of the authors' code; tolerances of the sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from renderers.dexter.network import Denoiser
from renderers.dexter.training.losses import COLUMNS, Draws, Loss, loss
from tests.parity.golden_files import Recording, case_name, load_cases
from tests.parity.test_dexter import close, condition, network, schedule

LEARNING_RATE = 5e-5
MODES = ("train", "eval")
"""With and without dropped conditions."""


@pytest.fixture
def tiny() -> Denoiser:
    built = Denoiser(network("tiny").config)
    built.load_state_dict(network("tiny").state_dict())
    return built


def relative(found: Any, recorded: NDArray[Any], tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(found), recorded, rtol=tolerance, atol=0)


def own_loss(built: Denoiser, recorded: Recording, mode: str) -> Loss:
    drawn = Draws(
        noise=torch.from_numpy(recorded["noise"]),
        steps=torch.from_numpy(recorded["t"]).long(),
        dropped=torch.from_numpy(recorded["drop_mask"] > 0) & (mode == "train"),
    )
    codec = torch.from_numpy(recorded["p"])
    return loss(built, schedule("tiny"), codec, condition(recorded["s"]), drawn, official=True)


@pytest.mark.parametrize("path", load_cases("dexter", "training/*.npz"), ids=case_name)
def test_every_recorded_array(path: Path, tiny: Denoiser) -> None:
    recorded = Recording(path)
    assert not recorded["c"].any()  # the network does not use it
    for mode in MODES:
        tiny.zero_grad()
        own = own_loss(tiny, recorded, mode)
        own.total().backward()
        close(own.noised, recorded[f"{mode}/x_t"], 1e-6)
        close(own.condition.mT, recorded[f"{mode}/condition"], 1e-6)
        close(own.predicted_noise.detach(), recorded[f"{mode}/predicted_noise"], 1e-4)
        close(own.predicted_codec.detach(), recorded[f"{mode}/predicted_x0"], 1e-3)
        relative(own.diffusion.detach(), recorded[f"{mode}/diffusion_loss"])
        for column, value in zip(COLUMNS, own.reconstruction.detach(), strict=True):
            relative(value, recorded[f"{mode}/recon_{column}_loss"])
        relative(own.total().detach(), recorded[f"{mode}/total"])
        check_gradients(tiny, recorded, mode)
    check_adam_steps(tiny, recorded)
    recorded.check_complete()


def check_gradients(built: Denoiser, recorded: Recording, mode: str) -> None:
    parameters = dict(built.named_parameters())
    for name, norm in zip(recorded["param_names"], recorded[f"{mode}/grad_norms"], strict=True):
        gradient = parameters[str(name)].grad
        assert gradient is not None
        relative(gradient.norm(), norm, 1e-4)
    for key in recorded.named(f"{mode}/grad/"):
        gradient, wanted = parameters[key.removeprefix(f"{mode}/grad/")].grad, recorded[key]
        assert gradient is not None
        close(gradient, wanted, 1e-4 * np.abs(wanted).max())


def check_adam_steps(built: Denoiser, recorded: Recording) -> None:
    """Totals before each update, with the same draws every time."""
    optimizer = torch.optim.Adam(built.parameters(), lr=LEARNING_RATE)
    for wanted in recorded["loss_over_adam_steps"]:
        optimizer.zero_grad()
        total = own_loss(built, recorded, "train").total()
        relative(total.detach(), wanted, 1e-4)
        total.backward()
        optimizer.step()

"""ScaledAdam and Eden: Yao et al., "Zipformer: A Faster and Better Encoder for Automatic Speech Recognition",
ICLR 2024, section 3.5 and appendix A.1."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM, VARIANCE = 0.9, 0.95
"""Decays of steps and of squared gradients."""
EPSILON = 1e-8
SCALE_RATE = 0.1
"""Learning rate of the scale of a tensor, and of tensors of one element, relative to that of the others."""
SCALE_PERIOD = 4
"""Steps between two updates of a tensor's scale."""
SMALLEST, LARGEST = 1e-5, 3.0
"""Bounds of a tensor's root mean square."""
LARGEST_SCALAR = 10.0
CLIPPING = 2.0
"""Times the median norm: limit of the gradients that change scales."""


class ScaledAdam(torch.optim.Optimizer):
    """Adam with steps in proportion to the size of a tensor, and with a learnt size of each tensor.

    ``clipping_period``: steps over which the median norm of the gradients is taken; gradients are clipped for
    the update of scales alone.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float = 0.05, clipping_period: int = 1000
    ) -> None:
        super().__init__(parameters, {"lr": lr, "norms": [], "steps": 0, "limit": 0.0})
        self.clipping_period = clipping_period

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if not self.state[parameter]:
                    self.state[parameter] = _new_state(parameter)
            factor = self.clip_factor(group)
            for parameter in group["params"]:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                _update(parameter, gradient, self.state[parameter], group["lr"], group["steps"], factor)
            group["steps"] += 1

    def clip_factor(self, group: dict[str, Any]) -> float:
        """At most 1; as of this step."""
        if not group["steps"]:
            return 1.0
        period = self.clipping_period
        squares = [
            (one.grad * self.state[one].get("rms", 1.0)).square().sum()
            for one in group["params"]
            if one.grad is not None
        ]
        norm = float(torch.stack(squares).sum().sqrt())
        group["norms"] = [*group["norms"], norm][-period:]
        if group["steps"] % period == 0:
            group["limit"] = CLIPPING * sorted(group["norms"])[period // 2]
        return min(1.0, group["limit"] / (norm + 1e-30)) if group["steps"] >= period else 1.0


def _new_state(parameter: Tensor) -> dict[str, Any]:
    state: dict[str, Any] = {"step": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
    if parameter.numel() > 1:
        state["rms"] = parameter.square().mean().sqrt()
        state["scale_square"] = parameter.new_zeros(())
        state["scale_gradients"] = parameter.new_zeros(SCALE_PERIOD)
    return state


def _update(
    parameter: Tensor, gradient: Tensor, state: dict[str, Any], rate: float, steps: int, factor: float
) -> None:
    step, square = state["step"], state["square"]
    step.mul_(MOMENTUM)
    if parameter.numel() > 1:
        state["scale_gradients"][steps % SCALE_PERIOD] = factor * (parameter * gradient).sum()
        if steps % SCALE_PERIOD == SCALE_PERIOD - 1:
            state["rms"] = parameter.square().mean().sqrt()
            step.add_((1 - MOMENTUM) * _scale_step(state, rate, (steps + 1) // SCALE_PERIOD) * parameter)
    square.mul_(VARIANCE).addcmul_(gradient, gradient, value=1 - VARIANCE)
    correction = 1 - VARIANCE ** (steps + 1)
    if parameter.numel() > 1:
        # As published, the mean square is not corrected for its start once that matters little.
        denominator = (square / correction if correction < 0.99 else square).sqrt() + EPSILON
        size = (1 - MOMENTUM) * rate * state["rms"].clamp(min=SMALLEST)
    else:
        denominator = (square / correction).sqrt() + EPSILON
        size = (1 - MOMENTUM) * SCALE_RATE * rate
        parameter.clamp_(-LARGEST_SCALAR, LARGEST_SCALAR)
    step.sub_(size * gradient / denominator)
    parameter.add_(step)


def _scale_step(state: dict[str, Any], rate: float, updates: int) -> Tensor:
    """Relative change of the tensor's size."""
    decay = VARIANCE**SCALE_PERIOD
    gradients, square = state["scale_gradients"], state["scale_square"]
    square.mul_(decay).add_((1 - decay) * gradients.square().mean())
    corrected = math.sqrt(1 - decay**updates) / (square.sqrt() + EPSILON)
    change = -SCALE_RATE * rate * corrected * gradients.sum()
    change = torch.where(state["rms"] < SMALLEST, 0.0, change)
    return torch.where(state["rms"] > LARGEST, -SCALE_RATE * rate * SCALE_PERIOD, change)


def eden(
    batches: int,
    epochs: int,
    *,
    base: float = 0.05,
    warm_up: int = 20,
    slow_batches: float = 5000.0,
    slow_epochs: float = 4.0,
) -> float:
    """The learning rate after so many batches and whole epochs."""

    def falling(done: int, slow: float) -> float:
        return float((1 + (done / slow) ** 2) ** -0.25)

    rising = 0.5 + 0.5 * min(1.0, batches / warm_up)
    return base * rising * falling(batches, slow_batches) * falling(epochs, slow_epochs)

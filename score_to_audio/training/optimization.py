"""Updates of a network's weights: accumulation, clipping, moving averages, mixed precision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from score_to_audio.machine import has_fast_bfloat16
from score_to_audio.seeding import generator

Precision = Literal["float32", "bfloat16"]

log = logging.getLogger(__name__)


@dataclass
class Optimization:
    """A network, its optimizer, and perhaps the moving average of its weights."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None = None
    accumulation: int = 1
    """Batches whose gradients are added up for one update."""
    gradient_norm: float | None = None
    """Gradients are clipped to this norm."""
    pending: int = 0
    """Batches whose gradients wait for the next update."""

    def update(self) -> bool:
        """After ``backward`` on a batch: update the weights if it is time; returns whether it was."""
        self.pending += 1
        if self.pending < self.accumulation:
            return False
        if self.gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.pending = 0
        return True

    @property
    def averaged(self) -> nn.Module:
        """The network with the averaged weights, or the network itself."""
        return self.network if self.average is None else self.average.module

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        gradients = [parameter.grad for parameter in self.network.parameters()] if self.pending else []
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "pending": self.pending,
            "gradients": gradients,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.pending = saved["pending"]
        if self.pending:
            for parameter, gradient in zip(self.network.parameters(), saved["gradients"], strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter.device)


def exponential_average(network: nn.Module, decay: float) -> AveragedModel:
    """An average whose first value is that of the first update."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))


def unbiased_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential average of weights and buffers over the updates so far: the sum of the decayed values is
    divided by that of the decayed ones (Kingma & Ba, "Adam", ICLR 2015, section 3)."""

    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        share = (1 - decay) / (1 - decay ** (int(updates) + 1))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)

    # torch's annotation asks for tuples of tensors, its code passes lists.
    function: Callable[..., None] = average
    return AveragedModel(network, multi_avg_fn=function, use_buffers=True)


def mixed_precision(device: torch.device | str, precision: Precision) -> AbstractContextManager[None]:
    """Matrix products and convolutions in ``precision`` within the block; bfloat16 needs no scaling.

    Where bfloat16 is slow, the block computes in float32, with a warning.
    """
    kind = torch.device(device).type
    mixed = precision == "bfloat16"
    if mixed and not has_fast_bfloat16(kind):
        mixed = False
        _warn_of_float32()
    context: AbstractContextManager[None] = torch.autocast(kind, torch.bfloat16, enabled=mixed)
    return context


@cache
def _warn_of_float32() -> None:
    """Once per process."""
    log.warning("this processor has no bfloat16 instructions; training in float32")


@contextmanager
def seeded_modules(seed: int) -> Iterator[None]:
    """Modules that are built in the block get the random weights of ``seed``: they take no generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(seed).initial_seed())
        yield


def set_dropout(network: nn.Module, share: float) -> None:
    """Of all dropout layers of a network."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = share

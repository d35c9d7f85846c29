"""Drawing a class per note: temperature, top-k and top-p, with every random number given from outside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

EPSILON_SUM, EPSILON_CLASS = 1e-10, 1e-8
"""Of the published top-p."""


def draw(probabilities: Tensor, noise: Tensor) -> Tensor:
    """One class per row: argmax(p / q) with q standard exponential of the same shape, which is what
    ``torch.multinomial(p, 1)`` computes."""
    return (probabilities / noise).argmax(dim=-1)


def restricted(probabilities: Tensor, *, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Probabilities [..., classes] without the improbable classes, not normalised again.

    ``top_k`` 0 and ``top_p`` 1 leave all in; otherwise the most probable ones that are needed stay, and
    always at least one.
    """
    if top_k:
        least = probabilities.topk(min(top_k, probabilities.shape[-1])).values[..., -1:]
        probabilities = probabilities * (probabilities >= least)
    if top_p < 1:
        falling, order = probabilities.sort(dim=-1, descending=True)
        before = (falling.cumsum(dim=-1) - falling) / falling.sum(dim=-1, keepdim=True)
        kept = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before < top_p)
        probabilities = probabilities * kept
    return probabilities


def official_nucleus(logits: Tensor, noise: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """The published top-p: where the most probable class alone exceeds ``top_p`` nothing is kept, and the
    draw is uniform. The noise belongs to the sorted classes."""
    falling, order = functional.softmax(logits / temperature, dim=-1).sort(dim=-1, descending=True)
    kept = falling.cumsum(dim=-1) <= top_p
    kept[..., 0] |= falling[..., 0] == 1
    remaining = falling * kept
    remaining = remaining / (remaining.sum(dim=-1, keepdim=True) + EPSILON_SUM) + EPSILON_CLASS
    remaining = remaining / remaining.sum(dim=-1, keepdim=True)
    return order.gather(-1, draw(remaining, noise)[..., None])[..., 0]

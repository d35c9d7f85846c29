"""The loss of M2M: a cross-entropy per head, weighted by fixed numbers or by GradNorm.

GradNorm (Chen et al., ICML 2018, section 3) moves the weights so that the gradients of all heads at the last
shared layer have the same norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WEIGHT_RATE = 1e-3
"""Step of the weights along their gradient."""


def head_losses(logits: Sequence[Tensor], targets: Tensor, mask: Tensor) -> Tensor:
    """[3] mean cross-entropy of each head over the rows of the mask.

    ``logits``: [B, L, classes] per head; ``targets``: [B, L, 3] ids in the order of the heads; ``mask``:
    [B, L] 1 or 0.
    """
    weight = mask.to(logits[0])
    losses = [
        (functional.cross_entropy(head.mT, targets[..., column], reduction="none") * weight).sum()
        for column, head in enumerate(logits)
    ]
    return torch.stack(losses) / weight.sum()


def fixed_weight_total(losses: Tensor, classes: Sequence[int]) -> Tensor:
    """The losses' mean, weighted by the number of classes of each head."""
    weights = losses.new_tensor(classes)
    return (weights * losses).sum() / weights.sum()


def head_gradients(losses: Tensor, weight: Tensor, *, differentiable: bool = False) -> Tensor:
    """[heads, *weight.shape] gradient of each loss."""
    return torch.stack(
        [
            torch.autograd.grad(one, weight, retain_graph=True, create_graph=differentiable)[0]
            for one in losses
        ]
    )


def backward(losses: Tensor, weights: Tensor, shared: nn.Linear) -> Tensor:
    """Add the gradients of the weighted sum of the losses to the network's; returns the new weights [heads].

    ``shared``: the last layer that all heads share. The weights keep their sum.
    """
    norms = _norms(head_gradients(weights * losses, shared.weight))
    (weights * losses).sum().backward()
    gradient = (norms - norms.mean()).sign() * norms / (len(weights) * weights)
    return _moved(weights, gradient)


def backward_officially(losses: Tensor, weights: Tensor, shared: nn.Linear) -> Tensor:
    """As ``backward``, for ``compatibility="official"``: the distance of the norms from their mean is a loss
    of the network, too, where GradNorm has it move the weights alone."""
    own = weights.clone().requires_grad_()
    weighted = own * losses
    norms = _norms(head_gradients(weighted, shared.weight, differentiable=True))
    weighted.sum().backward(retain_graph=True)
    own.grad = None
    (norms - norms.mean().detach()).abs().mean().backward()
    assert own.grad is not None
    return _moved(weights, own.grad)


def _norms(gradients: Tensor) -> Tensor:
    return gradients.flatten(1).norm(dim=1)


def _moved(weights: Tensor, gradient: Tensor) -> Tensor:
    moved = weights - WEIGHT_RATE * gradient
    return len(moved) * moved / moved.abs().sum()


def published_learning_rate(step: int) -> float:
    """Factor of the learning rate at a step: ten times more per step up to the 40th, then a slow decay."""
    return 0.1 ** (40 - step) if step < 40 else 0.99995**step

"""Weights of losses as shares of the gradient (section 3.4 of the paper, "Balancer")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

DECAY = 0.999
"""Of the moving averages of the gradients' norms."""
EPSILON = 1e-12


@dataclass
class Balancer:
    """Scales each loss by the inverse of the mean norm of its gradient with respect to the output."""

    weights: Mapping[str, float]
    """Shares of the losses, relative to their sum."""
    sums: dict[str, float] = field(default_factory=dict)
    """Decayed sums of the norms."""
    count: float = 0.0
    """Decayed number of batches."""

    def scales(self, gradients: Mapping[str, Tensor]) -> dict[str, float]:
        """The factor of each loss, after taking its gradient [B, ...] into account."""
        self.count = DECAY * self.count + 1
        norms = torch.stack([norm(gradients[name]) for name in self.weights]).tolist()
        for name, one in zip(self.weights, norms, strict=True):
            self.sums[name] = DECAY * self.sums.get(name, 0.0) + one
        total = sum(self.weights.values())
        return {
            name: weight / total / (EPSILON + self.sums[name] / self.count)
            for name, weight in self.weights.items()
        }

    def state_dict(self) -> dict[str, object]:
        return {"sums": dict(self.sums), "count": self.count}

    def load_state_dict(self, saved: Mapping[str, object]) -> None:
        sums, count = saved["sums"], saved["count"]
        assert isinstance(sums, dict)
        assert isinstance(count, float)
        self.sums, self.count = dict(sums), count


def norm(gradient: Tensor) -> Tensor:
    """Mean over the batch of the L2 norms."""
    return gradient.flatten(1).norm(dim=1).mean()


def combined(gradients: Mapping[str, Tensor], scales: Mapping[str, float]) -> Tensor:
    """The scaled gradients' sum."""
    return torch.stack([scale * gradients[name] for name, scale in scales.items()]).sum(dim=0)

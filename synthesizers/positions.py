"""Positional encodings."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor


def sinusoidal_positions(count: int, width: int) -> Tensor:
    """[count, width]: sines at even, cosines at odd places (Vaswani et al., "Attention Is All You Need",
    NeurIPS 2017, section 3.5)."""
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(log(10000.0) / width))
    angle = torch.arange(count, dtype=torch.float32)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)

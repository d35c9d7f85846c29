"""Drawing tokens from logits: temperature, top-k and nucleus filtering, repeatable draws."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature comes first, then top-k, then top-p."""

    temperature: float = 1.0
    top_k: int = 0
    """Keep the k largest logits and those equal to the smallest of them; 0 or less keeps all."""
    top_p: float = 1.0
    """Keep the most probable tokens up to the one with which their sum exceeds p (Holtzman et al., "The
    Curious Case of Neural Text Degeneration", ICLR 2020); 1 keeps all."""


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities [rows, V] to draw from, for logits [rows, V]."""
    return torch.softmax(filtered(logits, sampling), dim=-1)


def filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits [rows, V] divided by the temperature, minus infinity where a token cannot be drawn."""
    logits = logits / sampling.temperature if sampling.temperature != 1.0 else logits
    if sampling.top_k > 0:
        smallest_kept = logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest_kept, float("-inf"))
    if sampling.top_p < 1.0:
        ordered, order = logits.sort(dim=-1, descending=True)
        chances = ordered.softmax(dim=-1)
        excess = chances.cumsum(dim=-1) - chances > sampling.top_p
        logits = logits.masked_fill(excess.scatter(-1, order, excess), float("-inf"))
    return logits


def exponential_noise(size: int, generator: torch.Generator) -> Tensor:
    """Exponential variates [size] for one draw.

    One call per draw makes the draws of ``torch.multinomial`` on one row.
    """
    return torch.empty(size).exponential_(generator=generator)


def draw(chances: Tensor, noise: Tensor) -> Tensor:
    """Tokens [rows] drawn from probabilities [rows, V] with exponential variates [rows, V].

    The token with the largest quotient has the given probability; ``torch.multinomial`` draws the same way.
    """
    return (chances / noise).argmax(dim=-1)

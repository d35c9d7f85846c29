"""A class per note: drawn with given random numbers, from the most probable ones only, or their mean."""

from __future__ import annotations

from torch import Tensor, arange, zeros_like


def draw(probabilities: Tensor, noise: Tensor) -> Tensor:
    """One class per row: argmax(p / q) with standard exponential q of the same shape, as in
    ``torch.multinomial(p, 1)``."""
    return (probabilities / noise).argmax(dim=-1)


def expected(probabilities: Tensor) -> Tensor:
    """The mean class per row [..., classes], rounded: classes are in the order of what they stand for."""
    classes = arange(probabilities.shape[-1]).to(probabilities)
    mean = (probabilities * classes).sum(dim=-1) / probabilities.sum(dim=-1)
    return mean.round().long()


def restricted(probabilities: Tensor, *, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Probabilities [..., classes] with improbable classes set to 0, not normalised again.

    ``top_k`` 0 and ``top_p`` 1 keep all classes; otherwise the most probable classes that are needed are
    kept, always at least one."""
    if top_k:
        least = probabilities.topk(min(top_k, probabilities.shape[-1])).values[..., -1:]
        probabilities = probabilities * (probabilities >= least)
    if top_p < 1:
        falling, order = probabilities.sort(dim=-1, descending=True)
        before = (falling.cumsum(dim=-1) - falling) / falling.sum(dim=-1, keepdim=True)
        probabilities = probabilities * zeros_like(before).scatter(-1, order, (before < top_p).to(before))
    return probabilities

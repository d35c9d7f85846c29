"""Codebooks as moving averages of the vectors that they stand for (van den Oord et al., "Neural Discrete
Representation Learning", NeurIPS 2017, appendix A.1).

Vectors are [N, dimension]. A codebook has the tensors of a checkpoint: ``embed`` [K, dimension] the rows,
``cluster_size`` [K] and ``embed_avg`` [K, dimension] the moving averages of counts and sums, ``inited`` [1].
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

DECAY = 0.99
SMOOTHING = 1e-5
START_ROUNDS = 50
"""Of k-means at the start."""
DEAD = 0.05
"""Rows with less than this share of the mean count are replaced."""
OFFICIAL_DEAD = 2.0
"""The published program replaces rows with less than this count."""

DeadCodes = Literal["revived", "official"]
"""``official``: replaced rows are overwritten in the same pass, so that the replacement has no effect."""


class Codebook(Protocol):
    inited: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor


def nearest(vectors: Tensor, rows: Tensor) -> Tensor:
    """[N] indices of the nearest rows, the first on ties."""
    squares = vectors.square().sum(1, keepdim=True) - 2 * vectors @ rows.T + rows.square().sum(1)
    return (-squares).max(dim=1).indices


def pick(vectors: int, rows: int, random: torch.Generator) -> Tensor:
    """[rows] indices of random vectors, different ones where there are enough."""
    if vectors >= rows:
        return torch.randperm(vectors, generator=random)[:rows]
    return torch.randint(vectors, (rows,), generator=random)


def kmeans(vectors: Tensor, means: Tensor, rounds: int = START_ROUNDS) -> tuple[Tensor, Tensor]:
    """Cluster means [K, dimension], and counts [K] of the last assignment; empty clusters keep their mean."""
    counts = means.new_zeros(len(means))
    for _ in range(rounds):
        counts, sums = _assigned(vectors, nearest(vectors, means), len(means))
        means = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], means)
    return means, counts


def start(codebook: Codebook, vectors: Tensor, random: torch.Generator) -> None:
    """Set a new codebook to the clusters of the first batch."""
    chosen = pick(len(vectors), len(codebook.embed), random).to(vectors.device)
    means, counts = kmeans(vectors, vectors[chosen])
    codebook.embed.copy_(means)
    # Sums, so that the first update does not shrink the rows.
    codebook.embed_avg.copy_(means * counts[:, None])
    codebook.cluster_size.copy_(counts)
    codebook.inited.fill_(1)


def dead_rows(cluster_size: Tensor, dead_codes: DeadCodes) -> Tensor:
    """[K] bool"""
    return cluster_size < (OFFICIAL_DEAD if dead_codes == "official" else DEAD * cluster_size.mean())


def replace(codebook: Codebook, dead: Tensor, vectors: Tensor, dead_codes: DeadCodes) -> None:
    """Set the dead rows to ``vectors`` [K, dimension].

    A revived row counts as much as the mean row: it has some hundred batches to prove useful.
    """
    codebook.embed.copy_(torch.where(dead[:, None], vectors, codebook.embed))
    if dead_codes == "revived":
        mean = codebook.cluster_size.mean()
        codebook.cluster_size.copy_(torch.where(dead, mean, codebook.cluster_size))
        codebook.embed_avg.copy_(torch.where(dead[:, None], vectors * mean, codebook.embed_avg))


def update(codebook: Codebook, vectors: Tensor, index: Tensor) -> None:
    """Move the averages towards the vectors [N, dimension] with codes ``index`` [N]; the rows follow."""
    count = len(codebook.embed)
    counts, sums = _assigned(vectors, index, count)
    codebook.cluster_size.mul_(DECAY).add_(counts, alpha=1 - DECAY)
    codebook.embed_avg.mul_(DECAY).add_(sums, alpha=1 - DECAY)
    total = codebook.cluster_size.sum()
    smoothed = (codebook.cluster_size + SMOOTHING) / (total + count * SMOOTHING) * total
    codebook.embed.copy_(codebook.embed_avg / smoothed[:, None])


@torch.no_grad()
def look_up(codebook: Codebook, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """As ``quantize``; the codebook stays as it is."""
    index = nearest(vectors, codebook.embed)
    return index, codebook.embed[index]


@torch.no_grad()
def quantize(
    codebook: Codebook, vectors: Tensor, random: torch.Generator, dead_codes: DeadCodes
) -> tuple[Tensor, Tensor]:
    """The code [N] of each vector and the row [N, dimension] that it stands for; the codebook learns from the
    vectors afterwards."""
    if not bool(codebook.inited):
        start(codebook, vectors, random)
    index = nearest(vectors, codebook.embed)
    rows = codebook.embed[index]
    dead = dead_rows(codebook.cluster_size, dead_codes)
    if bool(dead.any()):
        chosen = pick(len(vectors), len(codebook.embed), random).to(vectors.device)
        replace(codebook, dead, vectors[chosen], dead_codes)
    update(codebook, vectors, index)
    return index, rows


def _assigned(vectors: Tensor, index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Counts [K] and sums [K, dimension] of the vectors of each row. A matrix product, because scattered
    additions on a GPU differ from run to run."""
    chosen = functional.one_hot(index, rows).to(vectors.dtype)
    return chosen.sum(dim=0), chosen.T @ vectors

"""Performances of a score as windows of codecs, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renderers.dexter.windows import normalised_condition

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A score of N notes with P performances."""

    score: Floats
    """[N, 4] score codec."""
    performances: Floats
    """[P, N, 5] performance codecs."""
    known: Flags
    """[P, N] False for notes that were not played."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation [5] of the codecs' columns."""

    means: Floats
    stds: Floats


SMALLEST_DEVIATION = 1e-3


def statistics_of(examples: Sequence[Example]) -> Statistics:
    """Over all notes that were played. The published ones include the zeros that pad windows."""
    rows = np.concatenate([one.performances[one.known] for one in examples]).astype(np.float64)
    return Statistics(
        rows.mean(axis=0).astype(np.float32),
        np.maximum(rows.std(axis=0), SMALLEST_DEVIATION).astype(np.float32),
    )


@dataclass(frozen=True)
class Window:
    """Consecutive played notes of a performance, or of the mean of two."""

    example: int
    performance: int
    other: int
    """Index of the performance it is mixed with; -1: none."""
    start: int


def windows(
    examples: Sequence[Example], length: int, mixup: float, random: np.random.Generator
) -> list[Window]:
    """Every performance cut into windows of ``length`` notes from a random position on, in random order.

    ``mixup``: probability that a window is the mean of two performances (Zhang et al., section 3)."""
    drawn = []
    for index, one in enumerate(examples):
        for performance, known in enumerate(one.known):
            other = -1
            if len(one.known) > 1 and random.random() < mixup:
                other = int((performance + random.integers(1, len(one.known))) % len(one.known))
            count = int((known & one.known[other]).sum()) if other >= 0 else int(known.sum())
            first = int(random.integers(length)) if count > length else 0
            for start in sorted({0, *range(first, count, length)}):
                drawn.append(Window(index, performance, other, start))
    random.shuffle(drawn)
    return drawn


@dataclass(frozen=True)
class Batch:
    """B windows of T notes, padded with zeros."""

    codec: Tensor
    """[B, T, 5] standardised."""
    condition: Tensor
    """[B, T, 4] normalised."""


def batch(
    examples: Sequence[Example], chosen: Sequence[Window], length: int, statistics: Statistics
) -> Batch:
    codec = np.zeros((len(chosen), length, len(statistics.means)), np.float32)
    score = np.zeros((len(chosen), length, examples[0].score.shape[1]), np.float32)
    for index, window in enumerate(chosen):
        one = examples[window.example]
        known, played = one.known[window.performance], one.performances[window.performance]
        if window.other >= 0:
            known = known & one.known[window.other]
            played = (played + one.performances[window.other]) / 2
        part = np.flatnonzero(known)[window.start : window.start + length]
        codec[index, : len(part)], score[index, : len(part)] = played[part], one.score[part]
    standardised = (codec - statistics.means) / statistics.stds
    return Batch(torch.from_numpy(standardised), normalised_condition(torch.from_numpy(score)))

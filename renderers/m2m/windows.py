"""Long pieces: overlapping windows whose distributions are blended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from renderers.m2m.network import M2MNetwork
from renderers.m2m.tokens import BAR_TICKS, BOS, EOS, PAD, SPECIALS, Tokens

OVERLAP = 64
"""Notes that two windows share."""
SHORTEST_TICKS = 4
"""Shortest predicted duration: 21 ms, about the shortest key stroke of a pianist."""
WINDOWS_AT_ONCE = 16
NoteOrder = Literal["performance", "score"]
"""Of a network's training examples: intervals are at least 0 in the first."""
_LEAST_INTERVAL = {"performance": SPECIALS + BAR_TICKS, "score": SPECIALS + 1}
"""First possible id."""


@dataclass(frozen=True)
class Window:
    """A window of consecutive notes."""

    first: int
    """Index of its first note."""
    weight: Tensor
    """[notes] weight of each note, rising and falling over the overlaps."""


def windows(notes: int, capacity: int, overlap: int = OVERLAP) -> list[Window]:
    """Windows of at most ``capacity`` notes over ``notes`` notes; the weights of each note sum to one."""
    overlap = min(overlap, capacity // 2)
    starts = [0]
    while starts[-1] + capacity < notes:
        starts.append(starts[-1] + capacity - overlap)
    rising = torch.arange(1, overlap + 1) / (overlap + 1)
    weights = [torch.ones(min(capacity, notes - first)) for first in starts]
    for first, weight in zip(starts, weights, strict=True):
        if first > 0:
            weight[:overlap] = rising[: len(weight)]
        if first + capacity < notes:
            weight[-overlap:] = 1 - rising
    return [Window(first, weight) for first, weight in zip(starts, weights, strict=True)]


def probabilities(
    network: M2MNetwork,
    tokens: Tokens,
    style: int,
    *,
    order: NoteOrder = "performance",
    temperature: float = 1.0,
    report: Callable[[int], None] = lambda _notes: None,
) -> list[Tensor]:
    """[N, classes] distributions of all notes over velocity, IOI and duration; ``report`` is called with the
    number of completed notes.

    Impossible classes have probability 0: special ids, negative intervals where the training examples were
    sorted by performed onset, and durations below ``SHORTEST_TICKS``."""
    all_least = SPECIALS, _LEAST_INTERVAL[order], SPECIALS - 1 + SHORTEST_TICKS
    device = network.out_linear.weight.device
    all_windows = windows(len(tokens), network.config.positions - 2)
    blended = [torch.zeros((len(tokens), classes)) for classes in network.config.classes]
    for start in range(0, len(all_windows), WINDOWS_AT_ONCE):
        batch = all_windows[start : start + WINDOWS_AT_ONCE]
        rows, mask = _framed(tokens, batch)
        styles = torch.full((len(batch),), style, device=device)
        heads = network(rows.to(device), mask.to(device), styles)
        for logits, sums, least in zip(heads, blended, all_least, strict=True):
            impossible = torch.arange(logits.shape[-1]) < least
            possible = logits.float().cpu().div(temperature).masked_fill(impossible, -torch.inf)
            for window, distribution in zip(batch, functional.softmax(possible, dim=-1), strict=True):
                notes = len(window.weight)
                sums[window.first : window.first + notes] += (
                    window.weight[:, None] * distribution[1 : notes + 1]
                )
        report(batch[-1].first + len(batch[-1].weight))
    return blended


def _framed(tokens: Tokens, batch: list[Window]) -> tuple[Tensor, Tensor]:
    """Each window between BOS and EOS, padded to the longest one: rows [W, L, 6] and mask [W, L]."""
    length = max(len(window.weight) for window in batch) + 2
    rows = torch.full((len(batch), length, tokens.shape[1]), PAD)
    mask = torch.zeros((len(batch), length))
    for row, kept, window in zip(rows, mask, batch, strict=True):
        count = len(window.weight)
        row[0], row[count + 1] = BOS, EOS
        row[1 : count + 1] = torch.from_numpy(tokens[window.first : window.first + count])
        kept[: count + 2] = 1
    return rows, mask

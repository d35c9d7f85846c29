"""Long pieces: overlapping windows whose distributions are blended, so that no note feels where one ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from renderers.m2m.network import M2MNetwork
from renderers.m2m.tokens import BAR_TICKS, BOS, EOS, PAD, SPECIALS, Tokens

OVERLAP = 64
"""Notes that two windows share."""
SHORTEST_TICKS = 4
"""Of a predicted duration: 21 ms, about the shortest touch of a pianist."""
WINDOWS_AT_ONCE = 16


@dataclass(frozen=True)
class Window:
    first: int
    """Note that it starts with."""
    weight: Tensor
    """[notes] share of its say, rising and falling over the overlaps."""


def windows(notes: int, capacity: int, overlap: int = OVERLAP) -> list[Window]:
    """Windows of ``capacity`` notes at most over ``notes`` notes; the weights of a note add up to one."""
    overlap = min(overlap, capacity // 2)
    starts = [0]
    while starts[-1] + capacity < notes:
        starts.append(starts[-1] + capacity - overlap)
    rising = torch.arange(1, overlap + 1) / (overlap + 1)
    found = []
    for first in starts:
        weight = torch.ones(min(capacity, notes - first))
        if first > 0:
            weight[:overlap] = rising[: len(weight)]
        if first + capacity < notes:
            weight[-overlap:] = 1 - rising
        found.append(Window(first, weight))
    return found


def probabilities(
    network: M2MNetwork,
    tokens: Tokens,
    style: int,
    *,
    temperature: float = 1.0,
    report: Callable[[int], None] = lambda _notes: None,
) -> list[Tensor]:
    """[N, classes] distributions of all notes over velocity, IOI and duration; ``report`` is told how many
    notes have theirs.

    What no performance holds has probability 0: special ids, intervals backwards (training's performances
    were sorted by onset) and durations below ``SHORTEST_TICKS``.
    """
    device = network.out_linear.weight.device
    found = windows(len(tokens), network.config.positions - 2)
    blended = [torch.zeros((len(tokens), classes)) for classes in network.config.classes]
    impossible = [
        torch.arange(classes) < least for classes, least in zip(network.config.classes, _LEAST, strict=True)
    ]
    for start in range(0, len(found), WINDOWS_AT_ONCE):
        batch = found[start : start + WINDOWS_AT_ONCE]
        rows, mask = _framed(tokens, batch)
        styles = torch.full((len(batch),), style, device=device)
        heads = network(rows.to(device), mask.to(device), styles)
        for head, (logits, mass) in enumerate(zip(heads, blended, strict=True)):
            allowed = logits.float().cpu().div(temperature).masked_fill(impossible[head], -torch.inf)
            share = functional.softmax(allowed, dim=-1)
            for window, own in zip(batch, share, strict=True):
                count = len(window.weight)
                mass[window.first : window.first + count] += window.weight[:, None] * own[1 : count + 1]
        report(batch[-1].first + len(batch[-1].weight))
    return blended


_LEAST = (SPECIALS, SPECIALS + BAR_TICKS, SPECIALS - 1 + SHORTEST_TICKS)
"""First possible id of velocity, IOI (an interval of 0) and duration."""


def _framed(tokens: Tokens, batch: list[Window]) -> tuple[Tensor, Tensor]:
    """Each window between BOS and EOS, padded to the longest: rows [W, L, 6] and mask [W, L]."""
    length = max(len(window.weight) for window in batch) + 2
    rows = torch.full((len(batch), length, tokens.shape[1]), PAD)
    mask = torch.zeros((len(batch), length))
    for row, kept, window in zip(rows, mask, batch, strict=True):
        count = len(window.weight)
        row[0], row[count + 1] = BOS, EOS
        row[1 : count + 1] = torch.from_numpy(tokens[window.first : window.first + count])
        kept[: count + 2] = 1
    return rows, mask

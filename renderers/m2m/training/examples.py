"""Performances of a score as rows of tokens, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renderers.m2m.tokens import (
    BOS,
    EOS,
    PAD,
    SPECIALS,
    TICKS_PER_SECOND,
    TickNotes,
    Tokens,
    encode,
)
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, Performance

TARGETS = (1, 3, 2)
"""Columns of a performance's tokens that the heads predict: velocity, IOI, duration."""


@dataclass(frozen=True)
class Example:
    """A performance, note by note."""

    score: Tokens
    """[N, 6] of the score."""
    targets: Tokens
    """[N, 3] ids of the performance in the order of the heads."""
    style: int = 0


def example(
    score: TickNotes, played: Tokens, performance: Performance, *, official: bool = False
) -> tuple[Tokens, Tokens]:
    """``score``: of N notes; ``played``: [N] index of the performed note of each, -1 for none -> score
    tokens [M, 6] and targets [M, 3] of the notes that were played, in the order of the score, as in
    synthesis.

    Intervals of both sides are those between consecutive rows; a performed one may be negative. Notes shorter
    than a tick get one tick, where the published preparation loses all notes behind them. ``official``: in
    the order of the performed onsets, which synthesis cannot know.
    """
    notes = np.flatnonzero(played >= 0)
    index = played[notes]
    start = performance.onset[index].min(initial=np.inf)
    onset, offset = (_ticks(seconds[index] - start) for seconds in (performance.onset, performance.offset))
    if official:
        order = np.argsort(onset, kind="stable")
        notes, index, onset, offset = notes[order], index[order], onset[order], offset[order]
    pitch = score.pitch[notes]
    written = TickNotes(score.onset[notes], score.duration[notes], pitch, score.velocity[notes])
    performed = TickNotes(onset, np.maximum(offset - onset, 1), pitch, performance.velocity[index])
    return encode(written), encode(performed)[:, TARGETS]


def _ticks(seconds: NDArray[np.float64]) -> Tokens:
    return np.floor(TICKS_PER_SECOND * seconds).astype(np.int64)


@dataclass(frozen=True)
class Block:
    """Consecutive rows of an example."""

    example: int
    start: int
    transposition: int = 0


def blocks(
    examples: Sequence[Example], length: int, transposition: int, random: np.random.Generator
) -> list[Block]:
    """All examples cut into blocks of ``length`` notes from a random position on, in random order, transposed
    by up to ``transposition`` semitones."""
    drawn = []
    for index, one in enumerate(examples):
        first = int(random.integers(length)) if len(one.score) > length else 0
        for start in sorted({0, *range(first, len(one.score), length)}):
            shift = int(random.integers(-transposition, transposition + 1))
            drawn.append(Block(index, start, shift))
    random.shuffle(drawn)
    return drawn


@dataclass(frozen=True)
class Batch:
    """B blocks of L rows."""

    tokens: Tensor
    """[B, L, 6]"""
    targets: Tensor
    """[B, L, 3]"""
    mask: Tensor
    """[B, L] 1: a row, 0: padding."""
    style: Tensor
    """[B]"""

    def to(self, device: torch.device | str) -> Batch:
        return Batch(*(one.to(device) for one in (self.tokens, self.targets, self.mask, self.style)))


def batch(examples: Sequence[Example], chosen: Sequence[Block], length: int) -> Batch:
    """Blocks of up to ``length`` notes, each between BOS and EOS as in synthesis, padded to the longest."""
    rows = [_block(examples[one.example], one, length) for one in chosen]
    longest = max(len(row) for row in rows)
    padded = np.full((len(rows), longest, rows[0].shape[1]), PAD, np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    counts = torch.tensor([len(row) for row in rows])
    return Batch(
        tokens=torch.from_numpy(padded[..., : -len(TARGETS)]),
        targets=torch.from_numpy(padded[..., -len(TARGETS) :]),
        mask=(torch.arange(longest) < counts[:, None]).long(),
        style=torch.tensor([examples[one.example].style for one in chosen]),
    )


def _block(one: Example, block: Block, length: int) -> Tokens:
    """[n + 2, 9] tokens and targets."""
    part = slice(block.start, block.start + length)
    rows = np.concatenate([_transposed(one.score[part], block.transposition), one.targets[part]], axis=1)
    return np.pad(np.pad(rows, ((1, 0), (0, 0)), constant_values=BOS), ((0, 1), (0, 0)), constant_values=EOS)


def _transposed(score: Tokens, semitones: int) -> Tokens:
    """The same rows where that would leave the piano's range."""
    pitch = score[:, 0] + semitones
    inside = (pitch >= SPECIALS) & (pitch <= HIGHEST_PITCH - LOWEST_PITCH + SPECIALS)
    if not inside.all():
        return score
    result = score.copy()
    result[:, 0] = pitch
    return result

"""Parts of the published M2M that only parity tests need: tokens of aligned performances, its accompanying
score, its top-p, and the measures of its evaluation. Section numbers are those of the fact sheet."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from renderers.m2m.sampling import draw
from renderers.m2m.tokens import (
    BAR_TICKS,
    MAX_DURATION,
    SCORE_VELOCITY,
    SPECIALS,
    TICKS_PER_SECOND,
    TickNotes,
    Tokens,
    encode,
)
from score_to_audio.types import LOWEST_PITCH

EPSILON_SUM, EPSILON_CLASS = 1e-10, 1e-8
"""Of the published top-p."""


@dataclass(frozen=True)
class AlignedNotes:
    """Rows of a note alignment (Nakamura's ``infer_corresp``) with a note on both sides, in file order."""

    performed_on: NDArray[np.float64]
    performed_off: NDArray[np.float64]
    velocity: NDArray[np.int64]
    pitch: NDArray[np.int64]
    score_id: NDArray[np.int64]
    score_on: NDArray[np.float64]
    score_off: NDArray[np.float64]


def without_outliers(notes: AlignedNotes) -> AlignedNotes:
    """The notes without those whose score position is far from that of their neighbours (section 2b)."""
    ids, on = notes.score_id.astype(np.float64), notes.score_on

    def neighbour(values: NDArray[np.float64], offset: int) -> NDArray[np.float64]:
        index = np.arange(len(values)) + offset
        inside = (index >= 0) & (index < len(values))
        return np.where(inside, values[np.clip(index, 0, len(values) - 1)], np.nan)

    def far(values: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
        after, before = np.abs(values - neighbour(values, 1)), np.abs(values - neighbour(values, -1))
        return (after > limit) | (before > limit)

    with np.errstate(invalid="ignore"):
        jumps = far(ids, 10) & far(on, 1)
        bent = np.abs(neighbour(ids, 2) + neighbour(ids, -1) - 2 * ids) > 20
    dropped = jumps & np.concatenate([[False], bent[:-1]])
    return AlignedNotes(*(getattr(notes, field.name)[~dropped] for field in fields(notes)))


def aligned_tokens(notes: AlignedNotes) -> Tokens:
    """[N, 11]: pitch, five columns of the performance, five of the score, in the order of the performance.

    As in the published evaluation the last note is lost, and so are all notes after the first one that is
    shorter than a tick, which makes the note before that the last one.
    """

    def ticks(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.floor(TICKS_PER_SECOND * seconds).astype(np.int64)

    def side(
        on: NDArray[np.float64], off: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        onset = ticks(on)
        return onset, np.minimum(ticks(np.where(off == on, off + 0.5, off)) - onset, MAX_DURATION)

    performed, score = side(notes.performed_on, notes.performed_off), side(notes.score_on, notes.score_off)
    order = np.argsort(performed[0], kind="stable")
    short = np.flatnonzero((performed[1][order] == 0) | (score[1][order] == 0))
    order = order[: max((short[0] if len(short) else len(order)) - 1, 0)]
    pitch = notes.pitch[order]
    performance = encode(TickNotes(performed[0][order], performed[1][order], pitch, notes.velocity[order]))
    written = encode(TickNotes(score[0][order], score[1][order], pitch, np.full(len(order), SCORE_VELOCITY)))
    return np.concatenate([performance, written[:, 1:]], axis=1)


def written_notes(rows: Tokens) -> TickNotes:
    """The score that accompanies ``official.performed_notes`` (section 5)."""
    rows = rows[(rows >= SPECIALS).all(axis=1)]
    onset = (rows[:, 9] - SPECIALS) + (rows[:, 10] - SPECIALS) * BAR_TICKS
    velocity = np.full(len(rows), SCORE_VELOCITY)
    return TickNotes(onset, rows[:, 7] - SPECIALS + 1, rows[:, 0] + LOWEST_PITCH - SPECIALS, velocity)


def nucleus(logits: Tensor, noise: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """The published top-p (section 4): where the most probable class alone exceeds ``top_p``, nothing is kept
    and the draw is uniform. The noise belongs to the sorted classes."""
    falling, order = functional.softmax(logits / temperature, dim=-1).sort(dim=-1, descending=True)
    kept = falling.cumsum(dim=-1) <= top_p
    kept[..., 0] |= falling[..., 0] == 1
    remaining = falling * kept
    remaining = remaining / (remaining.sum(dim=-1, keepdim=True) + EPSILON_SUM) + EPSILON_CLASS
    remaining = remaining / remaining.sum(dim=-1, keepdim=True)
    return order.gather(-1, draw(remaining, noise)[..., None])[..., 0]


def correlation(reference: ArrayLike, prediction: ArrayLike) -> float:
    """Pearson's correlation over the common length (section 6)."""
    a, b = (np.asarray(values, np.float64) for values in (reference, prediction))
    common = min(len(a), len(b))
    return float(np.corrcoef(a[:common], b[:common])[0, 1])


def dtw_distance(reference: ArrayLike, prediction: ArrayLike) -> float:
    """Dynamic time warping of two sequences (absolute differences; Sakoe and Chiba's symmetric steps, in
    which a diagonal counts twice), divided by the length of the prediction (section 6)."""
    a, b = (np.asarray(values, np.float64) for values in (reference, prediction))
    cost = np.abs(b[:, None] - a[None])
    previous = np.cumsum(cost[0])
    previous[0] = cost[0, 0]
    for row in cost[1:]:
        # Along a row, total[j] = min(entering[j], total[j - 1] + row[j]): a running minimum after subtraction
        # of the row's cumulative cost.
        entering = np.concatenate([[previous[0] + row[0]], previous[1:] + row[1:]])
        entering[1:] = np.minimum(entering[1:], previous[:-1] + 2 * row[1:])
        along = np.cumsum(row)
        previous = np.minimum.accumulate(entering - along) + along
    return float(previous[-1] / len(b))


def kl_divergence(reference: ArrayLike, prediction: ArrayLike) -> float:
    """Sum of p ln(p / q) with both sequences scaled to sum 1, over time (section 6); infinite where only q is
    0."""
    p, q = (np.asarray(values, np.float64) / np.sum(values) for values in (reference, prediction))
    with np.errstate(divide="ignore"):
        terms = np.where(p > 0, p * np.log(np.divide(p, q, out=np.full_like(p, np.inf), where=q > 0)), 0.0)
    return float(terms.sum())

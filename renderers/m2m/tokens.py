"""Notes to tokens and back. A token is a row of six ids: pitch, velocity, duration, IOI, position, bar.

Ids 0 to 3 are PAD, BOS, EOS and MASK in every column. A tick is 1/96 of a quarter at 120 bpm, that is
1/192 s; a bar is always 384 ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH

Tokens = NDArray[np.int64]

PAD, BOS, EOS, MASK = range(4)
SPECIALS = 4
PITCH, VELOCITY, DURATION, IOI, POSITION, BAR = range(6)
TICKS_PER_QUARTER = 96
TICKS_PER_SECOND = 192
BAR_TICKS = 384
MAX_DURATION = 1152
MAX_BARS = 3000
SCORE_VELOCITY = 60
"""Of every score note in training."""


@dataclass(frozen=True)
class TickNotes:
    """Notes on the grid, [N] each, in the order in which they become tokens."""

    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.onset)


def velocity_id(velocity: NDArray[np.integer]) -> NDArray[np.int64]:
    """Nearest of the bins 1, 3, ... 127, ties upwards."""
    return (SPECIALS + np.asarray(velocity) // 2).astype(np.int64)


def velocity_of(ids: NDArray[np.integer]) -> NDArray[np.int64]:
    return 2 * (np.asarray(ids).astype(np.int64) - SPECIALS) + 1


def encode(notes: TickNotes) -> Tokens:
    """[N, 6]; notes outside the piano's range are left out before intervals are taken."""
    kept = (notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH)
    onset = notes.onset[kept]
    ioi = np.clip(np.diff(onset, prepend=onset[:1]), 1 - BAR_TICKS, BAR_TICKS - 1)
    return np.stack(
        [
            notes.pitch[kept] - LOWEST_PITCH + SPECIALS,
            velocity_id(notes.velocity[kept]),
            np.clip(notes.duration[kept], 1, MAX_DURATION) + SPECIALS - 1,
            ioi + SPECIALS + BAR_TICKS,
            onset % BAR_TICKS + SPECIALS,
            onset // BAR_TICKS + SPECIALS,
        ],
        axis=1,
    ).astype(np.int64)


def segments(tokens: Tokens, length: int) -> tuple[Tokens, NDArray[np.int64]]:
    """BOS, the tokens and EOS in consecutive pieces [S, length, columns], and their mask [S, length]."""
    columns = tokens.shape[1]
    framed = np.concatenate([np.full((1, columns), BOS), tokens, np.full((1, columns), EOS)])
    count = -(-len(framed) // length)
    padded = np.full((count * length, columns), PAD, np.int64)
    padded[: len(framed)] = framed
    mask = (np.arange(count * length) < len(framed)).astype(np.int64)
    return padded.reshape(count, length, columns), mask.reshape(count, length)


# ------------------------------------------------------------------------------ the published chain


def official_performance(rows: Tokens) -> TickNotes:
    """Rows of eleven ids (pitch, predicted velocity, duration and IOI, score position and bar, then the
    score's velocity, duration, IOI, position and bar) -> notes as the published script emits them.

    A row with any special id is left out, its interval with it; onsets may run backwards.
    """
    rows = rows[(rows >= SPECIALS).all(axis=1)]
    intervals = rows[:, 3] - SPECIALS - BAR_TICKS
    start = (rows[:1, 4] - SPECIALS) + (rows[:1, 5] - SPECIALS) * BAR_TICKS
    onset = np.cumsum(np.concatenate([start, intervals[1:]]))
    return TickNotes(
        onset, rows[:, 2] - SPECIALS + 1, rows[:, 0] + LOWEST_PITCH - SPECIALS, velocity_of(rows[:, 1])
    )


def official_score(rows: Tokens) -> TickNotes:
    """The score that accompanies it: positions, bars and durations of the score, velocity 60."""
    rows = rows[(rows >= SPECIALS).all(axis=1)]
    onset = (rows[:, 9] - SPECIALS) + (rows[:, 10] - SPECIALS) * BAR_TICKS
    velocity = np.full(len(rows), SCORE_VELOCITY)
    return TickNotes(onset, rows[:, 7] - SPECIALS + 1, rows[:, 0] + LOWEST_PITCH - SPECIALS, velocity)


# -------------------------------------------------------------------------- from MIDI events, from files


@dataclass(frozen=True)
class RawNote:
    """A note of one track in the file's own ticks."""

    onset: int
    pitch: int
    duration: int
    velocity: int


def notes_of_track(notes: Sequence[RawNote], ticks_per_quarter: int) -> TickNotes:
    """A track's notes on the grid: sorted by the file's ticks, rounded half up, and not sorted again."""
    table = np.array(
        sorted((note.onset, note.pitch, note.duration, note.velocity) for note in notes), np.int64
    ).reshape(-1, 4)

    def resampled(ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        return (2 * ticks * TICKS_PER_QUARTER + ticks_per_quarter) // (2 * ticks_per_quarter)

    onset, pitch, duration, velocity = table.T
    return TickNotes(resampled(onset), np.maximum(resampled(duration), 1), pitch, velocity)


# ------------------------------------------------------------------------------ aligned performances


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
    """Drop notes whose place in the score is far from that of their neighbours (fact sheet, section 2b)."""
    ids, on = notes.score_id.astype(np.float64), notes.score_on

    def neighbour(values: NDArray[np.float64], offset: int) -> NDArray[np.float64]:
        index = np.arange(len(values)) + offset
        inside = (index >= 0) & (index < len(values))
        return np.where(inside, values[np.clip(index, 0, len(values) - 1)], np.nan)

    def far(values: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
        return (np.abs(values - neighbour(values, 1)) > limit) | (
            np.abs(values - neighbour(values, -1)) > limit
        )

    with np.errstate(invalid="ignore"):
        jumps = far(ids, 10) & far(on, 1)
        bent = np.abs(neighbour(ids, 2) + neighbour(ids, -1) - 2 * ids) > 20
    dropped = jumps & np.concatenate([[False], bent[:-1]])
    return AlignedNotes(*(getattr(notes, name)[~dropped] for name in notes.__dataclass_fields__))


def aligned_tokens(notes: AlignedNotes, *, official: bool) -> Tokens:
    """[N, 11]: pitch, the performance's five columns, the score's five, in the order of performance.

    ``official``: as in the published evaluation, the last note is lost, and so are all notes from the one
    after a first that is shorter than a tick on (that one is then the last).
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
    if official:
        order = order[: max((short[0] if len(short) else len(order)) - 1, 0)]
    pitch = notes.pitch[order]
    performance = encode(TickNotes(performed[0][order], performed[1][order], pitch, notes.velocity[order]))
    written = encode(TickNotes(score[0][order], score[1][order], pitch, np.full(len(order), SCORE_VELOCITY)))
    return np.concatenate([performance, written[:, 1:]], axis=1)

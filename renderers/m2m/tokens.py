"""Notes to tokens. A token is a row of six ids: pitch, velocity, duration, IOI, position, bar.

Ids 0 to 3 are PAD, BOS, EOS and MASK in every column. A tick is 1/96 of a quarter at 120 bpm, that is 1/192
s; a bar is always 384 ticks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH

Tokens = NDArray[np.int64]

PAD, BOS, EOS = 0, 1, 2
SPECIALS = 4
"""Number of special ids."""
TICKS_PER_SECOND = 192
BAR_TICKS = 384
MAX_DURATION = 1152
SCORE_VELOCITY = 60
"""Of every score note in training."""


@dataclass(frozen=True)
class TickNotes:
    """Notes in ticks, [N] each, in the order of their tokens."""

    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.onset)


def velocity_id(velocity: NDArray[np.integer]) -> NDArray[np.int64]:
    """Id of the nearest of the bins 1, 3, ... 127, ties upwards."""
    return (SPECIALS + np.asarray(velocity) // 2).astype(np.int64)


def velocity_of(ids: NDArray[np.integer]) -> NDArray[np.int64]:
    return 2 * (np.asarray(ids).astype(np.int64) - SPECIALS) + 1


def encode(notes: TickNotes) -> Tokens:
    """[N, 6]; notes outside the piano's range are dropped before intervals are computed."""
    kept = (notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH)
    onset = notes.onset[kept]
    ioi = np.clip(np.diff(onset, prepend=onset[:1]), 1 - BAR_TICKS, BAR_TICKS - 1)
    columns = [
        notes.pitch[kept] - LOWEST_PITCH + SPECIALS,
        velocity_id(notes.velocity[kept]),
        np.clip(notes.duration[kept], 1, MAX_DURATION) + SPECIALS - 1,
        ioi + SPECIALS + BAR_TICKS,
        onset % BAR_TICKS + SPECIALS,
        onset // BAR_TICKS + SPECIALS,
    ]
    return np.stack(columns, axis=1).astype(np.int64)

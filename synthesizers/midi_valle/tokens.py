"""Notes to the tokens that MIDI-VALLE reads: six numbers per note, on a grid of 1/192 s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH

TICKS_PER_SECOND = 192
"""The grid: 96 ticks per quarter note at 120 quarter notes per minute."""
TICKS_PER_QUARTER = 96
BAR = 384
"""Ticks per bar of 4/4: 2 s."""
BARS = 16
"""Bars in the model's bar table, whose 20 rows begin with those of the special tokens."""
MAX_SEQUENCE_SECONDS = BARS * BAR / TICKS_PER_SECOND
"""Prompt included: 32."""
SPECIALS = 4
"""PAD, BOS, EOS and MASK come before every field's values."""
BOS, EOS = 1, 2
MAX_DURATION = 1152
"""Ticks; longer notes are clipped."""
MAX_INTERVAL = 383
"""Ticks between the onsets of consecutive notes; longer intervals are clipped."""
ZERO_INTERVAL = 388
"""Id of interval 0; the vocabulary has room for negative ones."""

Ticks = NDArray[np.int64]
Tokens = NDArray[np.int64]
"""[N + 2, 6]: a row of BOS, one row per note (pitch, velocity, duration, interval, position, bar), a row of
EOS."""


@dataclass(frozen=True)
class NoteArray:
    """Notes as columns of length N, in any order and of any range."""

    onset: NDArray[np.float64]
    """[N] seconds."""
    offset: NDArray[np.float64]
    """[N] seconds, when the key is released."""
    pitch: Ticks
    velocity: Ticks

    def __len__(self) -> int:
        return len(self.onset)

    def shifted(self, seconds: float) -> NoteArray:
        return NoteArray(self.onset + seconds, self.offset + seconds, self.pitch, self.velocity)

    def where(self, chosen: NDArray[np.bool_]) -> NoteArray:
        return NoteArray(self.onset[chosen], self.offset[chosen], self.pitch[chosen], self.velocity[chosen])

    @staticmethod
    def joined(first: NoteArray, second: NoteArray) -> NoteArray:
        return NoteArray(
            np.concatenate([first.onset, second.onset]),
            np.concatenate([first.offset, second.offset]),
            np.concatenate([first.pitch, second.pitch]),
            np.concatenate([first.velocity, second.velocity]),
        )


def tokens_of_notes(notes: NoteArray) -> Tokens:
    """Tokens of notes in seconds, all within the piano's range and ``MAX_SEQUENCE_SECONDS``.

    A note shorter than a tick gets one tick. Raises ``ValueError`` for notes outside these ranges.
    """
    order = np.lexsort((notes.pitch, notes.onset))
    start = rounded(notes.onset[order] * TICKS_PER_SECOND)
    duration = rounded((notes.offset - notes.onset)[order] * TICKS_PER_SECOND)
    if ((start < 0) | (start >= BARS * BAR)).any():
        raise ValueError(f"notes must start within {MAX_SEQUENCE_SECONDS:.0f} seconds")
    if ((notes.pitch < LOWEST_PITCH) | (notes.pitch > HIGHEST_PITCH)).any():
        raise ValueError(f"pitches must lie in {LOWEST_PITCH}..{HIGHEST_PITCH}")
    return tokens_of_grid(start, duration, notes.pitch[order], notes.velocity[order])


def tokens_of_grid(start: Ticks, duration: Ticks, pitch: Ticks, velocity: Ticks) -> Tokens:
    """Tokens of notes on the grid (ticks of 1/192 s), in the order given; durations are clipped."""
    interval = np.minimum(np.diff(start, prepend=start[:1]), MAX_INTERVAL)
    rows = [
        pitch - LOWEST_PITCH + SPECIALS,
        velocity // 2 + SPECIALS,  # the nearest of 1, 3, ... 127, the higher one on ties
        np.clip(duration, 1, MAX_DURATION) + SPECIALS - 1,
        interval + ZERO_INTERVAL,
        start % BAR + SPECIALS,
        start // BAR + SPECIALS,
    ]
    body = np.stack(rows, axis=1).astype(np.int64)
    return np.concatenate([np.full((1, 6), BOS), body, np.full((1, 6), EOS)])


def notes_of_tokens(tokens: Tokens) -> NoteArray:
    """The notes that tokens stand for; of two velocities the higher."""
    pitch, velocity, duration, _, position, bar = tokens[1:-1].T
    onset = (bar - SPECIALS) * BAR + position - SPECIALS
    offset = onset + duration - SPECIALS + 1
    return NoteArray(
        onset / TICKS_PER_SECOND,
        offset / TICKS_PER_SECOND,
        pitch - SPECIALS + LOWEST_PITCH,
        (velocity - SPECIALS) * 2 + 1,
    )


def rounded(values: NDArray[np.float64]) -> Ticks:
    """To the nearest whole number, halves up."""
    return np.floor(values + 0.5).astype(np.int64)

"""Notes in milliseconds to tokens and back.

A note is eight tokens of one vocabulary: pitch, interval since the note before (for the first note since time
0), velocity, duration, and the pedal at four places of the interval to the next note.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

PAD, BOS = 0, 2
PITCH, VELOCITY, MILLISECONDS, PEDAL = 5, 133, 261, 5261
"""Ids of the value 0 of each kind."""
VOCABULARY = PEDAL + 128
KINDS = (0, PITCH, VELOCITY, MILLISECONDS, PEDAL, VOCABULARY)
"""First id of each kind; the special ids come first."""
NOTE_TOKENS = 8
LONGEST_INTERVAL, LONGEST_DURATION = 4990, 4999
"""Milliseconds that a token can say."""
RANGES = (
    (PITCH, VELOCITY),
    (MILLISECONDS, MILLISECONDS + LONGEST_INTERVAL + 1),
    (VELOCITY, MILLISECONDS),
    (MILLISECONDS, PEDAL),
    *((PEDAL, VOCABULARY),) * 4,
)
"""First id and end of the ids of each of a note's tokens."""
SHORTEST_STEP = 5
"""Milliseconds at least between performed onsets that the score does not write together."""


@dataclass(frozen=True)
class Notes:
    """N notes in whole milliseconds (or ticks), as columns; those of a piece are sorted by (start, pitch)."""

    start: Ints
    end: Ints
    pitch: Ints
    velocity: Ints
    source: Ints
    """Where each comes from: its index among the notes that it was made of."""

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> Notes:
        return Notes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Pedal:
    """Values of the sustain pedal, as columns sorted by time."""

    time: Ints
    """[C] milliseconds (or ticks)."""
    value: Ints
    """[C] 0..127, each until the next."""

    def at(self, time: NDArray[np.float64]) -> Ints:
        """The values at some times, any shape; 0 before the first event."""
        last = np.searchsorted(self.time, time, side="right")
        return np.concatenate([[0], self.value])[last]


def milliseconds(seconds: NDArray[np.float64]) -> Ints:
    """Whole milliseconds, halves to even."""
    return np.rint(seconds * 1000.0).astype(np.int64)


def one_stroke_at_a_time(notes: Notes) -> Notes:
    """The notes sorted by (start, pitch), each ended by the next of its pitch.

    Of several that start together on one pitch the last one is kept.
    """
    notes = notes.take(np.lexsort((notes.start, notes.pitch)))
    next_start = np.append(notes.start[1:], 0)
    is_repeated = np.append(np.diff(notes.pitch) == 0, False)
    end = np.where(is_repeated, np.minimum(notes.end, next_start), notes.end)
    trimmed = Notes(notes.start, end, notes.pitch, notes.velocity, notes.source)
    kept = trimmed.take(~is_repeated | (notes.start < next_start))
    return kept.take(np.lexsort((kept.pitch, kept.start)))


def encode(notes: Notes, pedal: Pedal) -> Ints:
    """[N, 8]; longer intervals and durations than a token can say are cut."""
    interval = np.diff(notes.start, prepend=0)
    quarters = np.arange(4) / 4 * np.append(interval[1:], LONGEST_INTERVAL)[:, None]
    columns = np.column_stack(
        [
            notes.pitch,
            interval,
            notes.velocity,
            notes.end - notes.start,
            pedal.at(notes.start[:, None] + quarters),
        ]
    ).astype(np.int64)
    first, end = np.array(RANGES).T
    kinds = np.array([PITCH, MILLISECONDS, VELOCITY, MILLISECONDS, *[PEDAL] * 4])
    return np.clip(columns + kinds, first, end - 1)


def cut_off(notes: Notes) -> tuple[Ints, Ints]:
    """Milliseconds that the tokens lack of each interval and of each duration, [N] each."""
    interval = np.diff(notes.start, prepend=0)
    duration = notes.end - notes.start
    return np.maximum(interval - LONGEST_INTERVAL, 0), np.maximum(duration - LONGEST_DURATION, 0)


def intervals(tokens: Ints, score: Ints | None = None) -> Ints:
    """[N] performed intervals in milliseconds.

    ``score``: the score's tokens; notes that it does not write together are ``SHORTEST_STEP`` apart at least.
    """
    interval = tokens[:, 1] - MILLISECONDS
    if score is None:
        return interval
    return np.where(score[:, 1] > MILLISECONDS, np.maximum(interval, SHORTEST_STEP), interval)


def durations(tokens: Ints) -> Ints:
    """[N] performed durations in milliseconds."""
    return tokens[:, 3] - MILLISECONDS


def decode(tokens: Ints, interval: Ints, duration: Ints) -> tuple[Notes, Pedal]:
    """The performance of tokens [N, 8] with these intervals and durations [N] in milliseconds.

    Pedal values are kept where they change.
    """
    start = np.cumsum(interval)
    notes = Notes(
        start=start,
        end=start + duration,
        pitch=tokens[:, 0] - PITCH,
        velocity=tokens[:, 2] - VELOCITY,
        source=np.arange(len(tokens)),
    )
    time, value = pedal_times(interval).ravel(), (tokens[:, 4:] - PEDAL).ravel()
    changed = np.diff(value, prepend=0) != 0
    return notes, Pedal(time[changed], value[changed])


def pedal_times(interval: Ints) -> Ints:
    """[N, 4] milliseconds at which the pedal has the values of the tokens."""
    start = np.cumsum(interval)
    following = np.append(interval[1:], LONGEST_INTERVAL)[: len(interval)]
    step = following / 4
    # The last two places are computed from the end, which rounds in another way.
    offsets = np.stack([0 * step, step, following - 2 * step, following - step], axis=1)
    return np.rint(start[:, None] + offsets).astype(np.int64)

"""Notes and pedal to the model's input: piano rolls of 12 ms frames, of which the model sees every fourth.

A roll is int [frames, 128]: the velocity of each key while it sounds. ``piano_roll`` fills cells of 48 ms,
the frames that the model sees: no note falls between two cells, and a repeated key has a gap where there is
room. ``official.piano_roll`` is the roll of the published scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

FRAME_RATE = 16000 / 192.0
"""Frames per second, as the official scripts write it: 83.3, 12 ms each."""
FRAMES_PER_CELL = 4
"""The model sees every fourth frame: cells of 48 ms."""
SEGMENT_CELLS = 200
"""Cells of a segment: 9.6 s."""
KEYS = 128
PEDAL_DOWN = 64
"""Value of controller 64 from which the sustain pedal counts as down."""
END_OF_SEGMENT = -1.0
"""Value of every key in the row that ends a segment."""

Roll = NDArray[np.int64]


@dataclass(frozen=True)
class PedalledNotes:
    """The notes and the sustain pedal of one instrument, as columns."""

    onset: NDArray[np.float64]
    """[N] seconds."""
    offset: NDArray[np.float64]
    """[N] seconds: when the key is released."""
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]
    pedal_time: NDArray[np.float64]
    """[P] seconds."""
    pedal_value: NDArray[np.int64]
    """[P] of controller 64."""


def piano_roll(notes: PedalledNotes, seconds: float) -> Roll:
    """[cells, 128] cells that cover ``seconds``; every note that starts in them has one.

    A note sounds from the first cell at or after its onset until its release or the pedal's (an unreleased
    pedal holds to the end), or until its key is struck again. The last cell before a repetition is silent
    unless the note has no other.
    """
    count = ceil(seconds * FRAME_RATE / FRAMES_PER_CELL)
    pitch, first, end, velocity = _notes_by_cell(notes)
    following = np.append(first[1:], count + 1)
    following[:-1][pitch[1:] != pitch[:-1]] = count + 1
    end = np.minimum(end, np.maximum(following - 1, first + 1))
    return held_velocities(pitch, first, end, velocity, count)


def held_velocities(pitch: Roll, start: Roll, end: Roll, velocity: Roll, count: int) -> Roll:
    """[count, 128] sums of the velocities of the notes [N] that sound in rows ``start`` .. ``end`` - 1."""
    change = np.zeros((count + 1, KEYS), np.int64)
    np.add.at(change, (np.minimum(start, count), pitch), velocity)
    np.subtract.at(change, (np.minimum(end, count), pitch), velocity)
    return np.cumsum(change, axis=0)[:-1]


def encoder_input(cells: Roll) -> NDArray[np.float32]:
    """Cells [T, 128] -> [T + 1, 128]: velocities divided by 127, then the row that marks the end."""
    end = np.full((1, cells.shape[1]), END_OF_SEGMENT, np.float32)
    return np.concatenate([(cells / 127).astype(np.float32), end])


def frame_numbers(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(seconds * FRAME_RATE).astype(np.int64)


def pedal_spans(notes: PedalledNotes) -> NDArray[np.float64]:
    """[S, 2] seconds from pressing to release; a pedal that is never released has none."""
    times = _pedal_changes(notes)
    return times[: len(times) // 2 * 2].reshape(-1, 2)


def _pedal_changes(notes: PedalledNotes) -> NDArray[np.float64]:
    """Seconds at which the pedal goes down, up, down, ..."""
    down = notes.pedal_value >= PEDAL_DOWN
    return notes.pedal_time[np.flatnonzero(np.diff(down, prepend=False))]


def _notes_by_cell(notes: PedalledNotes) -> tuple[Roll, Roll, Roll, Roll]:
    """(pitch, first cell, end cell, velocity), one per key and first cell, sorted by both.

    Of several notes of a key that start in one cell, the greatest velocity and the last end are taken.
    """
    first = _first_cells(notes.onset)
    end = np.maximum(_first_cells(_sounding_offsets(notes)), first + 1)
    order = np.lexsort((first, notes.pitch))
    pitch, first = notes.pitch[order], first[order]
    new = np.flatnonzero(np.diff(pitch, prepend=-1) | np.diff(first, prepend=-1))
    if not len(new):
        return pitch, first, end, notes.velocity
    velocity = np.maximum.reduceat(notes.velocity[order], new)
    return pitch[new], first[new], np.maximum.reduceat(end[order], new), velocity


def _first_cells(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first cell at or after each time."""
    return -(-frame_numbers(seconds) // FRAMES_PER_CELL)


def _sounding_offsets(notes: PedalledNotes) -> NDArray[np.float64]:
    """[N] seconds: the key's release, or the pedal's where it is down then."""
    changes, spans = _pedal_changes(notes), pedal_spans(notes)
    if len(changes) % 2:  # not released
        end = max(float(notes.offset.max(initial=0.0)), float(notes.pedal_time[-1]))
        spans = np.concatenate([spans, [[changes[-1], end]]])
    if not len(spans):
        return notes.offset
    index = np.searchsorted(spans[:, 0], notes.offset, side="right") - 1
    under = (index >= 0) & (notes.offset < spans[index, 1])
    return np.where(under, spans[index, 1], notes.offset)


@dataclass(frozen=True)
class Losses:
    """How many of ``notes`` onsets a roll does not show."""

    notes: int
    vanished: int
    """The key does not sound in the note's first cell."""
    merged: int
    """The key sounds on from the cell before, no louder, or another of its notes starts in the same cell."""


def losses(cells: Roll, notes: PedalledNotes) -> Losses:
    """What the model cannot see: a roll has no onsets, only keys whose velocity rises between two cells."""
    first = _first_cells(notes.onset)
    padded = np.concatenate([np.zeros((1, KEYS), np.int64), cells, np.zeros((1, KEYS), np.int64)])
    at = np.minimum(first, len(cells)) + 1
    now, before = padded[at, notes.pitch], padded[at - 1, notes.pitch]
    places = np.stack([notes.pitch, first])
    _, counts = np.unique(places[:, now > before], axis=1, return_counts=True)
    return Losses(
        notes=len(first),
        vanished=int((now == 0).sum()),
        merged=int(((now > 0) & (now <= before)).sum() + (counts - 1).sum()),
    )

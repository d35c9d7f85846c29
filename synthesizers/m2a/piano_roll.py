"""From notes and pedal to the model's input: piano rolls of 12 ms frames, of which it sees every fourth.

A roll is int [frames, 128]: the velocity of each key while it sounds. ``published_roll`` is what the official
scripts make with pretty_midi; ``clear_cells`` is what this project makes by default, in cells of 48 ms: no
note vanishes between two cells, and a key that is struck again shows a gap where there is room for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

FRAME_RATE = 16000 / 192.0
"""Frames per second, as the official scripts write it: 83.3, 12 ms each."""
FRAMES_PER_CELL = 4
"""The model sees every fourth frame: cells of 48 ms."""
SEGMENT_FRAMES = 800
SEGMENT_CELLS = SEGMENT_FRAMES // FRAMES_PER_CELL
"""9.6 s."""
KEYS = 128
PEDAL_DOWN = 64
"""Value of controller 64 from which the published roll takes the pedal as down."""
END_OF_SEGMENT = -1.0
"""Every key of the row that ends a segment."""

Roll = NDArray[np.int64]


@dataclass(frozen=True)
class Notes:
    """The notes and the sustain pedal of one instrument, in columns."""

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


# ------------------------------------------------------------------------------------- the published roll


def published_roll(instruments: Sequence[Notes], end: float) -> Roll:
    """[int(end * rate), 128]: velocities of simultaneous notes of a key added, pedalled keys held by a
    running maximum until the pedal goes up; ``end``: seconds to the last event of the file."""
    frames = int(end * FRAME_RATE)
    return np.sum([_published(one, frames) for one in instruments], axis=0, initial=0) + np.zeros(
        (frames, KEYS), np.int64
    )


def _published(notes: Notes, frames: int) -> Roll:
    change = np.zeros((frames + 1, KEYS), np.int64)
    np.add.at(change, (np.minimum(_frame(notes.onset), frames), notes.pitch), notes.velocity)
    np.subtract.at(change, (np.minimum(_frame(notes.offset), frames), notes.pitch), notes.velocity)
    roll = np.cumsum(change, axis=0)[:-1]
    for start, stop in _pedal_spans(notes):
        columns = roll[_frame(start) : _frame(stop)]
        np.maximum.accumulate(columns, axis=0, out=columns)
    return roll


def _frame(seconds: NDArray[np.float64] | np.float64) -> NDArray[np.int64]:
    return np.asarray(seconds * FRAME_RATE).astype(np.int64)


def _pedal_spans(notes: Notes) -> NDArray[np.float64]:
    """[S, 2] seconds from pressing to release; a pedal that is never released has none."""
    down = notes.pedal_value >= PEDAL_DOWN
    changed = np.flatnonzero(np.diff(down, prepend=False))
    times = notes.pedal_time[changed]
    return times[: len(times) // 2 * 2].reshape(-1, 2)


def published_segments(roll: Roll) -> list[NDArray[np.float32]]:
    """Encoder inputs [rows, 128] of pieces of 800 frames; the last is shorter."""
    return [
        encoder_input(roll[start : start + SEGMENT_FRAMES : FRAMES_PER_CELL])
        for start in range(0, len(roll), SEGMENT_FRAMES)
    ]


def encoder_input(cells: Roll) -> NDArray[np.float32]:
    """Cells [T, 128] -> [T + 1, 128]: velocities as parts of 127, then the row that says the end."""
    end = np.full((1, cells.shape[1]), END_OF_SEGMENT, np.float32)
    return np.concatenate([(cells / 127).astype(np.float32), end])


# ------------------------------------------------------------------------------------------ the clear roll


def clear_cells(notes: Notes, count: int) -> Roll:
    """[count, 128] cells in which every note has one and, where there is room, silence before it.

    A note sounds from the first cell at or after its onset, as in the published roll, until its release or
    the pedal's (an unreleased pedal holds to the end), or until its key is struck again.
    """
    pitch, first, end, velocity = _struck(notes)
    following = np.append(first[1:], count + 1)
    following[:-1][pitch[1:] != pitch[:-1]] = count + 1
    # One silent cell before the next stroke, unless that would leave none for this note.
    end = np.minimum(end, np.maximum(following - 1, first + 1))
    change = np.zeros((count + 1, KEYS), np.int64)
    np.add.at(change, (np.minimum(first, count), pitch), velocity)
    np.subtract.at(change, (np.minimum(end, count), pitch), velocity)
    return np.cumsum(change, axis=0)[:-1]


def _struck(notes: Notes) -> tuple[Roll, Roll, Roll, Roll]:
    """(pitch, first cell, end cell, velocity), one per key and cell, sorted by both; of notes of a key that
    begin in the same cell the loudest velocity and the last end count."""
    first = _first_cell(notes.onset)
    end = np.maximum(_first_cell(_sounding_offset(notes)), first + 1)
    order = np.lexsort((first, notes.pitch))
    pitch, first = notes.pitch[order], first[order]
    new = np.flatnonzero(np.diff(pitch, prepend=-1) | np.diff(first, prepend=-1))
    if not len(new):
        return pitch, first, end, notes.velocity
    return (
        pitch[new],
        first[new],
        np.maximum.reduceat(end[order], new),
        np.maximum.reduceat(notes.velocity[order], new),
    )


def _first_cell(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first cell that shows what begins, and the first that no longer shows what ends."""
    return -(-_frame(seconds) // FRAMES_PER_CELL)


def _sounding_offset(notes: Notes) -> NDArray[np.float64]:
    """[N] seconds: the key's release, or the pedal's where it is down then."""
    spans = _pedal_spans(notes)
    if (notes.pedal_value >= PEDAL_DOWN)[-1:].any():
        last = notes.pedal_time[np.flatnonzero(np.diff(notes.pedal_value >= PEDAL_DOWN, prepend=False))[-1]]
        held = max(float(last), float(notes.offset.max(initial=0.0)), float(notes.pedal_time[-1]))
        spans = np.concatenate([spans, [[last, held]]])
    if not len(spans):
        return notes.offset
    index = np.searchsorted(spans[:, 0], notes.offset, side="right") - 1
    under = (index >= 0) & (notes.offset < spans[index, 1])
    return np.where(under, spans[index, 1], notes.offset)


def cells_until(seconds: float) -> int:
    """Cells that reach at least so far."""
    return ceil(seconds * FRAME_RATE / FRAMES_PER_CELL)


# ------------------------------------------------------------------------------------- what a roll loses


@dataclass(frozen=True)
class Losses:
    """Onsets that cells do not show, of so many notes."""

    notes: int
    vanished: int
    """No cell of its key sounds at the note's first cell."""
    merged: int
    """Its key sounds on from the cell before, no louder, or another of its notes begins in the same cell."""


def losses(cells: Roll, notes: Notes) -> Losses:
    """What the model cannot see: it has no onset channel, only a key's rise from one cell to the next."""
    first = _first_cell(notes.onset)
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

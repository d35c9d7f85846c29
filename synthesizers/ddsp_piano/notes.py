"""What the sustain pedal does to the notes, as in the data that the model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PEDAL_DOWN = 64
"""CC64 value from which the pedal counts as down."""
PRESS, RELEASE, START, END = range(4)
"""Kinds of events; at equal times they are handled in this order."""


@dataclass(frozen=True)
class Notes:
    """N notes as columns, in order."""

    onset: NDArray[np.float64]
    """[N] seconds."""
    offset: NDArray[np.float64]
    """[N] seconds."""
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.onset)


def sustained(
    notes: Notes, pedal_time: NDArray[np.float64], pedal_value: NDArray[np.int64], end: float
) -> tuple[Notes, float]:
    """The notes of one instrument as long as they sound, and the seconds until the last one ends.

    ``pedal_time`` [P] in seconds and ``pedal_value`` [P] are the events of CC64; ``end`` is the last key
    release, of all instruments. A pedal that is never released holds until the last event. A key struck again
    under the pedal ends its earlier notes.
    """
    onset, pitch = notes.onset.tolist(), notes.pitch.tolist()
    released, offset = notes.offset.tolist(), notes.offset.tolist()
    kept = np.ones(len(notes), bool)
    held: dict[int, None] = {}  # in the order in which they began
    pedal, now = False, 0.0
    for now, kind, index in _events(notes, pedal_time, pedal_value):
        if kind == PRESS:
            pedal = True
        elif kind == RELEASE:
            pedal = False
            for note in [note for note in held if released[note] < now]:
                offset[note], end = now, max(end, now)
                del held[note]
        elif kind == END:
            if not pedal:
                held.pop(index, None)
        else:
            if pedal:
                for note in [note for note in held if pitch[note] == pitch[index]]:
                    kept[note] = onset[note] != now
                    offset[note] = now
                    del held[note]
            held[index] = None
    for note in held:
        offset[note] = end = now
    ends = np.array(offset, np.float64)
    return Notes(notes.onset[kept], ends[kept], notes.pitch[kept], notes.velocity[kept]), end


def _events(
    notes: Notes, pedal_time: NDArray[np.float64], pedal_value: NDArray[np.int64]
) -> list[tuple[float, int, int]]:
    """(seconds, kind, index of the note), in the order in which they are handled."""
    times = np.concatenate([pedal_time, notes.onset, notes.offset])
    kinds = np.repeat((START, END), len(notes))
    kinds = np.concatenate([np.where(pedal_value >= PEDAL_DOWN, PRESS, RELEASE), kinds])
    indices = np.concatenate([np.zeros(len(pedal_time), np.int64), np.tile(np.arange(len(notes)), 2)])
    order = np.lexsort((kinds, times))
    return list(zip(times[order].tolist(), kinds[order].tolist(), indices[order].tolist(), strict=True))

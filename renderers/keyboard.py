"""Timed notes as a performance on one keyboard, where each key is released before its next stroke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, Controls, Performance

SHORTEST_NOTE = 0.02
"""Seconds for which a key is held at least, unless its next stroke comes earlier."""

REPEAT_GAP = 0.02
"""Seconds between the release of a key and its next stroke, where there is time: long enough for every
synthesizer to separate the notes, short enough for legato."""

SAME_STROKE = 0.01
"""Seconds within which two notes on one key are one stroke: no action repeats faster than about 20 Hz."""


@dataclass(frozen=True)
class TimedNotes:
    """M notes with times and velocities, as columns in any order."""

    source: NDArray[np.int64]
    """[M] index into ``ScoreNotes``; for all notes of an ornament that of the main note."""
    onset: NDArray[np.float64]
    """[M] seconds; may be negative for notes before the first beat."""
    offset: NDArray[np.float64]
    """[M] seconds when the key is released."""
    pitch: NDArray[np.int64]
    """[M] MIDI pitch."""
    velocity: NDArray[np.float64]
    """[M] MIDI velocity, not yet rounded or limited."""

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> TimedNotes:
        return TimedNotes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def concatenate(parts: Sequence[TimedNotes]) -> TimedNotes:
    return TimedNotes(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in TimedNotes.__dataclass_fields__)
    )


def on_one_keyboard(notes: TimedNotes) -> TimedNotes:
    """The notes changed so that no two on one key overlap, sorted by (onset, pitch).

    Notes that start together on one key become one, with the loudest velocity, the latest release and the
    ``source`` of the first in the score. A key that is struck while another voice holds it is released
    ``REPEAT_GAP`` before (half of the interval where that is shorter), then held for the longest of them.
    """
    if not len(notes):
        return notes
    ordered = notes.take(np.lexsort((notes.source, notes.onset, notes.pitch)))
    offset = np.maximum(ordered.offset, ordered.onset + SHORTEST_NOTE)
    new_key = np.r_[True, np.diff(ordered.pitch) != 0]
    new_stroke = new_key | np.r_[True, np.diff(ordered.onset) >= SAME_STROKE]
    strokes = np.flatnonzero(new_stroke)
    first = ordered.take(strokes)
    struck = replace(
        first,
        offset=_held_by_any(np.maximum.reduceat(offset, strokes), first.pitch),
        velocity=np.maximum.reduceat(ordered.velocity, strokes),
    )
    struck = replace(struck, offset=np.minimum(struck.offset, _latest_release(struck)))
    return struck.take(np.lexsort((struck.pitch, struck.onset)))


def _held_by_any(offset: NDArray[np.float64], pitch: NDArray[np.int64]) -> NDArray[np.float64]:
    """Running maximum of the offsets within each pitch; rows sorted by pitch."""
    # One accumulate over all keys: a lane per pitch, further apart than any two offsets.
    lane = pitch * (np.ptp(offset) + 1.0)
    return np.asarray(np.maximum.accumulate(offset + lane) - lane)


def _latest_release(struck: TimedNotes) -> NDArray[np.float64]:
    """Seconds at which each key must be up for its next stroke; rows sorted by (pitch, onset)."""
    gap = np.diff(struck.onset)
    release = struck.onset[1:] - np.minimum(REPEAT_GAP, gap / 2)
    return np.append(np.where(np.diff(struck.pitch) == 0, release, np.inf), np.inf)


def to_performance(notes: TimedNotes, ids: Sequence[str], controls: Controls) -> Performance:
    """A performance of the notes in the piano's range; it starts at 0 even if grace notes precede the beat.

    ``ids``: of the score's notes, indexed by ``notes.source``. Velocities are rounded and limited to 1..127.
    """
    playable = notes.take((notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH))
    lead = max(0.0, -float(playable.onset.min(initial=0.0)))
    struck = on_one_keyboard(replace(playable, onset=playable.onset + lead, offset=playable.offset + lead))
    return Performance(
        onset=struck.onset,
        offset=struck.offset,
        pitch=struck.pitch,
        velocity=np.clip(np.rint(struck.velocity), 1, 127).astype(np.int64),
        controls=replace(controls, time=controls.time + lead),
        score_ids=tuple(ids[i] for i in struck.source),
    )

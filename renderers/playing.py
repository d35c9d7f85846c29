"""Notes on their way to a performance, and what one keyboard allows: a key is struck, held and released
once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, Controls, Performance

SHORTEST_NOTE = 0.02
"""Seconds a key stays down at least, before the next note on the same key is considered."""

REPEAT_GAP = 0.02
"""Seconds between the release of a key and its next stroke, where the time allows: long enough for every
synthesizer to hear two notes, short enough for legato."""

SAME_STROKE = 0.01
"""Seconds within which two notes on one key are one stroke: no action repeats faster than about 20 Hz."""


@dataclass(frozen=True)
class Played:
    """M notes being played, as columns in any order."""

    source: NDArray[np.int64]
    """[M] index into ``ScoreNotes`` of the note played; all notes of an ornament have their main note's."""
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

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Played:
        return Played(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def concatenate(parts: Sequence[Played]) -> Played:
    return Played(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Played.__dataclass_fields__)
    )


def on_one_keyboard(played: Played) -> Played:
    """What of the notes one keyboard can do: no two notes on one key overlap.

    Notes on one key that start together are one, with the loudest velocity and the latest release; of a
    unison the note that stands first in the score gives its name. A key that is struck again while another
    voice holds it is released ``REPEAT_GAP`` before (half of the interval where that is shorter) and then
    held as long as the longest of them. Sorted by (onset, pitch).
    """
    if not len(played):
        return played
    sorted_ = played.take(np.lexsort((played.source, played.onset, played.pitch)))
    offset = np.maximum(sorted_.offset, sorted_.onset + SHORTEST_NOTE)
    new_key = np.r_[True, np.diff(sorted_.pitch) != 0]
    new_stroke = new_key | np.r_[True, np.diff(sorted_.onset) >= SAME_STROKE]
    strokes = np.flatnonzero(new_stroke)
    first = sorted_.take(strokes)
    struck = replace(
        first,
        offset=_held_by_any(np.maximum.reduceat(offset, strokes), first.pitch),
        velocity=np.maximum.reduceat(sorted_.velocity, strokes),
    )
    struck = replace(struck, offset=np.minimum(struck.offset, _latest_release(struck)))
    return struck.take(np.lexsort((struck.pitch, struck.onset)))


def _held_by_any(offset: NDArray[np.float64], pitch: NDArray[np.int64]) -> NDArray[np.float64]:
    """Running maximum of the offsets within each pitch; rows sorted by pitch."""
    # One accumulate over all keys: a lane per pitch, further apart than any two offsets.
    lane = pitch * (np.ptp(offset) + 1.0)
    return np.asarray(np.maximum.accumulate(offset + lane) - lane)


def _latest_release(struck: Played) -> NDArray[np.float64]:
    """When each key has to be up for its next stroke; rows sorted by (pitch, onset)."""
    gap = np.diff(struck.onset)
    release = struck.onset[1:] - np.minimum(REPEAT_GAP, gap / 2)
    return np.append(np.where(np.diff(struck.pitch) == 0, release, np.inf), np.inf)


def performance(played: Played, ids: Sequence[str], controls: Controls) -> Performance:
    """A performance of the notes that a piano has; it starts at 0 even where grace notes precede the first
    beat.

    ``ids``: of the score's notes, by ``played.source``. Velocities are rounded and limited to 1..127.
    """
    playable = played.take((played.pitch >= LOWEST_PITCH) & (played.pitch <= HIGHEST_PITCH))
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

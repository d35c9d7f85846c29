"""Trills, played: the network sees a trill as one long note with a mark."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet.musicxml import SEMITONES
from renderers.virtuosonet.notation import Note

TRILL_NOTE = 0.08
"""Seconds per note of a trill: about twelve notes per second, a common speed of pianists."""
SHORTEST_TRILL = 3
"""Notes; what is too short for them is played as one note."""
NEIGHBOUR_SOFTER = 0.9
"""Velocity of the neighbour relative to the main note's."""

STEPS = "CDEFGAB"
SHARP_ORDER = "FCGDAEB"
"""Steps in the order in which key signatures sharpen them; flats come in reverse."""


def upper_neighbour(note: Note) -> int:
    """Semitones from the note up to the next step in the key, or as an accidental at the trill says."""
    above = STEPS[(STEPS.index(note.step) + 1) % len(STEPS)]
    alter = key_alteration(above, note.fifths) if note.trill_alter is None else note.trill_alter
    distance = (SEMITONES[above] - SEMITONES[note.step]) % 12 + alter - note.alter
    return min(max(distance, 1), 3)


def key_alteration(step: str, fifths: int) -> int:
    """What the key signature does to a step."""
    if fifths >= 0:
        return int(SHARP_ORDER.index(step) < fifths)
    return -int(SHARP_ORDER[::-1].index(step) < -fifths)


def trill(start: float, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Onsets of a trill's notes, and which are the neighbour. Begins and ends on the main note."""
    count = int(seconds / TRILL_NOTE)
    count -= count % 2 == 0
    if count < SHORTEST_TRILL:
        return np.array([start]), np.array([False])
    onsets = np.linspace(start, start + seconds, count, endpoint=False, dtype=np.float64)
    return onsets, np.arange(count) % 2 == 1

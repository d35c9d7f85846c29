"""Rules for articulation: [N] log2 of the factor by which a rule changes how long a key is down, for its
quantity k.

-1 halves the written length. Overlaps that one keyboard cannot play are cut afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from renderers.kth_rules.reading import Floats, Reading

SHORT = 0.5
"""Seconds; notes shorter than this are held relatively longer."""

PAUSE_SECONDS = 0.3
"""Seconds; in longer notes what the hand needs to prepare the next stroke weighs proportionally less."""


def score_staccato(reading: Reading, k: float = 1.0) -> Floats:
    """Staccato and its kin: the sounding part of the written value (see ``renderers.articulation``).

    Bresin & Battel 2000, JNMR 29(3): pianists hold staccato notes for about 40 % of their value.
    """
    return k * np.log2(reading.fraction)


def score_legato(reading: Reading, k: float = 1.0) -> Floats:
    """Slurred notes are held 20 % longer than others (key overlap; Repp 1997, JASA 102(2); Bresin & Battel
    2000)."""
    return k * np.log2(1.2) * reading.slurred


def short_notes(reading: Reading, k: float = 1.0) -> Floats:
    """Short notes are held relatively longer: 0.1 octaves of length per halving below ``SHORT`` seconds.

    The key overlap time is roughly constant, so that it weighs more in short notes (Repp 1995, JASA 97(6)).
    """
    return -k * 0.1 * np.log2(np.clip(reading.seconds, 0.05, SHORT) / SHORT)


def repetition(reading: Reading, k: float = 1.0) -> Floats:
    """A key that is struck again at once is released before: 20 % off, in long notes less (repetition
    articulation; Friberg 1991, GMA 2A; Bresin & Widmer 2000, JNMR 29(3))."""
    return k * np.log2(0.8) * _pause_share(reading) * reading.restruck


def repeated_note(reading: Reading, k: float = 1.0) -> Floats:
    """A note that its own voice repeats is released before, by 20 %, in long notes less."""
    return k * np.log2(0.8) * _pause_share(reading) * reading.repeated


def punctuation(reading: Reading, k: float = 1.0) -> Floats:
    """The last note before a boundary is released early: by 20 % times its strength (micropause; Friberg,
    Bresin, Frydén & Sundberg 1998)."""
    return k * np.log2(0.8) * reading.boundary_after[reading.slice_of]


def slur_end(reading: Reading, k: float = 1.0) -> Floats:
    """The last note under a slur is lifted: 20 % off (Türk 1789, VI.2 §23)."""
    return k * np.log2(0.8) * reading.slur_last


def leap(reading: Reading, k: float = 1.0) -> Floats:
    """Before a leap the hand leaves early: 20 % off per octave, at most two (leap articulation; Friberg 1991,
    GMA 1)."""
    return k * np.log2(0.8) * reading.leap_after


def accompaniment_leap(reading: Reading, k: float = 1.0) -> Floats:
    """Likewise, for what lies below the melody outside of the upper staff."""
    accompanying = ~reading.top & (reading.notes.staff != 1)
    return k * np.log2(0.8) * reading.leap_after * accompanying


def chords(reading: Reading, k: float = 1.0) -> Floats:
    """Chords of one voice are released early: 0.1 per doubling of their notes, in long notes less."""
    return -k * 0.1 * _pause_share(reading) * np.log2(reading.chord_size)


def melody(reading: Reading, k: float = 1.0) -> Floats:
    """The highest sounding note is held 10 % longer."""
    return k * np.log2(1.1) * reading.top


def busy(reading: Reading, k: float = 1.0) -> Floats:
    """In dense passages keys are released early: 0.1 per doubling of the notes per second around."""
    rate = reading.struck / np.maximum(reading.slice_seconds, 0.02)
    return -k * 0.1 * np.log2(np.maximum(reading.around(rate, 4.0), 0.1))[reading.slice_of]


def metrical(reading: Reading, k: float = 1.0) -> Floats:
    """Notes on the beat are held 5 % longer than those between."""
    return k * np.log2(1.05) * (reading.metrical_level[reading.slice_of] >= 1)


def _pause_share(reading: Reading) -> Floats:
    """[N] 1 for notes up to ``PAUSE_SECONDS``, then falling as 1 / length."""
    return np.minimum(1.0, PAUSE_SECONDS / np.maximum(reading.seconds, PAUSE_SECONDS))


RULES: Mapping[str, Callable[[Reading, float], Floats]] = {
    rule.__name__: rule
    for rule in (
        score_staccato, score_legato, short_notes, repetition, repeated_note, punctuation,
        slur_end, leap, accompaniment_leap, chords, melody, busy, metrical,
    )
}  # fmt: skip

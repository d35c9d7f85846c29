"""Rules for loudness: [N] dB that a rule adds to each note, for its quantity k.

High-loud, duration contrast, the charges, the arches and punctuation are rules of the KTH system; the others
say what else of a score pianists' dynamics follow. Signs and shapes are fixed here, only the quantities are
tuned (docs/kth-rules.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from renderers.dynamics import LEVELS
from renderers.kth_rules import grouping
from renderers.kth_rules.reading import Floats, Reading

DB_PER_LEVEL = 4.0
"""dB between neighbouring dynamic marks at k = 1: recordings of instruments span about 30 dB from ppp to fff
(Patterson 1974; Meyer, Acoustics and the Performance of Music, ch. 3)."""

NEAR = 4.0
"""Quarter notes that "around a note" means for texture."""


def score_dynamics(reading: Reading, k: float = 1.0) -> Floats:
    """Written marks and hairpins: ``DB_PER_LEVEL`` per mark, 0 at mf."""
    return k * DB_PER_LEVEL * (reading.level - LEVELS["mf"])


def score_accents(reading: Reading, k: float = 1.0) -> Floats:
    """Accents, sforzati and rinforzati: ``DB_PER_LEVEL`` per level."""
    return k * DB_PER_LEVEL * reading.accent


def high_loud(reading: Reading, k: float = 1.0) -> Floats:
    """The higher the louder: (pitch - 60) / 4 dB, 3 dB per octave (Sundberg et al. 1983; Friberg 1991, DPC
    1A)."""
    above: Floats = reading.notes.pitch - np.float64(60)
    return k * above / 4.0


def melody_high_loud(reading: Reading, k: float = 1.0) -> Floats:
    """High-loud for the highest sounding note alone: 3 dB per octave above C4."""
    return k * np.where(reading.top, (reading.notes.pitch - 60) / 4.0, 0.0)


def melody(reading: Reading, k: float = 1.0) -> Floats:
    """Voice balance: the highest sounding note 3 dB above the others.

    Melody notes are struck harder by 10 to 20 MIDI units (Goebl 2001, JASA 110(1); Repp 1996, JASA 100(4)).
    """
    return k * np.where(reading.top, 3.0, 0.0)


def upper_hand(reading: Reading, k: float = 1.0) -> Floats:
    """Voice balance: the upper staff 3 dB above the others."""
    return k * np.where((reading.notes.staff == 1) & (reading.notes.part == 0), 3.0, 0.0)


def bass(reading: Reading, k: float = 1.0) -> Floats:
    """Voice balance: the lowest sounding note 1 dB above inner voices, unless it is also the highest."""
    return k * np.where(reading.bass & ~reading.top, 1.0, 0.0)


def thick_chords(reading: Reading, k: float = 1.0) -> Floats:
    """Many voices share the sound: each note 1 dB less per doubling of the notes that sound around it."""
    voices = np.log2(np.maximum(reading.sounding, 1))
    return -k * reading.around(voices, NEAR)[reading.slice_of]


def density(reading: Reading, k: float = 1.0) -> Floats:
    """Busy passages are louder: 1 dB per doubling of the notes per second within ``NEAR`` quarters."""
    rate = reading.struck / np.maximum(reading.slice_seconds, 0.02)
    return k * np.log2(np.maximum(reading.around(rate, NEAR), 0.1))[reading.slice_of]


def wide_range(reading: Reading, k: float = 1.0) -> Floats:
    """Passages that span the keyboard are louder: 1 dB per octave between the outer voices."""
    octaves = (reading.highest - reading.lowest) / 12.0
    return k * reading.around(octaves, NEAR)[reading.slice_of]


def duration_contrast(reading: Reading, k: float = 1.0) -> Floats:
    """Short notes are softer: break points (30 ms, 0), (200 ms, -0.825 dB), (400 ms, -0.525 dB), (600 ms, 0)
    (Friberg 1991, DDC 1A)."""
    return k * np.interp(
        np.where(reading.grace, 0.1, reading.seconds), [0.03, 0.2, 0.4, 0.6], [0, -0.825, -0.525, 0]
    )


def melodic_charge(reading: Reading, k: float = 1.0) -> Floats:
    """Notes far from the chord's root on the circle of fifths are louder: 0.2 dB per unit of charge (Friberg
    1991, DPC 1B)."""
    return k * 0.2 * reading.melodic_charge


def harmonic_charge(reading: Reading, k: float = 1.0) -> Floats:
    """Crescendo towards remarkable chords: 1.5 sqrt(charge) dB, linear from chord to chord (Friberg 1991, DPC
    2A)."""
    return k * 1.5 * reading.harmonic_tension[reading.slice_of]


def phrase_arch(reading: Reading, k: float = 1.0) -> Floats:
    """Phrases of about 10 s swell by 3 dB towards their middle (Friberg 1995; Todd 1992)."""
    return k * 3.0 * _arch(reading, 10.0)


def subphrase_arch(reading: Reading, k: float = 1.0) -> Floats:
    """Subphrases of about 2.5 s swell by 1.5 dB."""
    return k * 1.5 * _arch(reading, 2.5)


def _arch(reading: Reading, seconds: float) -> Floats:
    position = reading.position_in(reading.phrases(seconds), reading.notes.onset)
    return grouping.arch(position) - 1.0


def punctuation(reading: Reading, k: float = 1.0) -> Floats:
    """The last note before a boundary is softer: 1 dB times its strength (Friberg, Bresin, Frydén & Sundberg
    1998, JNMR 27(3))."""
    return -k * reading.boundary_after[reading.slice_of]


def metrical_accent(reading: Reading, k: float = 1.0) -> Floats:
    """0.5 dB per metrical level: beat, middle of the measure, barline (Sloboda 1983; Drake & Palmer 1993)."""
    return k * 0.5 * reading.metrical_level[reading.slice_of]


def staccato(reading: Reading, k: float = 1.0) -> Floats:
    """Staccato notes are struck 1 dB harder (the touch of detached notes; Goebl & Bresin 2003)."""
    return k * np.where(reading.fraction <= 0.5, 1.0, 0.0)


def growth(reading: Reading, k: float = 1.0) -> Floats:
    """Pieces grow: 1 dB from the first note to the last."""
    return k * reading.notes.onset / reading.score.end


RULES: Mapping[str, Callable[[Reading, float], Floats]] = {
    rule.__name__: rule
    for rule in (
        score_dynamics, score_accents, high_loud, melody_high_loud, melody, upper_hand, bass, thick_chords,
        density, wide_range, duration_contrast, melodic_charge, harmonic_charge, phrase_arch,
        subphrase_arch, punctuation, metrical_accent, staccato, growth,
    )
}  # fmt: skip

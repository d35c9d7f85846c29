"""Rules for loudness: [N] dB that a rule adds to each note, for its quantity k.

High-loud, duration contrast, the charges, the arches and punctuation are rules of the KTH system; the others
model what else pianists' dynamics depend on. Only the quantities are tuned (docs/reference/kth-rules.md).
"""

from __future__ import annotations

import numpy as np

from renderers.dynamics import LEVELS
from renderers.kth_rules.analysis import NEAR, Floats, ScoreAnalysis, rules_by_name

DB_PER_LEVEL = 4.0
"""dB between neighbouring dynamic marks at k = 1: recordings of instruments span about 30 dB from ppp to fff
(Patterson 1974; Meyer, Acoustics and the Performance of Music, ch. 3)."""


def score_dynamics(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Written marks and hairpins: ``DB_PER_LEVEL`` per mark, 0 at mf."""
    return k * DB_PER_LEVEL * (analysis.level - LEVELS["mf"])


def score_accents(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Accents, sforzati and rinforzati: ``DB_PER_LEVEL`` per level."""
    return k * DB_PER_LEVEL * analysis.accent


def high_loud(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Higher is louder: (pitch - 60) / 4 dB, 3 dB per octave (Sundberg et al. 1983; Friberg 1991, DPC 1A)."""
    above: Floats = analysis.notes.pitch - np.float64(60)
    return k * above / 4.0


def melody_high_loud(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """High-loud for the highest sounding note alone: 3 dB per octave above C4."""
    return k * np.where(analysis.top, (analysis.notes.pitch - 60) / 4.0, 0.0)


def melody(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Voice balance: the highest sounding note 3 dB above the others.

    Melody notes are struck harder by 10 to 20 MIDI units (Goebl 2001, JASA 110(1); Repp 1996, JASA 100(4)).
    """
    return k * np.where(analysis.top, 3.0, 0.0)


def upper_hand(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Voice balance: the upper staff 3 dB above the others."""
    return k * np.where((analysis.notes.staff == 1) & (analysis.notes.part == 0), 3.0, 0.0)


def bass(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Voice balance: the lowest sounding note 1 dB above inner voices, unless it is also the highest."""
    return k * np.where(analysis.bass & ~analysis.top, 1.0, 0.0)


def thick_chords(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Thick textures: each note 1 dB softer per doubling of the number of notes that sound around it."""
    voices = np.log2(np.maximum(analysis.sounding, 1))
    return -k * analysis.around(voices, NEAR)[analysis.slice_of]


def density(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Busy passages are louder: 1 dB per doubling of the notes per second."""
    return k * analysis.density


def wide_range(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Passages that span the keyboard are louder: 1 dB per octave between the outer voices."""
    octaves = (analysis.highest - analysis.lowest) / 12.0
    return k * analysis.around(octaves, NEAR)[analysis.slice_of]


def duration_contrast(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Short notes are softer: break points (30 ms, 0), (200 ms, -0.825 dB), (400 ms, -0.525 dB), (600 ms, 0)
    (Friberg 1991, DDC 1A)."""
    return k * np.interp(
        np.where(analysis.grace, 0.1, analysis.seconds), [0.03, 0.2, 0.4, 0.6], [0, -0.825, -0.525, 0]
    )


def melodic_charge(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Notes far from the chord's root on the circle of fifths are louder: 0.2 dB per unit of charge (Friberg
    1991, DPC 1B)."""
    return k * 0.2 * analysis.melodic_charge


def harmonic_charge(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Crescendo towards remarkable chords: 1.5 sqrt(charge) dB, interpolated (Friberg 1991, DPC 2A)."""
    return k * 1.5 * analysis.harmonic_tension[analysis.slice_of]


def phrase_arch(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Phrases of about 10 s swell by 3 dB towards their middle (Friberg 1995; Todd 1992)."""
    return k * 3.0 * (analysis.arch(10.0, analysis.notes.onset) - 1.0)


def subphrase_arch(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Subphrases of about 2.5 s swell by 1.5 dB."""
    return k * 1.5 * (analysis.arch(2.5, analysis.notes.onset) - 1.0)


def punctuation(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The last note before a boundary is softer: 1 dB times its strength (Friberg, Bresin, Frydén & Sundberg
    1998, JNMR 27(3))."""
    return -k * analysis.boundary_after[analysis.slice_of]


def metrical_accent(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """0.5 dB per metrical level: beat, middle of the measure, barline (Sloboda 1983; Drake & Palmer 1993)."""
    return k * 0.5 * analysis.metrical_level[analysis.slice_of]


def staccato(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Staccato notes are struck 1 dB harder (Goebl & Bresin 2003)."""
    return k * np.where(analysis.fraction <= 0.5, 1.0, 0.0)


def growth(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Pieces grow: 1 dB from the first note to the last."""
    return k * analysis.notes.onset / analysis.score.end


RULES = rules_by_name(
    score_dynamics, score_accents, high_loud, melody_high_loud, melody, upper_hand, bass, thick_chords,
    density, wide_range, duration_contrast, melodic_charge, harmonic_charge, phrase_arch,
    subphrase_arch, punctuation, metrical_accent, staccato, growth,
)  # fmt: skip

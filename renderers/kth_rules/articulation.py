"""Rules for articulation: [N] log2 of the factor of a note's key-down time, for the rule's quantity k.

-1 halves the written length. Overlaps that one keyboard cannot play are cut afterwards.
"""

from __future__ import annotations

import numpy as np

from renderers.kth_rules.analysis import SAME, Bools, Floats, ScoreAnalysis, rules_by_name

SHORT = 0.5
"""Seconds; shorter notes are held relatively longer."""

PAUSE_SECONDS = 0.3
"""Seconds; in longer notes the time that the hand needs before its next stroke weighs proportionally less."""


def score_staccato(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Articulation marks: the sounding part of the written value (see ``renderers.articulation``).

    Bresin & Battel 2000, JNMR 29(3): pianists hold staccato notes for about 40 % of their value.
    """
    return k * np.log2(analysis.fraction)


def score_legato(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Slurred notes are held 20 % longer (key overlap; Repp 1997, JASA 102(2); Bresin & Battel 2000)."""
    return k * np.log2(1.2) * analysis.slurred


def short_notes(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Short notes are held relatively longer: 0.1 octaves of length per halving below ``SHORT`` seconds.

    The time for which keys overlap is nearly constant and weighs more in short notes (Repp 1995, JASA 97(6)).
    """
    return -k * 0.1 * np.log2(np.clip(analysis.seconds, 0.05, SHORT) / SHORT)


def repetition(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """A key that is struck again is released early: by 20 %, in long notes less (repetition articulation;
    Friberg 1991, GMA 2A; Bresin & Widmer 2000, JNMR 29(3))."""
    return k * np.log2(0.8) * _pause_share(analysis) * analysis.restruck


def repeated_note(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """A note that its own voice repeats is released early: by 20 %, in long notes less."""
    return k * np.log2(0.8) * _pause_share(analysis) * analysis.repeated


def punctuation(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The last note before a boundary is released early: by 20 % times the strength of the boundary
    (micropause; Friberg, Bresin, Frydén & Sundberg 1998)."""
    return k * np.log2(0.8) * analysis.boundary_after[analysis.slice_of]


def slur_end(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The last note under a slur is released early: by 20 % (Türk 1789, VI.2 §23)."""
    return k * np.log2(0.8) * analysis.slur_last


def leap(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Before a leap the key is released early: by 20 % per octave, at most two octaves (leap articulation;
    Friberg 1991, GMA 1)."""
    return k * np.log2(0.8) * analysis.leap_after


def accompaniment_leap(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """As ``leap``, for notes below the melody that are not in the upper staff."""
    accompanying = ~analysis.top & (analysis.notes.staff != 1)
    return k * np.log2(0.8) * analysis.leap_after * accompanying


def chords(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Chords of one voice are released early: 0.1 per doubling of the number of notes, in long notes less."""
    return -k * 0.1 * _pause_share(analysis) * np.log2(analysis.chord_size)


def melody(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The highest sounding note is held 10 % longer."""
    return k * np.log2(1.1) * analysis.top


def busy(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """In busy passages keys are released early: 0.1 per doubling of the notes per second."""
    return -k * 0.1 * analysis.density


def metrical(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Notes on the beat are held 5 % longer than those between."""
    return k * np.log2(1.05) * (analysis.metrical_level[analysis.slice_of] >= 1)


def held_out(analysis: ScoreAnalysis) -> Bools:
    """[N] notes that no rule cuts short: those under a fermata, and the last chord, unless it is staccato."""
    fermata = np.array(["fermata" in marks for marks in analysis.notes.marks], bool)
    last = analysis.note_end >= analysis.slice_end[-1] - SAME
    return (fermata | last) & (analysis.fraction >= 1)


def _pause_share(analysis: ScoreAnalysis) -> Floats:
    """[N] 1 for notes up to ``PAUSE_SECONDS``, then falling as 1 / length."""
    return np.minimum(1.0, PAUSE_SECONDS / np.maximum(analysis.seconds, PAUSE_SECONDS))


RULES = rules_by_name(
    score_staccato, score_legato, short_notes, repetition, repeated_note, punctuation,
    slur_end, leap, accompaniment_leap, chords, melody, busy, metrical,
)  # fmt: skip

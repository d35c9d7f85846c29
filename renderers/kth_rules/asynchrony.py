"""Rules for asynchrony within chords: [N] seconds that are added to onsets."""

from __future__ import annotations

import numpy as np

from renderers.kth_rules.analysis import Floats, ScoreAnalysis

MELODY_LEAD = 0.015
"""Seconds by which the melody precedes the chord at k = 1. The hammers of louder notes arrive 20 to 30 ms
earlier although the fingers start together (Goebl 2001, JASA 110(1)); 15 ms suit a melody of ordinary
prominence."""

CHORD_SPREAD = 0.007
"""Seconds, standard deviation within a chord at k = 1: chords spread over 10 to 20 ms (Repp 1996, JASA
100(6); Goebl 2001)."""

QUICK = 0.25
"""Seconds to the next onset below which the asynchrony shrinks in proportion."""


def melody_lead(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The highest note precedes the others by ``MELODY_LEAD`` (Goebl 2001), less in quick passages; the mean
    onset of the chord does not change."""
    leads = np.where(analysis.top & ~analysis.grace, -k * MELODY_LEAD, 0.0)
    return _within_chords(analysis, leads)


def chord_asynchrony(analysis: ScoreAnalysis, generator: np.random.Generator, k: float = 1.0) -> Floats:
    """Notes of a chord scatter by ``CHORD_SPREAD``, at most twice that, less in quick passages; the mean
    onset of the chord does not change."""
    scatter = np.clip(generator.standard_normal(len(analysis.notes)), -2.0, 2.0)
    return _within_chords(analysis, k * CHORD_SPREAD * scatter)


def _within_chords(analysis: ScoreAnalysis, shifts: Floats) -> Floats:
    """Shifts minus their mean over the slice, scaled down where the next onset is near."""
    centred = shifts - analysis.share(shifts)[analysis.slice_of]
    scale = np.minimum(analysis.slice_seconds / QUICK, 1.0)[analysis.slice_of]
    return np.where(analysis.grace, 0.0, centred * scale)

"""Rules for what is written together but not played together: [N] seconds that are added to onsets."""

from __future__ import annotations

import numpy as np

from renderers.kth_rules.reading import Floats, Reading

MELODY_LEAD = 0.015
"""Seconds by which the melody precedes at k = 1. Hammers of louder notes arrive 20 to 30 ms earlier, fingers
start together (Goebl 2001, JASA 110(1)); 15 ms are left for a melody of ordinary prominence."""

CHORD_SPREAD = 0.007
"""Seconds, standard deviation within a chord at k = 1: chords spread over 10 to 20 ms (Repp 1996, JASA
100(6); Goebl 2001)."""

QUICK = 0.25
"""Seconds to the next onset below which there is proportionally less time to be apart."""

SLOWEST_SWING, FASTEST_SWING = 100.0, 320.0
"""Beats per minute between which the swing ratio falls from 3:1 to 1:1 (Friberg & Sundström 2002, Music
Perception 19(3))."""


def melody_lead(reading: Reading, k: float = 1.0) -> Floats:
    """The highest note precedes the others by ``MELODY_LEAD`` (Goebl 2001), less in quick passages.

    The chord as a whole stays on its time.
    """
    leads = np.where(reading.top & ~reading.grace, -k * MELODY_LEAD, 0.0)
    return _within_chords(reading, leads)


def chord_asynchrony(reading: Reading, generator: np.random.Generator, k: float = 1.0) -> Floats:
    """Notes of a chord scatter by ``CHORD_SPREAD``, at most twice that, less in quick passages; the chord as
    a whole stays on its time."""
    scatter = np.clip(generator.standard_normal(len(reading.notes)), -2.0, 2.0)
    return _within_chords(reading, k * CHORD_SPREAD * scatter)


def _within_chords(reading: Reading, shifts: Floats) -> Floats:
    """Shifts less their mean over the slice, scaled down where the next onset is near."""
    centred = shifts - reading.share(shifts)[reading.slice_of]
    scale = np.minimum(reading.slice_seconds / QUICK, 1.0)[reading.slice_of]
    return np.where(reading.grace, 0.0, centred * scale)


def swing(reading: Reading, k: float = 1.0) -> Floats:
    """[S] ln factors: the first half of each beat is longer, the second shorter (ensemble swing; off in all
    palettes).

    At k = 1 the ratio is 3:1 up to ``SLOWEST_SWING`` and 1:1 from ``FASTEST_SWING`` on (Friberg & Sundström
    2002). Slices that span the middle of a beat stay.
    """
    beat = reading.beat_of_slice
    start, length = reading.beats[beat], np.diff(reading.beats)[beat]
    from_, to = (reading.slice_onset - start) / length, (reading.slice_end - start) / length
    tempo = 60.0 / np.diff(reading.times.to_seconds(reading.beats))[beat]
    ratio = 1.0 + k * np.interp(tempo, [SLOWEST_SWING, FASTEST_SWING], [2.0, 0.0])
    first_half = 2.0 * ratio / (1.0 + ratio)
    inside = (from_ >= -1e-6) & (to <= 1.0 + 1e-6)
    early, late = inside & (to <= 0.5 + 1e-6), inside & (from_ >= 0.5 - 1e-6)
    return np.where(early, np.log(first_half), np.where(late, np.log(2.0 - first_half), 0.0))

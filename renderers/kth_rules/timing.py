"""Rules for tempo: [S] ln of the factor by which a rule lengthens each slice, for its quantity k.

All voices share these slices, so that they stay together; as in KTH's melodic synchronisation (Sundberg,
Friberg & Frydén 1989) the shortest notes carry the time. 0.01 is a lengthening by 1 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from renderers.kth_rules import grouping
from renderers.kth_rules.reading import SAME, Floats, Reading

FINAL_SECONDS, FINAL_BEATS = 5.0, 8.0
"""Length of the final ritard: written seconds, but no more than so many beats."""

FINAL_TEMPO = 0.6
"""Tempo at the end of the final ritard relative to its start, at k = 1; musicians' lies between 0.3 and 0.8
(Friberg & Sundberg 1999)."""

CURVATURE = 3.0
"""q of the final ritard; 3 is how runners stop, and what listeners prefer (Friberg & Sundberg 1999)."""


def final_ritard(reading: Reading, k: float = 1.0) -> Floats:
    """The end slows down as a runner stops: v(x) = (1 + (w^q - 1) x)^(1/q), x over the ritard.

    Friberg & Sundberg, JASA 105(3), 1999, eq. 5, with w = ``FINAL_TEMPO`` and q = ``CURVATURE``; k scales
    the logarithm.
    """
    onset = reading.times.to_seconds(reading.middle)
    end = float(reading.times.to_seconds(reading.slice_end[-1]))
    beat = float(np.median(np.diff(reading.times.to_seconds(reading.beats))))
    length = min(FINAL_SECONDS, FINAL_BEATS * beat)
    x = np.clip((onset - (end - length)) / length, 0.0, 1.0)
    return -k * np.log(1 + (FINAL_TEMPO**CURVATURE - 1) * x) / CURVATURE


def last_beats(reading: Reading, k: float = 1.0) -> Floats:
    """The notes of the last three beats are held 10 % longer."""
    start = reading.beats[max(len(reading.beats) - 4, 0)]
    return k * np.where(reading.slice_onset >= start - SAME, 0.1, 0.0)


def duration_contrast(reading: Reading, k: float = 1.0) -> Floats:
    """Short notes are shorter: break points (30 ms, 0), (200 ms, -16.5 ms), (400 ms, -10.5 ms), (600 ms, 0)
    (Friberg 1991, DDC 1A)."""
    seconds = np.maximum(reading.slice_seconds, 1e-3)
    change = np.interp(seconds, [0.03, 0.2, 0.4, 0.6], [0.0, -0.0165, -0.0105, 0.0])
    return k * np.log1p(np.maximum(change / seconds, -0.5))


def held_notes(reading: Reading, k: float = 1.0) -> Floats:
    """Where nothing new is struck for long, time is taken: 3 % per doubling of the slice relative to the
    beat.

    The reverse of contrast for what lies between the beats; pianists lengthen the long notes that end
    gestures (Gabrielsson 1987; Repp 1992, JASA 92(5)).
    """
    beat = np.diff(reading.beats)[reading.beat_of_slice]
    return k * 0.03 * np.log2((reading.slice_end - reading.slice_onset) / beat)


def double_duration(reading: Reading, k: float = 1.0) -> Floats:
    """Of two notes in the ratio 2:1 the short one takes 12 % of its length from the long one (Friberg 1991,
    DDC 2A); either order, where they stand apart from equal notes."""
    length = reading.slice_end - reading.slice_onset
    pair = np.abs(length[:-1] - 2 * length[1:]) < 1e-3 * length[:-1]
    other = np.abs(length[1:] - 2 * length[:-1]) < 1e-3 * length[1:]
    changed = np.zeros(len(length))
    # A note takes part in one pair only: long-short first.
    short_after = np.flatnonzero(pair)
    changed[short_after] -= 0.06
    changed[short_after + 1] += 0.12
    short_before = np.flatnonzero(other & (changed[:-1] == 0) & (changed[1:] == 0))
    changed[short_before] += 0.12
    changed[short_before + 1] -= 0.06
    return np.log1p(np.clip(k * changed, -0.5, 1.0))


def melodic_charge(reading: Reading, k: float = 1.0) -> Floats:
    """Melody notes far from the chord's root are longer: 2/3 % per unit of charge (Friberg 1991, DPC 1B)."""
    charge = np.zeros(len(reading.slice_onset))
    charge[reading.slice_of[reading.melody]] = reading.melodic_charge[reading.melody]
    return k * (2 / 300) * charge


def harmonic_charge(reading: Reading, k: float = 1.0) -> Floats:
    """Slower towards remarkable chords: 1 % per unit of the square root of their charge (Friberg 1991, DPC
    2A)."""
    return k * 0.01 * reading.harmonic_tension


def phrase_arch(reading: Reading, k: float = 1.0) -> Floats:
    """Phrases of about 10 s start slowly, run 10 % faster in the middle and slow down to their end (Friberg
    1995; Todd 1985)."""
    return -k * 0.1 * _arch(reading, 10.0)


def subphrase_arch(reading: Reading, k: float = 1.0) -> Floats:
    """Subphrases of about 2.5 s likewise, by 5 %."""
    return -k * 0.05 * _arch(reading, 2.5)


def gesture_arch(reading: Reading, k: float = 1.0) -> Floats:
    """Gestures of about 1.25 s likewise, by 5 %."""
    return -k * 0.05 * _arch(reading, 1.25)


def _arch(reading: Reading, seconds: float) -> Floats:
    return grouping.arch(reading.position_in(reading.phrases(seconds), reading.middle))


def punctuation(reading: Reading, k: float = 1.0) -> Floats:
    """What precedes a boundary is lengthened: 10 % times its strength (Friberg, Bresin, Frydén & Sundberg
    1998; Cambouropoulos 2001)."""
    return k * 0.1 * reading.boundary_after


def phrase_start(reading: Reading, k: float = 1.0) -> Floats:
    """The first beat after a boundary is lengthened: 10 % times its strength (Todd 1985: phrases start
    slowly)."""
    strength = np.r_[1.0, reading.beat_boundary[:-1]]
    return k * 0.1 * strength[reading.beat_of_slice]


def phrase_end(reading: Reading, k: float = 1.0) -> Floats:
    """The last beat before a boundary is lengthened: 10 % times its strength (phrase-final lengthening)."""
    return k * 0.1 * reading.beat_boundary[reading.last_beat_of_slice]


def legato_flow(reading: Reading, k: float = 1.0) -> Floats:
    """Under slurs the music moves on: 5 % faster where all notes struck are slurred."""
    return -k * 0.05 * reading.share(reading.slurred)


def leap_time(reading: Reading, k: float = 1.0) -> Floats:
    """A hand that leaps needs time: 2 % per octave to the bass of the next beat, at most two octaves (leap
    tone duration, Friberg 1991, GMI 1A)."""
    low = reading.beat_bass
    leap = np.r_[np.minimum(np.abs(np.diff(low)) / 12.0, 2.0), 0.0]
    return k * 0.02 * leap[reading.beat_of_slice]


def deep_bass(reading: Reading, k: float = 1.0) -> Floats:
    """Beats over a bass lower than that of the beats around are lengthened: 2 % per octave."""
    low = reading.beat_bass
    return -k * 0.02 * ((low - reading.mean_of_beats(low, 4)) / 12.0)[reading.beat_of_slice]


def agogic_accent(reading: Reading, k: float = 1.0) -> Floats:
    """Accented notes are given time: 5 % where all notes struck are accented (Riemann 1884)."""
    return k * 0.05 * reading.share(np.minimum(reading.accent, 1.0))


def thick_chords(reading: Reading, k: float = 1.0) -> Floats:
    """Time is taken before a chord thicker than what precedes it: 2 % per doubling of the notes."""
    size = np.log2(np.maximum(reading.struck, 1))
    return k * 0.02 * np.maximum(np.r_[np.diff(size), 0.0], 0.0)


RULES: Mapping[str, Callable[[Reading, float], Floats]] = {
    rule.__name__: rule
    for rule in (
        final_ritard, last_beats, duration_contrast, held_notes, double_duration, melodic_charge,
        harmonic_charge, phrase_arch, subphrase_arch, gesture_arch, punctuation, phrase_start, phrase_end,
        legato_flow, leap_time, deep_bass, agogic_accent, thick_chords,             )
}  # fmt: skip

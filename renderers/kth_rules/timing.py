"""Rules for tempo: [S] ln of the factor by which a rule lengthens each slice, for its quantity k.

All voices share the slices, which keeps them together: the shortest notes determine the timing, as in KTH's
melodic synchronisation (Sundberg, Friberg & Frydén 1989). 0.01 lengthens a slice by 1 %.
"""

from __future__ import annotations

import re

import numpy as np

from renderers.kth_rules.analysis import SAME, Floats, ScoreAnalysis, rules_by_name

FINAL_SECONDS, FINAL_BEATS = 5.0, 8.0
"""Length of the final ritard: seconds of written time, but no more beats than this."""

FINAL_TEMPO = 0.6
"""Tempo at the end of the final ritard relative to its start, at k = 1; musicians choose 0.3 to 0.8 (Friberg
& Sundberg 1999)."""

CURVATURE = 3.0
"""q of the final ritard; 3 is how runners stop, and what listeners prefer (Friberg & Sundberg 1999)."""

SLOWEST_END, SLOWEST_DANCE_END = 0.6, 0.8
"""Tempo at the end relative to the median of the piece. In ASAP's training split (159 pieces) the slowest of
the last four beats has 0.62 of it, in the median of the performances."""

_DANCE = re.compile(r"\brag(?:time)?\b|march|marsch|marcia|polka|cake.?walk|two.?step|galop")

SLOWEST_SWING, FASTEST_SWING = 100.0, 320.0
"""Beats per minute between which the swing ratio falls from 3:1 to 1:1 (Friberg & Sundström 2002, Music
Perception 19(3))."""


def final_ritard(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The end slows down like a stopping runner: tempo v(x) = (1 + (w^q - 1) x)^(1/q), x over the ritard.

    Friberg & Sundberg, JASA 105(3), 1999, eq. 5, with w = ``FINAL_TEMPO`` and q = ``CURVATURE``; k scales
    the logarithm. The ritard ends with the last onset: under a held chord nothing slows down.
    """
    onset = analysis.times.to_seconds(analysis.middle)
    end = float(analysis.times.to_seconds(analysis.slice_onset[-1]))
    beat = float(np.median(np.diff(analysis.times.to_seconds(analysis.beats))))
    length = min(FINAL_SECONDS, FINAL_BEATS * beat)
    x = np.clip((onset - (end - length)) / length, 0.0, 1.0)
    return -k * np.log(1 + (FINAL_TEMPO**CURVATURE - 1) * x) / CURVATURE


def ending_limited(analysis: ScoreAnalysis, change: Floats) -> Floats:
    """[S] the summed change of tempo, so that written and added slowing do not stop the ending.

    Over the last ``FINAL_BEATS`` beats the tempo stays above ``SLOWEST_END`` of the piece's median, in dances
    and marches above ``SLOWEST_DANCE_END``; where the score itself asks for less, nothing is added.
    """
    period = analysis.slice_seconds / (analysis.slice_end - analysis.slice_onset)
    written = np.log(period / np.median(period))
    slowest = SLOWEST_DANCE_END if _is_dance(analysis) else SLOWEST_END
    limit = np.maximum(-np.log(slowest) - written, 0.0)
    first = analysis.beats[max(len(analysis.beats) - 1 - int(FINAL_BEATS), 0)]
    return np.where(analysis.slice_onset >= first - SAME, np.minimum(change, limit), change)


def _is_dance(analysis: ScoreAnalysis) -> bool:
    score = analysis.score
    words = [d.text for d in score.directions if d.kind in ("tempo", "words")]
    return bool(_DANCE.search(" ".join([score.title, *words]).lower()))


def last_beats(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The notes of the last three beats are held 10 % longer."""
    start = analysis.beats[max(len(analysis.beats) - 4, 0)]
    return k * np.where(analysis.slice_onset >= start - SAME, 0.1, 0.0)


def duration_contrast(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Short notes are shorter: break points (30 ms, 0), (200 ms, -16.5 ms), (400 ms, -10.5 ms), (600 ms, 0)
    (Friberg 1991, DDC 1A)."""
    seconds = np.maximum(analysis.slice_seconds, 1e-3)
    change = np.interp(seconds, [0.03, 0.2, 0.4, 0.6], [0.0, -0.0165, -0.0105, 0.0])
    return k * np.log1p(np.maximum(change / seconds, -0.5))


def held_notes(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Long slices are longer: 3 % per doubling of their length relative to the beat.

    Pianists lengthen the long notes that end gestures (Gabrielsson 1987; Repp 1992, JASA 92(5)).
    """
    beat = np.diff(analysis.beats)[analysis.beat_of_slice]
    return k * 0.03 * np.log2((analysis.slice_end - analysis.slice_onset) / beat)


def double_duration(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Of two notes in the ratio 2:1 the short one takes 12 % of its length from the long one (Friberg 1991,
    DDC 2A); either order, where they stand apart from equal notes."""
    length = analysis.slice_end - analysis.slice_onset
    pair = np.abs(length[:-1] - 2 * length[1:]) < 1e-3 * length[:-1]
    other = np.abs(length[1:] - 2 * length[:-1]) < 1e-3 * length[1:]
    changed = np.zeros(len(length))
    # Each note belongs to one pair at most; long-short pairs come first.
    short_after = np.flatnonzero(pair)
    changed[short_after] -= 0.06
    changed[short_after + 1] += 0.12
    short_before = np.flatnonzero(other & (changed[:-1] == 0) & (changed[1:] == 0))
    changed[short_before] += 0.12
    changed[short_before + 1] -= 0.06
    return np.log1p(np.clip(k * changed, -0.5, 1.0))


def melodic_charge(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Melody notes far from the chord's root are longer: 2/3 % per unit of charge (Friberg 1991, DPC 1B)."""
    charge = np.zeros(len(analysis.slice_onset))
    charge[analysis.slice_of[analysis.melody]] = analysis.melodic_charge[analysis.melody]
    return k * (2 / 300) * charge


def harmonic_charge(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Slower towards remarkable chords: 1 % per unit of the square root of charge (Friberg 1991, DPC 2A)."""
    return k * 0.01 * analysis.harmonic_tension


def phrase_arch(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Phrases of about 10 s start slowly, are 10 % faster in the middle and slow down to their end (Friberg
    1995; Todd 1985)."""
    return -k * 0.1 * analysis.arch(10.0, analysis.middle)


def subphrase_arch(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Subphrases of about 2.5 s likewise, by 5 %."""
    return -k * 0.05 * analysis.arch(2.5, analysis.middle)


def gesture_arch(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Gestures of about 1.25 s likewise, by 5 %."""
    return -k * 0.05 * analysis.arch(1.25, analysis.middle)


def punctuation(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The slice before a boundary is lengthened: 10 % times the strength of the boundary (Friberg, Bresin,
    Frydén & Sundberg 1998; Cambouropoulos 2001)."""
    return k * 0.1 * analysis.boundary_after


def phrase_start(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The first beat of a phrase is lengthened: 10 % times the strength of the boundary (Todd 1985)."""
    strength = np.r_[1.0, analysis.beat_boundary[:-1]]
    return k * 0.1 * strength[analysis.beat_of_slice]


def phrase_end(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Phrase-final lengthening: the last beat by 10 % times the strength of the boundary."""
    return k * 0.1 * analysis.beat_boundary[analysis.last_beat_of_slice]


def legato_flow(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Slurred passages flow: 5 % faster where all notes struck are slurred."""
    return -k * 0.05 * analysis.share(analysis.slurred)


def leap_time(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Leaps take time: 2 % per octave to the bass of the next beat, at most two octaves (leap tone duration,
    Friberg 1991, GMI 1A)."""
    low = analysis.beat_bass
    leap = np.r_[np.minimum(np.abs(np.diff(low)) / 12.0, 2.0), 0.0]
    return k * 0.02 * leap[analysis.beat_of_slice]


def deep_bass(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Beats with a bass below that of the surrounding beats are lengthened: 2 % per octave."""
    low = analysis.beat_bass
    return -k * 0.02 * ((low - analysis.mean_of_beats(low, 4)) / 12.0)[analysis.beat_of_slice]


def agogic_accent(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Accented slices are lengthened: 5 % where all notes struck are accented (Riemann 1884)."""
    return k * 0.05 * analysis.share(np.minimum(analysis.accent, 1.0))


def thick_chords(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """The slice before a thicker chord is lengthened: 2 % per doubling of the number of notes."""
    size = np.log2(np.maximum(analysis.struck, 1))
    return k * 0.02 * np.maximum(np.r_[np.diff(size), 0.0], 0.0)


def swing(analysis: ScoreAnalysis, k: float = 1.0) -> Floats:
    """Ensemble swing: the first half of each beat is longer, the second shorter (off in all palettes).

    At k = 1 the ratio is 3:1 up to ``SLOWEST_SWING`` and 1:1 from ``FASTEST_SWING`` on (Friberg & Sundström
    2002). Slices that span the middle of a beat keep their length. Not part of ``RULES``: added unlimited.
    """
    beat = analysis.beat_of_slice
    start, length = analysis.beats[beat], np.diff(analysis.beats)[beat]
    from_, to = (analysis.slice_onset - start) / length, (analysis.slice_end - start) / length
    tempo = 60.0 / np.diff(analysis.times.to_seconds(analysis.beats))[beat]
    ratio = 1.0 + k * np.interp(tempo, [SLOWEST_SWING, FASTEST_SWING], [2.0, 0.0])
    first_half = 2.0 * ratio / (1.0 + ratio)
    inside = (from_ >= -1e-6) & (to <= 1.0 + 1e-6)
    early, late = inside & (to <= 0.5 + 1e-6), inside & (from_ >= 0.5 - 1e-6)
    return np.where(early, np.log(first_half), np.where(late, np.log(2.0 - first_half), 0.0))


RULES = rules_by_name(
    final_ritard, last_beats, duration_contrast, held_notes, double_duration, melodic_charge,
    harmonic_charge, phrase_arch, subphrase_arch, gesture_arch, punctuation, phrase_start, phrase_end,
    legato_flow, leap_time, deep_bass, agogic_accent, thick_chords,
)  # fmt: skip

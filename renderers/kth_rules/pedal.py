"""The sustain pedal: its depth in each beat, how far it is lifted at the start of each beat, and its
movement.

Values are 0 (up) to 1 (down). Pedalling is continuous and differs between pianists even more than timing does
(Repp 1996, JASA 100(6); 1997, Music Perception 14). Common to pianists is that they change the pedal with the
harmony, just after the new bass note, and that it depends on texture and articulation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from renderers.kth_rules.analysis import SAME, Floats, ScoreAnalysis
from renderers.tempo import TimeMap
from score_to_audio.types import SUSTAIN, Controls

LIFT_BEFORE, STAY_UP = 0.03, 0.06
"""Seconds before the beat at which the pedal begins to rise, and after the beat until which it stays up:
legato pedalling lifts with the new note and presses after it (Repp 1996)."""

PRESS_SHARE, PRESS_SECONDS = 0.3, 0.5
"""Pressing takes this part of the beat, but at most these seconds."""

STEPS = 6
"""Number of controller values while the pedal is pressed."""

CHORD_BEATS = 2
"""Beats on either side of a beat that are compared to detect a change of harmony."""

WRITTEN_DEPTH = 0.3
"""Added to the depth where the score writes a pedal."""


def depth(analysis: ScoreAnalysis, k: Mapping[str, float]) -> Floats:
    """[B] depth of the pedal in each beat.

    ``k``: "depth" for a texture that spans two octaves, plus "wide" per further octave, minus "staccato"
    where all notes are staccato, minus "rests" where all voices rest, plus "slow" per doubling of the beat's
    length (1 s: 0)."""
    octaves = analysis.of_beats((analysis.highest - analysis.lowest) / 12.0)
    seconds = np.diff(analysis.times.to_seconds(analysis.beats))
    raw = (
        k["depth"]
        + k["wide"] * (octaves - 2.0)
        - k["staccato"] * analysis.of_beats(analysis.share(analysis.fraction <= 0.5))
        - k["rests"] * analysis.of_beats(analysis.silent.astype(np.float64))
        + k["slow"] * np.log2(np.maximum(seconds, 0.05))
        + WRITTEN_DEPTH * _written(analysis)
    )
    # The foot follows the passage more than the single beat.
    return np.clip((raw + analysis.mean_of_beats(raw, 2)) / 2, 0.0, 1.0)


def clearing(analysis: ScoreAnalysis, k: Mapping[str, float]) -> Floats:
    """[B] how far the pedal is lifted at the start of each beat, 0..1; 0 where no note is struck there.

    ``k``: "harmony" times the change of harmony, plus "bass" for a new bass note, plus "barline" at the start
    of a measure. 1 where a written pedal starts or ends.
    """
    raw = (
        k["harmony"] * harmonic_change(analysis)
        + k["bass"] * analysis.new_bass
        + k["barline"] * analysis.beat_on_barline
    )
    struck = np.isin(np.arange(len(raw)), analysis.beat_of_slice[analysis.metrical_level > 0])
    changed = np.zeros(len(raw), dtype=bool)
    starts = [place for mark in _marks(analysis) for place in mark]
    at = np.searchsorted(analysis.beats, np.array(starts) + SAME, side="right") - 1
    changed[at[(at >= 0) & (at < len(raw))]] = True
    return np.where(changed, 1.0, np.clip(raw, 0.0, 1.0) * struck)


def harmonic_change(analysis: ScoreAnalysis) -> Floats:
    """[B] one minus the cosine similarity of the pitch classes in the ``CHORD_BEATS`` beats before and after
    the start of each beat; more than one beat, because broken chords take several."""
    weights = analysis.beat_pitch_classes
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(weights, axis=0)])
    beat = np.arange(len(weights))
    before = total[beat] - total[np.maximum(beat - CHORD_BEATS, 0)]
    after = total[np.minimum(beat + CHORD_BEATS, len(weights))] - total[beat]
    norm = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    change: Floats = 1.0 - (before * after).sum(axis=1) / np.where(norm > 0, norm, 1.0)
    return change


def movement(beat_times: Floats, depths: Floats, clearings: Floats, end: float) -> Controls:
    """Events of controller 64 for a pedal that is lifted at the beats and then pressed to its depth.

    ``beat_times``: [B + 1] seconds; ``end``: seconds of the final release. Repeated values are left out.
    """
    length = np.diff(beat_times)
    start = beat_times[:-1]
    before = np.r_[0.0, depths[:-1]]
    low = np.minimum(depths, before) * (1.0 - clearings)
    lift = np.maximum(start - np.minimum(LIFT_BEFORE, 0.1 * np.r_[length[0], length[:-1]]), 0.0)
    half = (lift + start) / 2
    press = np.minimum(PRESS_SHARE * length, PRESS_SECONDS)
    stay = np.minimum(STAY_UP, 0.15 * length)
    share = np.arange(1, STEPS + 1) / STEPS
    times = np.concatenate(
        [half[:, None], start[:, None], (start + stay)[:, None] + press[:, None] * share], axis=1
    )
    values = np.concatenate(
        [((before + low) / 2)[:, None], low[:, None], low[:, None] + (depths - low)[:, None] * share], axis=1
    )
    time = np.r_[times.reshape(-1), end]
    value = np.r_[np.rint(127 * values.reshape(-1)), 0].astype(np.int64)
    kept = np.r_[value[0] != 0, np.diff(value) != 0] & (np.r_[time[:-1] < end, True])
    time, value = np.maximum(time[kept], 0.0), value[kept]
    return Controls(time, np.full(len(time), SUSTAIN, np.int64), value)


def pedal(analysis: ScoreAnalysis, times: TimeMap, k: Mapping[str, float], end: float) -> Controls:
    """The pedal of a performance; ``times``: as performed; ``end``: seconds of the final release."""
    return movement(times.to_seconds(analysis.beats), depth(analysis, k), clearing(analysis, k), end)


def _marks(analysis: ScoreAnalysis) -> list[tuple[float, float]]:
    """Written sustain pedals (onset, end) in quarter notes."""
    return [
        (mark.onset, mark.end)
        for mark in analysis.score.directions
        if mark.kind == "pedal" and mark.text == "sustain" and mark.end > mark.onset
    ]


def _written(analysis: ScoreAnalysis) -> Floats:
    """[B] 1 where a written pedal covers the middle of the beat."""
    middle = (analysis.beats[1:] + analysis.beats[:-1]) / 2
    inside = np.zeros(len(middle))
    for onset, end in _marks(analysis):
        inside[np.searchsorted(middle, onset) : np.searchsorted(middle, end)] = 1.0
    return inside

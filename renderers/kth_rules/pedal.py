"""The sustain pedal: how deep it is in each beat, how much it clears at each beat, and its movement.

Values are 0 (up) to 1 (down). Real pedalling is continuous and differs between pianists even more than timing
(Repp 1996, JASA 100(6); 1997, Music Perception 14); what they share is that the pedal is changed with the
harmony, just after the new bass, and that it follows texture and touch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from renderers.kth_rules.reading import SAME, Floats, Reading
from renderers.tempo import TimeMap
from score_to_audio.types import SUSTAIN, Controls

LIFT_BEFORE, STAY_UP = 0.03, 0.06
"""Seconds before the beat at which the pedal begins to rise, and after it until which it stays up: legato
pedalling lifts with the new note and goes down after it (Repp 1996)."""

PRESS_SHARE, PRESS_SECONDS = 0.3, 0.5
"""The way down takes this part of the beat, at most so many seconds."""

STEPS = 6
"""Controller values on the way down."""

CHORD_BEATS = 2
"""Beats on either side of a beat that are compared for a change of harmony."""

WRITTEN_DEPTH = 0.3
"""How much deeper the pedal is where the score writes it."""


def depth(reading: Reading, k: Mapping[str, float]) -> Floats:
    """[B] how deep the pedal is in each beat.

    ``k``: "depth" for a texture that spans two octaves, plus "wide" per octave more, less "staccato" where
    all notes are staccato, less "rests" where all is silent, plus "slow" per doubling of the beat's
    seconds.
    """
    octaves = reading.of_beats((reading.highest - reading.lowest) / 12.0)
    seconds = np.diff(reading.times.to_seconds(reading.beats))
    raw = (
        k["depth"]
        + k["wide"] * (octaves - 2.0)
        - k["staccato"] * reading.of_beats(reading.share(reading.fraction <= 0.5))
        - k["rests"] * reading.of_beats(reading.silent.astype(np.float64))
        + k["slow"] * np.log2(np.maximum(seconds, 0.05))
        + WRITTEN_DEPTH * _written(reading)
    )
    # A foot follows the passage more than the beat.
    return np.clip((raw + reading.mean_of_beats(raw, 2)) / 2, 0.0, 1.0)


def clearing(reading: Reading, k: Mapping[str, float]) -> Floats:
    """[B] how much of the pedal is lifted at the start of each beat, 0..1; 0 where nothing is struck there.

    ``k``: "harmony" times the change of harmony, plus "bass" for a new bass note, plus "barline" at the start
    of a measure; 1 where the score writes a pedal's start or end.
    """
    raw = (
        k["harmony"] * harmonic_change(reading)
        + k["bass"] * reading.new_bass
        + k["barline"] * reading.beat_on_barline
    )
    struck = np.isin(np.arange(len(raw)), reading.beat_of_slice[reading.metrical_level > 0])
    changed = np.zeros(len(raw), dtype=bool)
    starts = [place for mark in _marks(reading) for place in mark]
    at = np.searchsorted(reading.beats, np.array(starts) + SAME, side="right") - 1
    changed[at[(at >= 0) & (at < len(raw))]] = True
    return np.where(changed, 1.0, np.clip(raw, 0.0, 1.0) * struck)


def harmonic_change(reading: Reading) -> Floats:
    """[B] one minus the cosine similarity of the pitch classes in the ``CHORD_BEATS`` before and after the
    start of each beat: broken chords need more than one beat to be heard as what they are."""
    weights = reading.beat_pitch_classes
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(weights, axis=0)])
    beat = np.arange(len(weights))
    before = total[beat] - total[np.maximum(beat - CHORD_BEATS, 0)]
    after = total[np.minimum(beat + CHORD_BEATS, len(weights))] - total[beat]
    norm = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    change: Floats = 1.0 - (before * after).sum(axis=1) / np.where(norm > 0, norm, 1.0)
    return change


def movement(beat_times: Floats, depths: Floats, clearings: Floats, end: float) -> Controls:
    """The controller events of a pedal that clears at the beats and then goes down to its depth.

    ``beat_times``: [B + 1] seconds; ``end``: seconds at which the pedal is let go for good. Numbers are
    CC64, values 0..127; equal values in a row are left out.
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


def pedal(reading: Reading, times: TimeMap, k: Mapping[str, float], end: float) -> Controls:
    """The pedal of a performance; ``times``: score time to performed seconds; ``end``: of the last note."""
    return movement(times.to_seconds(reading.beats), depth(reading, k), clearing(reading, k), end)


def _marks(reading: Reading) -> list[tuple[float, float]]:
    """Written sustain pedals (onset, end) in quarter notes."""
    return [
        (mark.onset, mark.end)
        for mark in reading.score.directions
        if mark.kind == "pedal" and mark.text == "sustain" and mark.end > mark.onset
    ]


def _written(reading: Reading) -> Floats:
    """[B] 1 where a written pedal covers the middle of the beat."""
    middle = (reading.beats[1:] + reading.beats[:-1]) / 2
    inside = np.zeros(len(middle))
    for onset, end in _marks(reading):
        inside[np.searchsorted(middle, onset) : np.searchsorted(middle, end)] = 1.0
    return inside

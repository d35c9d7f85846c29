"""From the network's outputs to a performance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from renderers import keyboard, ornaments
from renderers.pianist_mean.texture import Floats, Texture
from renderers.tempo import TimeMap
from score_to_audio.types import SUSTAIN, Controls, ParsedScore, Performance

SHORTEST_BEAT, LONGEST_BEAT = 0.4, 4.0
"""Of the mean length of a quarter note: no beat is shorter or longer, relative to its written length."""
ARTICULATION = (-3.5, 1.0)
"""log2 of the shortest and the longest part of its written length for which a key is held."""
VELOCITY = (12.0, 120.0)
SMALLEST_MOVE = 8
"""Controller values by which the pedal moves at least; less is flutter."""
LAST_RELEASE = 0.3
"""Seconds for which the pedal is held after the last key."""


@dataclass(frozen=True)
class Shape:
    """What is played, for N notes and B beats."""

    velocity: Floats
    """[N] MIDI velocity."""
    articulation: Floats
    """[N] log2 of the played to the notated length."""
    lead: Floats
    """[N] seconds by which a note follows the beat."""
    period: Floats
    """[B] log2 of seconds per quarter note."""
    pedal: Floats
    """[B, places] 0 (up) to 1 (down)."""


def perform(score: ParsedScore, shape: Shape, *, upper_start: bool | None = None) -> Performance:
    """The performance; every note has the id of its score note."""
    notes, texture = score.notes, Texture(score)
    times = time_map(texture, shape.period)
    start = times.to_seconds(notes.onset)
    together = np.bincount(texture.slice_of[~texture.grace], minlength=len(texture.slice_onset))
    chordal = ~texture.grace & (together[texture.slice_of] > 1)
    onset = start + np.where(chordal, shape.lead, 0.0)
    length = notes.duration * times.beat_period(notes.onset)
    plain = keyboard.TimedNotes(
        source=np.arange(len(notes)),
        onset=onset,
        offset=onset + length * 2.0 ** shape.articulation.clip(*ARTICULATION),
        pitch=notes.pitch,
        velocity=shape.velocity.clip(*VELOCITY),
    )
    timed = ornaments.realise(score, plain, upper_start=upper_start)
    controls = pedal(texture, times, shape.pedal, float(timed.offset.max()) + LAST_RELEASE)
    return keyboard.to_performance(timed, notes.id, controls)


def time_map(texture: Texture, period: Floats) -> TimeMap:
    """Beats of the given lengths; within beats the tempo changes smoothly (monotone cubic interpolation)."""
    middle = np.log2(np.average(2.0**period, weights=np.diff(texture.beats)))
    period = period.clip(middle + np.log2(SHORTEST_BEAT), middle + np.log2(LONGEST_BEAT))
    # Nothing defines the tempo after the last onset: the last beats are at least as slow as those before.
    last = max(int(np.searchsorted(texture.beats, texture.slice_onset[-1] - 1e-6, side="right")) - 1, 0)
    if last > 0:
        period = np.r_[period[:last], np.maximum(period[last:], period[last - 1])]
    seconds = np.r_[0.0, np.cumsum(2.0**period * np.diff(texture.beats))]
    if len(seconds) < 3:
        return TimeMap(texture.beats, seconds)
    return TimeMap(texture.places, PchipInterpolator(texture.beats, seconds)(texture.places))


def pedal(texture: Texture, times: TimeMap, depth: Floats, end: float) -> Controls:
    """Events of controller 64, at the places of the beats; ``end``: seconds of the final release."""
    values = np.rint(127 * depth.clip(0, 1)).astype(np.int64).reshape(-1)
    seconds = times.to_seconds(texture.places[:-1])
    moves, last = [], 0
    for k, value in enumerate(values.tolist()):
        if abs(value - last) >= SMALLEST_MOVE or (value in (0, 127) and value != last):
            moves.append(k)
            last = value
    kept = np.array(moves, np.int64)
    kept = kept[seconds[kept] < end]
    time, value = np.r_[seconds[kept], end], np.r_[values[kept], 0]
    return Controls(np.maximum(time, 0.0), np.full(len(time), SUSTAIN, np.int64), value)


"""From the network's outputs to a performance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from renderers import keyboard, ornaments
from renderers.pianist_mean.texture import SAME, Floats, Texture
from renderers.tempo import TimeMap
from score_to_audio.types import SUSTAIN, Controls, ParsedScore, Performance

SHORTEST_BEAT, LONGEST_BEAT = 0.4, 3.0
"""Of the mean length of a quarter note: no beat is shorter or longer, relative to its written length."""
LAST_BEATS, SLOWEST_END = 8, 0.5
"""Over so many beats before the end the tempo stays above this part of the piece's median; of the slowest of
the last four beats it is 0.62 in the median of ASAP's training pieces. The gain exaggerates endings."""
LONGEST_END = 8.0
"""Seconds after the last onset at which all keys are up."""
ARTICULATION = (-3.5, 1.0)
"""log2 of the shortest and the longest part of its written length for which a key is held."""
STACCATO = frozenset({"staccato", "staccatissimo", "spiccato"})
VELOCITY = (12.0, 120.0)
FURTHEST_LEAD = 0.3
"""Of the time to the next onset: notes of a chord lie no further from it."""
SMALLEST_MOVE = 12
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
    """The performance; every note has the id of its score note. ``upper_start``: as in ``ornaments``."""
    notes, texture = score.notes, Texture(score)
    times = time_map(texture, shape.period)
    start = times.to_seconds(notes.onset)
    onset = start + leads(texture, times, shape.lead)
    length = notes.duration * times.beat_period(notes.onset)
    held = length * 2.0 ** articulations(texture, shape.articulation)
    plain = keyboard.TimedNotes(
        source=np.arange(len(notes)),
        onset=onset,
        offset=np.minimum(onset + held, float(start.max()) + LONGEST_END),
        pitch=notes.pitch,
        velocity=shape.velocity.clip(*VELOCITY),
    )
    timed = ornaments.realise(score, plain, upper_start=upper_start)
    controls = pedal(texture, times, shape.pedal, float(timed.offset.max()) + LAST_RELEASE)
    return keyboard.to_performance(timed, notes.id, controls)


def articulations(texture: Texture, articulation: Floats) -> Floats:
    """[N] within limits; the last chord is held as long as it is written."""
    short = np.array([not marks.isdisjoint(STACCATO) for marks in texture.score.notes.marks], dtype=bool)
    last = (texture.slice_of == len(texture.slice_onset) - 1) & ~texture.grace & ~short
    return np.where(last, np.maximum(articulation, 0.0), articulation).clip(*ARTICULATION)


def leads(texture: Texture, times: TimeMap, lead: Floats) -> Floats:
    """[N] seconds that are added to the onsets of notes struck together; their mean is 0."""
    main, slices = ~texture.grace, len(texture.slice_onset)
    together = np.bincount(texture.slice_of[main], minlength=slices)
    mean = np.bincount(texture.slice_of[main], weights=lead[main], minlength=slices) / np.maximum(together, 1)
    seconds = np.diff(times.to_seconds(np.r_[texture.slice_onset, texture.slice_end[-1]]))
    before = np.r_[seconds[:1], seconds[:-1]]
    reach = FURTHEST_LEAD * np.minimum(seconds, before)[texture.slice_of]
    chordal = main & (together[texture.slice_of] > 1)
    return np.where(chordal, (lead - mean[texture.slice_of]).clip(-reach, reach), 0.0)


def time_map(texture: Texture, period: Floats) -> TimeMap:
    """Beats of the given lengths; within beats the tempo changes smoothly."""
    middle = np.log2(np.average(2.0**period, weights=np.diff(texture.beats)))
    period = period.clip(middle + np.log2(SHORTEST_BEAT), middle + np.log2(LONGEST_BEAT))
    # Nothing defines the tempo after the last onset: it stays.
    last = _last_beat(texture)
    ending = np.arange(len(period)) > last - LAST_BEATS
    period = np.where(ending, np.minimum(period, np.median(period) - np.log2(SLOWEST_END)), period)
    if last > 0:
        period = np.r_[period[:last], np.full(len(period) - last, max(period[last - 1], period[last]))]
    seconds = np.r_[0.0, np.cumsum(2.0**period * np.diff(texture.beats))]
    return TimeMap(texture.places, monotone(texture.places, texture.beats, seconds))


def _last_beat(texture: Texture) -> int:
    """Index of the beat in which the last onset lies."""
    return max(int(np.searchsorted(texture.beats, texture.slice_onset[-1] - SAME, side="right")) - 1, 0)


def monotone(x: Floats, knots: Floats, values: Floats) -> Floats:
    """Monotone cubic interpolation of increasing values (Fritsch & Butland, SIAM J. Sci. Stat. Comput. 5(2),
    1984) at positions within the knots."""
    width = np.diff(knots)
    slope = np.diff(values) / width
    first, second = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    inner = (first + second) / (first / slope[:-1] + second / slope[1:])
    tangent = np.r_[slope[0], inner, slope[-1]]
    piece = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(width) - 1)
    h, t = width[piece], (x - knots[piece]) / width[piece]
    rise = slope[piece] * h
    start, end = tangent[piece] * h, tangent[piece + 1] * h
    cubic = t * (start + t * (3 * rise - 2 * start - end + t * (start + end - 2 * rise)))
    return np.asarray(values[piece] + cubic)


def pedal(texture: Texture, times: TimeMap, depth: Floats, end: float) -> Controls:
    """Events of controller 64, at the places of the beats; ``end``: seconds of the final release."""
    last = _last_beat(texture)
    depth = depth.copy()
    depth[last + 1 :] = depth[last, -1]
    values = np.rint(127 * depth.clip(0, 1)).astype(np.int64).reshape(-1)
    seconds = times.to_seconds(texture.places[:-1])
    moves, before = [], 0
    for k, value in enumerate(values.tolist()):
        if abs(value - before) >= SMALLEST_MOVE or (value in (0, 127) and value != before):
            moves.append(k)
            before = value
    kept = np.array(moves, np.int64)
    kept = kept[seconds[kept] < end]
    time, value = np.r_[seconds[kept], end], np.r_[values[kept], 0]
    return Controls(np.maximum(time, 0.0), np.full(len(time), SUSTAIN, np.int64), value)

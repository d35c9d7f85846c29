"""Pedals as MIDI controllers: the written pedals, and a sustain pedal that follows the harmony."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from renderers.tempo import TimeMap
from score_to_audio.types import SOFT, SOSTENUTO, SUSTAIN, Controls, Direction

Floats = NDArray[np.float64]

CONTROLLERS = {"sustain": SUSTAIN, "sostenuto": SOSTENUTO, "soft": SOFT}

PRESS_DELAY = 0.05
"""Seconds from the written place to the press, so that the pedal holds the notes struck there and not those
just released."""

CHANGE_DELAY = 0.14
"""Seconds between lift and press of a written pedal change, while the dampers silence the strings: the median
in ASAP's training split, where pedals lift 5 ms after the nearest onset and the middle half of the presses
follows 96 to 240 ms later."""

HARMONIC_DELAY = 0.2
"""Seconds between lift and press of a change with the harmony; fits the training split better than 0.14."""

LARGEST_DELAY_SHARE = 0.5
"""Largest delay of a press as a part of the pedal's span."""

CLASH_SHARE = 0.35
"""Part of a beat's held time with clashing pitch classes (a semitone or whole tone from the pitch classes
that the pedal holds, and not among them) from which the harmony counts as changed."""

HARMONY_SHARE = 0.1
"""Part of the held time since the last change from which a pitch class belongs to the harmony."""

LONGEST_SPAN = 4.0
"""Seconds after which the pedal is changed even if the harmony stays, because passing notes accumulate."""

REST_SHARE = 0.5
"""Part of a beat without a held key from which the beat counts as a rest."""

THIN_KEYS, THIN_RANGE = 1.5, 5
"""A beat with fewer held keys on average, and notes within no more semitones, is a single line: no pedal."""


def written_pedals(directions: Sequence[Direction], times: TimeMap) -> Controls:
    """The pedals that the score writes: 127 at the start of each mark, 0 at its end.

    Overlapping marks of one pedal are joined; adjacent marks are a pedal change: lift, then press.
    """
    parts = []
    for name, number in CONTROLLERS.items():
        spans = [
            (d.onset, d.end)
            for d in directions
            if d.kind == "pedal"
            and d.text == name
            and np.isfinite([d.onset, d.end]).all()
            and d.end > d.onset
        ]
        if spans:
            seconds = times.to_seconds(np.maximum(_merged(spans), 0.0))
            parts.append(_presses(seconds, number, PRESS_DELAY, CHANGE_DELAY))
    return _merged_controls(parts)


def harmonic_pedal(onset: Floats, offset: Floats, pitch: NDArray[np.int64], beats: Floats) -> Controls:
    """A sustain pedal that is changed with the harmony.

    ``onset``, ``offset`` (seconds) and ``pitch``: [N] notes as played, in any order; ``beats``: [B] seconds,
    strictly increasing, where the pedal may change (half beats work best).

    Heuristic, beat by beat: the harmony changes where a note is struck below the lowest since the last
    change, or where more than ``CLASH_SHARE`` of a beat clashes with what has sounded since then (so that
    broken chords and passing notes change nothing); at the latest after ``LONGEST_SPAN``. There the pedal
    lifts on the beat and is pressed ``HARMONIC_DELAY`` later. It stays up during rests (``REST_SHARE``) and
    single lines (``THIN_KEYS``)."""
    if len(onset) == 0 or len(beats) < 2:
        return Controls.none()
    weights = _pitch_class_weights(onset, offset, pitch, beats)
    bass, treble = _outer_notes(onset, pitch, beats)
    resting = _held_seconds(onset, offset, beats) < (1 - REST_SHARE) * np.diff(beats)
    thin = (bass >= 0) & (weights.sum(axis=1) < THIN_KEYS * np.diff(beats)) & (treble - bass <= THIN_RANGE)
    up = resting | thin
    spans: list[tuple[float, float]] = []
    collected, lowest, since = np.zeros(12), -1, 0
    down = False
    for beat in range(len(beats) - 1):
        if up[beat]:
            if down:
                spans.append((float(beats[since]), float(beats[beat])))
            down = False
            continue
        new = down and (
            beats[beat] - beats[since] > LONGEST_SPAN
            or 0 <= bass[beat] < lowest
            or _clash(collected, weights[beat]) > CLASH_SHARE
        )
        if new:
            spans.append((float(beats[since]), float(beats[beat])))
        if new or not down:
            since, collected, lowest, down = beat, np.zeros(12), int(bass[beat]), True
        collected = collected + weights[beat]
        lowest = int(bass[beat]) if lowest < 0 else lowest
    if down:
        spans.append((float(beats[since]), float(beats[-1])))
    return _presses(np.array(spans).reshape(-1, 2), SUSTAIN, HARMONIC_DELAY, HARMONIC_DELAY)


def _merged_controls(parts: Sequence[Controls]) -> Controls:
    """All events of the parts, sorted by time."""
    if not parts:
        return Controls.none()
    time = np.concatenate([part.time for part in parts])
    order = np.argsort(time, kind="stable")
    number = np.concatenate([part.number for part in parts])
    value = np.concatenate([part.value for part in parts])
    return Controls(time[order], number[order], value[order])


def _presses(spans: Floats, number: int, delay: float, change_delay: float) -> Controls:
    """Press and lift for each of S spans [S, 2] of seconds, sorted and disjoint.

    The pedal is pressed ``delay`` seconds after the start of a span, ``change_delay`` if another just ended.
    """
    if not len(spans):
        return Controls.none()
    start, end = spans[:, 0], spans[:, 1]
    changed = np.r_[False, np.abs(start[1:] - end[:-1]) < 1e-6]
    press = start + np.minimum(np.where(changed, change_delay, delay), LARGEST_DELAY_SHARE * (end - start))
    time = np.stack([press, end], axis=1).reshape(-1)
    value = np.tile(np.array([127, 0], np.int64), len(spans))
    return Controls(time, np.full(len(time), number, np.int64), value)


def _merged(spans: Sequence[tuple[float, float]]) -> Floats:
    """Spans sorted by start, overlapping ones joined; adjacent ones stay separate."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return np.array(merged, np.float64)


def _sounding_until(times: Floats, onset: Floats, offset: Floats) -> Floats:
    """[T] seconds that notes have sounded before each time, summed over the notes."""

    def ramps(starts: Floats) -> Floats:
        starts = np.sort(starts)
        count = np.searchsorted(starts, times, side="right")
        return count * times - np.r_[0.0, np.cumsum(starts)][count]

    return ramps(onset) - ramps(offset)


def _pitch_class_weights(onset: Floats, offset: Floats, pitch: NDArray[np.int64], beats: Floats) -> Floats:
    """[B - 1, 12] seconds for which each pitch class is held in each beat."""
    columns = []
    for pitch_class in range(12):
        members = pitch % 12 == pitch_class
        columns.append(np.diff(_sounding_until(beats, onset[members], offset[members])))
    return np.maximum(np.stack(columns, axis=1), 0.0)


def _outer_notes(
    onset: Floats, pitch: NDArray[np.int64], beats: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[B - 1] lowest and highest pitch struck in each beat; -1 where none is."""
    # A note that is struck a millisecond early belongs to the beat.
    beat = np.searchsorted(beats, onset + 1e-3, side="right") - 1
    inside = (beat >= 0) & (beat < len(beats) - 1)
    lowest, highest = np.full(len(beats) - 1, 128, np.int64), np.full(len(beats) - 1, -1, np.int64)
    np.minimum.at(lowest, beat[inside], pitch[inside])
    np.maximum.at(highest, beat[inside], pitch[inside])
    return np.where(lowest < 128, lowest, -1), highest


def _held_seconds(onset: Floats, offset: Floats, beats: Floats) -> Floats:
    """[B - 1] seconds of each beat in which at least one key is held."""
    order = np.argsort(onset)
    starts, latest = onset[order], np.maximum.accumulate(offset[order])
    first = np.r_[True, starts[1:] > latest[:-1]]
    begins = starts[first]
    ends = latest[np.r_[np.flatnonzero(first)[1:] - 1, len(latest) - 1]]
    return np.diff(_sounding_until(beats, begins, ends))


def _clash(collected: Floats, beat: Floats) -> float:
    """Part of a beat [12] whose pitch classes are a step away from the harmony [12] and not in it."""
    harmony = collected > HARMONY_SHARE * collected.sum()
    beside = np.any([np.roll(harmony, step) for step in (-2, -1, 1, 2)], axis=0)
    return float(beat[beside & ~harmony].sum() / max(beat.sum(), 1e-9))

"""Pedals as MIDI controllers: those that a score writes, and a sustain pedal that follows the harmony."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from renderers.tempo import TimeMap
from score_to_audio.types import SOFT, SOSTENUTO, SUSTAIN, Controls, Direction

Floats = NDArray[np.float64]

CONTROLLERS = {"sustain": SUSTAIN, "sostenuto": SOSTENUTO, "soft": SOFT}

PRESS_DELAY = 0.05
"""Seconds after the written place at which a pedal goes down, so that it catches what is struck there and
not what has just been released."""

CHANGE_DELAY = 0.14
"""Seconds between lift and press of a written pedal change, which the dampers need to silence the strings:
the median in ASAP's training split, where pedals lift 5 ms after the nearest onset and the middle half of
the presses follows 96 to 240 ms later."""

HARMONIC_DELAY = 0.2
"""Seconds after a change of harmony at which the pedal goes down again; fits the training split better than
0.14."""

LARGEST_DELAY_SHARE = 0.5
"""A pedal goes down within this part of its span, however short that is."""

CLASH_SHARE = 0.35
"""Part of the held time of a beat whose pitch classes clash with what the pedal holds (a semitone or a
whole tone from it, and not part of it) from which the harmony has changed."""

HARMONY_SHARE = 0.1
"""Part of the held time since the last change from which a pitch class belongs to the harmony."""

LONGEST_SPAN = 4.0
"""Seconds after which a harmonic pedal is changed at the next beat even if the harmony stays: it has
collected passing notes."""

REST_SHARE = 0.5
"""Part of a beat without a held key from which it counts as a rest."""

THIN_KEYS, THIN_RANGE = 1.5, 5
"""Fewer keys held on average and no wider range of the notes struck (semitones) make a single line without
broken chords, which stays dry."""


def written_pedals(directions: Sequence[Direction], times: TimeMap) -> Controls:
    """The pedals that the score writes: 127 from the start of each mark to 0 at its end.

    Overlapping marks of one pedal are one. A mark that starts where another ends is a change: lift, then
    press.
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
    return merged_controls(parts)


def harmonic_pedal(
    onset: Floats,
    offset: Floats,
    pitch: NDArray[np.int64],
    beats: Floats,
    *,
    detached: NDArray[np.bool_] | None = None,
) -> Controls:
    """A sustain pedal that is changed with the harmony.

    ``onset``, ``offset`` (seconds) and ``pitch``: [N] notes as played, in any order; ``beats``: [B]
    seconds, strictly increasing, where the pedal may change (half beats serve best); ``detached``: [N] True
    for notes played staccato.

    Heuristic, beat by beat: the harmony changes where a note is struck below the lowest since the last
    change, or where more than ``CLASH_SHARE`` of what the beat holds clashes with what has sounded since
    then (so that broken chords and passing notes change nothing); at the latest after ``LONGEST_SPAN``.
    There the pedal lifts on the beat and goes down ``HARMONIC_DELAY`` later. It stays up through beats in
    which no key is held for ``REST_SHARE`` of the time, in which most notes struck are detached, or which
    hold a single line only.

    Against the pianists of 158 scores of ASAP's training split (share of them with the pedal down, in steps
    of 1/8 quarter, half beats as ``beats``) it correlates by 0.16, 0.22 without Bach, Haydn and Mozart,
    whose pianists pedal 0.2 of the time; within each beat by 0.12 and 0.14.
    """
    if len(onset) == 0 or len(beats) < 2:
        return Controls.none()
    detached = np.zeros(len(onset), dtype=bool) if detached is None else detached
    weights = _pitch_class_weights(onset, offset, pitch, beats)
    bass, treble = _outer_notes(onset, pitch, beats)
    resting = _held_seconds(onset, offset, beats) < (1 - REST_SHARE) * np.diff(beats)
    staccato = _share_of(detached, onset, beats) > 0.5
    thin = (bass >= 0) & (weights.sum(axis=1) < THIN_KEYS * np.diff(beats)) & (treble - bass <= THIN_RANGE)
    up = resting | staccato | thin
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


def merged_controls(parts: Sequence[Controls]) -> Controls:
    """All events of the parts in the order of time."""
    if not parts:
        return Controls.none()
    time = np.concatenate([part.time for part in parts])
    order = np.argsort(time, kind="stable")
    number = np.concatenate([part.number for part in parts])
    value = np.concatenate([part.value for part in parts])
    return Controls(time[order], number[order], value[order])


def _presses(spans: Floats, number: int, delay: float, change_delay: float) -> Controls:
    """Press and lift for each of S spans [S, 2] of seconds, sorted and disjoint.

    The pedal goes down ``delay`` seconds after the start of a span, or ``change_delay`` where another just
    ended.
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
    """Spans sorted by start, overlapping ones joined; touching ones stay apart."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return np.array(merged, np.float64)


def _sounding_until(times: Floats, onset: Floats, offset: Floats) -> Floats:
    """[T] note-seconds that have sounded until each time: the sum over notes of the part before it."""

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
    beat, inside = _beat_of(onset, beats)
    lowest, highest = np.full(len(beats) - 1, 128, np.int64), np.full(len(beats) - 1, -1, np.int64)
    np.minimum.at(lowest, beat[inside], pitch[inside])
    np.maximum.at(highest, beat[inside], pitch[inside])
    return np.where(lowest < 128, lowest, -1), highest


def _beat_of(onset: Floats, beats: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """[N] beat in which each note is struck, and whether it is one of them; a millisecond early still
    counts."""
    beat = np.searchsorted(beats, onset + 1e-3, side="right") - 1
    return beat, (beat >= 0) & (beat < len(beats) - 1)


def _held_seconds(onset: Floats, offset: Floats, beats: Floats) -> Floats:
    """[B - 1] seconds of each beat in which at least one key is held."""
    order = np.argsort(onset)
    starts, latest = onset[order], np.maximum.accumulate(offset[order])
    first = np.r_[True, starts[1:] > latest[:-1]]
    begins = starts[first]
    ends = latest[np.r_[np.flatnonzero(first)[1:] - 1, len(latest) - 1]]
    return np.diff(_sounding_until(beats, begins, ends))


def _share_of(mask: NDArray[np.bool_], onset: Floats, beats: Floats) -> Floats:
    """[B - 1] share of the notes struck in each beat for which the mask holds; 0 where none is struck."""
    beat, inside = _beat_of(onset, beats)
    struck = np.bincount(beat[inside], minlength=len(beats) - 1)
    marked = np.bincount(beat[inside], weights=mask[inside].astype(np.float64), minlength=len(beats) - 1)
    return marked / np.maximum(struck, 1)


def _clash(collected: Floats, beat: Floats) -> float:
    """Share of a beat's pitch classes [12] that are a step away from the harmony [12] and not in it."""
    harmony = collected > HARMONY_SHARE * collected.sum()
    beside = np.any([np.roll(harmony, step) for step in (-2, -1, 1, 2)], axis=0)
    return float(beat[beside & ~harmony].sum() / max(beat.sum(), 1e-9))

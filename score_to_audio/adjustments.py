"""What a user changes in any renderer's performance: passage, tempo, expression, key; and the lead-in."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, StringConstraints

from score_to_audio.errors import InputError
from score_to_audio.parameters import Parameters
from score_to_audio.types import (
    HIGHEST_PITCH,
    LOWEST_PITCH,
    SOFT,
    SOSTENUTO,
    SUSTAIN,
    Controls,
    ParsedScore,
    Performance,
)

LEAD_IN = 0.3
"""Seconds before the first note: players and encoders swallow the attack of a sound that starts at once."""
LARGEST_STRETCH = 4.0
"""Factor by which the tempo between two onsets may depart from the mean of the piece, at any expression."""
PEDALS = (SUSTAIN, SOSTENUTO, SOFT)
"""Controllers whose state at the start of a cut is kept."""

Floats = NDArray[np.float64]


def _as_text(value: object) -> object:
    return f"{value:g}" if isinstance(value, int | float) else value


Tempo = Annotated[str, BeforeValidator(_as_text), StringConstraints(pattern=r"^[1-9]\d{0,3}(\.\d+)?%?$")]


class Adjustments(Parameters):
    """Changes to what a renderer plays; the defaults change nothing."""

    tempo: Tempo | None = Field(
        default=None,
        description="72: quarter notes per minute, as the median of the piece; 90%: of the tempo played.",
    )
    expression: float = Field(
        default=1.0,
        ge=0,
        le=2,
        description="Times the deviations of tempo and dynamics from their means: 0 is even, 1 as rendered.",
    )
    measures: Annotated[str, StringConstraints(pattern=r"^\d+(-\d+)?$")] | None = Field(
        default=None, description="1-16: only these measures, by their printed numbers."
    )
    transpose: int = Field(default=0, ge=-36, le=36, description="Semitones up, or down if negative.")


def adjusted(performance: Performance, score: ParsedScore, wanted: Adjustments) -> Performance:
    """The performance with all changes, and ``LEAD_IN`` before its first note.

    Raises ``InputError`` for measures that the score does not have, for keys that the piano does not have,
    and where a change needs to know the score's notes and the performance does not name them.
    """
    if wanted.measures:
        performance = only_measures(performance, score, wanted.measures)
    if wanted.expression != 1:
        performance = with_expression(performance, score, wanted.expression)
    if wanted.tempo:
        performance = _scaled(performance, _tempo_factor(performance, score, wanted.tempo))
    if wanted.transpose:
        performance = transposed(performance, wanted.transpose)
    return with_lead_in(performance)


def with_lead_in(performance: Performance) -> Performance:
    """The performance, later if its first note starts before ``LEAD_IN``."""
    return (
        _moved(performance, max(LEAD_IN - float(performance.onset[0]), 0.0))
        if len(performance)
        else performance
    )


def transposed(performance: Performance, semitones: int) -> Performance:
    pitch = performance.pitch + semitones
    if pitch.min(initial=60) < LOWEST_PITCH or pitch.max(initial=60) > HIGHEST_PITCH:
        raise InputError(f"transpose {semitones:+d}: some notes leave the piano (A0 to C8); choose less")
    return replace(performance, pitch=pitch)


# ------------------------------------------------------------------------------------------ expression


def with_expression(performance: Performance, score: ParsedScore, expression: float) -> Performance:
    """Deviations of velocity and of local tempo (its logarithm) from their means times ``expression``.

    The length from the first to the last onset stays.
    """
    mean = performance.velocity.mean()
    velocity = np.clip(np.rint(mean + expression * (performance.velocity - mean)), 1, 127).astype(np.int64)
    quarters, seconds = played_onsets(performance, score)
    length, period = np.diff(quarters), np.diff(seconds) / np.diff(quarters)
    whole = seconds[-1] - seconds[0]
    ratio = period / (whole / (quarters[-1] - quarters[0]))
    changed = length * np.clip(ratio**expression, 1 / LARGEST_STRETCH, LARGEST_STRETCH)
    even = seconds[0] + np.concatenate([[0.0], np.cumsum(changed)]) * whole / changed.sum()
    return _warped(replace(performance, velocity=velocity), seconds, even)


def _tempo_factor(performance: Performance, score: ParsedScore, tempo: str) -> float:
    """By which all times are multiplied."""
    if tempo.endswith("%"):
        return 100 / float(tempo[:-1])
    quarters, seconds = played_onsets(performance, score)
    beats = np.arange(quarters[0], quarters[-1] + 1e-6)
    if len(beats) < 2:
        beats = quarters[[0, -1]]
    period = np.diff(np.interp(beats, quarters, seconds)) / np.diff(beats)
    return float(60 / np.median(period) / float(tempo))


def played_onsets(performance: Performance, score: ParsedScore) -> tuple[Floats, Floats]:
    """Score onsets (quarter notes) and the mean times (seconds) of their main notes, both increasing.

    Raises ``InputError`` where fewer than two are known.
    """
    notes = score.notes
    onset_of = {
        name: onset
        for name, onset, grace in zip(notes.id, notes.onset.tolist(), notes.grace, strict=True)
        if not grace
    }
    first: dict[str, float] = {}  # an ornament is several notes with one id
    for name, time in zip(performance.score_ids or (), performance.onset.tolist(), strict=False):
        if name in onset_of:
            first.setdefault(name, time)
    places = np.array([onset_of[name] for name in first])
    quarters, chord = np.unique(places, return_inverse=True)
    if len(quarters) < 2:
        raise InputError("the renderer does not name the score's notes; use only --transpose and --tempo N%")
    seconds = np.bincount(chord, list(first.values())) / np.bincount(chord)
    later = seconds > np.concatenate([[-1.0], np.maximum.accumulate(seconds)[:-1] + 1e-3])
    return quarters[later], seconds[later]


def _warped(performance: Performance, old: Floats, new: Floats) -> Performance:
    """Times moved along the line through the points (old, new), which goes on with slope 1 at both ends."""

    def move(time: Floats) -> Floats:
        inside = np.interp(time, old, new)
        return np.maximum(inside + np.minimum(time - old[0], 0) + np.maximum(time - old[-1], 0), 0.0)

    return _with_times(
        performance, move(performance.onset), move(performance.offset), move(performance.controls.time)
    )


def _scaled(performance: Performance, factor: float) -> Performance:
    controls = performance.controls.time * factor
    return _with_times(performance, performance.onset * factor, performance.offset * factor, controls)


def _moved(performance: Performance, seconds: float) -> Performance:
    controls = performance.controls.time + seconds
    return _with_times(performance, performance.onset + seconds, performance.offset + seconds, controls)


def _with_times(performance: Performance, onset: Floats, offset: Floats, controls: Floats) -> Performance:
    moved = replace(performance.controls, time=controls)
    return replace(performance, onset=onset, offset=np.maximum(offset, onset + 1e-3), controls=moved)


# ----------------------------------------------------------------------------------------------- cuts


def only_measures(performance: Performance, score: ParsedScore, measures: str) -> Performance:
    """The passage of ``played_measures``, from time 0 on."""
    first, last = played_measures(score, measures)
    notes = score.notes
    measure_of = dict(zip(notes.id, notes.measure.tolist(), strict=True))
    place = np.array([measure_of.get(name, -1) for name in performance.score_ids or ()], np.int64)
    inside = (place >= first) & (place <= last)
    if not inside.any():
        raise InputError(f"measures {measures}: no note is played there; choose others")
    start = float(performance.onset[inside].min())
    later = performance.onset[(place > last) & (performance.onset > start)]
    return cut_notes(performance, start, float(later.min()) if len(later) else performance.end + 1.0)


def played_measures(score: ParsedScore, measures: str) -> tuple[int, int]:
    """Indices in playing order of the first and the last of the measures with the printed numbers "5-12".

    Where repeats play some of them more than once: the longest unbroken run, the first of equals. Raises
    ``InputError`` where the score has none of them.
    """
    lowest, _, highest = measures.partition("-")
    wanted = range(int(lowest), int(highest or lowest) + 1)
    numbers = [re.match(r"\d+", measure.number) for measure in score.measures]
    chosen = [bool(number and int(number.group()) in wanted) for number in numbers]
    runs: list[tuple[int, int]] = []
    for index, measure in enumerate(score.measures):
        if not chosen[index]:
            continue
        follows = runs and runs[-1][1] == index - 1 and score.measures[index - 1].written < measure.written
        runs[-1:] = [(runs[-1][0], index)] if follows else [*runs[-1:], (index, index)]
    if not runs:
        known = [number.group() for number in numbers if number] or ["none", "none"]
        raise InputError(f"measures {measures}: the score numbers them {known[0]} to {known[-1]}")
    return max(runs, key=lambda run: run[1] - run[0])


def cut_notes(performance: Performance, start: float, end: float) -> Performance:
    """The notes struck in [start, end) seconds, released at the end at the latest, and the pedals from
    ``start`` on. Raises ``InputError`` where no note is struck."""
    inside = (performance.onset >= start) & (performance.onset < end)
    if not inside.any():
        raise InputError(f"no note is struck between {start:.2f} and {end:.2f} s; choose another part")
    ids = performance.score_ids
    onset = performance.onset[inside]
    return Performance(
        onset=onset - start,
        offset=np.maximum(np.minimum(performance.offset[inside], end), onset + 1e-3) - start,
        pitch=performance.pitch[inside],
        velocity=performance.velocity[inside],
        controls=_cut_controls(performance.controls, start, end),
        score_ids=tuple(name for name, kept in zip(ids, inside, strict=True) if kept) if ids else None,
    )


def _cut_controls(controls: Controls, start: float, end: float) -> Controls:
    before = controls.time < start
    held = [np.flatnonzero(before & (controls.number == pedal))[-1:] for pedal in PEDALS]
    inside = np.flatnonzero(~before & (controls.time < end))
    kept = np.concatenate([*held, inside]).astype(np.int64)
    return Controls(np.maximum(controls.time[kept] - start, 0.0), controls.number[kept], controls.value[kept])

"""The notes of a score for the network, and its predictions as a performance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.keyboard import TimedNotes
from renderers.m2m.tokens import BAR_TICKS, SCORE_VELOCITY, SPECIALS, TICKS_PER_SECOND, TickNotes, velocity_of
from renderers.pedalling import harmonic_pedal, written_pedals
from renderers.tempo import TimeMap, time_map
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, Controls, ParsedScore

Ids = NDArray[np.int64]


def score_notes(score: ParsedScore) -> tuple[Ids, TickNotes]:
    """(indices of the score notes, notes) as in training: all parts merged, seconds as ticks, sorted by
    (onset, pitch), velocity 60. Notes outside the piano's range are dropped."""
    notes = score.notes
    times = time_map(score)
    onset = np.floor(times.to_seconds(notes.onset) * TICKS_PER_SECOND).astype(np.int64)
    end = np.floor(times.to_seconds(notes.onset + notes.duration) * TICKS_PER_SECOND).astype(np.int64)
    playable = (notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH)
    order = np.lexsort((notes.pitch, onset))
    order = order[playable[order]]
    ticks = TickNotes(
        onset=onset[order] - (onset.min() if len(onset) else 0),
        duration=np.maximum(end - onset, 1)[order],
        pitch=notes.pitch[order],
        velocity=np.full(len(order), SCORE_VELOCITY),
    )
    return order, ticks


def timed_notes(source: Ids, pitch: Ids, velocity: Ids, ioi: Ids, duration: Ids) -> TimedNotes:
    """[N] score notes and pitches with their predicted ids."""
    onset = np.cumsum(np.concatenate([[0], ioi[1:] - SPECIALS - BAR_TICKS])) / TICKS_PER_SECOND
    return TimedNotes(
        source=source,
        onset=onset,
        offset=onset + (duration - SPECIALS + 1) / TICKS_PER_SECOND,
        pitch=pitch,
        velocity=velocity_of(velocity).astype(np.float64),
    )


def pedal(score: ParsedScore, notes: TimedNotes) -> Controls:
    """The written pedals at their performed times; without any, a pedal that follows the harmony."""
    quarters, inverse = np.unique(score.notes.onset[notes.source], return_inverse=True)
    mean = np.bincount(inverse, notes.onset) / np.bincount(inverse)
    rising = mean > np.concatenate([[-np.inf], np.maximum.accumulate(mean)[:-1] + 1e-3])
    if rising.sum() < 2:
        return Controls.none()
    times = TimeMap(quarters[rising], mean[rising])
    if any(direction.kind == "pedal" for direction in score.directions):
        controls = written_pedals(score.directions, times)
    else:
        beats = times.to_seconds(np.arange(0.0, quarters[rising][-1] + 1.0))
        controls = harmonic_pedal(notes.onset, notes.offset, notes.pitch, beats)
    return Controls(np.maximum(controls.time, 0.0), controls.number, controls.value)

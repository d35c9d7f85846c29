"""From performance features to a performance: when each note sounds, how loud, and what the pedal does.

Computed in float64 from the network's float32 (fact sheet of the golden vectors, section 5).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet import features as columns
from renderers.virtuosonet.notation import Compatibility
from renderers.virtuosonet.pedalling import PedalEvent, PedalledNotes, pedal_events
from renderers.virtuosonet.score import NoteScore
from renderers.virtuosonet.tempo_curve import TempoCurve, tempo_curve

SHORTEST, LONGEST = 0.005, 10.0
"""Seconds between which notes are kept."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Played:
    """Notes sorted by (score position, start, high before low), and the pedals; columns of length N."""

    curve: TempoCurve
    note: NDArray[np.int64]
    """Index into the notes of the score."""
    start: Array
    """Seconds."""
    seconds: Array
    """Length; may be negative, or too long."""
    velocity: Array
    """As the network has it, neither rounded nor limited."""
    pitch: NDArray[np.int64]
    sustain: list[PedalEvent]
    soft: list[PedalEvent]


def with_velocity_spread(performance: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """The features with the velocities' distances from their mean multiplied."""
    result = performance.copy()
    velocity = result[:, columns.VELOCITY]
    mean = velocity.mean()
    result[:, columns.VELOCITY] = (velocity - mean) * np.float32(factor) + mean
    return result


def with_pedal_unsquashed(performance: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features with pedal values as they were before training squashed them by a logistic function:
    int(127 / (1 + exp(-(p - 64) / 8)))."""
    result = performance.copy()
    pedals = result[:, columns.PEDAL_AT_START :].clip(0, 126.9)
    result[:, columns.PEDAL_AT_START :] = 64 - 8 * np.log(127 / (pedals + 0.04) - 1)
    return result


def play(score: NoteScore, performance: NDArray[np.float32], compatibility: Compatibility = "none") -> Played:
    """Notes and pedals from features [N, 11] in their units (``features.OUTPUT_KEYS``)."""
    values = performance.astype(np.float64)
    curve = tempo_curve(score, values[:, columns.BEAT_TEMPO])
    start, seconds = _note_times(score, values, curve)
    position, pitch = score.column("position"), score.column("pitch").astype(np.int64)
    order = np.lexsort((-pitch, start, position))
    end_position = position + score.column("duration")
    rounded = np.rint(values[:, columns.PEDAL_AT_START :]).astype(np.int64)
    at_start, at_end, soft, refresh, cut = rounded[order].T
    sustain, softs = pedal_events(
        PedalledNotes(
            position=position[order],
            end_position=end_position[order],
            start=start[order],
            end=start[order] + seconds[order],
            at_start=at_start,
            at_end=at_end,
            soft=soft,
            refresh=refresh,
            cut=cut,
            refresh_time=values[order, columns.PEDAL_REFRESH_TIME],
            cut_time=values[order, columns.PEDAL_CUT_TIME],
        ),
        compatibility,
    )
    return Played(
        curve=curve,
        note=order,
        start=start[order],
        seconds=seconds[order],
        velocity=values[order, columns.VELOCITY],
        pitch=pitch[order],
        sustain=sustain,
        soft=softs,
    )


def _note_times(score: NoteScore, values: Array, curve: TempoCurve) -> tuple[Array, Array]:
    """Start and length of each note [N], seconds."""
    position, duration = score.column("position"), score.column("duration")
    deviation = values[:, columns.ONSET_DEVIATION] * score.column("divisions")
    start = curve.seconds(position + deviation, curve.segment(position))
    end = curve.seconds(position + duration * 10.0 ** values[:, columns.ARTICULATION] + deviation)
    seconds = end - start
    for grace, principal in _grace_notes(score):
        order = max(1, score.notes[grace].num_grace)
        seconds[grace] = (start[principal] - start[grace]) / order
    return start, seconds


def _grace_notes(score: NoteScore) -> list[tuple[int, int]]:
    """Grace notes with the first later note of their onset and voice that has a length."""
    positions = [note.position for note in score.notes]
    pairs = []
    for index, note in enumerate(score.notes):
        if not note.is_grace or note.duration != 0:
            continue
        for later in range(index + 1, bisect_right(positions, note.position)):
            other = score.notes[later]
            if other.voice == note.voice and other.duration != 0:
                pairs.append((index, later))
                break
    return pairs

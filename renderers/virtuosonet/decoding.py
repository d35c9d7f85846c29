"""From performance features to a performance: note times, velocities, and pedal events.

Computed in float64 from the network's float32 (fact sheet of the golden vectors, section 5).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet import features as columns
from renderers.virtuosonet import official
from renderers.virtuosonet.notation import Compatibility
from renderers.virtuosonet.pedalling import PedalEvent, PedalledNotes, pedal_events
from renderers.virtuosonet.score import NoteScore
from renderers.virtuosonet.tempo_curve import TempoCurve, tempo_curve

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DecodedPerformance:
    """N notes sorted by (score position, start, high before low), and the pedals."""

    note: NDArray[np.int64]
    """[N] index into the notes of the score."""
    start: Array
    """[N] seconds."""
    seconds: Array
    """[N] length; may be negative or too long."""
    velocity: Array
    """[N] MIDI velocity, neither rounded nor limited."""
    pitch: NDArray[np.int64]
    """[N]"""
    sustain: list[PedalEvent]
    soft: list[PedalEvent]


def scaled_velocities(performance: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Features [N, 11] with the distances of velocities from their mean multiplied."""
    result = performance.copy()
    velocity = result[:, columns.VELOCITY]
    mean = velocity.mean()
    result[:, columns.VELOCITY] = (velocity - mean) * np.float32(factor) + mean
    return result


def unsquashed_pedals(performance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features [N, 11] with the inverse of ``encoding.squashed`` applied to the pedal values."""
    result = performance.copy()
    pedals = result[:, columns.PEDAL_AT_START :].clip(0, 126.9)
    result[:, columns.PEDAL_AT_START :] = 64 - 8 * np.log(127 / (pedals + 0.04) - 1)
    return result


def decode(
    score: NoteScore, performance: NDArray[np.float32], compatibility: Compatibility = "none"
) -> DecodedPerformance:
    """Notes and pedals from features [N, 11] in their units (``features.OUTPUT_KEYS``)."""
    values = performance.astype(np.float64)
    curve = tempo_curve(score, values[:, columns.BEAT_TEMPO])
    start, seconds = _note_times(score, values, curve)
    position, pitch = score.column("position"), score.column("pitch").astype(np.int64)
    order = np.lexsort((-pitch, start, position))
    at_start, at_end, soft, refresh, cut = np.rint(values[order, columns.PEDAL_AT_START :]).astype(np.int64).T
    notes = PedalledNotes(
        position=position[order],
        end_position=(position + score.column("duration"))[order],
        start=start[order],
        end=start[order] + seconds[order],
        at_start=at_start,
        at_end=at_end,
        soft=soft,
        refresh=refresh,
        cut=cut,
        refresh_time=values[order, columns.PEDAL_REFRESH_TIME],
        cut_time=values[order, columns.PEDAL_CUT_TIME],
    )
    if compatibility == "official":
        pedals = pedal_events(notes, merge=official.merged_values, earliest=official.earliest_events)
    else:
        pedals = pedal_events(notes)
    return DecodedPerformance(
        note=order,
        start=start[order],
        seconds=seconds[order],
        velocity=values[order, columns.VELOCITY],
        pitch=pitch[order],
        sustain=pedals[0],
        soft=pedals[1],
    )


def _note_times(score: NoteScore, values: Array, curve: TempoCurve) -> tuple[Array, Array]:
    """[N] start and [N] length of each note, seconds."""
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
    """Grace notes, each with the first later note of its onset and voice that has a length."""
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

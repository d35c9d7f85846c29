"""The tempo of a performance: from log tempos of notes to a map between positions and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet.lookup import binary_index
from renderers.virtuosonet.notation import XmlNote
from renderers.virtuosonet.score import NoteScore

FIRST_ONSET = 0.5
"""Seconds of the first note."""
FASTEST_QPM = 600
SHORTEST_GAP = 0.01
"""Onsets count as one where their notated times are closer than at ``FASTEST_QPM`` plus ``SHORTEST_GAP``
seconds."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TempoCurve:
    """Piecewise constant tempo: K segments."""

    position: Array
    """[K] start in divisions."""
    qpm: Array
    """[K] quarter notes per minute."""
    time: Array
    """[K] start in seconds."""
    divisions: Array
    """[K] per quarter."""

    def segment(self, positions: Array) -> NDArray[np.int64]:
        """Index of the segment in force at each position."""
        return np.maximum(np.searchsorted(self.position, positions, side="right") - 1, 0)

    def seconds(self, positions: Array, segment: NDArray[np.int64] | None = None) -> Array:
        """Seconds of positions, by the segments in force there or the given ones."""
        k = self.segment(positions) if segment is None else segment
        return self.time[k] + (positions - self.position[k]) / self.divisions[k] / self.qpm[k] * 60

    def positions(self, seconds: Array, segment: NDArray[np.int64] | None = None) -> Array:
        """The inverse of ``seconds``."""
        k = segment
        if k is None:
            k = np.maximum(np.searchsorted(self.time, seconds, side="right") - 1, 0)
        return self.position[k] + (seconds - self.time[k]) * self.qpm[k] / 60 * self.divisions[k]


def tempo_curve(score: NoteScore, beat_tempo: Array) -> TempoCurve:
    """From log10 of quarter notes per minute at each note [N]; tempos change at beats with an onset."""
    anchors = tempo_anchors(score)
    notes = [score.notes[index] for index in anchors]
    qpm = 10.0 ** beat_tempo[anchors]
    position = np.array([note.position for note in notes], dtype=np.float64)
    divisions = np.array([note.divisions for note in notes], dtype=np.float64)
    spans = np.diff(position) / divisions[:-1] / qpm[:-1] * 60
    times = np.concatenate([[FIRST_ONSET], spans]).cumsum()
    return TempoCurve(position, qpm, times, divisions)


def tempo_anchors(score: NoteScore) -> list[int]:
    """Indices of the notes whose tempo is used: the first note of the onset at or before each beat.

    The last onset is not used, unless it is the only one.
    """
    onsets = _distinct_onsets(score.notes)
    candidates = onsets[:-1] or onsets
    positions = [score.notes[index].position for index in candidates]
    anchors: list[int] = []
    for beat in score.meter.beats[:-1] or score.meter.beats:
        anchor = candidates[binary_index(positions, beat)]
        if not anchors or anchor != anchors[-1]:
            anchors.append(anchor)
    return anchors


def _distinct_onsets(notes: Sequence[XmlNote]) -> list[int]:
    """Indices of the first notes of onsets that are separate in notated time."""
    onsets = [0]
    for index, note in enumerate(notes):
        first = notes[onsets[-1]]
        gap = (note.position - first.position) / note.divisions / FASTEST_QPM * 60 + SHORTEST_GAP
        if note.position > first.position and note.time_position > first.time_position + gap:
            onsets.append(index)
    return onsets

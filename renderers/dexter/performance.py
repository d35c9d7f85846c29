"""Decoded notes as a ``Performance``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.dexter.performance_codec import DecodedNotes, decode
from renderers.dexter.score_codec import ScoreColumns
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, SUSTAIN, Controls, Performance

SHORTEST_NOTE = 0.03
"""Seconds; grace notes have no notated length, and the model may predict none."""
PEDAL_STEP = 4
"""Smallest change of controller 64 that is written."""


def decoded(codec: NDArray[np.float32], columns: ScoreColumns) -> DecodedNotes:
    """A performance codec [N, 5] as notes."""
    onset = np.unique(columns.onset_beat, return_inverse=True)[1].astype(np.int64)
    pitch = columns.codec[:, 2].astype(np.int64)
    return decode(codec, columns.onset_beat, columns.duration_beat, onset, pitch)


def to_performance(notes: DecodedNotes, columns: ScoreColumns, pedal: Controls) -> Performance:
    """The notes in the piano's range, at least ``SHORTEST_NOTE`` long."""
    playable = np.flatnonzero((notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH))
    playable = playable[np.lexsort((notes.pitch[playable], notes.onset[playable]))]
    onset = notes.onset[playable]
    return Performance(
        onset=onset,
        offset=np.maximum(notes.offset[playable], onset + SHORTEST_NOTE),
        pitch=notes.pitch[playable],
        velocity=notes.velocity[playable],
        controls=pedal,
        score_ids=tuple(columns.ids[notes.order[index]] for index in playable),
    )


def pedal_per_chord(notes: DecodedNotes, columns: ScoreColumns) -> Controls:
    """The mean pedal of each chord at its first onset, where it changes; up after the last note."""
    chord = np.unique(columns.onset_beat[notes.order], return_inverse=True)[1]
    value = np.rint(np.bincount(chord, notes.pedal) / np.bincount(chord)).astype(np.int64)
    time = np.full(len(value), np.inf)
    np.minimum.at(time, chord, notes.onset)
    kept: list[int] = []
    for index in np.argsort(time, kind="stable").tolist():
        if not kept or abs(value[index] - value[kept[-1]]) >= PEDAL_STEP:
            kept.append(index)
    times = np.append(time[kept], notes.offset.max())
    return Controls(np.maximum.accumulate(times), np.full(len(times), SUSTAIN), np.append(value[kept], 0))

"""Decoded notes as a ``Performance``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.dexter.performance_codec import PEDAL, DecodedNotes, decode
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


LIFTED, HELD = 0.1, 0.9
"""Means of the pedal up to and from which it stays up or down through the chord."""
DOWN = 127


def pedal_through_chords(codec: NDArray[np.float32], notes: DecodedNotes, columns: ScoreColumns) -> Controls:
    """The pedal of the codec ``own``: for a mean m it is up in the first 1 - m of the time to the next chord,
    then down, as pianists change it with the harmony; up after the last note."""
    chord = np.unique(columns.onset_beat[notes.order], return_inverse=True)[1]
    mean = np.bincount(chord, codec[notes.order, PEDAL]) / np.bincount(chord)
    start = np.full(len(mean), np.inf)
    np.minimum.at(start, chord, notes.onset)
    start = np.maximum.accumulate(start)
    end = np.append(start[1:], notes.offset.max())
    changes: list[tuple[float, int]] = []
    for first, last, share in zip(start.tolist(), end.tolist(), mean.tolist(), strict=True):
        if share < HELD:
            changes.append((first, 0))
        if share > LIFTED:
            changes.append((first if share >= HELD else last - share * (last - first), DOWN))
    changes.append((max(float(notes.offset.max()), changes[-1][0]), 0))
    kept = [one for one, before in zip(changes, [(0.0, 0), *changes], strict=False) if one[1] != before[1]]
    time, value = np.array(kept, np.float64).reshape(-1, 2).T
    return Controls(np.maximum.accumulate(time), np.full(len(time), SUSTAIN), value.astype(np.int64))


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

"""The performance codec: five numbers per note, to and from onsets, lengths, velocities and pedal.

Columns, float32: beat_period (seconds per beat, the beat being the notated denominator), velocity (0..1),
timing (seconds, subtracted), articulation_log (log2 of played over notated length), pedal (0..1).
Definitions: Cancino-Chacón, Computational Modeling of Expressive Music Performance with Linear and Non-linear
Basis Function Models, PhD thesis, JKU Linz 2018, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BEAT_PERIOD, VELOCITY, TIMING, ARTICULATION, PEDAL = range(5)

# Of Zhang et al.'s training data (the configuration before commit 5cbe0eb of the authors' repository); used
# where a checkpoint has none of its own.
DATASET_MEANS = (
    0.7063542604446411,
    0.4756112396717071,
    -0.011089393869042397,
    0.6265323758125305,
    0.24988953769207,
)
DATASET_STDS = (
    2.0590381622314453,
    0.15276259183883667,
    0.6368748545646667,
    1.2729265689849854,
    0.15391376614570618,
)

SAME_ONSET = 1e-6
"""Beats; notes closer than that are one chord."""
MIN_PERFORMED_DURATION = 0.075
"""Seconds; shorter performed notes count as that long when encoding (partitura's performance codec)."""
PEDAL_DOWN = 64
"""A sustain pedal beyond this value holds the notes."""


@dataclass(frozen=True)
class DecodedNotes:
    """Notes in score order (onset, pitch), [N] each."""

    onset: NDArray[np.float64]
    """Seconds, the earliest 0."""
    offset: NDArray[np.float64]
    """Seconds; not after the onset where a model predicts a negative beat period."""
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]
    pedal: NDArray[np.int64]
    """Value of controller 64 at the onset."""
    order: NDArray[np.int64]
    """Index of the score note behind each note."""


def decode(
    codec: NDArray[np.float32],
    onset_beat: NDArray[np.float32],
    duration_beat: NDArray[np.float32],
    onset_div: NDArray[np.int64],
    pitch: NDArray[np.int64],
) -> DecodedNotes:
    """Performance codec [N, 5] and the score's columns [N] -> notes.

    The mixture of float32 and float64 is that of numpy 1 in the published script: times come out equal.
    """
    order = np.lexsort((pitch, onset_div))
    codec, onset_beat, duration_beat = codec[order], onset_beat[order], duration_beat[order]
    chords = _chords(onset_beat)
    sizes = np.bincount(chords)
    beat_period = np.array(
        [group.mean(dtype=np.float32) for group in np.split(codec[:, BEAT_PERIOD], np.cumsum(sizes)[:-1])],
        np.float32,
    )
    chord_onset = np.array(
        [group.mean() for group in np.split(onset_beat, np.cumsum(sizes)[:-1])], onset_beat.dtype
    )
    iois = np.diff(chord_onset).astype(np.float64)
    chord_time = np.concatenate([[0.0], np.cumsum(iois * beat_period[:-1].astype(np.float64))])
    onset = (chord_time.astype(np.float32)[chords] - codec[:, TIMING]).astype(np.float64)
    stretch = np.exp2(codec[:, ARTICULATION]).astype(np.float64)
    length = stretch * duration_beat.astype(np.float64) * beat_period[chords].astype(np.float64)
    first = onset.min()
    return DecodedNotes(
        onset=onset - first,
        offset=onset + length - first,
        pitch=np.clip(pitch[order], 1, 127).astype(np.int64),
        velocity=_midi_value(codec[:, VELOCITY]).clip(1, 127),
        pedal=_midi_value(codec[:, PEDAL]).clip(1, 127),
        order=order,
    )


def _chords(onset_beat: NDArray[np.floating]) -> NDArray[np.int64]:
    """Index of the chord of each note; notes are sorted by onset."""
    return np.concatenate([[0], np.cumsum(np.diff(onset_beat) > SAME_ONSET)])


def _midi_value(share: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.rint(share * 127).astype(np.int64)


TICKS_PER_BEAT = 480
TICKS_PER_SECOND = 960
"""At the published script's tempo of 500,000 microseconds per quarter."""
TEMPO, PROGRAM, CONTROL, NOTE_ON, NOTE_OFF, END = range(6)
OFFICIAL_CHANNEL = 1


def midi_events(notes: DecodedNotes) -> NDArray[np.int64]:
    """The published script's MIDI file as rows (tick, kind, number, value, channel); -1 where there is none.

    Within a tick come the controls, then the notes' ons and offs in note order; a program change ends the
    first tick.
    """
    on = np.rint(np.maximum(notes.onset, 0) * TICKS_PER_SECOND).astype(np.int64)
    off = np.rint(np.maximum(notes.offset, 0) * TICKS_PER_SECOND).astype(np.int64)
    count = len(on)
    control = _rows(on, CONTROL, 64, notes.pedal, priority=0, rank=np.arange(count))
    start = _rows(on, NOTE_ON, notes.pitch, notes.velocity, priority=1, rank=2 * np.arange(count))
    end = _rows(off, NOTE_OFF, notes.pitch, 0, priority=1, rank=2 * np.arange(count) + 1)
    table = np.concatenate([control, start, end])
    table = table[np.lexsort((table[:, 6], table[:, 5], table[:, 0]))][:, :5]
    in_first_tick = int((table[:, 0] == table[0, 0]).sum())
    program = [[table[0, 0], PROGRAM, -1, -1, OFFICIAL_CHANNEL]]
    tempo, last = [[0, TEMPO, -1, -1, -1]], [[table[-1, 0], END, -1, -1, -1]]
    return np.concatenate([tempo, table[:in_first_tick], program, table[in_first_tick:], last])


def _rows(
    tick: NDArray[np.int64],
    kind: int,
    number: object,
    value: object,
    *,
    priority: int,
    rank: NDArray[np.int64],
) -> NDArray[np.int64]:
    columns = (tick, kind, number, value, OFFICIAL_CHANNEL, priority, rank)
    return np.stack([np.broadcast_to(np.asarray(column, np.int64), tick.shape) for column in columns], axis=1)

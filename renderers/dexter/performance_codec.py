"""The performance codec: five numbers per note, and their decoding to onsets, lengths, velocities and pedal.

Columns, float32: beat_period (seconds per beat, the denominator of the time signature), velocity (0..1),
timing (seconds, subtracted), articulation_log (log2 of the ratio of played to notated length), pedal (0..1).
Definitions: Cancino-Chacón, Computational Modeling of Expressive Music Performance with Linear and Non-linear
Basis Function Models, PhD thesis, JKU Linz 2018, section 3.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BEAT_PERIOD, VELOCITY, TIMING, ARTICULATION, PEDAL = range(5)

CodecName = Literal["published", "own"]
"""Meaning of two columns. Articulation: until pedal and key are up, or the key alone. Pedal: its value at the
onset, or its mean from there to the next onset."""

DATASET_MEANS = (
    *(0.7063542604446411, 0.4756112396717071, -0.011089393869042397),
    *(0.6265323758125305, 0.24988953769207),
)
DATASET_STDS = (
    *(2.0590381622314453, 0.15276259183883667, 0.6368748545646667),
    *(1.2729265689849854, 0.15391376614570618),
)
"""Statistics of Zhang et al.'s training data (the configuration before commit 5cbe0eb of the authors'
repository), for checkpoints without their own."""

SAME_ONSET = 1e-6
"""Beats; closer notes form a chord."""
MIN_PERFORMED_DURATION = 0.075
"""Seconds; smallest performed length when encoding (partitura's performance codec)."""
PEDAL_DOWN = 64
"""Controller values above this hold the notes."""

BEAT_PERIODS = (0.08, 8.0)
"""Limits of predictions in seconds per beat: 750 to 7.5 beats per minute."""
TIMINGS = (-4.0, 4.0)
"""Limits in seconds; six standard deviations of the data."""
ARTICULATIONS = (-8.0, 8.0)
"""Limits in log2 of the ratio of lengths; six standard deviations of the data."""


@dataclass(frozen=True)
class DecodedNotes:
    """Notes in score order (onset, pitch), [N] each."""

    onset: NDArray[np.float64]
    """Seconds; the earliest is 0."""
    offset: NDArray[np.float64]
    """Seconds; before the onset where a model predicts a negative beat period."""
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]
    pedal: NDArray[np.int64]
    """Value of controller 64 at the onset."""
    order: NDArray[np.int64]
    """Index of the score note of each note."""


def decode(
    codec: NDArray[np.float32],
    onset_beat: NDArray[np.float32],
    duration_beat: NDArray[np.float32],
    onset_div: NDArray[np.int64],
    pitch: NDArray[np.int64],
) -> DecodedNotes:
    """Performance codec [N, 5] and the score's columns [N] -> notes.

    Float32 and float64 are mixed as by numpy 1 in the published script, so that times are equal.
    """
    order = np.lexsort((pitch, onset_div))
    codec, onset_beat, duration_beat = codec[order], onset_beat[order], duration_beat[order]
    new_chord = np.diff(onset_beat) > SAME_ONSET
    chords, bounds = np.concatenate([[0], np.cumsum(new_chord)]), np.flatnonzero(new_chord) + 1
    beat_period = np.array(
        [group.mean(dtype=np.float32) for group in np.split(codec[:, BEAT_PERIOD], bounds)], np.float32
    )
    chord_onset = np.array([group.mean() for group in np.split(onset_beat, bounds)], onset_beat.dtype)
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


def _midi_value(share: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.rint(share * 127).astype(np.int64)


def within_limits(codec: NDArray[np.float32]) -> NDArray[np.float32]:
    """The codec [N, 5] with timing, articulation, velocity and pedal limited to what can be decoded."""
    limited = codec.copy()
    limited[:, TIMING] = codec[:, TIMING].clip(*TIMINGS)
    limited[:, ARTICULATION] = codec[:, ARTICULATION].clip(*ARTICULATIONS)
    limited[:, [VELOCITY, PEDAL]] = codec[:, [VELOCITY, PEDAL]].clip(0, 1)
    return limited


def with_tempo(
    codec: NDArray[np.float32],
    onset_beat: NDArray[np.float32],
    duration_beat: NDArray[np.float32],
    base_tempo: float | None,
) -> NDArray[np.float32]:
    """The codec [N, 5] with beat periods within ``BEAT_PERIODS``, and scaled to a mean tempo (beats per
    minute) if one is given. ``onset_beat``, ``duration_beat``: [N] of the score, in order."""
    codec = codec.copy()
    codec[:, BEAT_PERIOD] = np.clip(codec[:, BEAT_PERIOD], *BEAT_PERIODS)
    if base_tempo is not None:
        lengths = np.diff(onset_beat, append=onset_beat[-1:] + duration_beat[-1:])
        beats = lengths.sum() or 1.0
        seconds = float((lengths * codec[:, BEAT_PERIOD]).sum()) or float(codec[:, BEAT_PERIOD].mean())
        codec[:, [BEAT_PERIOD, TIMING]] *= 60 / base_tempo * beats / seconds
    return codec

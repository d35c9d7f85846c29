"""What the published scripts do around the networks, losses included: piano roll, stop rule and joins.

For ``compatibility="official"`` and for comparisons; ``piano_roll`` and ``joining`` hold the default.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthesizers.m2a.decoding import StepLimits
from synthesizers.m2a.piano_roll import (
    FRAME_RATE,
    FRAMES_PER_CELL,
    SEGMENT_CELLS,
    PedalledNotes,
    Roll,
    encoder_input,
    frame_numbers,
    held_velocities,
    pedal_spans,
)

Samples = NDArray[np.float32]

SEGMENT_FRAMES = SEGMENT_CELLS * FRAMES_PER_CELL
MAX_LENGTH_RATIO = 10.0
"""Frames per encoder frame at which the decoder gives up (``maxlenratio``)."""
BUFFER = 4 * 288 + 1200
"""Samples at a join that are computed anew: four hops and a window of the spectrum, 98 ms."""
OVERLAP = 1488
"""Samples that are compared for the best alignment."""


def piano_roll(notes: PedalledNotes, end: float) -> Roll:
    """[int(end * rate), 128]: velocities of simultaneous notes of a key are added, pedalled keys held by a
    running maximum until the pedal goes up; ``end``: seconds to the last event of the file."""
    start, stop = frame_numbers(notes.onset), frame_numbers(notes.offset)
    roll = held_velocities(notes.pitch, start, stop, notes.velocity, int(end * FRAME_RATE))
    for first, last in frame_numbers(pedal_spans(notes)):
        columns = roll[first:last]
        np.maximum.accumulate(columns, axis=0, out=columns)
    return roll


def encoder_inputs(roll: Roll) -> list[NDArray[np.float32]]:
    """Encoder inputs [rows, 128] of segments of 800 frames; the last is shorter."""
    return [
        encoder_input(roll[start : start + SEGMENT_FRAMES : FRAMES_PER_CELL])
        for start in range(0, len(roll), SEGMENT_FRAMES)
    ]


def step_limits(inputs: int, reduction_factor: int) -> StepLimits:
    """For an encoder input of ``inputs`` rows: only the stop rule and ``MAX_LENGTH_RATIO`` end a segment."""
    return StepLimits(0, int(inputs * MAX_LENGTH_RATIO / reduction_factor))


def joined(waves: Sequence[Samples]) -> Samples:
    """Waveforms of consecutive segments as one, shifted until they correlate best, so that each join moves
    what follows. Later waves shorter than ``BUFFER`` are left out.

    Raises ``ValueError`` where the first is that short: the script fails there.
    """
    done: list[Samples] = []
    left = waves[0]
    for right in waves[1:]:
        if len(right) < BUFFER:
            continue
        if len(left) < BUFFER:
            raise ValueError("the first segment is shorter than 98 ms")
        done.append(left[:-BUFFER])
        left = np.concatenate([_blended(left[-BUFFER:], right[:BUFFER]), right[BUFFER:]])
    return np.concatenate([*done, left])


def _blended(left: Samples, right: Samples) -> Samples:
    """The end of one waveform and the beginning of the next, crossfaded where they correlate best."""
    similarity = np.correlate(left[-OVERLAP:], right[:OVERLAP], "same")
    lag = int(similarity.argmax()) - OVERLAP // 2
    overlap = OVERLAP - lag
    window = np.hanning(2 * overlap)
    blended = np.zeros(2 * BUFFER - overlap)
    blended[:BUFFER] = left
    blended[BUFFER - overlap : BUFFER] *= window[overlap:]
    blended[-BUFFER:] += np.concatenate([right[:overlap] * window[:overlap], right[overlap:]])
    return blended.astype(np.float32)


def as_pcm(samples: Samples) -> Samples:
    """Samples as they come back from a 16-bit file: floor(32768 x) / 32768, clipped."""
    return np.asarray(np.clip(np.floor(samples * 32768), -32768, 32767) / 32768, np.float32)

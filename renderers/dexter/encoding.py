"""A human performance as performance codec, as in DExter's training data (made by its fork of partitura)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.dexter.performance_codec import MIN_PERFORMED_DURATION, PEDAL_DOWN
from score_to_audio.types import SUSTAIN, Controls, Performance

LAST_CHORD = 0.5
"""Seconds after the last onset in which the pedal counts."""
SHORTEST_INTERVAL = 0.01
"""Seconds between two onsets for the pedal's mean."""
MISSING = -1.0
"""Onset and duration of score notes that were not played, which enter the estimate of tempo like this."""


@dataclass(frozen=True)
class MatchedNotes:
    """Score notes with their performed notes, [N] each, in the order of the score's columns."""

    onset: NDArray[np.float32]
    """Beats."""
    duration: NDArray[np.float32]
    """Beats."""
    performed_onset: NDArray[np.float32]
    """Seconds."""
    performed_duration: NDArray[np.float32]
    """Seconds, pedal included."""
    velocity: NDArray[np.int64]
    missing: NDArray[np.bool_]


def sounding_durations(performance: Performance) -> NDArray[np.float32]:
    """[N] seconds from each onset until key and sustain pedal are up, ignoring later strokes of the key."""
    sustain = performance.controls.number == SUSTAIN
    times, down = performance.controls.time[sustain], performance.controls.value[sustain] > PEDAL_DOWN
    at_release = np.searchsorted(times, performance.offset, side="right") - 1
    held = (
        np.where(at_release >= 0, down[at_release], False) if len(down) else np.zeros(len(performance), bool)
    )
    ups = np.append(times[~down], np.inf)
    next_up = ups[np.searchsorted(ups, performance.offset)]
    last = max(performance.end, float(performance.offset.max(initial=0.0)))
    off = np.where(held, np.where(np.isfinite(next_up), next_up, last), performance.offset)
    return (off - performance.onset).astype(np.float32)


def match(
    onset_beat: NDArray[np.float32],
    duration_beat: NDArray[np.float32],
    played: NDArray[np.int64],
    onset: NDArray[np.floating],
    duration: NDArray[np.floating],
    velocity: NDArray[np.integer],
) -> MatchedNotes:
    """``onset_beat``, ``duration_beat``: [N] of the score; ``played``: [N] index of each performed note, -1
    for none; ``onset``, ``duration``, ``velocity``: [M] of the performance."""
    missing = played < 0

    def column(values: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.where(missing, MISSING, values[played]).astype(np.float32)

    floored = np.maximum(duration, MIN_PERFORMED_DURATION)
    return MatchedNotes(
        onset=onset_beat,
        duration=((onset_beat + duration_beat) - onset_beat).astype(np.float32),
        performed_onset=column(onset),
        performed_duration=column(floored),
        velocity=np.where(missing, -1, velocity[played]).astype(np.int64),
        missing=missing,
    )


def encode(
    matched: MatchedNotes, tempo: Mapping[str, NDArray[np.floating]], controls: Controls
) -> NDArray[np.float32]:
    """[N, 5] performance codec.

    ``tempo``: the columns beat_period, timing and articulation_log of partitura's ``encode_tempo`` for the
    matched notes. Notes that were not played get the mean of the others.
    """
    codec = np.stack(
        [
            tempo["beat_period"],
            matched.velocity / 127,
            tempo["timing"],
            tempo["articulation_log"],
            pedal_at(controls, matched.performed_onset),
        ],
        axis=1,
    ).astype(np.float32)
    if matched.missing.any():
        codec[matched.missing] = np.nanmean(codec[~matched.missing], axis=0)
    return codec


def pedal_until_next(
    controls: Controls, onset_beat: NDArray[np.float32], times: NDArray[np.floating]
) -> NDArray[np.float64]:
    """[N] 0..1: mean of a pedal's values from the first note of each chord to that of the next.

    ``controls``: of one pedal; ``onset_beat``, ``times``: [N] beats and seconds of the notes played.
    """
    if not len(controls):
        return np.zeros(len(times))
    chord = np.unique(onset_beat, return_inverse=True)[1]
    start = np.full(chord.max(initial=-1) + 1, np.inf)
    np.minimum.at(start, chord, times)
    start = np.maximum.accumulate(start)
    end = np.append(start[1:], start[-1] + LAST_CHORD)
    end = np.maximum(end, start + SHORTEST_INTERVAL)
    knots = np.append(controls.time, max(end[-1], controls.time[-1]) + 1.0)
    area = np.append(0.0, np.cumsum(np.diff(knots) * controls.value / 127))
    mean = (np.interp(end, knots, area) - np.interp(start, knots, area)) / (end - start)
    return np.asarray(mean[chord])


def pedal_at(controls: Controls, times: NDArray[np.floating]) -> NDArray[np.float64]:
    """[N] 0..1: controller values at ``times``, interpolated between events, 0 before the first and after the
    last.

    All controllers are read as one series, as in the training data; pass the sustain pedal's alone for its
    value."""
    if len(controls) < 2:
        return np.zeros(len(times))
    return np.interp(times, controls.time, controls.value, left=0.0, right=0.0) / 127

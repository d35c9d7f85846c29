"""Transcription metrics: how close a transcription is to the performance that was played.

As in mir_eval.transcription (Raffel et al., ISMIR 2014), which the extra ``evaluation`` brings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import SUSTAIN, Performance

ONSET_TOLERANCE = 0.05
"""Seconds; mir_eval's default, and that of the transcription literature."""
OFFSET_RATIO, OFFSET_TOLERANCE = 0.2, 0.05
"""Share of the note's duration, but at least so many seconds."""
PEDAL_DOWN = 64
"""CC64 value from which a pedal holds notes (Hawthorne et al., "Onsets and Frames", ISMIR 2018)."""
PEDAL_FRAME = 0.01
"""Seconds."""


@dataclass(frozen=True)
class Scores:
    """How well an estimate matches a reference."""

    notes: int
    """In the reference."""
    onset_precision: float
    onset_recall: float
    onset_f1: float
    """Same pitch and an onset within 50 ms."""
    offset_f1: float
    """Also an offset within the larger of 50 ms and 20 % of the duration, notes extended by the pedal."""
    velocity_f1: float
    """Same pitch, an onset within 50 ms, and a velocity within 0.1 of the reference's (of its whole range)
    once the estimate's velocities are scaled to fit (mir_eval.transcription_velocity)."""
    velocity_correlation: float
    """Pearson's r over the notes that match by onset; nan for fewer than two."""
    onset_error: float
    """Median of |difference| in seconds over the notes that match by onset."""
    pedal_f1: float
    """Frames of 10 ms in which the sustain pedal is down (CC64 >= 64) in both, against those in which it is
    down in either (Kong et al., "High-resolution piano transcription with pedals", TASLP 29, 2021); nan where
    it is down in neither."""


def scores(reference: Performance, estimate: Performance) -> Scores:
    """How close ``estimate`` is to ``reference``."""
    from mir_eval import transcription_velocity
    from mir_eval.transcription import match_notes, precision_recall_f1_overlap
    from mir_eval.util import midi_to_hz

    wanted = np.stack([reference.onset, pedal_extended(reference)], axis=1)
    heard = np.stack([estimate.onset, pedal_extended(estimate)], axis=1)
    wanted_hz, heard_hz = midi_to_hz(reference.pitch), midi_to_hz(estimate.pitch)
    both = (wanted, wanted_hz, heard, heard_hz)
    precision, recall, onset_f1, _ = precision_recall_f1_overlap(
        *both, onset_tolerance=ONSET_TOLERANCE, offset_ratio=None
    )
    *_, offset_f1, _ = precision_recall_f1_overlap(
        *both,
        onset_tolerance=ONSET_TOLERANCE,
        offset_ratio=OFFSET_RATIO,
        offset_min_tolerance=OFFSET_TOLERANCE,
    )
    _, _, velocity_f1, _ = transcription_velocity.precision_recall_f1_overlap(
        wanted,
        wanted_hz,
        reference.velocity,
        heard,
        heard_hz,
        estimate.velocity,
        onset_tolerance=ONSET_TOLERANCE,
        offset_ratio=None,
    )
    pairs = np.array(match_notes(*both, onset_tolerance=ONSET_TOLERANCE, offset_ratio=None), np.int64)
    played, found = pairs.reshape(-1, 2).T
    error = np.abs(reference.onset[played] - estimate.onset[found])
    return Scores(
        notes=len(reference),
        onset_precision=precision,
        onset_recall=recall,
        onset_f1=onset_f1,
        offset_f1=offset_f1,
        velocity_f1=velocity_f1,
        velocity_correlation=_correlation(reference.velocity[played], estimate.velocity[found]),
        onset_error=float(np.median(error)) if len(error) else np.nan,
        pedal_f1=_pedal_f1(reference, estimate),
    )


def _pedal_f1(reference: Performance, estimate: Performance) -> float:
    frames = np.arange(0, max(reference.end, estimate.end), PEDAL_FRAME)
    wanted, heard = _pedal_down(reference, frames), _pedal_down(estimate, frames)
    down = int(wanted.sum() + heard.sum())
    return 2 * int((wanted & heard).sum()) / down if down else np.nan


def _pedal_down(performance: Performance, seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
    mine = performance.controls.number == SUSTAIN
    time, value = performance.controls.time[mine], performance.controls.value[mine]
    return np.append(value >= PEDAL_DOWN, False)[np.searchsorted(time, seconds, side="right") - 1]


def _correlation(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    if len(a) < 2 or not a.std() or not b.std():
        return np.nan
    return float(np.corrcoef(a, b)[0, 1])


def pedal_extended(performance: Performance) -> NDArray[np.float64]:
    """[N] seconds at which each note stops sounding: its offset, or the release of the pedal (CC64 >= 64) if
    that is down, but no later than the next note of the same pitch."""
    controls = performance.controls
    mine = controls.number == SUSTAIN
    time, down = controls.time[mine], controls.value[mine] >= PEDAL_DOWN
    lifts = np.append(time[~down], np.inf)
    last = np.searchsorted(time, performance.offset, side="right") - 1
    held = np.append(down, False)[last]
    end = np.where(held, lifts[np.searchsorted(lifts, performance.offset)], performance.offset)
    end = np.minimum(end, max(performance.end, float(performance.offset.max(initial=0))))
    return np.maximum(np.minimum(end, _next_onset(performance)), performance.onset + 1e-3)


def _next_onset(performance: Performance) -> NDArray[np.float64]:
    following = np.full(len(performance), np.inf)
    order = np.lexsort((performance.onset, performance.pitch))
    same = np.diff(performance.pitch[order]) == 0
    following[order[:-1][same]] = performance.onset[order[1:][same]]
    return following

"""From a performance to performance features: the inverse of ``decoding``, for style vectors and training.

Tempo, onsets, durations and velocities are exact where every beat was played; pedal features are sampled from
the pedal around each note (Jeong et al., ISMIR 2019, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet import features as columns
from renderers.virtuosonet.score import NoteScore
from renderers.virtuosonet.tempo_curve import TempoCurve, tempo_anchors
from score_to_audio.types import SOFT, SUSTAIN, Controls, Performance

SLOWEST_QPM, FASTEST_QPM = 2.0, 2000.0
"""Limits of a beat's tempo in quarter notes per minute, against alignment errors."""
FEWEST_MATCHES = 8
"""Smallest number of matched notes."""
SHORTEST_RATIO = 0.01
"""Smallest ratio of sounding to written duration."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EncodedPerformance:
    """Performance features of a score's N notes."""

    features: Array
    """[N, 11] in their units, columns as ``features.OUTPUT_KEYS``."""
    played: NDArray[np.bool_]
    """[N] False where the performance lacks the note; its row has no meaning."""


def encode(score: NoteScore, performance: Performance, match: NDArray[np.int64]) -> EncodedPerformance:
    """``match`` [N]: index of the performed note for each note of the score, -1 for none.

    Raises ``ValueError`` where fewer than ``FEWEST_MATCHES`` notes match.
    """
    played = match >= 0
    if played.sum() < FEWEST_MATCHES:
        raise ValueError(f"only {int(played.sum())} of {len(match)} notes match the performance")
    onset, offset = performance.onset[match], performance.offset[match]
    curve = performed_curve(score, np.where(played, onset, np.nan))
    position, duration = score.column("position"), score.column("duration")
    divisions = score.column("divisions")
    own = curve.segment(position)
    deviation = curve.positions(onset, own) - position
    sounding = curve.positions(offset) - position - deviation
    ratio = np.divide(sounding, duration, out=np.ones(len(match)), where=duration > 0)
    pedal, soft = _Pedal(performance.controls, SUSTAIN), _Pedal(performance.controls, SOFT)
    refresh, refresh_time = pedal.lowest(onset, offset)
    cut, cut_time = pedal.lowest(offset, _next_onsets(performance)[match])
    values = np.zeros((len(match), len(columns.OUTPUT_KEYS)))
    values[:, columns.BEAT_TEMPO] = np.log10(curve.qpm[own])
    values[:, columns.VELOCITY] = performance.velocity[match]
    values[:, columns.ONSET_DEVIATION] = deviation / divisions
    values[:, columns.ARTICULATION] = np.log10(np.maximum(ratio, SHORTEST_RATIO))
    values[:, columns.PEDAL_REFRESH_TIME] = refresh_time - onset
    values[:, columns.PEDAL_CUT_TIME] = cut_time - offset
    values[:, columns.PEDAL_AT_START] = squashed(pedal.at(onset))
    values[:, columns.PEDAL_AT_END] = squashed(pedal.at(offset))
    values[:, columns.SOFT_PEDAL] = squashed(soft.at(onset))
    values[:, columns.PEDAL_REFRESH] = squashed(refresh)
    values[:, columns.PEDAL_CUT] = squashed(cut)
    return EncodedPerformance(values, played)


def squashed(pedal: Array) -> Array:
    """The logistic function that was applied to controller values in the training data."""
    return np.floor(127 / (1 + np.exp(-(pedal - 64) / 8)))


def performed_curve(score: NoteScore, onset: Array) -> TempoCurve:
    """The tempo from beat to beat, from onsets [N] (seconds, NaN where not played).

    The time of a beat is the mean of its notes; beats without a played note are interpolated.
    """
    notes = score.notes
    anchors = tempo_anchors(score)
    position = np.array([notes[index].position for index in anchors], dtype=np.float64)
    divisions = np.array([notes[index].divisions for index in anchors], dtype=np.float64)
    time = _mean_onsets(score, onset, position)
    known = np.flatnonzero(np.isfinite(time))
    increasing = np.concatenate([[True], np.diff(np.maximum.accumulate(time[known])) > 0])
    known = known[increasing]
    quarters = np.concatenate([[0.0], np.cumsum(np.diff(position) / divisions[:-1])])
    last_position, last_time = _last_onset(score, onset)
    last_quarters = quarters[-1] + (last_position - position[-1]) / divisions[-1]
    at, when = quarters[known], time[known]
    if last_quarters > at[-1] and last_time > when[-1]:
        at, when = np.append(at, last_quarters), np.append(when, last_time)
    if len(at) < 2:
        raise ValueError("the performance plays one beat only")
    tempo = (np.diff(at) / np.diff(when) * 60).clip(SLOWEST_QPM, FASTEST_QPM)
    qpm = tempo[np.clip(np.searchsorted(at, quarters, side="right") - 1, 0, len(tempo) - 1)]
    first = when[0] - (at[0] - quarters[0]) / qpm[0] * 60
    times = np.concatenate([[first], np.diff(quarters) / qpm[:-1] * 60]).cumsum()
    return TempoCurve(position, qpm, times, divisions)


def _mean_onsets(score: NoteScore, onset: Array, position: Array) -> Array:
    """Mean onset of the notes at each of the positions, NaN for none. Grace notes are ignored."""
    own = score.column("position")
    counts = np.isfinite(onset) & (score.column("is_grace") == 0)
    place = np.searchsorted(position, own)
    exact = (place < len(position)) & (position[np.minimum(place, len(position) - 1)] == own) & counts
    total = np.bincount(place[exact], weights=onset[exact], minlength=len(position))
    number = np.bincount(place[exact], minlength=len(position))
    return np.divide(total, number, out=np.full(len(position), np.nan), where=number > 0)


def _last_onset(score: NoteScore, onset: Array) -> tuple[float, float]:
    """Position and time of the last onset that was played."""
    played = np.flatnonzero(np.isfinite(onset))
    position = score.column("position")
    last = position[played].max()
    return float(last), float(np.mean(onset[played][position[played] == last]))


def _next_onsets(performance: Performance) -> Array:
    """[M] the first onset after the end of each performed note; its own end where there is none."""
    index = np.searchsorted(performance.onset, performance.offset, side="right")
    following = np.append(performance.onset, np.inf)[index]
    return np.where(np.isfinite(following), following, performance.offset)


class _Pedal:
    """One pedal as a step function of time."""

    def __init__(self, controls: Controls, number: int) -> None:
        chosen = controls.number == number
        self._time = np.concatenate([[-np.inf], controls.time[chosen]])
        self._value = np.concatenate([[0.0], controls.value[chosen].astype(np.float64)])

    def at(self, seconds: Array) -> Array:
        values: Array = self._value[np.searchsorted(self._time, seconds, side="right") - 1]
        return values

    def lowest(self, start: Array, end: Array) -> tuple[Array, Array]:
        """Lowest value within each span, and the time at which it is first reached."""
        value, time = self.at(start), start.copy()
        first = np.searchsorted(self._time, start, side="right")
        last = np.searchsorted(self._time, end, side="right")
        for index in np.flatnonzero(last > first).tolist():
            within = self._value[first[index] : last[index]]
            lowest = int(within.argmin())
            if within[lowest] < value[index]:
                value[index], time[index] = within[lowest], self._time[first[index] + lowest]
        return value, time

"""The effect of pedals and dampers on the strings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import SOFT, SOSTENUTO, SUSTAIN, Controls

FIRST_UNDAMPED_PITCH = 89
"""F6: from this key up the sampled piano has no dampers (the instrument's definition file)."""
DAMPERS_DOWN, DAMPERS_UP = 54.0, 76.0
"""CC64 values up to which the dampers have their full effect, and from which they have none."""
HALF_PEDAL_POWER = 3.0
"""Exponent of the damping while the dampers rise: they lose most of their effect early."""
PEDAL_SWITCH = 64
"""CC66 value from which the sostenuto pedal counts as down (MIDI 1.0: 64 and above is on)."""


def damping_part(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of the full damping rate at a CC64 value (0..127): 1 with the pedal up, 0 with it down, smooth."""
    lift = np.clip((value - DAMPERS_DOWN) / (DAMPERS_UP - DAMPERS_DOWN), 0, 1)
    return np.asarray((1 - lift * lift * (3 - 2 * lift)) ** HALF_PEDAL_POWER)


@dataclass(frozen=True)
class Damping:
    """The time of damping so far, in seconds of full damping: a line through M knots."""

    time: NDArray[np.float64]
    """[M] seconds, ascending, from 0."""
    total: NDArray[np.float64]
    """[M] seconds of full damping since time 0."""
    rate: NDArray[np.float64]
    """[M] part of full damping from each knot on."""

    def at(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds of full damping up to each time; infinite at infinity."""
        finite = np.where(np.isfinite(time), time, 0.0)
        knot = np.searchsorted(self.time, finite, side="right") - 1
        total = self.total[knot] + self.rate[knot] * (finite - self.time[knot])
        return np.where(np.isfinite(time), total, np.inf)

    def rate_at(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Part of the full damping at each time."""
        return np.asarray(self.rate[np.searchsorted(self.time, time, side="right") - 1])

    def reached(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """First time at which the total is reached; infinite where it never is."""
        knot = np.maximum(np.searchsorted(self.total, total, side="left") - 1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            time = self.time[knot] + (total - self.total[knot]) / self.rate[knot]
        return np.where(total <= 0, 0.0, np.where(self.rate[knot] > 0, time, np.inf))


def damping(controls: Controls) -> Damping:
    """The damping over time under CC64, which holds its value until the next event."""
    time, value = history(controls, SUSTAIN)
    rate = damping_part(value)
    total = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(time))])
    return Damping(time, total, rate)


def history(controls: Controls, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times (from 0) and values of one controller: 0 before its first event; of simultaneous events the last
    counts."""
    mine = controls.number == number
    time = np.concatenate([[0.0], controls.time[mine]])
    value = np.concatenate([[0.0], controls.value[mine].astype(np.float64)])
    last_of_moment = np.append(np.diff(time) > 0, True)
    return time[last_of_moment], value[last_of_moment]


def value_at(controls: Controls, number: int, time: NDArray[np.float64]) -> NDArray[np.float64]:
    times, values = history(controls, number)
    return values[np.searchsorted(times, time, side="right") - 1]


def soft_pedal(controls: Controls, onset: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] how far the soft pedal is down (0..1) when each note starts."""
    return value_at(controls, SOFT, onset) / 127


def released(
    controls: Controls, onset: NDArray[np.float64], offset: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[N] seconds at which each key's own damper falls: when the key is released, or with the sostenuto pedal
    if the key was held when the pedal went down."""
    times, values = history(controls, SOSTENUTO)
    down = values >= PEDAL_SWITCH
    presses = np.flatnonzero(down & ~np.concatenate([[False], down[:-1]]))
    result = offset.copy()
    for press in presses:
        lifts = np.flatnonzero(~down[press:])
        lift = times[press + lifts[0]] if len(lifts) else np.inf
        caught = (onset <= times[press]) & (times[press] < offset)
        result[caught] = np.maximum(result[caught], lift)
    return result

"""Phrase boundaries of a melody, and segments that end at them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INTERVAL_WEIGHT, ONSET_WEIGHT, REST_WEIGHT = 0.25, 0.5, 0.25
"""Weights of pitch intervals, inter-onset intervals and rests (Cambouropoulos 2001, section 4)."""


def degree_of_change(profile: Floats) -> Floats:
    """[n - 1] relative change |a - b| / (a + b) between neighbours of a profile of values >= 0."""
    total = profile[:-1] + profile[1:]
    return np.where(total > 0, np.abs(np.diff(profile)) / np.where(total > 0, total, 1.0), 0.0)


def boundary_profile(profile: Floats) -> Floats:
    """[n] boundary strength of each interval in 0..1: the interval times the changes on either side.

    Cambouropoulos, "The Local Boundary Detection Model (LBDM) and its application in the study of expressive
    timing", ICMC 2001, equation 1; normalised to a maximum of 1.
    """
    if not len(profile):
        return np.zeros(0)
    change = np.r_[0.0, degree_of_change(profile), 0.0]
    strength = profile * (change[:-1] + change[1:])
    highest = strength.max()
    return strength / highest if highest > 0 else strength


def local_boundaries(onset: Floats, offset: Floats, pitch: Floats) -> Floats:
    """[n] strength 0..1 of the boundary after each note of a melody (the last one: 1).

    ``onset`` and ``offset`` in any unit of time, increasing onsets; ``pitch`` in semitones. LBDM's weighted
    sum of the profiles of pitch intervals, inter-onset intervals and rests.
    """
    if not len(onset):
        return np.zeros(0)
    apart = np.diff(onset)
    rest = np.maximum(onset[1:] - offset[:-1], 0.0)
    strength = (
        INTERVAL_WEIGHT * boundary_profile(np.abs(np.diff(pitch)))
        + ONSET_WEIGHT * boundary_profile(apart)
        + REST_WEIGHT * boundary_profile(rest)
    )
    return np.append(strength, 1.0)


def segments(strength: Floats, ideal: int, *, stiffness: float = 0.3) -> NDArray[np.int64]:
    """Ends (index after the last beat) of segments of about ``ideal`` beats that end at strong boundaries.

    ``strength``: [B] of the boundary after each beat. Dynamic programming maximises the sum over segments of
    strength - stiffness x log2(length / ideal)^2, with lengths between half and twice the ideal. The last
    segment ends with the piece and may be shorter.
    """
    count = len(strength)
    shortest, longest = max(ideal // 2, 1), max(2 * ideal, 2)
    lengths = np.arange(1, longest + 1)
    cost = stiffness * np.log2(lengths / ideal) ** 2
    best = np.full(count + 1, -np.inf)
    best[0] = 0.0
    start = np.zeros(count + 1, np.int64)
    for end in range(1, count + 1):
        least = 1 if end == count else shortest
        most = min(longest, end)
        if least > most:
            continue
        candidates = best[end - most : end - least + 1][::-1] - cost[least - 1 : most]
        chosen = int(np.argmax(candidates))
        best[end] = candidates[chosen] + strength[end - 1]
        start[end] = end - least - chosen
    ends = [count]
    while ends[-1] > 0:
        ends.append(int(start[ends[-1]]))
    return np.array(ends[-2::-1], np.int64)


def arch(position: Floats) -> Floats:
    """A parabola over a phrase: 0 at its start and end (positions 0 and 1), 1 in the middle."""
    return 4.0 * position * (1.0 - position)

"""Confidence intervals: of a mean over pieces, and of a share of votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % confidence interval (nan where there is none)."""

    value: float
    low: float
    high: float
    count: int
    """Values, or votes, that it was taken over."""


def mean(values: Sequence[float]) -> Estimate:
    """The mean of the values that are finite, with Student's t interval (Student, Biometrika 6(1), 1908);
    two values at least for an interval."""
    from scipy.special import stdtrit  # a fraction of the time that scipy.stats takes to load

    finite = np.array([value for value in values if np.isfinite(value)], np.float64)
    count = len(finite)
    if not count:
        return Estimate(np.nan, np.nan, np.nan, 0)
    centre = float(finite.mean())
    if count < 2:
        return Estimate(centre, np.nan, np.nan, count)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2) * finite.std(ddof=1) / np.sqrt(count))
    return Estimate(centre, centre - half, centre + half, count)


def share(successes: int, trials: int) -> Estimate:
    """A share of trials with the exact binomial interval (Clopper & Pearson, Biometrika 26(4), 1934)."""
    from scipy.special import betaincinv

    if not trials:
        return Estimate(np.nan, np.nan, np.nan, 0)
    tail, failures = (1 - CONFIDENCE) / 2, trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Estimate(successes / trials, low, high, trials)

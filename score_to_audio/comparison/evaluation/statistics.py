"""Confidence intervals: of a mean over pieces, of a share of votes, and of a correlation within a piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 2000
FEWEST_ROWS = 5
"""Rows that an interval over rows needs at least; with fewer there is none (nan)."""
LARGEST_CORRELATION = 0.9999
"""Where Fisher's z ends: it is infinite at 1."""
FEWEST_BLOCKS = 4
"""Blocks that resampling needs at least; with fewer there is no interval (nan)."""


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


def mean_over_rows(values: Sequence[float], *, correlations: bool = False) -> Estimate:
    """The mean of the values that are finite. The interval is a bootstrap's (percentiles; Efron, Annals of
    Statistics 7(1), 1979), seeded; that of ``correlations`` is Student's t of Fisher's z (Metron 1, 1921).
    Neither leaves the range of the values; nan for fewer than ``FEWEST_ROWS``."""
    finite = np.array([value for value in values if np.isfinite(value)], np.float64)
    if not len(finite):
        return Estimate(np.nan, np.nan, np.nan, 0)
    centre = float(finite.mean())
    if len(finite) < FEWEST_ROWS:
        return Estimate(centre, np.nan, np.nan, len(finite))
    if correlations:
        of_z = mean(fisher_z(finite).tolist())
        return Estimate(centre, float(np.tanh(of_z.low)), float(np.tanh(of_z.high)), len(finite))
    chosen = np.random.default_rng(0).integers(len(finite), size=(DRAWS, len(finite)))
    return Estimate(centre, *interval(finite[chosen].mean(axis=1)), len(finite))


def fisher_z(correlations: Floats) -> Floats:
    limited = np.clip(correlations, -LARGEST_CORRELATION, LARGEST_CORRELATION)
    return np.asarray(np.arctanh(limited))


def can_be_equal(one: Floats, other: Floats) -> bool:
    """Whether Student's t interval of the mean difference of paired values holds 0."""
    difference = mean((one - other).tolist())
    return difference.low <= 0 <= difference.high


# ------------------------------------------------------------------------------------------ resampling


def resampled_correlations(
    made: Floats, wanted: Floats, *, block: int, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """[draws] Pearson's r of two arrays of one shape, over blocks of ``block`` rows drawn with replacement.

    Successive notes and beats resemble each other, so whole blocks are drawn (Carlstein, Annals of Statistics
    14(3), 1986). Entries that are not finite in both do not count. The same shapes and seed give the same
    blocks, so that the draws of two performances of a piece can be subtracted. nan for fewer than
    ``FEWEST_BLOCKS`` blocks.
    """
    count = len(made) // block
    if count < FEWEST_BLOCKS:
        return np.full(draws, np.nan)
    both = np.isfinite(made) & np.isfinite(wanted)
    x, y = np.where(both, made, 0.0), np.where(both, wanted, 0.0)
    x, y = x - x.sum() / max(both.sum(), 1), y - y.sum() / max(both.sum(), 1)
    x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
    # The last block takes what is left over.
    starts = np.arange(count) * block
    sums = np.stack(
        [
            np.add.reduceat(values.reshape(len(made), -1).sum(axis=1), starts)
            for values in (both.astype(np.float64), x, y, x * x, y * y, x * y)
        ]
    )
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    n, sx, sy, sxx, syy, sxy = sums @ weights.T.astype(np.float64)
    n = np.maximum(n, 1)
    spread = np.sqrt(np.maximum(sxx - sx * sx / n, 0) * np.maximum(syy - sy * sy / n, 0))
    covariance = sxy - sx * sy / n
    return np.divide(covariance, spread, out=np.zeros(draws), where=spread > 1e-9)


def interval(draws: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Lower and upper percentile; nan where draws are."""
    if not np.isfinite(draws).all():
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mean_over_pieces(of_pieces: Sequence[Floats], *, seed: int = 0) -> Floats:
    """[draws] the mean over pieces, themselves drawn with replacement, of draws within the pieces."""
    stack = np.stack([draws for draws in of_pieces if np.isfinite(draws).all()])
    chosen = np.random.default_rng(seed).integers(len(stack), size=(stack.shape[1], len(stack)))
    result: Floats = stack[chosen, np.arange(stack.shape[1])[:, None]].mean(axis=1)
    return result

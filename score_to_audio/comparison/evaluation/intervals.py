"""How sure a correlation within a piece is: confidence intervals from resampling.

Notes and beats that follow each other resemble each other, so whole blocks are drawn (Carlstein, Annals of
Statistics 14(3), 1986).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 2000
CONFIDENCE = 0.95
FEWEST_BLOCKS = 4
"""Blocks that are needed at least; with fewer there is no interval (nan)."""


def resampled_correlations(
    made: Floats, wanted: Floats, *, block: int, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """[draws] Pearson's r of two arrays of one shape, over blocks of ``block`` rows drawn with replacement.

    Entries that are not finite in both do not count. The same shapes and seed give the same blocks, so that
    the draws of two performances of a piece can be subtracted. nan for fewer than ``FEWEST_BLOCKS`` blocks.
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

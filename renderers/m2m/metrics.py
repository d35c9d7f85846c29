"""The measures of the published evaluation, on token ids (fact sheet, section 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def correlation(reference: ArrayLike, prediction: ArrayLike) -> float:
    """Pearson's, over the length that both have."""
    a, b = (np.asarray(values, np.float64) for values in (reference, prediction))
    common = min(len(a), len(b))
    return float(np.corrcoef(a[:common], b[:common])[0, 1])


def dtw_distance(reference: ArrayLike, prediction: ArrayLike) -> float:
    """Dynamic time warping of two sequences (absolute differences; Sakoe and Chiba's symmetric steps, in
    which a diagonal counts twice), divided by the length of the prediction."""
    a, b = (np.asarray(values, np.float64) for values in (reference, prediction))
    cost = np.abs(b[:, None] - a[None])
    previous = np.cumsum(cost[0])
    previous[0] = cost[0, 0]
    for row in cost[1:]:
        # Along a row, total[j] = min(entering[j], total[j - 1] + row[j]): a running minimum once the row's
        # cumulative cost is taken out.
        entering = np.concatenate([[previous[0] + row[0]], previous[1:] + row[1:]])
        entering[1:] = np.minimum(entering[1:], previous[:-1] + 2 * row[1:])
        along = np.cumsum(row)
        previous = np.minimum.accumulate(entering - along) + along
    return float(previous[-1] / len(b))


def kl_divergence(reference: ArrayLike, prediction: ArrayLike) -> float:
    """Sum of p ln(p / q) with both sequences scaled to sum 1 (over time, not a histogram); infinite where q
    alone is 0."""
    p, q = (np.asarray(values, np.float64) / np.sum(values) for values in (reference, prediction))
    with np.errstate(divide="ignore"):
        terms = np.where(p > 0, p * np.log(np.divide(p, q, out=np.full_like(p, np.inf), where=q > 0)), 0.0)
    return float(terms.sum())

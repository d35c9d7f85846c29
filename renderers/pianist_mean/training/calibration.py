"""Gains of the outputs: a mean of pianists, and a prediction of it, varies less than a pianist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from renderers.pianist_mean.model import Outputs, mean_outputs
from renderers.pianist_mean.texture import Floats
from renderers.pianist_mean.training.targets import PARTS, Targets, spread

SPREAD = 0.95
"""Spread of the performance relative to a pianist's."""
LARGEST_GAIN = 6.0


def gains(predicted: Sequence[Outputs], targets: Sequence[Targets]) -> dict[str, float]:
    """Part of the outputs -> gain with which the median piece has ``SPREAD`` of a pianist's spread.

    ``predicted``: of each piece, by a network that is not trained on it.
    """
    result = {}
    for name in PARTS:
        ratios = [
            found / target.spreads[name]
            for found, target in zip(_spreads(predicted, targets, name), targets, strict=True)
            if target.spreads[name] > 0 and found > 0
        ]
        result[name] = float(np.clip(SPREAD / np.median(ratios), 1.0, LARGEST_GAIN)) if ratios else 1.0
    return result


def shrinkage(outputs: Sequence[Sequence[Outputs]], targets: Sequence[Targets]) -> dict[str, float]:
    """Part of the outputs -> spread of the mean of several networks relative to the mean of their spreads.

    ``outputs``: of each piece, by each network.
    """
    result = {}
    for name in PARTS:
        of_mean = _spreads([mean_outputs(each) for each in outputs], targets, name)
        of_each = [
            np.mean(_spreads(each, [target] * len(each), name))
            for each, target in zip(outputs, targets, strict=True)
        ]
        pairs = zip(of_mean, of_each, strict=True)
        ratios = [mean / float(each) for mean, each in pairs if mean > 0 and each > 0]
        result[name] = float(np.median(ratios)) if ratios else 1.0
    return result


def _spreads(outputs: Sequence[Outputs], targets: Sequence[Targets], name: str) -> list[float]:
    """Of the values that pianists define: a beat after the last onset has no tempo."""

    def known(one: Outputs, target: Targets) -> Floats:
        return np.where(np.isfinite(PARTS[name](target)), PARTS[name](one), np.nan)

    return [spread(known(one, target)) for one, target in zip(outputs, targets, strict=True)]

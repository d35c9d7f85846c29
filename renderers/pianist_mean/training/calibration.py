"""Gains of the outputs: a mean of pianists, and a prediction of it, varies less than a pianist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from renderers.pianist_mean.model import SCALE, Outputs, mean_outputs, widened
from renderers.pianist_mean.texture import Floats
from renderers.pianist_mean.training.targets import Targets, spread

SPREAD = 0.95
"""Spread of the performance relative to a pianist's."""
GAINS = np.linspace(1.0, 4.0, 121)
"""What is tried."""


def gains(predicted: Sequence[Outputs], targets: Sequence[Targets]) -> dict[str, float]:
    """Output -> gain with which the median piece has ``SPREAD`` of a pianist's spread.

    ``predicted``: of each piece, by a network that is not trained on it.
    """
    return {
        name: _gain(
            [getattr(one, name) for one in predicted],
            [one.spreads[name] for one in targets],
            limits=(0.0, 1.0) if name == "pedal" else (-np.inf, np.inf),
        )
        for name in SCALE
    }


def shrinkage(outputs: Sequence[Sequence[Outputs]]) -> dict[str, float]:
    """Output -> spread of the mean of several networks relative to the mean of their spreads.

    ``outputs``: of each piece, by each network.
    """
    return {
        name: float(
            np.median(
                [
                    spread(getattr(mean_outputs(each), name))
                    / max(float(np.mean([spread(getattr(one, name)) for one in each])), 1e-9)
                    for each in outputs
                ]
            )
        )
        for name in SCALE
    }


def _gain(values: Sequence[Floats], wanted: Sequence[float], limits: tuple[float, float]) -> float:
    pairs = [(one, human) for one, human in zip(values, wanted, strict=True) if human > 0]
    if not pairs:
        return 1.0
    medians = [
        float(np.median([spread(widened(one, gain).clip(*limits)) / human for one, human in pairs]))
        for gain in GAINS
    ]
    return float(GAINS[int(np.argmin(np.abs(np.array(medians) - SPREAD)))])

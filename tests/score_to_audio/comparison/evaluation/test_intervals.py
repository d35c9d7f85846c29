from __future__ import annotations

import numpy as np
import pytest

from renderers.expression import correlation
from score_to_audio.comparison.evaluation.intervals import interval, mean_over_pieces, resampled_correlations


def pair(size: int, r: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x, noise = random.normal(size=(2, size))
    return x, r * x + np.sqrt(1 - r * r) * noise


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(200):
        low, high = interval(resampled_correlations(*pair(400, 0.6, seed), block=8, draws=300))
        inside += low <= 0.6 <= high
    assert 180 <= inside <= 198  # 95 % of 200 is 190


def test_it_surrounds_the_correlation_and_leaves_out_what_is_not_known() -> None:
    x, y = pair(300, 0.5, 1)
    x[::7] = np.nan
    y[3] = np.nan
    draws = resampled_correlations(x, y, block=10)
    assert draws.mean() == pytest.approx(correlation(x, y), abs=0.02)
    low, high = interval(draws)
    assert low < correlation(x, y) < high


def test_several_values_per_row_count_like_rows() -> None:
    x, y = pair(320, 0.5, 2)
    wide = resampled_correlations(x.reshape(40, 8), y.reshape(40, 8), block=5)
    np.testing.assert_allclose(wide, resampled_correlations(x, y, block=40))


def test_a_constant_says_nothing_and_a_short_piece_has_no_interval() -> None:
    x, _ = pair(100, 0.5, 3)
    assert (resampled_correlations(np.ones(100), x, block=10) == 0).all()
    assert np.isnan(interval(resampled_correlations(x[:30], x[:30], block=10))).all()


def test_pieces_vary_too() -> None:
    same = [np.full(500, value) for value in (0.2, 0.4, 0.6, 0.8)]
    draws = mean_over_pieces([*same, np.full(500, np.nan)])
    assert draws.mean() == pytest.approx(0.5, abs=0.02)
    low, high = interval(draws)
    assert low < 0.35
    assert high > 0.65

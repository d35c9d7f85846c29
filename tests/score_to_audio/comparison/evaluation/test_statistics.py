from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.expression import correlation
from score_to_audio.comparison.evaluation import statistics
from score_to_audio.comparison.evaluation.statistics import interval, mean_over_pieces, resampled_correlations


def test_student_intervals() -> None:
    found = statistics.mean([1.0, 2.0, 3.0, np.nan])
    # t(0.975, 2) = 4.3027, standard error 1 / sqrt(3)
    assert (found.value, found.count) == (2.0, 3)
    assert found.high - found.value == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
    single = statistics.mean([5.0])
    assert single.value == 5
    assert np.isnan(single.low)
    assert statistics.mean([]).count == 0


def test_few_rows_have_no_interval() -> None:
    for count in range(1, statistics.FEWEST_ROWS + 1):
        for correlations in (False, True):
            values = np.linspace(0.1, 0.6, count)
            found = statistics.mean_over_rows([*values, np.nan], correlations=correlations)
            assert (found.value, found.count) == (pytest.approx(values.mean()), count)
            assert np.isfinite([found.low, found.high]).all() == (count >= statistics.FEWEST_ROWS)
    assert statistics.mean_over_rows([np.nan]).count == 0


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=40), st.booleans())
def test_intervals_over_rows_hold_the_mean_and_stay_in_range(values: list[float], correlations: bool) -> None:
    found = statistics.mean_over_rows(values, correlations=correlations)
    tolerance = 2e-4  # Fisher's z is cut off near 1
    assert -1 <= found.low <= found.high <= 1
    assert found.low - tolerance <= found.value <= found.high + tolerance
    if not correlations:
        assert min(values) - 1e-12 <= found.low
        assert found.high <= max(values) + 1e-12
    assert found == statistics.mean_over_rows(values, correlations=correlations)


def test_intervals_over_rows_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    inside = {False: 0, True: 0}
    for _ in range(300):
        z = random.normal(0.5, 0.3, size=12)
        for correlations in inside:
            values = np.tanh(z) if correlations else z
            found = statistics.mean_over_rows(values.tolist(), correlations=correlations)
            truth = np.tanh(0.5) if correlations else 0.5
            inside[correlations] += found.low <= truth <= found.high
    assert 275 <= inside[True] <= 295  # 95 % of 300 is 285
    assert 260 <= inside[False] <= 290  # percentiles of twelve rows hold it a little less often


def test_paired_differences_decide() -> None:
    random = np.random.default_rng(1)
    piece = random.normal(size=20)
    assert statistics.can_be_equal(piece, piece + 0.01 * random.normal(size=20))
    assert not statistics.can_be_equal(piece, piece + 0.1 + 0.01 * random.normal(size=20))


def test_binomial_intervals() -> None:
    found = statistics.share(202, 260)  # the votes of MIDI-VALLE's listening test
    assert found.value == pytest.approx(0.7769, abs=1e-4)
    assert (found.low, found.high) == (pytest.approx(0.7214, abs=5e-4), pytest.approx(0.8260, abs=5e-4))
    assert statistics.share(0, 10).low == 0
    assert statistics.share(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert statistics.share(10, 10).high == 1
    assert np.isnan(statistics.share(0, 0).value)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share(votes: tuple[int, int]) -> None:
    found = statistics.share(*votes)
    assert 0 <= found.low <= found.value <= found.high <= 1


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

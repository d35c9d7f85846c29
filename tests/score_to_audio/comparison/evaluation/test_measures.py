"""Levels, Frechet distance and confidence intervals, on cases that can be worked out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_to_audio.comparison.evaluation import statistics
from score_to_audio.comparison.evaluation.frechet import frechet_distance, joined, moments
from score_to_audio.comparison.evaluation.levels import levels
from score_to_audio.types import Waveform

RATE = 48_000


def sine(level: float, *, frequency: float = 997.0, seconds: float = 3.0) -> Waveform:
    time = np.arange(int(seconds * RATE)) / RATE
    return Waveform((level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None], RATE)


# BS.1770-4: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS.
@pytest.mark.parametrize("decibels", [0, -20, -40])
def test_loudness_of_a_sine(decibels: int) -> None:
    found = levels(sine(10 ** (decibels / 20)))
    assert found.loudness == pytest.approx(decibels - 3.01, abs=0.02)


def test_the_true_peak_lies_between_the_samples() -> None:
    time = np.arange(RATE) / RATE
    between = np.sin(2 * np.pi * RATE / 4 * time + np.pi / 4)  # samples at 0.707 only
    found = levels(Waveform(between.astype(np.float32)[None], RATE))
    assert found.true_peak == pytest.approx(0.0, abs=0.1)
    assert found.clipped == 0


def test_silence_is_a_share() -> None:
    half = sine(0.5, seconds=1).samples.copy()
    half[:, RATE // 2 :] = 1e-5
    assert levels(Waveform(half, RATE)).silence == pytest.approx(0.5, abs=0.02)
    nothing = levels(Waveform(np.zeros((2, RATE), np.float32), RATE))
    assert (nothing.loudness, nothing.true_peak, nothing.silence) == (-np.inf, -np.inf, 1.0)


def test_clipping_is_runs_at_full_scale() -> None:
    samples = np.zeros((1, 100), np.float32)
    samples[0, 10:15], samples[0, 20], samples[0, 30:33] = 1.0, 1.0, -1.0
    assert levels(Waveform(samples, RATE)).clipped == 8


def test_frechet_distance_of_known_gaussians() -> None:
    draw = np.random.default_rng(0).standard_normal((50_000, 4))
    one = moments(draw)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, moments(draw + np.array([3, 0, 0, 4]))) == pytest.approx(25, rel=1e-6)
    # Standard deviations 1 and 2 in every dimension: (2 - 1)^2 each.
    scaled = moments((draw - draw.mean(axis=0)) * 2 + draw.mean(axis=0))
    assert frechet_distance(one, scaled) == pytest.approx(np.trace(one.covariance), rel=1e-6)
    assert np.isnan(frechet_distance(one, moments(draw[:1])))


def test_frechet_distance_as_by_the_matrix_square_root() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    a, b = (moments(rng.standard_normal((300, 5)) @ rng.standard_normal((5, 5))) for _ in range(2))
    root = np.real(np.trace(sqrtm(a.covariance @ b.covariance)))
    wanted = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(float(wanted), rel=1e-8)


def test_sets_can_be_joined() -> None:
    vectors = np.random.default_rng(2).standard_normal((100, 3))
    parts = joined([moments(vectors[:30]), moments(vectors[30:31]), moments(vectors[31:])])
    np.testing.assert_allclose(parts.mean, vectors.mean(axis=0))
    np.testing.assert_allclose(parts.covariance, np.cov(vectors.T))


def test_student_intervals() -> None:
    found = statistics.mean([1.0, 2.0, 3.0, np.nan])
    # t(0.975, 2) = 4.3027, standard error 1 / sqrt(3)
    assert (found.value, found.count) == (2.0, 3)
    assert found.high - found.value == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
    single = statistics.mean([5.0])
    assert single.value == 5
    assert np.isnan(single.low)
    assert statistics.mean([]).count == 0


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

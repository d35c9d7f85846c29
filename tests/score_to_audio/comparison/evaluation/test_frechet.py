from __future__ import annotations

import numpy as np
import pytest

from score_to_audio.comparison.evaluation.frechet import frechet_distance, joined, moments


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

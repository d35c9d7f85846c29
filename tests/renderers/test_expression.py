"""The measures of expression, on performances with known values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.expression import (
    MEASURES,
    Expression,
    agreement,
    ceiling,
    correlation,
    distribution_distance,
    grid,
    mean_expression,
    measure,
    relative_spread,
    share_within,
    spread,
)
from score_to_audio.types import Controls, ParsedScore, Performance
from tests.renderers.score_builder import N, parsed


def scale(count: int = 16) -> ParsedScore:
    return parsed([N("CDEFGAB"[i % 7] + "4", float(i)) for i in range(count)])


def performance(
    onset: np.ndarray,
    *,
    held: np.ndarray | float = 0.4,
    velocity: np.ndarray | int = 64,
    controls: Controls | None = None,
    ids: tuple[str, ...] | None = None,
) -> Performance:
    count = len(onset)
    return Performance(
        onset=onset,
        offset=onset + held,
        pitch=np.full(count, 60),
        velocity=np.broadcast_to(np.asarray(velocity, np.int64), count).copy(),
        controls=controls or Controls.none(),
        score_ids=ids or tuple(f"n{i}" for i in range(count)),
    )


def test_a_steady_performance_has_a_steady_beat_and_its_articulation():
    shape = measure(grid(scale()), performance(0.5 * np.arange(16), held=0.25))
    np.testing.assert_allclose(shape.beat_period[:15], np.log2(0.5))
    np.testing.assert_allclose(shape.local_beat_period[:15], 0.0, atol=1e-12)
    np.testing.assert_allclose(shape.articulation, -1.0)
    # No onset after the last beat shows its end.
    assert np.isnan(shape.beat_period[15])


def test_a_slower_beat_is_seen_where_it_is():
    lengths = np.full(16, 0.5)
    lengths[8] = 1.0
    shape = measure(grid(scale()), performance(np.cumsum(np.r_[0, lengths[:-1]])))
    assert np.nanargmax(shape.beat_period) == 8
    assert shape.beat_period[8] == pytest.approx(0.0)
    assert shape.local_beat_period[8] == pytest.approx(1.0 - 1 / 9)


def test_an_onset_out_of_order_does_not_move_the_beat():
    onset = 0.5 * np.arange(16)
    onset[5] = 6.2
    shuffled = np.argsort(onset)
    wrong = performance(onset[shuffled], ids=tuple(f"n{i}" for i in shuffled))
    shape = measure(grid(scale()), wrong)
    np.testing.assert_allclose(shape.beat_period[:15], np.log2(0.5))


def test_relative_velocity_is_relative_to_the_voice_only():
    upper = [N("C5", float(i), voice=1) for i in range(9)]
    lower = [N("C3", float(i), voice=5, staff=2) for i in range(9)]
    score = parsed([*upper, *lower])
    velocity = np.where(score.notes.voice == 1, 90, 40)
    accented = int(np.flatnonzero((score.notes.voice == 5) & (score.notes.onset == 4))[0])
    velocity[accented] += 8
    played = performance(0.5 * score.notes.onset, velocity=velocity)
    shape = measure(grid(score), replace(played, pitch=score.notes.pitch))
    np.testing.assert_allclose(shape.relative_velocity[score.notes.voice == 1], 0.0, atol=1e-9)
    assert shape.relative_velocity[accented] == pytest.approx(8.0)


def test_the_first_note_of_an_ornament_speaks_for_it():
    onset = np.r_[0.5 * np.arange(16), 2.1, 2.2]
    order = np.argsort(onset)
    ids = np.array([*(f"n{i}" for i in range(16)), "n4", "n4"])[order]
    velocity = np.r_[np.full(16, 60), 90, 90][order]
    shape = measure(grid(scale()), performance(onset[order], velocity=velocity, ids=tuple(ids)))
    assert shape.velocity[4] == 60
    assert shape.articulation[4] == pytest.approx(np.log2(0.6 / 0.5))


def test_pedal_within_the_beat_says_when_and_not_how_much():
    pressed = 0.5 * np.arange(16) + 0.25
    lifted = 0.5 * np.arange(16)
    time = np.sort(np.r_[pressed, lifted])
    controls = Controls(time, np.full(32, 64), np.tile([0, 127], 16))
    shape = measure(grid(scale()), performance(0.5 * np.arange(16), controls=controls))
    np.testing.assert_allclose(shape.pedal[3], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(shape.pedal_within_beat[3], np.repeat([-0.5, 0.5], 4))


def test_a_constant_agrees_with_nothing_and_too_few_values_are_not_judged():
    assert correlation(np.ones(9), np.arange(9.0)) == 0.0
    assert np.isnan(correlation(np.arange(4.0), np.arange(4.0)))


@given(
    st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=6, max_size=40, unique=True),
    st.floats(0.1, 10),
    st.floats(-10, 10),
)
def test_correlation_knows_no_scale_and_no_level(values, scale_by, shift):
    a = np.array(values)
    assert correlation(a, scale_by * a + shift) == pytest.approx(1.0, abs=1e-6)
    assert correlation(a, -scale_by * a + shift) == pytest.approx(-1.0, abs=1e-6)
    with_gap = np.r_[a, np.nan]
    assert correlation(with_gap, np.r_[scale_by * a, 5.0]) == pytest.approx(1.0, abs=1e-6)


def random_human(seed: int, shared: np.ndarray) -> Expression:
    generator = np.random.default_rng(seed)
    lengths = 0.5 * 2 ** (0.2 * shared + 0.05 * generator.standard_normal(16))
    velocity = (64 + 10 * shared + 3 * generator.standard_normal(16)).astype(np.int64)
    return measure(grid(scale()), performance(np.cumsum(lengths), velocity=velocity, held=0.3))


def test_the_ceiling_lies_between_chance_and_one_and_a_copy_reaches_it():
    shared = np.random.default_rng(1).standard_normal(16)
    humans = [random_human(seed, shared) for seed in range(5)]
    highest = ceiling(humans)
    assert 0.7 < highest["velocity"] < 1.0
    assert 0.7 < highest["beat_period"] < 1.0
    mean = mean_expression(humans)
    assert agreement(mean, mean)["velocity"] == pytest.approx(1.0)
    assert relative_spread(humans[0], [humans[0]])["velocity"] == pytest.approx(1.0)
    assert all(np.isnan(value) for value in ceiling(humans[:1]).values())
    assert float(np.nanmax(spread(humans).velocity)) < 8


def test_every_measure_is_reported():
    human = random_human(0, np.arange(16.0) / 8)
    assert set(agreement(human, human)) == set(MEASURES)


def test_a_performance_without_score_ids_is_refused():
    with pytest.raises(ValueError, match="score note"):
        measure(grid(scale()), replace(performance(0.5 * np.arange(16)), score_ids=None))


def test_distributions_are_compared_wherever_in_the_piece_the_values_are():
    shape = measure(grid(scale()), performance(0.5 * np.arange(16), velocity=np.arange(40, 72, 2)))
    backwards = replace(shape, velocity=shape.velocity[::-1].copy())
    louder = replace(shape, velocity=shape.velocity + shape.velocity.std())
    assert distribution_distance(backwards, [shape])["velocity"] == 0.0
    assert distribution_distance(louder, [shape, shape])["velocity"] == pytest.approx(1.0)
    assert np.isnan(distribution_distance(shape, [shape])["articulation"])  # does not vary


def test_values_between_those_of_humans_are_within_their_spread():
    shape = measure(grid(scale()), performance(0.5 * np.arange(16), velocity=60))
    soft, loud = replace(shape, velocity=shape.velocity - 5), replace(shape, velocity=shape.velocity + 5)
    half = replace(shape, velocity=shape.velocity + np.where(np.arange(16) < 8, 0, 9))
    assert share_within(half, [soft, loud])["velocity"] == 0.5
    assert share_within(shape, [soft, loud])["pedal"] == 1.0
    assert np.isnan(share_within(shape, [soft])["velocity"])

"""The renderer pianist-mean: features, network, decoding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from renderers.expression import PEDAL_PLACES, correlation, grid, measure
from renderers.pianist_mean.features import Features, features
from renderers.pianist_mean.inference import outputs
from renderers.pianist_mean.level import (
    FURTHEST,
    MARKED,
    WORDS,
    Level,
    Means,
    fit,
    kind_of,
    tempo_inputs,
    written_period,
)
from renderers.pianist_mean.model import Statistics, outputs_of
from renderers.pianist_mean.network import Network, Sizes
from renderers.pianist_mean.performance import SLOWEST_END, SMALLEST_MOVE, Shape, monotone, perform
from renderers.pianist_mean.texture import Texture
from renderers.pianist_mean.training.batches import Material, excerpt, joined, varied
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.types import SUSTAIN, ParsedScore
from tests.paths import PROJECT

SCORES = PROJECT / "examples" / "scores"


@pytest.fixture(scope="module")
def score() -> ParsedScore:
    return read_score(SCORES / "chopin_prelude_op28_no7.musicxml").parsed


@pytest.fixture(scope="module")
def described(score: ParsedScore) -> Features:
    return features(score)


def flat(score: ParsedScore) -> Shape:
    """Half a second per quarter note, everything even."""
    texture = Texture(score)
    beats = len(texture.beats) - 1
    return Shape(
        velocity=np.full(len(score.notes), 60.0),
        articulation=np.zeros(len(score.notes)),
        lead=np.zeros(len(score.notes)),
        period=np.full(beats, -1.0),
        pedal=np.zeros((beats, PEDAL_PLACES)),
    )


def test_numpy_plays_what_torch_trains(described: Features) -> None:
    torch.manual_seed(0)
    network = Network(Sizes(described.notes.shape[1], described.beats.shape[1], width=16)).eval()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    statistics = Statistics.of([described])
    notes, beats = statistics.standardised(described.notes, described.beats)
    whole = Material(
        replace(described, notes=notes, beats=beats),
        np.zeros((len(notes), 3)),
        np.zeros((len(beats), 1 + PEDAL_PLACES)),
        np.ones(3),
        np.ones(4),
    )
    with torch.inference_mode():
        by_note, by_beat = network(joined([whole]).batch)
    ours = outputs(
        weights,
        notes.astype(np.float32),
        beats.astype(np.float32),
        slice_of=described.slice_of,
        beat_of_slice=described.beat_of_slice,
        preceding=described.preceding,
        following=described.following,
    )
    np.testing.assert_allclose(ours[0], by_note.numpy(), atol=1e-4)
    np.testing.assert_allclose(ours[1], by_beat[0].numpy(), atol=1e-4)


def test_excerpts_side_by_side_do_not_touch(described: Features) -> None:
    """What a network says of an excerpt does not depend on the others of its batch."""
    torch.manual_seed(0)
    network = Network(Sizes(described.notes.shape[1], described.beats.shape[1], width=16)).eval()
    known = np.zeros((len(described.notes), 3)), np.zeros((len(described.beats), 1 + PEDAL_PLACES))
    whole = Material(described, *known, np.ones(3), np.ones(4))
    statistics = Statistics.of([described])
    parts = [
        varied(excerpt(whole, low, high), statistics, np.random.default_rng(0), augment=False)
        for low, high in ((0, 20), (20, 32))
    ]
    with torch.inference_mode():
        together, _ = network(joined(parts).batch)
        alone = torch.cat([network(joined([one]).batch)[0] for one in parts])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_features_are_finite_and_named(described: Features) -> None:
    assert np.isfinite(described.notes).all()
    assert np.isfinite(described.beats).all()
    assert described.notes.shape[1] == len(described.note_names)
    assert described.beats.shape[1] == len(described.beat_names)


def test_features_are_those_of_the_shipped_checkpoint(described: Features) -> None:
    """The networks learnt these columns: after a change of the rules or of a feature, train again
    (docs/guide/training.md), then write the new sums here."""
    sums = float(np.abs(described.notes).sum()), float(np.abs(described.beats).sum())
    assert sums == pytest.approx((8065.676890622804, 3270.4442588642464), rel=1e-6)


# ------------------------------------------------------------------------------------------- decoding


def test_an_even_shape_is_played_evenly(score: ParsedScore) -> None:
    played = perform(score, flat(score))
    heard = measure(grid(score), played)
    np.testing.assert_allclose(heard.beat_period[np.isfinite(heard.beat_period)], -1.0, atol=0.02)
    assert set(played.velocity.tolist()) == {60}


def test_each_quantity_is_played_as_asked(score: ParsedScore) -> None:
    generator = np.random.default_rng(1)
    shape = flat(score)
    asked = replace(
        shape,
        velocity=60 + 8 * generator.standard_normal(len(shape.velocity)),
        articulation=-0.4 * np.abs(generator.standard_normal(len(shape.velocity))),  # no key is held too long
        period=-1 + 0.1 * generator.standard_normal(len(shape.period)),
    )
    heard = measure(grid(score), perform(score, asked))
    pairs = (
        (heard.velocity, asked.velocity),
        (heard.articulation, asked.articulation),
        (heard.beat_period, asked.period),  # beats without an onset of their own have their neighbours' mean
    )
    for has, wanted in pairs:
        assert correlation(has, wanted) > 0.85


def test_a_chord_stays_together_in_order_of_the_score(score: ParsedScore) -> None:
    """Leads beyond reason neither reorder chords nor move the beat."""
    lead = np.where(np.arange(len(score.notes)) % 2, 5.0, -5.0)
    played = perform(score, replace(flat(score), lead=lead))
    even = perform(score, flat(score))
    onset = dict(zip(even.score_ids or (), even.onset, strict=True))
    moved = [abs(time - onset[name]) for name, time in zip(played.score_ids or (), played.onset, strict=True)]
    assert 0.02 < max(moved) <= 0.31 * 4


def test_an_ending_neither_stops_nor_breaks_off(score: ParsedScore) -> None:
    shape = flat(score)
    stopping = np.where(np.arange(len(shape.period)) > len(shape.period) - 5, 3.0, -1.0)
    played = perform(score, replace(shape, period=stopping, articulation=shape.articulation - 3))
    heard = measure(grid(score), played).beat_period
    assert np.nanmax(heard) <= -1 + np.log2(1 / SLOWEST_END) + 0.01
    last = played.onset > played.onset.max() - 0.1
    notes = score.notes
    written = 0.5 * notes.duration[notes.onset == notes.onset.max()].max()
    assert (played.offset - played.onset)[
        last
    ].max() >= written  # at half a second per quarter note or slower


def test_the_pedal_does_not_flutter(score: ParsedScore) -> None:
    shape = flat(score)
    trembling = np.where(np.arange(shape.pedal.size) % 2, 0.5, 0.5 + (SMALLEST_MOVE - 2) / 127)
    controls = perform(score, replace(shape, pedal=trembling.reshape(shape.pedal.shape))).controls
    assert (controls.number == SUSTAIN).all()
    assert len(controls) == 2  # down, and up at the end
    assert controls.value[-1] == 0


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=20))
def test_time_never_runs_backwards(slopes: list[float]) -> None:
    knots = np.arange(len(slopes) + 1.0)
    values = np.r_[0.0, np.cumsum(slopes)]
    x = np.linspace(0, len(slopes), 8 * len(slopes) + 1)
    between = monotone(x, knots, values)
    assert (np.diff(between) > 0).all()
    np.testing.assert_allclose(np.interp(knots, x, between), values, rtol=1e-9, atol=1e-9)


def levels(score: ParsedScore, described: Features, constant: float) -> Level:
    """A level that does not depend on the texture."""
    inputs = len(tempo_inputs(score, described))
    return Level(
        mean=[0.0] * inputs,
        std=[1.0] * inputs,
        period={kind: [constant, *[0.0] * inputs] for kind in (MARKED, WORDS)},
        pieces=[[0.0] * inputs],
        silent=[constant, 0.0],
        velocity=[60.0, *[0.0] * 5],
    )


def test_the_level_keeps_to_a_metronome_mark(score: ParsedScore, described: Features) -> None:
    marks = tuple(mark for mark in score.directions if mark.kind != "tempo")
    mark = replace(score.directions[0], kind="tempo", onset=0.0, end=0.0, text="", value=90.0)
    marked = replace(score, directions=(mark, *marks))
    assert kind_of(marked) == MARKED
    period = levels(score, described, 3.0).of(marked, described).period
    assert period == pytest.approx(written_period(marked) + FURTHEST)


def test_a_default_tempo_holds_where_nothing_is_written(score: ParsedScore, described: Features) -> None:
    silent = replace(score, directions=tuple(mark for mark in score.directions if mark.kind != "tempo"))
    level = levels(score, described, 3.0)
    assert level.of(silent, described).period == 3.0
    assert level.of(silent, described, default_tempo=120.0).period == -1.0


def test_without_marks_a_piece_is_as_fast_as_those_it_resembles(
    score: ParsedScore, described: Features
) -> None:
    silent = replace(score, directions=tuple(mark for mark in score.directions if mark.kind != "tempo"))
    inputs = tempo_inputs(silent, described)
    shift = np.zeros(len(inputs))
    shift[0] = 3.0  # as dense three standard deviations above
    level = fit([silent] * 2, [described] * 2, [Means(60.0, -1.0), Means(60.0, 1.0)], np.ones(2))
    alike = replace(level, mean=inputs.tolist(), std=[1.0] * len(inputs))
    alike = replace(alike, pieces=[[0.0] * len(inputs), shift.tolist()], silent=[0.0, -1.0, 1.0])
    far = replace(alike, pieces=[[50.0] * len(inputs)] * 2)
    assert alike.of(silent, described).period < -0.1
    assert far.of(silent, described).period == pytest.approx(0.0)


def test_outputs_have_the_units_of_the_performance(described: Features) -> None:
    torch.manual_seed(0)
    network = Network(Sizes(described.notes.shape[1], described.beats.shape[1], width=16))
    weights = {name: np.zeros_like(value.numpy()) for name, value in network.state_dict().items()}
    weights["of_note.4.bias"] = np.array([1, 1, 1], np.float32)
    out = outputs_of(weights, Statistics.of([described]), described)
    assert set(out.velocity.tolist()) == {12.0}
    assert out.pedal.mean() == 0.5

"""The score analysis for the rules: meter, boundaries, phrases, keys, chords, pedal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers import meter, tempo
from renderers.kth_rules import grouping, harmony, palettes, pedal, rendering
from renderers.kth_rules.analysis import ScoreAnalysis
from score_to_audio.types import Direction, KeySignature, Measure, TimeSignature
from tests.renderers.score_builder import N, parsed

PEDAL = rendering.group(palettes.NEUTRAL, "pedal")


def read(score, quarters_per_minute: float = 120.0) -> ScoreAnalysis:
    return ScoreAnalysis(score, tempo.time_map(score, default_tempo=quarters_per_minute))


# ---------------------------------------------------------------------------------------------- meter


@pytest.mark.parametrize(
    ("beats", "beat_type", "length"),
    [(4, 4, 1.0), (3, 4, 1.0), (2, 2, 2.0), (6, 8, 1.5), (3, 8, 0.5), (12, 16, 0.75), (5, 8, 0.5)],
)
def test_the_beat_of_a_metre(beats, beat_type, length):
    assert meter.beat_length(TimeSignature(0.0, beats, beat_type)) == length


def test_beats_of_a_pickup_are_counted_from_the_barline():
    from dataclasses import replace

    score = parsed([N("C4", 0.0, 1.5), N("D4", 1.5, 4.0)])
    score = replace(score, measures=(Measure(0.0, 1.5, "0", 0), Measure(1.5, 5.5, "1", 1)))
    np.testing.assert_allclose(meter.beats(score), [0.0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
    np.testing.assert_allclose(meter.levels(score, np.array([0.5, 1.5, 2.5, 3.5])), [1, 3, 1, 2])


# ------------------------------------------------------------------------------------------- grouping


def test_local_boundaries_lie_after_long_notes_and_rests():
    # Frère Jacques' first phrase: eight quarters, then mi fa sol with a half note, twice.
    lengths = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 2], float)
    pitch = np.array([60, 62, 64, 60, 60, 62, 64, 60, 64, 65, 67, 64, 65, 67], float)
    onset = np.r_[0.0, np.cumsum(lengths)[:-1]]
    strength = grouping.local_boundaries(onset, onset + lengths, pitch)
    assert np.argmax(strength[:-1]) == 10
    assert strength[-1] == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.integers(1, 16))
def test_segments_cover_the_piece_and_keep_to_their_length(strengths, ideal):
    ends = grouping.segments(np.array(strengths), ideal)
    assert ends[-1] == len(strengths)
    lengths = np.diff(np.r_[0, ends])
    assert (lengths > 0).all()
    assert (lengths <= max(2 * ideal, 2)).all()


def test_segments_end_where_the_boundary_is():
    strength = np.zeros(32)
    strength[[8, 16, 23, 31]] = 1.0
    np.testing.assert_array_equal(grouping.segments(strength, 8), [9, 17, 24, 32])


# -------------------------------------------------------------------------------------------- harmony


def test_a_scale_has_its_key():
    c_major, a_minor = np.zeros(12), np.zeros(12)
    c_major[[0, 2, 4, 5, 7, 9, 11]] = [3, 1, 2, 1, 2, 1, 1]
    a_minor[[9, 11, 0, 2, 4, 5, 8]] = [3, 1, 2, 1, 2, 1, 1]
    assert harmony.tonic(c_major) == (0, False)
    assert harmony.tonic(a_minor) == (9, True)
    assert harmony.tonic(np.roll(c_major, 7)) == (7, False)


def test_a_signature_allows_two_keys_and_a_named_mode_one():
    np.testing.assert_array_equal(harmony.keys_of(KeySignature(0.0, -3, "")), [3, 12])
    np.testing.assert_array_equal(harmony.keys_of(KeySignature(0.0, 2, "minor")), [12 + 11])
    assert harmony.keys_of(None) is None


def test_chords_and_their_charge():
    weights = np.zeros((3, 12))
    weights[0, [0, 4, 7]] = 1
    weights[1, [7, 11, 2]] = 1
    weights[2, [1, 4, 9]] = 1
    actual = harmony.chords(weights)
    np.testing.assert_array_equal(actual, [0, 7, 9])
    charge = harmony.harmonic_charge(actual, np.zeros(3, int))
    assert charge[0] == 0
    assert charge[2] > charge[1] > 0


def test_the_key_is_that_of_the_signature():
    notes = [N(s, float(i)) for i, s in enumerate(["A4", "C5", "E5", "A5", "G#4", "B4", "A4", "A4"])]
    analysis = read(parsed(notes))
    # The builder writes a major key of no accidentals; the tonic is C whatever is played.
    assert set(analysis.tonic_of_beat.tolist()) == {0}


# ---------------------------------------------------------------------------------------------- pedal


def broken_chords() -> list[N]:
    """I and V in alternation, a measure each: a held bass and quarters over it."""
    chords = (("C2", "G3", "E4", "C5", "E4"), ("G1", "D4", "B3", "D5", "B3"))
    notes = []
    for i in range(4):
        bass, *upper = chords[i % 2]
        notes.append(N(bass, 4.0 * i, 4.0, staff=2, voice=5))
        notes += [N(s, 4.0 * i + j, 1.0) for j, s in enumerate(upper)]
    return notes


def test_the_pedal_clears_with_the_harmony_and_goes_down_after_the_beat():
    analysis = read(parsed(broken_chords()))
    clear = pedal.clearing(analysis, PEDAL)
    assert clear[[0, 4, 8, 12]].min() > clear[[2, 6, 10, 14]].max()
    controls = pedal.pedal(analysis, analysis.times, PEDAL, 8.3)
    assert set(controls.number.tolist()) == {64}

    def at(seconds: float) -> int:
        return int(np.r_[0, controls.value][np.searchsorted(controls.time, seconds, side="right")])

    # The third measure begins at 4 s: down before, up with the new bass, down again.
    assert at(3.9) > 40
    assert at(4.02) < 5
    assert at(4.4) > 40
    assert controls.value[-1] == 0
    assert controls.time[-1] <= 8.3


def test_staccato_and_rests_keep_the_pedal_up():
    dry = [N("C4", float(i), 0.5, marks="staccato") for i in range(16)]
    assert pedal.depth(read(parsed(dry)), PEDAL).max() == 0.0


def test_the_pedal_follows_what_is_written():
    marks = [Direction("pedal", 5.0, 7.0, "sustain", part=0)]
    analysis = read(parsed(broken_chords(), marks))
    plain = read(parsed(broken_chords()))
    assert (pedal.depth(analysis, PEDAL) - pedal.depth(plain, PEDAL))[5:7].min() > 0
    assert pedal.clearing(analysis, PEDAL)[5] == 1.0


@given(st.lists(st.tuples(st.floats(0.02, 3.0), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_the_pedal_moves_in_order_and_within_its_range(beats):
    length, depth, clear = (np.array(column) for column in zip(*beats, strict=True))
    times = np.r_[0.0, np.cumsum(length)]
    controls = pedal.movement(times, depth, clear, float(times[-1]))
    assert (np.diff(controls.time) >= 0).all()
    assert ((controls.value >= 0) & (controls.value <= 127)).all()
    assert not len(controls) or controls.value[-1] == 0

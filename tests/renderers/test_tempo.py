"""Written tempo: marks, gradual changes, fermatas, and the map between score time and seconds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.tempo import (
    CAESURA_SECONDS,
    FASTEST,
    SLOWEST,
    TimeMap,
    change_factor,
    fermata_seconds,
    tempo_of,
    tempo_segments,
    time_map,
)
from score_to_audio.types import Direction, TimeSignature
from tests.renderers.score_builder import N, change, parsed, reset, tempo

FOUR_FOUR = TimeSignature(0.0, 4, 4)


def _seconds(score, *quarters):
    return time_map(score).to_seconds(np.array(quarters))


# ----------------------------------------------------------------------------------------------- marks


def test_metronome_mark_is_exact():
    score = parsed([N("C4", 0, 8)], [tempo(0, "Allegro", 90.0), tempo(4, "", 120.0)])
    assert _seconds(score, 0, 1, 4, 8) == pytest.approx([0, 2 / 3, 8 / 3, 8 / 3 + 2], abs=1e-12)


def test_a_score_without_tempo_has_the_default():
    score = parsed([N("C4", 0, 8)])
    assert _seconds(score, 5) == pytest.approx([3.0])
    assert time_map(score, default_tempo=50).to_seconds(5) == pytest.approx(6.0)


def test_speed_multiplies_every_tempo():
    score = parsed([N("C4", 0, 16)], [tempo(0, "", 90.0), change(4, 8, "rit."), tempo(12, "Presto")])
    places = np.linspace(0, 16, 50)
    twice = time_map(score, speed=2.0).to_seconds(places)
    assert twice * 2 == pytest.approx(time_map(score).to_seconds(places))


def test_tempo_words_stand_in_their_traditional_order():
    words = [
        "Grave",
        "Largo",
        "Lento",
        "Andante",
        "Moderato",
        "Allegretto",
        "Allegro",
        "Presto",
        "Prestissimo",
    ]
    tempi = [tempo_of(tempo(0, word), 100.0, FOUR_FOUR) for word in words]
    assert None not in tempi
    assert tempi == sorted(set(tempi))


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        ("Allegro moderato", "Allegro"),
        ("Allegro ma non troppo", "Allegro"),
        ("Allegro", "Allegro molto e con brio"),
        ("Adagio molto", "Adagio"),
        ("Adagio", "Poco Adagio"),
        ("Sehr langsam", "Langsam"),
        ("Allegretto", "Allegretto vivace"),
    ],
)
def test_modifiers_of_tempo_words(slower, faster):
    assert tempo_of(tempo(0, slower), 100.0, FOUR_FOUR) < tempo_of(tempo(0, faster), 100.0, FOUR_FOUR)


def test_words_count_halves_alla_breve():
    cut, common = TimeSignature(0, 2, 2), TimeSignature(0, 4, 4)
    assert tempo_of(tempo(0, "Allegro"), 100.0, cut) > 1.3 * tempo_of(tempo(0, "Allegro"), 100.0, common)
    assert tempo_of(tempo(0, "Allegro", 76.0), 100.0, cut) == 76.0


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("Più lento", 0.8),
        ("Più mosso", 1.25),
        ("Un poco più mosso", 1.25**0.5),
        ("Meno mosso", 0.8),
        ("Doppio movimento", 2.0),
        ("L'istesso tempo", 1.0),
        ("Etwas langsamer", 0.8**0.5),
    ],
)
def test_comparatives_relate_to_the_tempo_before(text, factor):
    assert tempo_of(tempo(4, text), 60.0, FOUR_FOUR) == pytest.approx(60 * factor)


def test_text_that_names_no_tempo_changes_nothing():
    assert tempo_of(tempo(0, "Scherzo"), 60.0, FOUR_FOUR) is None
    score = parsed([N("C4", 0, 8)], [tempo(0, "", 60.0), tempo(4, "Trio")])
    assert _seconds(score, 8) == pytest.approx([8.0])


def test_a_tempo_and_tempo_primo():
    marks = [tempo(0, "", 60.0), tempo(4, "", 120.0), change(8, 10, "rit."), reset(10), reset(12, "Tempo I")]
    segments = tempo_segments(marks, (), 100.0)
    assert [s.start for s in segments if s.onset in (10, 12)][-2:] == [120.0, 60.0]


def test_the_same_mark_in_two_staves_counts_once():
    once = parsed([N("C4", 0, 8)], [tempo(0, "Più mosso"), change(2, 6, "rit.")])
    twice = parsed([N("C4", 0, 8)], [tempo(0, "Più mosso"), change(2, 6, "rit.")] * 2)
    assert _seconds(once, 8) == pytest.approx(_seconds(twice, 8))


def test_the_metronome_mark_wins_over_words_at_the_same_place():
    score = parsed([N("C4", 0, 4)], [tempo(0, "Presto"), tempo(0, "", 60.0)])
    assert _seconds(score, 4) == pytest.approx([4.0])


# --------------------------------------------------------------------------------------- gradual changes


def test_ritardando_follows_the_curve_of_friberg_and_sundberg():
    score = parsed([N("C4", 0, 8)], [tempo(0, "", 60.0), change(4, 8, "ritardando")])
    w, q = 0.65, 3.0
    x = (np.arange(200_000) + 0.5) / 200_000
    expected = 4 + 4 * np.mean((1 + (w**q - 1) * x) ** (-1 / q))
    assert _seconds(score, 8) == pytest.approx([expected], abs=1e-9)


def test_ritardando_slows_down_steadily_and_accelerando_is_its_mirror():
    slow = time_map(parsed([N("C4", 0, 8)], [tempo(0, "", 80.0), change(0, 8, "rit."), tempo(8, "", 60.0)]))
    fast = time_map(parsed([N("C4", 0, 8)], [tempo(0, "", 60.0), change(0, 8, "accel."), tempo(8, "", 80.0)]))
    places = np.linspace(0, 8, 33)
    assert (np.diff(slow.beat_period(places[:-1])) > 0).all()
    mirrored = slow.to_seconds(8) - slow.to_seconds(8 - places)
    assert fast.to_seconds(places) == pytest.approx(mirrored, abs=1e-3)


def test_a_change_leads_to_the_new_tempo_in_its_direction_only():
    to_slower = tempo_segments([tempo(0, "", 100.0), change(4, 8, "rit."), tempo(8, "", 40.0)], (), 100.0)
    assert [s.stop for s in to_slower if s.onset == 4] == [40.0]
    to_faster = tempo_segments([tempo(0, "", 100.0), change(4, 8, "rit."), tempo(8, "", 140.0)], (), 100.0)
    assert [s.stop for s in to_faster if s.onset == 4] == [pytest.approx(100 * change_factor("rit."))]


def test_a_change_leads_to_its_own_value():
    marks = [tempo(0, "", 80.0), Direction("tempo-change", 4, 8, "rit.", 42.0), reset(8)]
    assert [(s.start, s.stop) for s in tempo_segments(marks, (), 100.0) if s.onset == 4] == [(80.0, 42.0)]


def test_the_playback_tempo_of_a_tenuto_does_not_last():
    segments = tempo_segments([tempo(0, "", 80.0), tempo(4, "ten.", 24.0)], (), 100.0)
    assert [(s.onset, s.start) for s in segments if s.onset >= 4] == [(4, 24.0), (5, 80.0)]


def test_ritenuto_holds_back_at_once():
    score = parsed([N("C4", 0, 8)], [tempo(0, "", 60.0), change(4, 8, "riten."), reset(8)])
    periods = time_map(score).beat_period(np.array([4.0, 6.0, 7.9]))
    assert periods == pytest.approx([1 / change_factor("riten.")] * 3)


def test_the_reached_tempo_waits_for_a_tempo_but_not_for_ever():
    waiting = time_map(parsed([N("C4", 0, 32)], [tempo(0, "", 60.0), change(4, 8, "rit."), reset(12)]))
    assert waiting.beat_period(10.0) == pytest.approx(1 / change_factor("rit."))
    assert waiting.beat_period(13.0) == pytest.approx(1.0)
    forgotten = time_map(parsed([N("C4", 0, 32)], [tempo(0, "", 60.0), change(4, 8, "rit.")]))
    assert forgotten.beat_period(9.0) == pytest.approx(1.0)


def test_many_ritardandi_without_a_tempo_do_not_add_up():
    marks = [tempo(0, "", 60.0), *(change(8 * i, 8 * i + 8, "rit.") for i in range(1, 20))]
    segments = tempo_segments(marks, (), 100.0)
    assert min(s.stop for s in segments) >= 60 / 2.5 - 1e-9


def test_poco_and_molto():
    assert change_factor("rit.") < change_factor("poco rit.") < 1
    assert change_factor("molto rit.") < change_factor("rit.")
    assert change_factor("accel.") > change_factor("poco accel.") > 1
    assert change_factor("poco a poco accel.") == change_factor("accel.")


@pytest.mark.parametrize(
    "text", ["ritard.", "rallent.", "poco a poco meno mosso", "Cédez", "ritenuto espressivo"]
)
def test_words_that_slow_down(text):
    assert change_factor(text) < 1


@pytest.mark.parametrize(
    "text", ["accelerando", "stringendo", "poco a poco più mosso", "con spirito, stretto"]
)
def test_words_that_hurry(text):
    assert change_factor(text) > 1


# ---------------------------------------------------------------------------------- fermatas, caesuras


def test_fermata_doubles_slow_notes_and_quadruples_quick_ones():
    assert fermata_seconds(1.3) == 1.3
    assert fermata_seconds(0.3) == pytest.approx(0.9)
    assert fermata_seconds(60) == 1.3


def test_fermata_lengthens_its_note_in_all_voices():
    notes = [N("C5", 0, 2), N("E5", 2, 2, "fermata"), N("C3", 0, 4, voice=2), N("G5", 4, 1)]
    seconds = _seconds(parsed(notes, [tempo(0, "", 60.0)]), 0, 2, 4, 5)
    assert seconds == pytest.approx([0, 2, 5.3, 6.3])


def test_fermata_is_spent_after_the_last_onset_below_it():
    notes = [N("C5", 0, 4, "fermata"), *(N("C3", i, 1, voice=2) for i in range(4))]
    seconds = _seconds(parsed(notes, [tempo(0, "", 60.0)]), 0, 1, 2, 3, 4)
    assert seconds == pytest.approx([0, 1, 2, 3, 5.3])


def test_simultaneous_fermatas_are_one():
    notes = [N("C5", 0, 4, "fermata"), N("E4", 0, 2, voice=2), N("F4", 2, 2, "fermata", voice=2)]
    assert _seconds(parsed(notes, [tempo(0, "", 60.0)]), 2, 4) == pytest.approx([2, 5.3])


def test_fermata_over_a_barline_or_a_rest():
    notes = [N("C5", 0, 4), N("C5", 5, 3)]
    barline = [tempo(0, "", 60.0), Direction("fermata", 4, 4, "")]
    assert _seconds(parsed(notes, barline), 3, 4, 5) == pytest.approx([3, 5.3, 6.3])
    rest = [tempo(0, "", 60.0), Direction("fermata", 4, 5, "")]
    assert _seconds(parsed(notes, rest), 4, 5) == pytest.approx([4, 6.3])


def test_caesura_is_a_second_of_silence():
    notes = [N("C5", 0, 4, "caesura"), N("C5", 4, 4)]
    seconds = _seconds(parsed(notes, [tempo(0, "", 60.0)]), 4, 8)
    assert seconds == pytest.approx([4 + CAESURA_SECONDS, 8 + CAESURA_SECONDS])


# -------------------------------------------------------------------------------------------- properties

_places = st.floats(0, 200)
_texts = st.sampled_from(
    ["Allegro", "Più lento", "poco rit.", "accel.", "riten.", "a tempo", "Tempo I", "xyz", ""]
)


@st.composite
def _directions(draw):
    kind = draw(st.sampled_from(["tempo", "tempo-change", "tempo-reset", "fermata"]))
    onset = draw(_places)
    end = onset + draw(st.floats(0, 20))
    value = draw(st.one_of(st.none(), st.floats(-10, 1e6))) if kind == "tempo" else None
    return Direction(kind, onset, end, draw(_texts), value)


@st.composite
def _scores(draw):
    places = draw(
        st.lists(
            st.tuples(_places, st.floats(0, 20), st.sampled_from(["", "fermata", "caesura"])), max_size=8
        )
    )
    notes = [N("C4", onset, duration, marks) for onset, duration, marks in places]
    return parsed(notes, draw(st.lists(_directions(), max_size=12)))


@settings(deadline=None, max_examples=50)
@given(_scores())
def test_time_maps_increase_strictly(score):
    times = time_map(score)
    places = np.linspace(-5, 230, 400)
    seconds = times.to_seconds(places)
    assert (np.diff(seconds) > 0).all()


@settings(deadline=None, max_examples=50)
@given(_scores())
def test_tempo_stays_within_its_bounds_outside_of_holds(score):
    segments = tempo_segments(score.directions, score.time_signatures, 100.0)
    tempi = [value for segment in segments for value in (segment.start, segment.stop)]
    assert min(tempi) >= SLOWEST
    assert max(tempi) <= FASTEST


@given(
    st.lists(st.floats(0.01, 10), min_size=2, max_size=20),
    st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
)
def test_scaled_maps_multiply_the_time_between_positions(lengths, factors):
    times = TimeMap(np.r_[0.0, np.cumsum(lengths)], np.r_[0.0, np.cumsum(lengths[::-1])])
    positions = np.array([0.5, 1.0, 2.5, 7.0])
    bent = times.scaled(positions, np.array(factors))
    assert np.diff(bent.to_seconds(positions)) == pytest.approx(
        np.diff(times.to_seconds(positions)) * factors
    )
    before, after = np.array([-1.0, 0.25]), np.array([8.0, 20.0])
    assert bent.to_seconds(before) == pytest.approx(times.to_seconds(before))
    assert np.diff(bent.to_seconds(after)) == pytest.approx(np.diff(times.to_seconds(after)))


def test_a_time_map_needs_increasing_knots():
    with pytest.raises(ValueError, match="increase strictly"):
        TimeMap(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="two knots"):
        TimeMap(np.zeros(1), np.zeros(1))

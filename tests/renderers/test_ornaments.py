"""Realisation of ornaments."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.keyboard import TimedNotes
from renderers.ornaments import (
    ARPEGGIO_STEP,
    GRACE_SECONDS,
    SHORTEST_STEP,
    Scale,
    begins_on_upper_note,
    delayed_turn,
    key_alteration,
    quick_figure,
    realise,
    spelled,
    tremolo,
    trill,
)
from tests.renderers.score_builder import N, midi_pitch, parsed


def _played(score, *, upper_start=False, period=1.0):
    """Realised notes as rows (onset, offset, pitch, source), a quarter note taking ``period`` seconds."""
    notes = score.notes
    plain = TimedNotes(
        source=np.arange(len(notes)),
        onset=notes.onset * period,
        offset=(notes.onset + notes.duration) * period,
        pitch=notes.pitch,
        velocity=np.full(len(notes), 64.0),
    )
    result = realise(score, plain, upper_start=upper_start)
    rows = zip(result.onset, result.offset, result.pitch, result.source, strict=True)
    return sorted(rows, key=lambda row: (row[0], row[2]))


def _pitches(score, **options):
    return [row[2] for row in _played(score, **options)]


def _names(*spellings):
    return [midi_pitch(spelling) for spelling in spellings]


# ------------------------------------------------------------------------------- neighbours in the key


def test_spelling():
    assert spelled("C4") == ("C", 0, 4)
    assert spelled("F##5") == ("F", 2, 5)
    assert spelled("Ebb-1") == ("E", -2, -1)


def test_key_signatures():
    assert [key_alteration(2, step) for step in "CDEFGAB"] == [1, 0, 0, 1, 0, 0, 0]
    assert [key_alteration(-3, step) for step in "CDEFGAB"] == [0, 0, -1, 0, 0, -1, -1]
    assert [key_alteration(7, step) for step in "CDEFGAB"] == [1] * 7
    assert [key_alteration(-7, step) for step in "CDEFGAB"] == [-1] * 7
    assert [key_alteration(0, step) for step in "CDEFGAB"] == [0] * 7


@pytest.mark.parametrize(
    ("fifths", "spelling", "upper", "lower"),
    [
        (0, "C4", 2, -1),
        (0, "E4", 1, -2),
        (0, "B4", 1, -2),
        (2, "E4", 2, -2),
        (-2, "A4", 1, -2),
        (0, "F#4", 1, -2),
        (0, "B#4", 1, -2),
        (0, "Ab4", 2, -1),
    ],
)
def test_neighbours_follow_the_key(fifths, spelling, upper, lower):
    score = parsed([N(spelling, 0)], fifths=fifths)
    scale = Scale(score.notes, score.key_signatures)
    assert (scale.interval(0, 1), scale.interval(0, -1)) == (upper, lower)


def test_neighbours_follow_accidentals_of_the_measure_only():
    notes = [N("Bb4", 0), N("A4", 1), N("A4", 4), N("Bb3", 5), N("A4", 6)]
    score = parsed(notes)
    scale = Scale(score.notes, score.key_signatures)
    assert [scale.interval(i, 1) for i in (1, 2, 4)] == [1, 2, 2]


def test_accidentals_of_an_ornament_decide():
    notes = [
        N("D4", 0, 1, "turn accidental-mark-flat accidental-mark-below-sharp"),
        N("Bb4", 1, 1, "trill-mark"),
    ]
    score = parsed(notes)
    scale = Scale(score.notes, score.key_signatures)
    assert [scale.interval(0, direction) for direction in (1, -1)] == [1, -1]
    wide = parsed([N("Bb4", 0, 1, "trill-mark accidental-mark-sharp")])
    assert Scale(wide.notes, wide.key_signatures).interval(0, 1) == 3


# ---------------------------------------------------------------------------------------------- trills


def test_a_romantic_trill_begins_and_ends_on_the_main_note():
    figure = trill(1.0, 2, on_upper=False)
    assert figure.intervals[0] == 0
    assert figure.intervals[-1] == 0
    assert len(figure.intervals) % 2 == 1
    assert set(figure.intervals.tolist()) == {0, 2}


def test_a_baroque_trill_begins_on_the_upper_note():
    figure = trill(1.0, 1, on_upper=True)
    assert figure.intervals.tolist() == [1, 0] * 6


def test_a_trill_with_termination():
    figure = trill(1.0, 2, on_upper=True, lower=-1)
    assert figure.intervals.tolist() == [2, 0] * 5 + [-1, 0]


def test_a_very_short_trill_is_left_out():
    assert trill(0.05, 2, on_upper=False) is None
    assert len(trill(0.12, 2, on_upper=False).intervals) == 3


def test_an_endless_trill_is_bounded():
    assert len(trill(1e6, 2, on_upper=False).intervals) <= 1000


def test_a_trill_in_the_score():
    score = parsed([N("E4", 0, 1, "trill-mark"), N("C4", 1)], fifths=2)
    rows = [row for row in _played(score) if row[3] == 0]
    assert {row[2] for row in rows} == {64, 66}
    assert rows[0][0] == 0
    assert rows[-1][1] == 1.0
    assert all(a[1] == b[0] for a, b in pairwise(rows))


def test_a_trill_that_resolves_upwards_is_terminated():
    score = parsed([N("D4", 0, 2, "trill-mark"), N("E4", 2)])
    assert _pitches(score)[-3:] == _names("C4", "D4", "E4")
    down = parsed([N("D4", 0, 2, "trill-mark"), N("C4", 2)])
    assert _pitches(down)[-3:] == _names("E4", "D4", "C4")


def test_a_written_termination_comes_before_the_beat_and_is_not_doubled():
    notes = [N("D4", 0, 2, "trill-mark"), N("E4", 2)]
    notes += [N("C4", 2, grace="appoggiatura"), N("D4", 2, grace="appoggiatura")]
    rows = _played(parsed(notes))
    assert [row[2] for row in rows][-4:] == _names("D4", "C4", "D4", "E4")
    assert rows[-1][0] == 2.0
    assert rows[-3][0] == pytest.approx(2 - 2 * GRACE_SECONDS)


@pytest.mark.parametrize(
    ("composer", "upper"),
    [
        ("Johann Sebastian Bach", True),
        ("W. A. Mozart", True),
        ("Frédéric Chopin", False),
        ("Offenbach", False),
    ],
)
def test_trills_follow_the_composers_time(composer, upper):
    assert begins_on_upper_note(composer) == upper


# ------------------------------------------------------------------------------------ mordents and turns


@pytest.mark.parametrize(
    ("mark", "spellings"),
    [
        ("mordent", ["D4", "C4", "D4"]),
        ("inverted-mordent", ["D4", "E4", "D4"]),
        ("turn", ["D4", "E4", "D4", "C4", "D4"]),
        ("inverted-turn", ["C4", "D4", "E4", "D4"]),
        ("delayed-turn", ["D4", "E4", "D4", "C4", "D4"]),
        ("delayed-inverted-turn", ["D4", "C4", "D4", "E4", "D4"]),
    ],
)
def test_short_ornaments(mark, spellings):
    score = parsed([N("D4", 0, 1, mark)])
    rows = _played(score)
    assert [row[2] for row in rows] == _names(*spellings)
    assert rows[0][0] == 0
    assert rows[-1][1] == 1


def test_baroque_short_trills_and_turns_begin_above():
    assert _pitches(parsed([N("D4", 0, 1, "inverted-mordent")]), upper_start=True) == _names(
        "E4", "D4", "E4", "D4"
    )
    assert _pitches(parsed([N("D4", 0, 1, "turn")]), upper_start=True) == _names("E4", "D4", "C4", "D4")


def test_quick_notes_take_half_of_a_short_note_at_most():
    figure = quick_figure(0.2, [0, -1, 0])
    assert figure.starts == pytest.approx([0, 0.05, 0.1])
    assert quick_figure(0.1, [0, -1, 0]) is None


def test_a_turn_between_two_notes_ends_with_the_first():
    assert delayed_turn(2.0, 2, -1).starts == pytest.approx([0, *(2 - np.arange(4, 0, -1) / 12)])
    assert delayed_turn(0.2, 2, -1) is None


# --------------------------------------------------------------------------------------------- tremolo


@pytest.mark.parametrize(("strokes", "count"), [(1, 2), (2, 4), (3, 8)])
def test_tremolo_strokes_divide_the_written_value(strokes, count):
    score = parsed([N("C4", 0, 1, f"tremolo-{strokes}")])
    rows = _played(score)
    assert [row[0] for row in rows] == pytest.approx(np.arange(count) / count)


def test_a_tremolo_is_no_faster_than_the_action():
    assert len(tremolo(1.0, 4, 4).starts) == 14
    assert tremolo(0.1, 1, 3) is None


def test_a_tremolo_between_two_chords():
    notes = [N("C4", 0, 0.5, "tremolo-start-3"), N("E4", 0, 0.5, "tremolo-start-3")]
    notes += [N("G4", 0.5, 0.5, "tremolo-stop-3")]
    rows = _played(parsed(notes))
    assert [row[2] for row in rows] == _names("C4", "E4", "G4") * 4
    assert sorted({row[0] for row in rows}) == pytest.approx(np.arange(8) / 8)
    assert max(row[1] for row in rows) == pytest.approx(1.0)


def test_half_of_a_tremolo_is_played_plainly():
    assert len(_played(parsed([N("C4", 0, 0.5, "tremolo-start-3"), N("G4", 0.5)]))) == 2


# ------------------------------------------------------------------------------------------ grace notes


def test_an_acciaccatura_comes_before_the_beat_and_shortens_the_note_before():
    score = parsed([N("C4", 0), N("E4", 1, grace="acciaccatura"), N("D4", 1)])
    assert _played(score) == [
        (0.0, pytest.approx(0.93), 60, 0),
        (pytest.approx(0.93), pytest.approx(1.0), 64, 1),
        (1.0, 2.0, 62, 2),
    ]


def test_grace_notes_take_half_of_the_time_before_at_most():
    graces = [N(s, 1, grace="acciaccatura") for s in ("D4", "E4", "F4", "G4")]
    rows = _played(parsed([N("C4", 0), *graces, N("A4", 1)]), period=0.2)
    assert [row[2] for row in rows] == _names("C4", "D4", "E4", "F4", "G4", "A4")
    assert rows[1][0] == pytest.approx(0.1)
    assert rows[-1][0] == pytest.approx(0.2)


def test_grace_notes_at_the_very_beginning_precede_the_beat():
    rows = _played(parsed([N("D4", 0, grace="acciaccatura"), N("C4", 0)]))
    assert [row[0] for row in rows] == pytest.approx([-GRACE_SECONDS, 0])


@pytest.mark.parametrize(("duration", "length"), [(0.2, 0.1), (1.0, 0.12), (4.0, 0.12)])
def test_an_appoggiatura_stands_on_the_beat(duration, length):
    score = parsed([N("D4", 0, grace="appoggiatura"), N("C4", 0, duration)])
    change = pytest.approx(length)
    assert _played(score) == [(0.0, change, 62, 0), (change, duration, 60, 1)]


def test_an_appoggiatura_delays_the_nearest_note_of_a_chord_only():
    notes = [N("D5", 0, grace="appoggiatura"), N("C5", 0), N("E4", 0), N("G4", 0)]
    onsets = {row[2]: row[0] for row in _played(parsed(notes))}
    assert onsets == {74: 0.0, 72: pytest.approx(0.12), 64: 0.0, 67: 0.0}


def test_several_small_notes_come_before_the_beat():
    notes = [N("C4", 0), N("D4", 1, grace="appoggiatura"), N("E4", 1, grace="appoggiatura"), N("F4", 1)]
    assert [row[0] for row in _played(parsed(notes))] == pytest.approx([0, 0.86, 0.93, 1.0])


def test_the_notes_of_a_grace_chord_sound_together():
    graces = [N("D4", 1, marks=marks, grace="acciaccatura") for marks in ("", "chord")]
    graces[1] = N("F4", 1, marks="chord", grace="acciaccatura")
    rows = _played(parsed([N("C4", 0), *graces, N("E4", 1)]))
    assert [row[0] for row in rows] == pytest.approx([0, 1 - GRACE_SECONDS, 1 - GRACE_SECONDS, 1])


def test_a_double_appoggiatura_delays_two_notes():
    graces = [N("D5", 0, grace="appoggiatura"), N("F4", 0, marks="chord", grace="appoggiatura")]
    onsets = {row[2]: row[0] for row in _played(parsed([*graces, N("C5", 0), N("E4", 0), N("G3", 0)]))}
    assert [onsets[pitch] for pitch in _names("D5", "F4", "G3")] == [0, 0, 0]
    assert [onsets[pitch] for pitch in _names("C5", "E4")] == pytest.approx([0.12, 0.12])


def test_a_grace_note_without_a_main_note_comes_before_the_barline():
    rows = _played(parsed([N("C4", 0, 4), N("D4", 4, grace="appoggiatura")]))
    assert rows[1][:2] == (pytest.approx(4 - GRACE_SECONDS), pytest.approx(4))


# -------------------------------------------------------------------------------------------- arpeggios


def test_an_arpeggio_spreads_upward_to_the_beat():
    chord = [N(s, 4, 2, "arpeggiate") for s in ("C4", "E4", "G4")]
    rows = _played(parsed([N("C4", 0), *chord]))[1:]
    assert [row[2] for row in rows] == _names("C4", "E4", "G4")
    assert [row[0] for row in rows] == pytest.approx([4 - 2 * ARPEGGIO_STEP, 4 - ARPEGGIO_STEP, 4])
    assert {row[1] for row in rows} == {6.0}


def test_an_arpeggio_downward():
    chord = [N(s, 0, 2, "arpeggiate-down") for s in ("C4", "E4", "G4")]
    assert _pitches(parsed(chord)) == _names("G4", "E4", "C4")


def test_an_arpeggio_takes_half_of_the_time_before_at_most():
    chord = [N(s, 0.1, 1, "arpeggiate") for s in ("C4", "E4", "G4", "C5")]
    assert min(row[0] for row in _played(parsed([N("C3", 0, 0.1), *chord]))[1:]) > 0.05


def test_one_mark_spreads_the_whole_chord_of_the_voice():
    notes = [N("C4", 0, 2, "arpeggiate"), N("E4", 0, 2), N("G4", 0, 2), N("B4", 0, 2, voice=2)]
    onsets = [row[0] for row in sorted(_played(parsed(notes)), key=lambda row: row[2])]
    assert onsets == pytest.approx([-2 * ARPEGGIO_STEP, -ARPEGGIO_STEP, 0, 0])


def test_a_grace_note_precedes_the_arpeggio():
    notes = [
        N("C3", 0),
        N("D5", 1, grace="acciaccatura"),
        N("C4", 1, 1, "arpeggiate"),
        N("C5", 1, 1, "arpeggiate"),
    ]
    assert _pitches(parsed(notes)) == _names("C3", "D5", "C4", "C5")


def test_non_arpeggiate_is_struck_together():
    chord = [N(s, 0, 2, "non-arpeggiate") for s in ("C4", "E4", "G4")]
    assert {row[0] for row in _played(parsed(chord))} == {0.0}


# ------------------------------------------------------------------------------------------- properties

_signs = ["trill-mark", "wavy-line", "mordent", "inverted-mordent", "turn", "inverted-turn", "delayed-turn"]
_signs += [
    "tremolo-1",
    "tremolo-3",
    "tremolo-start-2",
    "tremolo-stop-2",
    "chord",
    "accidental-mark-sharp",
    "arpeggiate",
    "arpeggiate-down",
    "",
]
_notes = st.builds(
    N,
    st.sampled_from(["C4", "D#4", "Eb4", "B##4", "Fb5", "A0", "C8"]),
    st.integers(0, 30).map(lambda sixteenth: sixteenth / 4),
    st.sampled_from([0.0, 0.25, 1.0, 1.5, 20.0]),
    st.sampled_from(_signs),
    grace=st.sampled_from(["", "", "", "acciaccatura", "appoggiatura"]),
    voice=st.integers(0, 2),
    staff=st.integers(1, 2),
)


@given(st.lists(_notes, max_size=20), st.sampled_from([0.02, 0.5]), st.booleans())
def test_every_note_is_played_once_or_as_its_ornament(notes, period, upper_start):
    score = parsed(notes, fifths=-4)
    rows = _played(score, upper_start=upper_start, period=period)
    assert {row[3] for row in rows} == set(range(len(score.notes)))
    for onset, offset, pitch, source in rows:
        assert np.isfinite([onset, offset]).all()
        assert offset >= onset - 1e-9
        assert abs(pitch - score.notes.pitch[source]) <= 2


@given(st.floats(0.001, 30), st.sampled_from([1, 2]), st.booleans(), st.sampled_from([None, -1]))
def test_trills_fit_and_end_on_the_main_note(length, upper, on_upper, lower):
    figure = trill(length, upper, on_upper=on_upper, lower=lower)
    if figure is None:
        assert length < 5.1 * SHORTEST_STEP
        return
    assert figure.intervals[-1] == 0
    assert figure.intervals[0] == (upper if on_upper else 0)
    assert (np.diff(figure.starts) >= SHORTEST_STEP - 1e-9).all()
    assert figure.starts[0] == 0
    assert figure.starts[-1] < length

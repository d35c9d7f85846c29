"""Every musical feature of MusicXML, in a few notes, with exactly what the parsed score has to say."""

from __future__ import annotations

import numpy as np
import pytest

from score_to_audio.types import Direction, ParsedScore, Slur
from tests.score_to_audio.formats.scores.score_builder import (
    attributes,
    backup,
    direction,
    document,
    forward,
    measure,
    note,
    parse,
    part,
    rows,
    score_of,
    words,
)


def of_kind(parsed: ParsedScore, kind: str) -> list[Direction]:
    return [found for found in parsed.directions if found.kind == kind]


def test_plain_notes_have_ids_places_pitches_and_measures() -> None:
    parsed = score_of(
        note("C4", 1, id="a") + note("F#4", 1, id="b") + note("Bb3", 2, id="c"),
        note("Cb4", 2, id="d") + note("B#3", 2, id="e"),
    )
    assert parsed.notes.id == ("a-1", "b-1", "c-1", "d-1", "e-1")
    assert rows(parsed) == [("C4", 0, 1), ("F#4", 1, 1), ("Bb3", 2, 2), ("Cb4", 4, 2), ("B#3", 6, 2)]
    assert parsed.notes.pitch.tolist() == [60, 66, 58, 59, 60]
    assert parsed.notes.measure.tolist() == [0, 0, 0, 1, 1]
    assert [(m.onset, m.end, m.number, m.written) for m in parsed.measures] == [
        (0, 4, "1", 0),
        (4, 8, "2", 1),
    ]
    assert parsed.end == 8
    assert parsed.notices == ()


def test_notes_are_sorted_by_onset_then_pitch_and_chords_share_an_onset() -> None:
    parsed = score_of(
        note("G4", 4, id="top") + note("C4", 4, id="low", chord=True) + backup(4) + note("E3", 4, voice=2)
    )
    assert [row[0] for row in rows(parsed)] == ["E3", "C4", "G4"]
    assert parsed.notes.voice.tolist() == [2, 1, 1]


def test_notes_without_ids_get_stable_unique_ones() -> None:
    text = document(part([note("C4", 2) + note("D4", 1) + note("E4", 1, id="own")]))
    assert parse(text).notes.id == ("p1n1-1", "p1n2-1", "own-1")
    assert parse(text).notes.id == parse(text).notes.id


def test_equal_ids_are_told_apart() -> None:
    parsed = score_of(note("C4", 1, id="x") + note("D4", 1, id="x") + note("E4", 1, id="x_2") + note("F4", 1))
    assert len(set(parsed.notes.id)) == 4
    assert parsed.notes.id[0] == "x-1"


def test_ids_that_look_like_passes_stay_unique() -> None:
    parsed = score_of(note("C4", 2, id="x") + note("D4", 2, id="x-1"), repeats=False)
    assert parsed.notes.id == ("x", "x-1")
    assert len(set(score_of(note("C4", 2, id="x") + note("D4", 2, id="x-1")).notes.id)) == 2


def test_an_uppercase_id_is_read() -> None:
    assert score_of(note("C4", 4, attributes='ID="n7"')).notes.id == ("n7-1",)


# ------------------------------------------------------------------------------------------------ ties


def test_ties_merge_across_barlines() -> None:
    parsed = score_of(
        note("C4", 4, id="a", ties="start"), note("C4", 4, ties="stop start"), note("C4", 1, ties="stop")
    )
    assert rows(parsed) == [("C4", 0, 9)]
    assert parsed.notes.id == ("a-1",)


def test_ties_merge_across_voices_and_staves() -> None:
    parsed = score_of(
        note("C4", 2, id="a", ties="start", voice=1, staff=1)
        + note("rest", 2)
        + backup(4)
        + note("rest", 2, voice=5, staff=2)
        + note("C4", 2, ties="stop", voice=5, staff=2)
    )
    assert rows(parsed) == [("C4", 0, 4)]


def test_a_tie_prefers_its_own_voice_among_unisons() -> None:
    parsed = score_of(
        note("C4", 2, id="a", ties="start", voice=1)
        + note("C4", 1, id="b", ties="stop", voice=1)
        + backup(3)
        + note("C4", 2, id="c", ties="start", voice=2)
        + note("C4", 2, id="d", ties="stop", voice=2)
    )
    assert sorted(zip(parsed.notes.voice.tolist(), parsed.notes.duration.tolist(), strict=True)) == [
        (1, 3),
        (2, 4),
    ]


def test_only_tied_noteheads_of_a_chord_merge() -> None:
    parsed = score_of(
        note("C4", 2, ties="start")
        + note("E4", 2, chord=True)
        + note("C4", 2, ties="stop")
        + note("E4", 2, chord=True)
    )
    assert rows(parsed) == [("C4", 0, 4), ("E4", 0, 2), ("E4", 2, 2)]


def test_a_tie_without_its_other_end_is_a_note_of_its_own() -> None:
    parsed = score_of(
        note("C4", 2, ties="start") + note("D4", 1) + note("E4", 1, ties="stop"),
        note("F4", 2) + note("C4", 2, ties="stop", voice=2),
    )
    assert rows(parsed) == [("C4", 0, 2), ("D4", 2, 1), ("E4", 3, 1), ("F4", 4, 2), ("C4", 6, 2)]


def test_tied_elements_serve_where_a_file_has_no_tie_elements() -> None:
    parsed = score_of(
        note("C4", 2, notations='<tied type="start"/>') + note("C4", 2, notations='<tied type="stop"/>')
    )
    assert rows(parsed) == [("C4", 0, 4)]


def test_ties_hold_over_rounding_errors() -> None:
    """A measure that is a tick too long is cut to its time signature; the tie over its end stays."""
    text = document(part([note("C4", 1) + note("D4", 3, ties="start"), note("D4", 4, ties="stop")]))
    rounded = text.replace("<divisions>12<", "<divisions>480<").replace("<duration>12<", "<duration>483<")
    rounded = rounded.replace("<duration>36<", "<duration>1440<").replace("<duration>48<", "<duration>1920<")
    parsed = parse(rounded)
    assert [m.end for m in parsed.measures] == [4, 8]
    assert len(parsed.notes) == 2


def test_chords_that_are_rolled_in_writing_are_held() -> None:
    """Each note is tied to the chord at the end, over the notes between (Liszt, Ravel)."""
    parsed = score_of(
        note("C4", 0.25, ties="start")
        + note("E4", 0.25, ties="start")
        + note("G4", 0.5, ties="start")
        + note("C4", 3, ties="stop")
        + note("E4", 3, ties="stop", chord=True)
        + note("G4", 3, ties="stop", chord=True)
    )
    assert rows(parsed) == [("C4", 0, 4), ("E4", 0.25, 3.75), ("G4", 0.5, 3.5)]


def test_a_new_note_on_the_key_ends_a_tie_over_a_gap() -> None:
    parsed = score_of(
        note("C4", 1, ties="start") + note("D4", 1) + note("C4", 1) + note("C4", 1, ties="stop")
    )
    assert len(parsed.notes) == 4


def test_two_voices_may_go_on_from_one_tied_note() -> None:
    first = note("A3", 4, ties="start", voice=1)
    second = note("A3", 1, ties="stop", voice=1) + note("D4", 3, voice=1)
    parsed = score_of(first, second + backup(4) + note("A3", 2, ties="stop", voice=2))
    assert rows(parsed) == [("A3", 0, 6), ("D4", 5, 3)]


def test_marks_of_all_tied_noteheads_are_kept() -> None:
    parsed = score_of(
        note("C4", 2, ties="start", notations="<articulations><accent/></articulations>")
        + note("C4", 2, ties="stop", notations="<fermata/>")
    )
    assert parsed.notes.marks == (frozenset({"accent", "fermata"}),)


def test_an_enharmonic_tie_does_not_merge_different_pitches() -> None:
    parsed = score_of(note("C4", 2, ties="start") + note("C#4", 2, ties="stop"))
    assert len(parsed.notes) == 2


# --------------------------------------------------------------------------------------- grace notes


def test_grace_notes_have_kind_order_and_the_onset_of_their_main_note() -> None:
    parsed = score_of(
        note("C4", 1)
        + note("F4", grace='slash="yes"', id="g1")
        + note("D4", grace='slash="yes"', id="g2")
        + note("E4", 3, id="m")
    )
    assert parsed.notes.id[1:] == ("g1-1", "g2-1", "m-1")
    assert parsed.notes.grace == ("", "acciaccatura", "acciaccatura", "")
    assert parsed.notes.onset.tolist() == [0, 1, 1, 1]
    assert parsed.notes.duration.tolist() == [1, 0, 0, 3]


@pytest.mark.parametrize(
    ("attributes_of_grace", "kind"),
    [
        ("", "appoggiatura"),
        ('slash="no"', "appoggiatura"),
        ('slash="yes"', "acciaccatura"),
        ('steal-time-previous="20"', "acciaccatura"),
        ('steal-time-following="50"', "appoggiatura"),
    ],
)
def test_grace_kinds(attributes_of_grace: str, kind: str) -> None:
    assert score_of(note("D4", grace=attributes_of_grace) + note("C4", 4)).notes.grace[0] == kind


def test_grace_notes_after_a_note_come_at_its_end() -> None:
    parsed = score_of(
        note("C4", 4, id="m", notations="<ornaments><trill-mark/></ornaments>")
        + note("B3", grace="", id="g1")
        + note("C4", grace="", id="g2"),
        note("D4", 4, id="n"),
    )
    assert parsed.notes.id == ("m-1", "g1-1", "g2-1", "n-1")
    assert parsed.notes.onset.tolist() == [0, 4, 4, 4]
    assert parsed.notes.measure.tolist() == [0, 0, 0, 1]


def test_grace_notes_that_sound_together_are_marked_as_a_chord() -> None:
    parsed = score_of(note("C4", grace="") + note("E4", grace="", chord=True) + note("G4", 4))
    assert parsed.notes.marks[:2] == (frozenset(), frozenset({"chord"}))


def test_a_grace_note_tied_to_its_main_note_becomes_that_note() -> None:
    parsed = score_of(note("C4", grace="", ties="start", id="g") + note("C4", 4, ties="stop", id="m"))
    assert rows(parsed) == [("C4", 0, 4)]
    assert parsed.notes.grace == ("",)
    assert parsed.notes.id == ("g-1",), "that of its first notehead, as in match files"
    assert parsed.notes.marks == (frozenset({"arpeggiate"}),)


# ----------------------------------------------------------------------- tuplets, staves, transposition


def test_tuplets_have_their_real_durations() -> None:
    parsed = score_of("".join(note("C4", 1 / 3) for _ in range(3)) + note("D4", 3))
    assert parsed.notes.onset.tolist() == [0, 4 / 12, 8 / 12, 1]
    np.testing.assert_array_equal(parsed.notes.duration[:3], [4 / 12] * 3)


def test_divisions_may_change_and_differ_between_parts() -> None:
    """partitura 1.9: "note array from parts with multiple divisions is not supported"."""
    first = (
        '<part id="P1"><measure number="1"><attributes><divisions>2</divisions></attributes>'
        "<note><pitch><step>C</step><octave>4</octave></pitch><duration>8</duration></note></measure>"
        '<measure number="2"><attributes><divisions>3</divisions></attributes>'
        "<note><pitch><step>D</step><octave>4</octave></pitch><duration>1</duration></note>"
        "<note><pitch><step>E</step><octave>4</octave></pitch><duration>11</duration></note></measure></part>"
    )
    second = (
        '<part id="P2"><measure number="1"><attributes><divisions>5</divisions></attributes>'
        "<note><pitch><step>C</step><octave>3</octave></pitch><duration>1</duration></note>"
        "<note><pitch><step>D</step><octave>3</octave></pitch><duration>19</duration></note></measure></part>"
    )
    parsed = parse(document(first, second, names=("Piano 1", "Piano 2")))
    assert rows(parsed) == [
        ("C3", 0, 0.2),
        ("C4", 0, 4),
        ("D3", 0.2, 3.8),
        ("D4", 4, 1 / 3),
        ("E4", 4 + 1 / 3, 11 / 3),
    ]


def test_decimal_durations_are_read() -> None:
    text = document(part([note("C4", 1) + note("D4", 3)])).replace(
        "<duration>12</duration>", "<duration>12.0</duration>"
    )
    assert rows(parse(text)) == [("C4", 0, 1), ("D4", 1, 3)]


def test_cross_staff_notes_keep_their_voice_and_have_their_own_staff() -> None:
    parsed = score_of(note("C3", 2, voice=1, staff=2) + note("C5", 2, voice=1, staff=1))
    assert parsed.notes.staff.tolist() == [2, 1]
    assert parsed.notes.voice.tolist() == [1, 1]


def test_staff_and_voice_default() -> None:
    parsed = score_of(note("C4", 4, voice=""))
    assert parsed.notes.staff.tolist() == [1]
    assert parsed.notes.voice.tolist() == [0]


def test_an_ottava_is_already_in_the_pitch() -> None:
    parsed = score_of(
        direction('<octave-shift type="down" size="8"/>')
        + note("C6", 2)
        + direction('<octave-shift type="stop"/>')
        + note("C5", 2)
    )
    assert parsed.notes.pitch.tolist() == [84, 72]


def test_transposing_instruments_sound_as_they_sound() -> None:
    transposed = "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    parsed = score_of(f"<attributes>{transposed}</attributes>" + note("C4", 2) + note("F4", 2))
    assert parsed.notes.spelling == ("Bb3", "Eb4")
    assert parsed.notes.pitch.tolist() == [58, 63]


@pytest.mark.parametrize(
    ("transpose", "spellings"),
    [
        ("<chromatic>-2</chromatic>", ("Bb3", "E4")),
        ("<diatonic>0</diatonic><chromatic>-9</chromatic>", ("Eb3", "A3")),
        ("<chromatic>3</chromatic>", ("Eb4", "A4")),
        ("<chromatic>-2</chromatic><octave-change>-1</octave-change>", ("Bb2", "E3")),
        ("<diatonic>0</diatonic><chromatic>0</chromatic><octave-change>-1</octave-change>", ("C3", "F#3")),
        ("<diatonic>0</diatonic><chromatic>12</chromatic>", ("C5", "F#5")),
    ],
)
def test_the_spelling_of_a_transposition_without_its_steps(
    transpose: str, spellings: tuple[str, ...]
) -> None:
    attributes = f"<attributes><transpose>{transpose}</transpose></attributes>"
    parsed = score_of(attributes + note("C4", 2) + note("F#4", 2), parts="all")
    assert parsed.notes.spelling == spellings


# ------------------------------------------------------------------------------------------- measures


def test_a_pickup_measure_starts_at_zero() -> None:
    parsed = score_of(measure(note("G4", 1), 0, 'implicit="yes"'), note("C4", 4))
    assert [(m.onset, m.end, m.number) for m in parsed.measures] == [(0, 1, "0"), (1, 5, "2")]
    assert parsed.notes.onset.tolist() == [0, 1]


def test_a_measure_is_as_long_as_its_longest_part() -> None:
    parts = (part([note("C4", 2), note("D4", 4)], "P1"), part([note("C3", 4), note("D3", 4)], "P2"))
    parsed = parse(document(*parts, names=("Piano 1", "Piano 2")))
    assert [m.end for m in parsed.measures] == [4, 8]


def test_an_empty_measure_lasts_as_its_time_signature_says() -> None:
    parsed = score_of(note("C4", 3), "", note("D4", 3), beats=3)
    assert [m.end for m in parsed.measures] == [3, 6, 9]


def test_hidden_rests_and_forwards_do_not_lengthen_a_measure_beyond_its_signature() -> None:
    parsed = score_of(
        note("C4", 4) + note("rest", 2, attributes='print-object="no"') + forward(700), note("D4", 4)
    )
    assert parsed.notes.onset.tolist() == [0, 4]


def test_written_notes_may_lengthen_a_measure() -> None:
    assert score_of(note("C4", 6), note("D4", 4)).notes.onset.tolist() == [0, 6]


def test_a_backup_too_far_is_balanced_by_a_forward() -> None:
    parsed = score_of(note("C4", 4) + backup(100) + forward(98) + note("D4", 2, voice=2))
    assert rows(parsed) == [("C4", 0, 4), ("D4", 2, 2)]


def test_time_signatures() -> None:
    parsed = score_of(
        note("C4", 4),
        "<attributes><time><beats>3+2</beats><beat-type>8</beat-type></time></attributes>" + note("C4", 2.5),
        "<attributes><time><beats>3+2</beats><beat-type>8</beat-type></time></attributes>" + note("C4", 2.5),
        "<attributes><time><senza-misura/></time></attributes>" + note("C4", 7),
    )
    assert [(t.onset, t.beats, t.beat_type) for t in parsed.time_signatures] == [(0, 4, 4), (4, 5, 8)]


def test_key_signatures_with_mode() -> None:
    change = "<attributes><key><fifths>-3</fifths><mode>minor</mode></key></attributes>"
    parsed = score_of(note("C4", 4), note("D4", 2) + change + note("Eb4", 2))
    assert [(k.onset, k.fifths, k.mode) for k in parsed.key_signatures] == [(0, 0, ""), (6, -3, "minor")]


def test_title_and_composer() -> None:
    header = (
        "<work><work-title>Ein  Stück</work-title></work>"
        '<identification><creator type="lyricist">X</creator>'
        '<creator type="composer">C. Y.</creator></identification>'
    )
    parsed = parse(document(part([note("C4", 4)]), header=header))
    assert (parsed.title, parsed.composer) == ("Ein Stück", "C. Y.")


def test_title_from_the_movement_or_a_credit() -> None:
    movement = parse(document(part([note("C4", 4)]), header="<movement-title>M</movement-title>"))
    credit = "<credit><credit-type>title</credit-type><credit-words>W</credit-words></credit>"
    assert movement.title == "M"
    assert parse(document(part([note("C4", 4)]), header=credit)).title == "W"


@pytest.mark.parametrize(
    ("work", "movement", "title"),
    [
        ("6 Lieder", "Abend", "6 Lieder: Abend"),
        ("Abend", "Abend", "Abend"),
        ("Abend, op. 1", "Abend", "Abend, op. 1"),
    ],
)
def test_title_of_a_work_and_its_movement(work: str, movement: str, title: str) -> None:
    header = f"<work><work-title>{work}</work-title></work><movement-title>{movement}</movement-title>"
    assert parse(document(part([note("C4", 4)]), header=header)).title == title


# ---------------------------------------------------------------------------------------------- marks


FLAT_ABOVE = "accidental-mark-flat"


@pytest.mark.parametrize(
    ("notations", "marks"),
    [
        ("<articulations><staccato/></articulations>", {"staccato"}),
        ("<articulations><tenuto/><accent/></articulations>", {"tenuto", "accent"}),
        ("<articulations><strong-accent type='down'/></articulations>", {"strong-accent"}),
        ("<articulations><staccatissimo/></articulations>", {"staccatissimo"}),
        ("<articulations><detached-legato/></articulations>", {"detached-legato"}),
        ("<articulations><spiccato/></articulations>", {"spiccato"}),
        ("<articulations><breath-mark>comma</breath-mark></articulations>", {"breath-mark"}),
        ("<articulations><caesura/></articulations>", {"caesura"}),
        ("<fermata type='upright'/>", {"fermata"}),
        (
            "<ornaments><trill-mark/><accidental-mark>flat</accidental-mark></ornaments>",
            {"trill-mark", "accidental-mark-flat"},
        ),
        ("<ornaments><trill-mark/><wavy-line type='start'/></ornaments>", {"trill-mark", "wavy-line"}),
        ("<ornaments><wavy-line type='stop'/></ornaments>", set()),
        ("<ornaments><mordent/></ornaments>", {"mordent"}),
        ("<ornaments><inverted-mordent long='yes'/></ornaments>", {"inverted-mordent"}),
        ("<ornaments><turn/></ornaments>", {"turn"}),
        ("<ornaments><inverted-turn/></ornaments>", {"inverted-turn"}),
        ("<ornaments><delayed-turn/></ornaments>", {"delayed-turn"}),
        ("<ornaments><tremolo>1</tremolo></ornaments>", {"tremolo-1"}),
        ("<ornaments><tremolo type='single'>4</tremolo></ornaments>", {"tremolo-4"}),
        ("<ornaments><tremolo type='start'>3</tremolo></ornaments>", {"tremolo-start-3"}),
        ("<arpeggiate/>", {"arpeggiate"}),
        ("<arpeggiate direction='down'/>", {"arpeggiate-down"}),
        ("<non-arpeggiate type='top'/>", {"non-arpeggiate"}),
        ("<glissando type='start'/>", {"glissando"}),
        ("<technical><fingering>3</fingering></technical>", set()),
    ],
)
def test_marks(notations: str, marks: set[str]) -> None:
    assert score_of(note("C4", 4, notations=notations)).notes.marks == (frozenset(marks),)


def test_marks_of_several_notations_elements_are_joined() -> None:
    text = document(part([note("C4", 4, notations="<fermata/>")]))
    text = text.replace("</note>", "<notations><articulations><accent/></articulations></notations></note>")
    assert parse(text).notes.marks == (frozenset({"fermata", "accent"}),)


# ---------------------------------------------------------------------------------------------- slurs

START, STOP = '<slur type="start" number="1"/>', '<slur type="stop" number="1"/>'


def test_slurs_are_indices_into_the_notes() -> None:
    parsed = score_of(note("C4", 1, notations=START) + note("D4", 1) + note("E4", 2, notations=STOP))
    assert parsed.slurs == (Slur(0, 2),)


def test_a_note_may_end_one_slur_and_start_the_next() -> None:
    parsed = score_of(
        note("C4", 1, notations=START) + note("D4", 1, notations=START + STOP) + note("E4", 2, notations=STOP)
    )
    assert parsed.slurs == (Slur(0, 1), Slur(1, 2))


def test_a_slur_that_stops_before_it_starts_in_the_document() -> None:
    parsed = score_of(
        note("rest", 2)
        + note("C5", 2, notations=STOP, voice=1)
        + backup(4)
        + note("C3", 2, notations=START, voice=2)
        + note("rest", 2, voice=2)
    )
    assert parsed.slurs == (Slur(0, 1),)


def test_nested_slurs_of_two_numbers() -> None:
    outer_start, outer_stop = '<slur type="start" number="2"/>', '<slur type="stop" number="2"/>'
    parsed = score_of(
        note("C4", 1, notations=outer_start)
        + note("D4", 1, notations=START)
        + note("E4", 1, notations=STOP)
        + note("F4", 1, notations=outer_stop)
    )
    assert parsed.slurs == (Slur(0, 3), Slur(1, 2))


def test_a_slur_from_a_grace_note_to_its_main_note() -> None:
    parsed = score_of(note("D4", grace="", notations=START) + note("C4", 4, notations=STOP))
    assert parsed.slurs == (Slur(0, 1),)


def test_a_slur_on_tied_notes_refers_to_the_merged_notes() -> None:
    parsed = score_of(
        note("C4", 2, ties="start", notations=START)
        + note("C4", 1, ties="stop")
        + note("D4", 1, notations=STOP)
    )
    assert parsed.slurs == (Slur(0, 1),)


def test_a_slur_without_an_end_is_said_to_be_left_out() -> None:
    parsed = score_of(note("C4", 4, notations=START))
    assert parsed.slurs == ()
    assert parsed.notices == ("left out 1 slur ends without a counterpart",)


# --------------------------------------------------------------------------------------------- tempo


def metronome(unit: str, per_minute: str, dots: int = 0) -> str:
    return (
        f"<metronome><beat-unit>{unit}</beat-unit>{'<beat-unit-dot/>' * dots}"
        f"<per-minute>{per_minute}</per-minute></metronome>"
    )


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (metronome("quarter", "120"), 120),
        (metronome("quarter", "60", 1), 90),
        (metronome("half", "60"), 120),
        (metronome("eighth", "100"), 50),
        (metronome("eighth", "100", 2), 87.5),
        (metronome("quarter", "ca. 72"), 72),
        (metronome("quarter", "112-120"), 116),
        (metronome("quarter", "66.5"), 66.5),
    ],
)
def test_metronome_marks_are_in_quarter_notes_per_minute(content: str, value: float) -> None:
    parsed = score_of(direction(content) + note("C4", 4))
    assert of_kind(parsed, "tempo") == [Direction("tempo", 0, 0, "", value)]


def test_words_and_metronome_are_one_tempo_mark() -> None:
    both = words("Allegro").replace(
        "</direction-type>", f"</direction-type><direction-type>{metronome('half', '66')}</direction-type>"
    )
    expected = [Direction("tempo", 0, 0, "Allegro", 132)]
    assert of_kind(score_of(both + note("C4", 4)), "tempo") == expected
    apart = words("Allegro") + direction(metronome("quarter", "132"))
    assert of_kind(score_of(apart + note("C4", 4)), "tempo") == expected
    reverse = direction(metronome("quarter", "132")) + words("Allegro")
    assert of_kind(score_of(reverse + note("C4", 4)), "tempo") == expected


def test_sound_tempo() -> None:
    assert of_kind(score_of('<sound tempo="92.5"/>' + note("C4", 4)), "tempo") == [
        Direction("tempo", 0, 0, "", 92.5)
    ]
    with_words = words("Andante", 'tempo="70"') + note("C4", 4)
    assert of_kind(score_of(with_words), "tempo") == [Direction("tempo", 0, 0, "Andante", 70)]


@pytest.mark.parametrize(("played", "tempo"), [("100", 100), ("20", 20), ("1500", 90), ("0", 90), ("x", 90)])
def test_the_playback_tempo_counts_unless_it_is_absurd(played: str, tempo: float) -> None:
    mark = metronome("quarter", "60", 1)
    beside = direction(mark, sound=f'tempo="{played}"')
    apart = direction(mark) + f'<sound tempo="{played}"/>'
    for text in (beside, apart):
        assert of_kind(score_of(text + note("C4", 4)), "tempo")[0].value == tempo


def test_tempo_words_without_a_number_have_no_value() -> None:
    assert of_kind(score_of(words("Allegro ma non troppo") + note("C4", 4)), "tempo") == [
        Direction("tempo", 0, 0, "Allegro ma non troppo", None)
    ]


def test_unknown_words_with_a_tempo_are_a_tempo_mark() -> None:
    parsed = score_of(words("Valse noble", 'tempo="150"') + note("C4", 4))
    assert parsed.directions == (Direction("tempo", 0, 0, "Valse noble", 150),)


def test_a_metric_modulation_follows_from_the_tempo_before() -> None:
    change = (
        "<metronome><beat-unit>quarter</beat-unit><beat-unit>quarter</beat-unit><beat-unit-dot/></metronome>"
    )
    parsed = score_of(
        direction(metronome("quarter", "80")) + note("C4", 4), direction(change) + note("C4", 4)
    )
    assert [(d.onset, d.value) for d in of_kind(parsed, "tempo")] == [(0, 80), (4, 120)]


def test_an_absurd_tempo_is_not_believed() -> None:
    assert score_of('<sound tempo="0"/><sound tempo="99999"/>' + note("C4", 4)).directions == ()


def test_ritardando_lasts_until_a_tempo() -> None:
    parsed = score_of(
        note("C4", 2) + words("poco rit.") + note("D4", 2), note("E4", 4), words("a tempo") + note("C4", 4)
    )
    assert parsed.directions == (
        Direction("tempo-change", 2, 8, "poco rit."),
        Direction("tempo-reset", 8, 8, "a tempo"),
    )


def test_a_change_without_an_end_stops_after_four_measures() -> None:
    parsed = score_of(words("accel.") + note("C4", 4), *[note("C4", 4)] * 7)
    assert parsed.directions == (Direction("tempo-change", 0, 16, "accel."),)


def test_dashes_end_words() -> None:
    parsed = score_of(
        words("rit.")
        + direction('<dashes type="start" number="1"/>')
        + note("C4", 3)
        + direction('<dashes type="stop" number="1"/>')
        + note("C4", 1),
        note("C4", 4),
    )
    assert of_kind(parsed, "tempo-change") == [Direction("tempo-change", 0, 3, "rit.")]


def test_tempo_marks_of_two_parts_are_told_once() -> None:
    parts = [part([words("Lento", 'tempo="50"') + note("C4", 4)], id) for id in ("P1", "P2")]
    assert parse(document(*parts, names=("Piano 1", "Piano 2"))).directions == (
        Direction("tempo", 0, 0, "Lento", 50),
    )


# ------------------------------------------------------------------------------------------- dynamics


def dynamics(name: str, staff: int | None = None) -> str:
    return direction(f"<dynamics><{name}/></dynamics>", staff=staff)


def test_dynamics_have_part_staff_and_onset() -> None:
    parsed = score_of(dynamics("pp", 1) + note("C4", 2) + dynamics("mf") + note("C4", 2))
    assert parsed.directions == (
        Direction("dynamic", 0, 0, "pp", part=0, staff=1),
        Direction("dynamic", 2, 2, "mf", part=0),
    )


@pytest.mark.parametrize("name", ["sfz", "sf", "fp", "rf", "rfz", "sffz", "fz", "sfp"])
def test_impulses(name: str) -> None:
    assert score_of(dynamics(name) + note("C4", 4)).directions == (Direction("impulse", 0, 0, name, part=0),)


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [("ffp", "impulse", "ffp"), ("f", "dynamic", "f"), ("sempre pp", "dynamic", "pp"), ("?", "words", "?")],
)
def test_other_dynamics(text: str, kind: str, found: str) -> None:
    other = direction(f"<dynamics><other-dynamics>{text}</other-dynamics></dynamics>")
    assert [(d.kind, d.text) for d in score_of(other + note("C4", 4)).directions] == [(kind, found)]


def test_dynamics_at_a_note() -> None:
    parsed = score_of(note("rest", 2) + note("C4", 2, staff=2, notations="<dynamics><f/></dynamics>"))
    assert parsed.directions == (Direction("dynamic", 2, 2, "f", part=0, staff=2),)


def test_wedges_are_hairpins() -> None:
    parsed = score_of(
        direction('<wedge type="crescendo" number="1"/>', staff=2)
        + note("C4", 3)
        + direction('<wedge type="stop" number="1"/>')
        + direction('<wedge type="diminuendo" number="1"/>')
        + note("C4", 1),
        note("C4", 2) + direction('<wedge type="stop" number="1"/>') + note("C4", 2),
    )
    assert parsed.directions == (
        Direction("hairpin", 0, 3, "crescendo", part=0, staff=2),
        Direction("hairpin", 3, 6, "diminuendo", part=0),
    )


def test_words_for_hairpins_last_until_the_next_dynamic() -> None:
    parsed = score_of(words("cresc. molto") + note("C4", 4), note("C4", 2) + dynamics("f") + note("C4", 2))
    assert parsed.directions[0] == Direction("hairpin", 0, 6, "crescendo", part=0)


def test_words_may_say_two_things() -> None:
    parsed = score_of(words("dim. e rit.") + note("C4", 4))
    assert {(d.kind, d.text) for d in parsed.directions} == {
        ("hairpin", "diminuendo"),
        ("tempo-change", "dim. e rit."),
    }


def test_other_words_stay_words() -> None:
    assert score_of(words("dolce") + note("C4", 4)).directions == (Direction("words", 0, 0, "dolce", part=0),)


def test_a_direction_moves_only_by_an_offset_meant_for_playback() -> None:
    heard = direction("<dynamics><p/></dynamics>", offset='<offset sound="yes">24</offset>')
    seen = direction("<dynamics><f/></dynamics>", offset="<offset>24</offset>")
    assert [d.onset for d in score_of(heard + seen + note("C4", 4)).directions] == [0, 2]


# --------------------------------------------------------------------------------- fermatas and pedals


def test_fermatas_over_rests_and_barlines_are_directions() -> None:
    parsed = score_of(
        note("C4", 2) + note("rest", 2, notations="<fermata/>"),
        note("C4", 4) + '<barline location="right"><fermata/></barline>',
    )
    assert of_kind(parsed, "fermata") == [
        Direction("fermata", 2, 4, "fermata", part=0, staff=1),
        Direction("fermata", 8, 8, "fermata", part=0),
    ]


def pedal(kind: str) -> str:
    return direction(f'<pedal type="{kind}" line="no"/>')


def test_pedal_marks() -> None:
    parsed = score_of(
        pedal("start") + note("C4", 2) + pedal("change") + note("C4", 1) + pedal("stop") + note("C4", 1),
        note("C4", 1) + pedal("start") + note("C4", 3),
    )
    assert [(d.onset, d.end, d.text) for d in of_kind(parsed, "pedal")] == [
        (0, 2, "sustain"),
        (2, 3, "sustain"),
        (5, 8, "sustain"),
    ]


def test_a_pedal_continues_over_a_line_break() -> None:
    parsed = score_of(
        pedal("start") + note("C4", 4), pedal("continue") + note("C4", 2) + pedal("stop") + note("C4", 2)
    )
    assert [(d.onset, d.end) for d in of_kind(parsed, "pedal")] == [(0, 6)]


def test_pedals_that_only_playback_knows() -> None:
    parsed = score_of(
        '<sound damper-pedal="yes"/>'
        + note("C4", 2)
        + '<sound damper-pedal="no" soft-pedal="60"/>'
        + note("C4", 2)
    )
    assert [(d.onset, d.end, d.text) for d in of_kind(parsed, "pedal")] == [(0, 2, "sustain"), (2, 4, "soft")]


def test_pedals_in_words() -> None:
    parsed = score_of(
        words("una corda") + words("Ped.") + note("C4", 2) + words("*") + note("C4", 2),
        words("tre corde") + note("C4", 4),
    )
    assert {(d.onset, d.end, d.text) for d in of_kind(parsed, "pedal")} == {(0, 4, "soft"), (0, 2, "sustain")}


def test_an_asterisk_without_a_pedal_is_a_footnote() -> None:
    assert score_of(words("*") + note("C4", 4)).directions == (Direction("words", 0, 0, "*", part=0),)


# ------------------------------------------------------------------------------------ cue notes, parts


def test_hidden_cue_notes_are_left_out_and_their_trill_is_kept() -> None:
    hidden = "".join(
        note(pitch, 0.5, voice=2, extra="<cue/>", attributes='print-object="no"', id=f"h{i}")
        for i, pitch in enumerate(["C5", "D5"] * 4)
    )
    parsed = score_of(note("C5", 4, id="main") + backup(4) + hidden)
    assert parsed.notes.id == ("main-1",)
    assert parsed.notes.marks == (frozenset({"trill-mark"}),)
    assert parsed.notices == (
        "left out 8 hidden small notes that play out ornaments; the ornaments are marked",
    )


def test_marks_of_a_hidden_note_go_to_the_visible_one() -> None:
    hidden = note(
        "C5",
        4,
        voice=2,
        extra="<cue/>",
        attributes='print-object="no"',
        notations="<ornaments><mordent/></ornaments>",
    )
    parsed = score_of(note("C5", 4) + backup(4) + hidden)
    assert parsed.notes.marks == (frozenset({"mordent"}),)


def test_visible_small_notes_of_a_solo_part_are_played() -> None:
    """MuseScore writes the small notes of cadenzas as cue notes."""
    assert len(score_of(note("C5", 2) + note("D5", 2, extra="<cue/>")).notes) == 2


def test_cue_notes_beside_another_part_are_left_out() -> None:
    parts = (
        part([note("C4", 2) + note("D4", 2, extra="<cue/>")], "P1"),
        part([note("C3", 4)], "P2"),
    )
    parsed = parse(document(*parts, names=("Piano", "Violin")))
    assert rows(parsed) == [("C4", 0, 2)]
    assert "left out 1 cue notes of the part 'Piano'" in parsed.notices


def test_repeats_and_signatures_of_a_left_out_part_still_count() -> None:
    voice = part([note("C5", 4) + '<barline location="right"><repeat direction="backward"/></barline>'], "P1")
    piano = part([note("C3", 4)], "P2")
    parsed = parse(document(voice, piano, names=("Voice", "Piano")))
    assert len(parsed.measures) == 2


def test_tempo_marks_of_a_left_out_part_hold_for_the_piano() -> None:
    """Songs have them above the voice only."""
    marks = words("Mäßig", 'tempo="80"') + direction("<dynamics><f/></dynamics>")
    voice, piano = part([marks + note("C5", 4)], "P1"), part([note("C3", 4)], "P2")
    parsed = parse(document(voice, piano, names=("Singstimme", "Piano")))
    assert parsed.directions == (Direction("tempo", 0, 0, "Mäßig", 80),)


def test_percussion_notes_are_left_out() -> None:
    drum = "<note><unpitched/><duration>48</duration><voice>1</voice></note>"
    parsed = score_of(note("C4", 4), drum)
    assert len(parsed.notes) == 1
    assert parsed.notices == ("left out 1 notes without a pitch (percussion)",)


def test_a_timewise_score_is_read() -> None:
    head = attributes()
    text = (
        '<score-timewise><part-list><score-part id="P1"><part-name>Piano</part-name></score-part></part-list>'
        f'<measure number="1"><part id="P1">{head}{note("C4", 4)}</part></measure>'
        f'<measure number="2"><part id="P1">{note("D4", 4)}</part></measure></score-timewise>'
    )
    assert rows(parse(text)) == [("C4", 0, 4), ("D4", 4, 4)]


def test_a_namespace_a_bom_and_utf16_do_not_matter() -> None:
    plain = document(part([note("C4", 4)]))
    spaced = plain.replace("<score-partwise ", '<score-partwise xmlns="http://www.musicxml.org/ns" ')
    expected = rows(parse(plain))
    assert rows(parse(spaced)) == expected
    assert rows(parse(b"\xef\xbb\xbf" + plain.encode())) == expected
    assert rows(parse(plain.replace("UTF-8", "UTF-16").encode("utf-16"))) == expected
    assert rows(parse(plain.replace("UTF-8", "ISO-8859-1").encode("latin-1"))) == expected

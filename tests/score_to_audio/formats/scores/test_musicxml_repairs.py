"""What is put right before notes are read: hidden ornaments, rests, divisions, alterations, signs."""

from __future__ import annotations

from pathlib import Path

import pytest

from score_to_audio.formats.scores.reader import load_parts, parse_score
from score_to_audio.types import Score
from tests.score_to_audio.formats.scores.score_builder import (
    backup,
    document,
    measure,
    note,
    parse,
    part,
    rows,
    score_of,
)

HIDDEN = 'print-object="no"'


def hidden(*pitches: str, each: float = 0.25, **options: object) -> str:
    return "".join(note(pitch, each, voice=2, attributes=HIDDEN, **options) for pitch in pitches)  # type: ignore[arg-type]


def ornament(tag: str) -> str:
    return f"<ornaments><{tag}/></ornaments>"


def spellings(*measures: str) -> list[str]:
    return list(score_of(*measures).notes.spelling)


# -------------------------------------------------------------------------------- hidden ornaments


@pytest.mark.parametrize(
    ("sign", "played_out"),
    [
        ("trill-mark", ["D5", "C5", "D5", "C5"]),
        ("trill-mark", ["D5", "C5", "D5", "C5", "B4", "C5"]),
        ("mordent", ["C5", "B4"]),
        ("inverted-mordent", ["C5", "D5", "C5"]),
        ("turn", ["D5", "C5", "B4", "C5"]),
        ("wavy-line", ["C5", "Db5", "C5", "Db5"]),
    ],
)
def test_the_sign_counts_and_not_the_hidden_notes(sign: str, played_out: list[str]) -> None:
    parsed = score_of(note("C5", 4, notations=ornament(sign)) + backup(4) + hidden(*played_out))
    assert rows(parsed) == [("C5", 0, 4)]
    assert sign in parsed.notes.marks[0]
    count = len(played_out)
    assert parsed.notices == (
        f"left out {count} hidden small notes that play out ornaments; the ornaments are marked",
    )


def test_hidden_notes_without_a_sign_make_one() -> None:
    parsed = score_of(note("C5", 4) + backup(4) + hidden("D5", "C5", "D5", "C5", "D5", "C5"))
    assert rows(parsed) == [("C5", 0, 4)]
    assert parsed.notes.marks[0] == {"trill-mark"}


def test_the_trill_of_a_chord_in_double_notes() -> None:
    """Chopin, Barcarolle: MuseScore marks only the first note of every hidden chord as a cue note."""
    chord = note("C5", 4, notations=ornament("trill-mark")) + note("E5", 4, chord=True)
    pairs = [("D5", "F5"), ("C5", "E5")] * 4
    cue = "".join(
        note(low, 0.25, voice=2, attributes=HIDDEN, extra="<cue/>")
        + note(high, 0.25, voice=2, attributes=HIDDEN, chord=True)
        for low, high in pairs
    )
    plain = cue.replace("<cue/>", "")
    for played_out in (cue, plain):
        assert spellings(chord + backup(4) + played_out) == ["C5", "E5"]


def test_a_small_note_in_a_chord_is_alternative_and_the_large_one_is_played() -> None:
    """Viardot, Havanaise."""
    chord = note("C5", 4, extra="<cue/>") + note("G5", 4, chord=True)
    parts = part([chord], "P1"), part([note("C3", 4)], "P2")
    assert parse(document(*parts, names=("Voice", "X")), parts="all").notes.spelling == ("C3", "G5")


def test_a_tremolo_and_its_strokes() -> None:
    sign = "<ornaments><tremolo>2</tremolo></ornaments>"
    assert spellings(note("C5", 4, notations=sign) + backup(4) + hidden(*["C5"] * 16)) == ["C5"]
    ends = [f'<ornaments><tremolo type="{kind}">3</tremolo></ornaments>' for kind in ("start", "stop")]
    two = note("C5", 2, notations=ends[0]) + note("E5", 2, notations=ends[1])
    assert spellings(two + backup(4) + hidden(*["C5", "E5"] * 8)) == ["C5", "E5"]


def test_a_tremolo_or_arpeggio_of_a_chord() -> None:
    tremolo = "<ornaments><tremolo>3</tremolo></ornaments>"
    chord = note("C5", 4, notations=tremolo) + note("E5", 4, chord=True)
    strokes = (hidden("C5") + note("E5", 0.25, voice=2, attributes=HIDDEN, chord=True)) * 8
    assert spellings(chord + backup(4) + strokes) == ["C5", "E5"]
    rolled = note("C5", 4, notations="<arpeggiate/>") + note("E5", 4, chord=True)
    assert spellings(rolled + backup(4) + hidden("C5", "E5")) == ["C5", "E5"]
    assert spellings(rolled + backup(4) + hidden("C5", "E5", "G5")) == ["C5", "C5", "E5", "E5", "G5"]


def test_a_trill_that_is_played_out_on_the_other_staff() -> None:
    trill = note("C5", 4, staff=1, notations=ornament("trill-mark")) + backup(4)
    assert spellings(trill + hidden(*["D5", "C5"] * 4, staff=2)) == ["C5"]
    assert len(spellings(trill + hidden("D5", "E5", "D5", "E5", staff=2))) == 5


def test_hidden_grace_notes_before_an_ornamented_note() -> None:
    """Chopin, Scherzo op. 20."""
    graces = "".join(note(pitch, voice=1, grace="", attributes=HIDDEN) for pitch in ("C5", "D5"))
    assert spellings(graces + note("C5", 4, notations=ornament("inverted-mordent"))) == ["C5"]
    assert spellings(graces + note("C5", 4)) == ["C5", "D5", "C5"]


@pytest.mark.parametrize(
    "music",
    [
        hidden("C5", each=1),
        hidden("E4", "F4", "G4", "A4", each=1),
        hidden("C5", "D5", each=2),
        hidden("G5", "C6", "G5", "C6", each=0.5),
    ],
)
def test_other_hidden_notes_are_music(music: str) -> None:
    """Heads that two voices share, rolled chords, cadenzas: printing them would disturb."""
    parsed = score_of(note("C5", 4) + backup(4) + music)
    assert len(parsed.notes) == 1 + music.count("<note")


# ----------------------------------------------------------------------------- lengths of measures


def test_rests_do_not_lengthen_a_measure_beyond_its_signature() -> None:
    full = note("rest", 4).replace("<rest/>", '<rest measure="yes"/>')
    for rest in (full, note("rest", 4), note("rest", 2) + note("rest", 2)):
        content = note("C4", 3) + backup(3) + rest
        parsed = score_of(content, content, beats=3)
        assert parsed.notes.onset.tolist() == [0, 3]


def test_rests_count_up_to_the_signature_and_up_to_the_notes() -> None:
    parsed = score_of(
        note("C4", 1) + note("rest", 3), note("C4", 1), note("rest", 5) + note("D4", 1), note("E4", 4)
    )
    assert parsed.notes.onset.tolist() == [0, 4, 10, 11]


def test_a_full_rest_does_not_fill_a_pickup() -> None:
    full = note("rest", 4).replace("<rest/>", '<rest measure="yes"/>')
    pickup = measure(note("C4", 1) + backup(1) + full, 0, 'implicit="yes"')
    assert score_of(pickup, note("D4", 4)).notes.onset.tolist() == [0, 1]
    whole = note("C4", 1) + backup(1) + note("rest", 4, voice=2)
    for attributes in ('implicit="yes"', ""):
        assert score_of(measure(whole, 0, attributes), note("D4", 4)).notes.onset.tolist() == [0, 1]
    assert score_of(whole, note("D4", 4)).notes.onset.tolist() == [0, 4]
    silent = measure(full.replace(">48<", ">12<"), 0, 'implicit="yes"')
    assert score_of(silent, note("D4", 4)).notes.onset.tolist() == [1]


def test_without_a_time_signature_rests_count_as_written() -> None:
    text = (
        document(part([note("rest", 6), note("C4", 4)])).replace("<time>", "<x>").replace("</time>", "</x>")
    )
    assert parse(text).notes.onset.tolist() == [6]


def test_rests_of_another_part_do_not_lengthen_a_measure() -> None:
    two_rests = note("rest", 4) + note("rest", 4)
    text = document(
        part([note("C5", 4), note("D5", 4)], "P1"),
        part([two_rests, note("D3", 4)], "P2"),
        names=("Flute", "Piano"),
    )
    assert parse(text).notes.onset.tolist() == [4]


# ------------------------------------------------------------------------------------ single values


def test_late_and_missing_divisions() -> None:
    head = "<divisions>12</divisions>"
    late = document(
        part([note("C4", 1) + "<attributes><divisions>12</divisions></attributes>" + note("D4", 1)])
    )
    late = late.replace(f"<attributes>{head}", "<attributes>", 1)
    assert rows(parse(late)) == [("C4", 0, 1), ("D4", 1, 1)]
    typed = note("C4", 1).replace("<voice>", "<type>quarter</type><voice>")
    missing = document(part([typed + note("D4", 0.5)])).replace(head, "")
    assert rows(parse(missing)) == [("C4", 0, 1), ("D4", 1, 0.5)]
    other_part = document(part([note("C4", 1)], "P1"), part([note("E4", 1)], "P2"), names=("Piano", "Piano"))
    before, _, after = other_part.rpartition(head)
    assert rows(parse(before + after)) == [("C4", 0, 1), ("E4", 0, 1)]
    nothing = document(part([note("C4", 1)])).replace(head, "")
    assert rows(parse(nothing)) == [("C4", 0, 12)]


@pytest.mark.parametrize("alter", ["400", "x", "4", "-12", "1e9"])
def test_an_impossible_alteration_is_that_of_the_accidental_or_the_key(alter: str) -> None:
    wrong = note("F4", 1).replace("<alter>0<", f"<alter>{alter}<")
    with_accidental = wrong.replace("</note>", "<accidental>flat</accidental></note>")
    parsed = parse(document(part([wrong + with_accidental], fifths=1)))
    assert parsed.notes.spelling == ("F#4", "Fb4")
    assert parsed.notices == ("played 2 notes with an impossible alteration by accidental and key",)


def test_an_empty_alteration_is_none() -> None:
    assert parse(
        document(part([note("F4", 1).replace("<alter>0<", "<alter><")], fifths=1))
    ).notes.spelling == ("F4",)


def test_a_rolled_chord_may_be_held_in_another_voice() -> None:
    rolled = "".join(note(pitch, 0.5, ties="start") for pitch in ("C4", "E4"))
    held = note("C4", 3, ties="stop", voice=2) + note("E4", 3, ties="stop", voice=2, chord=True)
    parsed = score_of(rolled + note("G4", 3) + backup(3) + held)
    assert rows(parsed) == [("C4", 0, 4), ("E4", 0.5, 3.5), ("G4", 1, 3)]


def test_a_key_struck_again_ends_a_tie_into_another_voice() -> None:
    parsed = score_of(
        note("C4", 1, ties="start") + note("C4", 1) + note("D4", 1) + note("C4", 1, ties="stop", voice=2)
    )
    assert len(parsed.notes) == 4


# -------------------------------------------------------------------- signs that stand for music


SLASH = "<notehead>slash</notehead>"


def test_rhythm_slashes_have_no_pitch() -> None:
    slashes = "".join(note("B4", 1).replace("</note>", f"{SLASH}</note>") for _ in range(3))
    chord = note("D5", 1, chord=True).replace("</note>", f"{SLASH}</note>")
    parsed = score_of(slashes + chord + note("C4", 1), note("D4", 4))
    assert rows(parsed) == [("C4", 3, 1), ("D4", 4, 4)]
    assert parsed.notices == ("left out 4 rhythm slashes without a pitch",)


def sign(kind: str, count: int | str = "") -> str:
    style = f'<measure-repeat type="{kind}">{count}</measure-repeat>'
    return f"<attributes><measure-style>{style}</measure-style></attributes>"


def test_measure_repeats_are_written_out() -> None:
    parsed = score_of(
        note("C4", 1, id="a") + note("D4", 3),
        sign("start", 1) + note("rest", 4),
        "",
        sign("stop") + note("E4", 4),
    )
    assert rows(parsed) == [
        ("C4", 0, 1),
        ("D4", 1, 3),
        ("C4", 4, 1),
        ("D4", 5, 3),
        ("C4", 8, 1),
        ("D4", 9, 3),
        ("E4", 12, 4),
    ]
    assert parsed.notices == ("wrote out 2 measures with a measure-repeat sign",)
    assert len(set(parsed.notes.id)) == 7


def test_measure_repeats_of_two_measures() -> None:
    parsed = score_of(note("C4", 4), note("D4", 4), sign("start", 2) + note("rest", 4), note("rest", 4))
    assert list(parsed.notes.spelling) == ["C4", "D4", "C4", "D4"]


@pytest.mark.parametrize("count", ["x", "", "0", "-1", "99", "5"])
def test_measure_repeats_of_nothing_are_empty(count: str) -> None:
    parsed = score_of(note("C4", 4), sign("start", count) + note("rest", 4), note("D4", 4))
    assert rows(parsed) == [("C4", 0, 4), ("D4", 8, 4)]
    assert parsed.notices == ()


def test_measure_repeats_with_notes_are_played_as_they_are() -> None:
    parsed = score_of(note("C4", 4), sign("start", 1) + note("F4", 4))
    assert list(parsed.notes.spelling) == ["C4", "F4"]


def test_partitura_sees_what_is_written_out() -> None:
    text = document(part([note("C4", 4), sign("start", 1) + note("rest", 4)]))
    score = Score(Path("a.musicxml"), text.encode(), parse_score)  # type: ignore[arg-type]
    (loaded,) = load_parts(score)
    assert [found["pitch"] for found in loaded.note_array()] == [60, 60]

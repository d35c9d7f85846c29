"""Which parts are the piano."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from score_to_audio.types import ParsedScore
from tests.score_to_audio.formats.scores.score_builder import document, note, parse, part, rows


def parts_of(
    *names: str,
    playback: Sequence[str] = (),
    contents: Sequence[str] = (),
    groups: tuple[str, str] = ("", ""),
    **options: object,
) -> ParsedScore:
    """A score with parts of these names.

    ``playback``: what the <score-part> elements hold besides; ``contents``: the parts' only measures;
    ``groups``: <part-group> elements before and after the last two parts.
    """
    contents = contents or [note("C4", 4)] * len(names)
    text = document(*(part([content], f"P{i}") for i, content in enumerate(contents, 1)), names=names)
    for i, extra in enumerate(playback, 1):
        head, tail = text.split(f'<score-part id="P{i}">')
        text = f'{head}<score-part id="P{i}">{tail.replace("</score-part>", extra + "</score-part>", 1)}'
    last = f'<score-part id="P{len(names) - 1}">'
    text = text.replace(last, groups[0] + last).replace("</part-list>", groups[1] + "</part-list>")
    return parse(text, **options)


def program(number: int, channel: int = 1) -> str:
    inside = f"<midi-channel>{channel}</midi-channel><midi-program>{number}</midi-program>"
    return f"<midi-instrument id='x'>{inside}</midi-instrument>"


def sound(name: str) -> str:
    return f"<score-instrument id='x'><instrument-sound>{name}</instrument-sound></score-instrument>"


DRUM = "<note><unpitched/><duration>48</duration></note>"
SUNG = note("C4", 4).replace("</note>", "<lyric><text>la</text></lyric></note>")


@pytest.mark.parametrize(
    "name",
    """Piano|Pianoforte|Fortepiano|Pno.|Pf.|Klavier|Clavier|Clavecin|Clavicembalo|Cembalo|Harpsichord|Flügel
    Tastiera|Teclado|Klavír|Klaver|Klavír|Flygel|Fortepian|Klawesyn, fortepian|Zongora|Piyano|Pian|Pianino
    Фортепиано|Ф-но|Рояль|Пианино|Фортепіано|Пиано|Клавесин|Πιάνο|Πιανο|ピアノ|チェンバロ|钢琴|鋼琴|피아노
    Ф-п.|Ф.-п.|Фп.|Роял|Пијано|Клавікорд|Piāno|Pijano|Klav.|Pft.|Épinette|Cémbalo|Acoustic Grand|ﾋﾟｱﾉ|钢 琴
    פסנתר|بيانو|پیانو|पियानो|เปียโน|դաշնամուր|ფორტეპიანო|Keyboard 1|(Piano)|Klavier / Piano""".replace(
        "\n", "|"
    ).split("|"),
)
def test_names_of_pianos(name: str) -> None:
    assert parts_of("X", name.strip()).parts == (name.strip(),)


@pytest.mark.parametrize(
    "name", ["Soprano", "Голос", "ヴァイオリン", "小提琴", "Claves", "Bass", "Orgel", "Часть"]
)
def test_names_of_others(name: str) -> None:
    assert parts_of("X", name).parts == ("X", name)


def test_the_piano_part_is_chosen_and_the_voice_left_out() -> None:
    voice = part([note("C5", 4)], "P1")
    piano = part([note("C3", 4)], "P2")
    text = document(voice, piano, names=("Singstimme", "Pianoforte"))
    parsed = parse(text)
    assert parsed.parts == ("Pianoforte",)
    assert rows(parsed) == [("C3", 0, 4)]
    assert parsed.notices == (
        "left out 'Singstimme' and played 'Pianoforte'; set the score option parts=all to merge them",
    )
    everything = parse(text, parts="all")
    assert everything.parts == ("Singstimme", "Pianoforte")
    assert everything.notes.part.tolist() == [1, 0]
    assert everything.notices == ()


def test_two_pianos_are_both_played() -> None:
    text = document(part([note("C5", 4)], "P1"), part([note("C3", 4)], "P2"), names=("Piano I", "Piano II"))
    parsed = parse(text)
    assert parsed.parts == ("Piano I", "Piano II")
    assert parsed.notices == ()


def test_parts_without_a_piano_are_merged() -> None:
    text = document(part([note("C5", 4)], "P1"), part([note("C3", 4)], "P2"), names=("Violin", "Cello"))
    parsed = parse(text)
    assert len(parsed.notes) == 2
    assert parsed.notices == ("merged all parts ('Violin', 'Cello'), since none is recognisably a piano",)


def test_a_piano_is_recognised_by_its_sound() -> None:
    text = document(part([note("C5", 4)], "P1"), part([note("C3", 4)], "P2"), names=("I", "II")).replace(
        "<part-name>II</part-name>",
        "<part-name>II</part-name><midi-instrument id='x'><midi-program>1</midi-program></midi-instrument>",
    )
    assert parse(text).parts == ("II",)


# ------------------------------------------------------------------------------------- percussion


def test_a_part_without_pitched_notes_is_no_piano() -> None:
    silent = parts_of("Flute", "Piano", contents=[note("A4", 4), note("rest", 4)])
    assert silent.parts == ("Flute",)
    assert silent.notices == ("played 'Flute', the only part with notes",)
    drums = parts_of("Violin", "Drums", playback=[program(41), program(1)], contents=[note("A4", 4), DRUM])
    assert drums.parts == ("Violin",)


@pytest.mark.parametrize(
    "percussion",
    [program(1, channel=10), "<midi-instrument id='x'><midi-unpitched>56</midi-unpitched></midi-instrument>"],
)
def test_percussion_written_with_pitches_is_left_out(percussion: str) -> None:
    parsed = parts_of("Violin", "Kit", "Cello", playback=[program(41), percussion, program(43)])
    assert parsed.parts == ("Violin", "Cello")
    assert parsed.notices == (
        "left out 'Kit' (percussion)",
        "merged all parts ('Violin', 'Cello'), since none is recognisably a piano",
    )
    assert len(parts_of("Violin", "Kit", playback=["", percussion], parts="all").parts) == 2


# --------------------------------------------------------------------------------------- playback


def test_a_program_that_all_parts_share_says_nothing() -> None:
    assert len(parts_of("I", "II", "III", playback=[program(1)] * 3).parts) == 3


def test_a_program_that_only_the_first_part_has_says_nothing() -> None:
    assert len(parts_of("I", "II", playback=[program(1)]).parts) == 2
    assert parts_of("I", "II", playback=["", program(1)]).parts == ("II",)


def test_a_program_does_not_count_against_a_name_or_a_text() -> None:
    assert len(parts_of("Tenor", "X", playback=[program(1), program(74)]).parts) == 2
    assert (
        len(parts_of("X", "Y", playback=[program(74), program(1)], contents=[note("C4", 4), SUNG]).parts) == 2
    )


def test_a_sound_or_the_name_of_the_instrument_is_enough() -> None:
    assert parts_of("I", "II", playback=[sound("wind.flutes"), sound("keyboard.piano")]).parts == ("II",)
    piano = "<score-instrument id='x'><instrument-name>Grand Piano</instrument-name></score-instrument>"
    assert parts_of("I", "II", playback=["", piano]).parts == ("II",)
    assert len(parts_of("I", "II", playback=[piano, piano]).parts) == 2


def test_the_printed_name_counts_more_than_the_instrument() -> None:
    """An ossia that sounds like the piano beside it (Bizet, Le grillon)."""
    piano = "<score-instrument id='x'><instrument-name>Piano</instrument-name></score-instrument>"
    parsed = parts_of("Voice", "Piano", "Facilité", playback=["", piano, piano])
    assert parsed.parts == ("Piano",)


# -------------------------------------------------------------------------------- hands in two parts


@pytest.mark.parametrize(
    ("names", "played"),
    [
        (["Piano", ""], [0, 1]),
        (["", "Piano"], [0, 1]),
        (["Voice", "Piano", ""], [1, 2]),
        (["Piano", "Left hand"], [0, 1]),
        (["Right Hand", "Left Hand"], [0, 1]),
        (["Voice", "R.H.", "L.H."], [1, 2]),
        (["Voice", "Piano", "m.g."], [1, 2]),
        (["Voix", "Main droite", "Main gauche"], [1, 2]),
        (["右手", "左手"], [0, 1]),
        (["Voice", "Right", "Left"], [1, 2]),
        (["Voice", "Piano (R.H.)", "Piano (L.H.)"], [1, 2]),
        (["Piano RH", "Piano LH", "Flute"], [0, 1]),
        (["Voice", "", "Flute", "Piano"], [3]),
        (["Piano", "Flute", ""], [0]),
    ],
)
def test_the_hands_of_one_piano_in_two_parts(names: list[str], played: list[int]) -> None:
    given = [name or f"part {i}" for i, name in enumerate(names, 1)]
    assert parts_of(*names).parts == tuple(given[i] for i in played)


def test_an_unnamed_part_is_no_hand_if_it_is_something_else() -> None:
    assert parts_of("Piano", "", contents=[note("C5", 4), SUNG]).parts == ("Piano",)
    assert parts_of("Piano", "", playback=["", program(74)]).parts == ("Piano",)
    assert parts_of("Piano", "", contents=[note("C5", 4), note("rest", 4)]).parts == ("Piano",)
    two_staves = "<attributes><staves>2</staves></attributes>" + note("C5", 4)
    assert parts_of("Piano", "", contents=[two_staves, note("C3", 4)]).parts == ("Piano",)


def test_parts_in_a_brace_have_its_name() -> None:
    group = "<part-group type='start' number='1'><group-name>Piano</group-name>{}</part-group>"
    brace = group.format("<group-symbol>brace</group-symbol>")
    end = "<part-group type='stop' number='1'/>"
    assert parts_of("X", "", "", groups=(brace, end)).parts == ("part 2", "part 3")
    assert parts_of("X", "", "", groups=(group.format(""), end)).parts == ("part 2", "part 3")
    bracket = group.format("").replace("Piano", "Choir")
    assert len(parts_of("X", "", "", groups=(bracket, end)).parts) == 3


def test_two_parts_in_a_brace_without_a_name_are_a_piano() -> None:
    brace = "<part-group type='start' number='1'><group-symbol>brace</group-symbol></part-group>"
    end = "<part-group type='stop' number='1'/>"
    assert parts_of("X", "", "", groups=(brace, end)).parts == ("part 2", "part 3")
    assert len(parts_of("X", "", "Flute", groups=(brace, end)).parts) == 3

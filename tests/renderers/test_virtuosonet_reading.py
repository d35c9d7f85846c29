"""VirtuosoNet's reader where the published reader fails or is wrong, and the order of notes."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from renderers.virtuosonet.features import beat_importance, composer_named, note_features
from renderers.virtuosonet.lookup import binary_index, probing_index
from renderers.virtuosonet.meter import without_gaps
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.notation import PlayedMeasure
from renderers.virtuosonet.score import NoteScore, read_note_score
from score_to_audio.errors import InputError
from tests.paths import GOLDEN
from tests.renderers.virtuosonet_scores import attributes, direction, document, four_quarters, note, read

RECORDED = GOLDEN / "virtuosonet"


def pitches(score: NoteScore) -> list[int]:
    return [each.pitch or 0 for each in score.notes]


def onsets(score: NoteScore) -> list[float]:
    """Quarter notes."""
    return [each.position / each.divisions for each in score.notes]


def durations(score: NoteScore) -> list[float]:
    """Quarter notes."""
    return [each.duration / each.divisions for each in score.notes]


def is_usable(score: NoteScore) -> bool:
    matrix = note_features(score, composer="").matrix(STATISTICS.input_keys)
    return bool((abs(matrix) < 1e9).all())


STATISTICS = Statistics.from_checkpoint(json.loads((RECORDED / "stats_synthetic.json").read_text("utf-8")))


# --------------------------------------------------------------------- what the published reader refuses


def test_a_score_of_one_measure() -> None:
    score = read(document([attributes() + four_quarters()]))
    assert score.measure_lengths == [8]
    assert score.meter.beats == [0, 2, 4, 6]
    assert is_usable(score)


@pytest.mark.parametrize("count", [1, 2, 17])
def test_short_scores(count: int) -> None:
    measures = [attributes() + note("C4", 1), *(note("D4", 1) for _ in range(count - 1))]
    score = read(document(measures))
    assert len(score.notes) == count
    assert is_usable(score)


def test_one_chord() -> None:
    chord = note("C4", 8) + note("E4", 8, before="<chord/>") + note("G4", 8, before="<chord/>")
    assert is_usable(read(document([attributes() + chord])))


def test_without_time_signature_it_is_four_four() -> None:
    score = read(document([attributes(time="") + four_quarters(), four_quarters()]))
    signature = score.meter.time_signature_at(0)
    assert (signature.numerator, signature.denominator) == (4, 4)
    assert is_usable(score)


@pytest.mark.parametrize(
    ("time", "numerator", "denominator"),
    [
        ("<time><beats>3+2</beats><beat-type>8</beat-type></time>", 5, 8),
        (
            "<time><beats>2</beats><beat-type>4</beat-type><beats>3</beats><beat-type>8</beat-type></time>",
            7,
            8,
        ),
        ('<time symbol="single-number"><beats>3</beats><beat-type>4</beat-type></time>', 3, 4),
        ('<time symbol="cut"><beats>2</beats><beat-type>2</beat-type></time>', 2, 2),
        ("<time><beats>2</beats><beat-type>1</beat-type></time>", 2, 1),
        ("<time><beats>8</beats><beat-type>64</beat-type></time>", 8, 64),
        ("<time><senza-misura/></time>", 4, 4),
    ],
)
def test_meters(time: str, numerator: int, denominator: int) -> None:
    score = read(document([attributes(time=time) + four_quarters(), four_quarters()]))
    signature = score.meter.time_signature_at(0)
    assert (signature.numerator, signature.denominator) == (numerator, denominator)
    assert is_usable(score)


def test_a_default_namespace_changes_nothing() -> None:
    measures = [attributes() + four_quarters()]
    named = read(document(measures, namespace=' xmlns="http://www.musicxml.org/ns"'))
    assert pitches(named) == pitches(read(document(measures)))


def test_slurs_without_number_are_number_one() -> None:
    first = attributes() + note(notations='<slur type="start"/>') + note("D4") + note("E4")
    score = read(document([first + note("F4", notations='<slur number="1" type="stop"/>')]))
    assert [n.is_slur_start for n in score.notes] == [True, False, False, False]
    assert [n.is_slur_continue for n in score.notes] == [False, True, True, False]
    assert [n.is_slur_stop for n in score.notes] == [False, False, False, True]


def test_octave_shift_without_size_and_wedges_without_number() -> None:
    marks = direction('<octave-shift type="down"/>') + direction('<wedge type="crescendo"/>')
    score = read(document([attributes() + marks + four_quarters() + direction('<wedge type="stop"/>')]))
    assert [entry.dynamic_words for entry in score.marks] == [" crescendo"] * 4


def test_an_empty_last_measure() -> None:
    score = read(document([attributes() + four_quarters(), ""]))
    assert len(score.notes) == 4
    assert is_usable(score)


@pytest.mark.parametrize("voice", ["0", "left", ""])
def test_odd_voices(voice: str) -> None:
    score = read(document([attributes() + note("C4", voice=voice) + note("D4", voice=voice)]))
    assert len(score.notes) == 2


def test_parts_with_changing_divisions_stay_together() -> None:
    upper = [attributes(2) + four_quarters(), attributes(3, "") + "".join(note("E4", 3) for _ in range(4))]
    lower = [attributes(5) + "".join(note("C3", 5) for _ in range(4))] * 2
    score = read(document(upper, lower))
    assert onsets(score) == [float(i // 2) for i in range(16)]
    assert durations(score) == [1.0] * 16


def test_one_part_with_changing_divisions() -> None:
    changing = [attributes(2) + four_quarters(), attributes(4, "") + "".join(note("E4", 4) for _ in range(4))]
    assert onsets(read(document(changing))) == [float(i) for i in range(8)]
    mixed = read(document(changing), compatibility="official")
    assert [n.position for n in mixed.notes] == [0, 2, 4, 6, 8, 12, 16, 20]


# ------------------------------------------------------------------------------------------- unrolling


def test_repeats_endings_and_passes() -> None:
    def ending(number: int) -> str:
        return f'<barline location="left"><ending number="{number}" type="start"/></barline>'

    close = (
        '<barline location="right"><ending number="1" type="stop"/><repeat direction="backward"/></barline>'
    )
    measures = [
        attributes() + note("C4", 8),
        ending(1) + note("D4", 8) + close,
        ending(2) + note("E4", 8),
    ]
    score = read(document(measures))
    assert pitches(score) == [60, 62, 60, 64]
    assert [each.pass_number for each in score.notes] == [1, 1, 2, 1]


def test_a_da_capo_without_fine_ends() -> None:
    back = direction("<words>D.C.</words>", sound='<sound dacapo="yes"/>')
    assert pitches(read(document([attributes() + note("C4", 8), note("D4", 8) + back]))) == [60, 62, 60, 62]


def test_a_da_capo_ends_at_the_fine() -> None:
    fine = direction("<words>Fine</words>", sound='<sound fine="yes"/>')
    back = direction("<words>D.C.</words>", sound='<sound dacapo="yes"/>')
    measures = [attributes() + note("C4", 8), note("D4", 8) + fine, note("E4", 8) + back]
    assert pitches(read(document(measures))) == [60, 62, 64, 60, 62]


def test_repeats_that_never_end_are_refused() -> None:
    back = note() + '<barline><repeat direction="backward"/></barline>'
    with pytest.raises(InputError, match="20000 measures"):
        read(document([attributes() + back, *[back] * 250]))


def test_a_given_order_is_followed() -> None:
    order = [PlayedMeasure(1, 0.0), PlayedMeasure(0, 4.0), PlayedMeasure(1, 8.0)]
    score = read(document([attributes() + note("C4", 8), note("D4", 8)]), order=order)
    assert pitches(score) == [62, 60, 62]
    assert onsets(score) == [0, 4, 8]
    assert [each.pass_number for each in score.notes] == [1, 1, 2]


def test_measures_of_a_given_order_begin_where_it_says() -> None:
    """The published reader continues where the last voice of a measure ends."""
    short_voice = "<backup><duration>8</duration></backup>" + note("C3", 2, voice="2")
    text = document([attributes() + four_quarters() + short_voice, four_quarters()])
    order = [PlayedMeasure(0, 0.0), PlayedMeasure(1, 4.0)]
    assert onsets(read(text, order=order))[-1] == 7
    assert onsets(read(text, compatibility="official"))[-1] == 4


# ----------------------------------------------------------------------------------------------- notes


def test_a_tie_without_beginning_is_played() -> None:
    stop = note("E4", notations='<tied type="stop"/>')
    text = document([attributes() + note("C4") + stop])
    assert pitches(read(text)) == [60, 64]
    assert pitches(read(text, compatibility="official")) == [60]


def test_a_tie_holds_over_a_gap_in_its_voice() -> None:
    """The notation of rolled and held chords; the published reader drops the gap."""
    start, stop = (note("E4", notations=f'<tied type="{kind}"/>') for kind in ("start", "stop"))
    text = document([attributes() + start + note("C4") + stop])
    assert durations(read(text)) == [3, 1]
    assert durations(read(text, compatibility="official")) == [2, 1]


def test_two_voices_may_go_on_from_one_key() -> None:
    start = note("E4", notations='<tied type="start"/>')
    stop = '<tied type="stop"/>'
    back = "<backup><duration>2</duration></backup>"
    text = document(
        [attributes() + start + note("E4", notations=stop) + back + note("E4", 4, notations=stop, voice="2")]
    )
    assert durations(read(text)) == [3]


@pytest.mark.parametrize("between", [note("C4", 10), note("C4", voice="2")])
def test_a_tie_does_not_reach_everywhere(between: str) -> None:
    start = note("E4", notations='<tied type="start"/>')
    stop = note("E4", notations='<tied type="stop"/>', voice="3")
    text = document([attributes() + start + between + stop])
    assert len(read(text).notes) == 3
    assert len(read(text, compatibility="official").notes) == 2


def test_ties_over_several_notes_become_one() -> None:
    tied = '<tied type="start"/>'
    both = '<tied type="stop"/><tied type="start"/>'
    text = document(
        [
            attributes() + note("E4", notations=tied) + note("E4", notations=both),
            note("E4", notations='<tied type="stop"/>'),
        ]
    )
    assert durations(read(text)) == [3]


def test_of_two_equal_notes_the_longer_sounds() -> None:
    text = document(
        [attributes() + note("C4", 2) + "<backup><duration>2</duration></backup>" + note("C4", 4, voice="2")]
    )
    assert [n.is_overlapped for n in read(text).notes] == [True, False]


def test_grace_notes_count_back_from_their_principal() -> None:
    grace = [note(pitch, before="<grace/>") for pitch in ("C4", "D4")]
    score = read(document([attributes() + "".join(grace) + note("E4", 8)]))
    assert [n.grace_order for n in score.notes] == [-2, -1, 0]
    assert [n.num_grace for n in score.notes] == [2, 2, 0]
    assert score.notes[2].preceded_by_grace


def test_a_grace_note_without_principal() -> None:
    assert is_usable(read(document([attributes() + note("E4", 8) + note("C4", before="<grace/>")])))


# -------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html/>", "score-partwise"),
        (document([attributes() + note("", 8)]), "no notes"),
        (document([attributes() + note("C4").replace("<duration>2", "<duration>two")]), "measure 1"),
        (document([attributes() + note("C4").replace("<duration>2", "<duration>1e300")]), "measure 1"),
        (document([attributes() + note("H4")]), "measure 1"),
    ],
)
def test_refusals_are_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(text)
    assert str(refused.value).startswith("test.musicxml: ")
    assert "\n" not in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_scores_are_read_or_refused(data: st.DataObject) -> None:
    root = copy.deepcopy(QUIRKS)
    for _ in range(data.draw(st.integers(1, 4))):
        elements = list(root.iter())[1:]
        if not elements:
            break
        element = elements[data.draw(st.integers(0, len(elements) - 1))]
        damage = data.draw(st.sampled_from(["remove", "text", "attribute", "repeat"]))
        if damage == "remove":
            element.getparent().remove(element)
        elif damage == "text":
            element.text = data.draw(st.sampled_from(["", "0", "-3", "x", "1.5", "99999", "nan", "3+2"]))
        elif damage == "attribute" and element.attrib:
            del element.attrib[sorted(element.attrib)[0]]
        else:
            element.addnext(copy.deepcopy(element))
    for compatibility in ("none", "official"):
        with contextlib.suppress(InputError):
            score = read_note_score(copy.deepcopy(root), name="damaged.musicxml", compatibility=compatibility)
            note_features(score, composer="Bach").matrix(STATISTICS.input_keys)


QUIRKS = etree.parse(RECORDED / "scores" / "quirks_single_part.musicxml").getroot()


# ---------------------------------------------------------------------------------------- small things


@given(st.lists(st.integers(-5, 30), min_size=1, max_size=30).map(sorted), st.integers(-10, 40))
def test_probing_finds_what_bisection_finds_in_sorted_lists(positions: list[int], x: int) -> None:
    assert probing_index(positions, x) == binary_index(positions, x)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_indices_without_gaps(steps: list[int]) -> None:
    indices = [sum(steps[: i + 1]) for i in range(len(steps))]
    compact = without_gaps(indices)
    jumps = [after - before for before, after in zip([0, *compact], compact, strict=False)]
    assert jumps == [min(step, 1) for step in steps]


def test_the_downbeat_matters_most() -> None:
    weights = [beat_importance(beat / 8, 4) for beat in range(8)]
    assert weights == [4, 0.5, 1, 0.5, 3, 0.5, 1, 0.5]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Johann Sebastian Bach (1685-1750)", "Bach"),
        ("F. Chopin", "Chopin"),
        ("Schumann, Robert", "Schumann"),
        ("C. Czerny", ""),
        ("", ""),
    ],
)
def test_composers_are_found_in_what_scores_say(written: str, expected: str) -> None:
    assert composer_named(written) == expected

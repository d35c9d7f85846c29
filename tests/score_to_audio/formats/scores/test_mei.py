"""MEI constructs, each in a document of a few notes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_to_audio.errors import InputError
from score_to_audio.types import ParsedScore
from tests.score_to_audio.formats.scores.score_builder import document, note, parse, part, rows

HEAD = '<mei xmlns="http://www.music-encoding.org/ns/mei"><music><body><mdiv><score>'
TAIL = "</score></mdiv></body></music></mei>"


def mei(section: str, definition: str = "", staff: str = "") -> str:
    return (
        f'{HEAD}<scoreDef meter.count="4" meter.unit="4" {definition}><staffGrp>'
        f'<staffDef n="1" {staff}/></staffGrp></scoreDef><section>{section}</section>{TAIL}'
    )


def bar(layer: str, controls: str = "", attributes: str = "") -> str:
    return (
        f'<measure xmlns:xml="http://www.w3.org/XML/1998/namespace" {attributes}><staff n="1">'
        f'<layer n="1">{layer}</layer></staff>{controls}</measure>'
    )


def tone(pname: str = "c", dur: str = "4", attributes: str = "") -> str:
    return f'<note pname="{pname}" oct="4" dur="{dur}" {attributes}/>'


def of(section: str, *definitions: str, **options: Any) -> ParsedScore:
    return parse(mei(section, *definitions), "a.mei", **options)


def played(section: str, *definitions: str) -> str:
    found = rows(of(section, *definitions))
    return " ".join(f"{spelling}@{onset:g}+{duration:g}" for spelling, onset, duration in found)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            bar(f'<tuplet num="3">{tone() * 3}</tuplet>'),
            "C4@0+0.666667 C4@0.666667+0.666667 C4@1.33333+0.666667",
        ),
        (
            bar(f'<tuplet num="3" numbase="8">{tone(dur="8") * 3}</tuplet>'),
            "C4@0+0.333333 C4@0.333333+0.333333 C4@0.666667+0.333333",
        ),
        (
            bar("".join(tone(dur="8", attributes=f'tuplet="{k}1"') for k in "imt") + tone("d")),
            "C4@0+0.333333 C4@0.333333+0.333333 C4@0.666667+0.333333 D4@1+1",
        ),
        (
            bar(
                tone(attributes='xml:id="a"') + tone("d") + tone("e", attributes='xml:id="b"'),
                '<tupletSpan num="3" startid="#a" endid="#b"/>',
            ),
            "C4@0+0.666667 D4@0.666667+0.666667 E4@1.33333+0.666667",
        ),
        (bar(tone(dur="1", attributes='tie="i"')) + bar(tone(dur="1", attributes='tie="t"')), "C4@0+8"),
        (
            bar('<chord dur="1" tie="i"><note pname="c" oct="4"/><note pname="e" oct="4"/></chord>')
            + bar('<chord dur="1" tie="t"><note pname="c" oct="4"/><note pname="e" oct="4"/></chord>'),
            "C4@0+8 E4@0+8",
        ),
        (bar(tone(dur="1"), '<tie tstamp="1" tstamp2="1m+1" staff="1"/>') + bar(tone(dur="1")), "C4@0+8"),
        (bar("<mRest/>") + bar(tone(dur="1")), "C4@4+4"),
        (bar('<multiRest num="3"/>') + bar(tone(dur="1")), "C4@12+4"),
        (bar("<mSpace/>") + bar(tone(dur="1")), "C4@4+4"),
        (bar(tone() + "<space/>" + tone("d")), "C4@0+1 D4@3+1"),
        (bar(tone(dur="1")) + bar("<mRpt/>"), "C4@0+4 C4@4+4"),
        (bar(tone() + tone("d") + "<halfmRpt/>"), "C4@0+1 D4@1+1 C4@2+1 D4@3+1"),
        (bar(tone() + "<beatRpt/>" * 3), "C4@0+1 C4@1+1 C4@2+1 C4@3+1"),
        (bar(f"<fTrem unitdur='32'>{tone(dur='2')}{tone('e', '2')}</fTrem>"), "C4@0+1 E4@1+1"),
        (
            bar('<chord><note pname="c" oct="4" dur="2"/><note pname="e" oct="4" dur="2"/></chord>'),
            "C4@0+2 E4@0+2",
        ),
        (bar('<note pname="c" oct="4" dur="8"/><note pname="d" oct="4"/>'), "C4@0+0.5 D4@0.5+0.5"),
        (bar(f"<app><lem>{tone()}</lem><rdg>{tone('d') * 2}</rdg></app>{tone('e')}"), "C4@0+1 E4@1+1"),
        (bar(f"<app><rdg>{tone()}</rdg><rdg>{tone('d')}</rdg></app>"), "C4@0+1"),
        (bar(f"<choice><sic>{tone()}</sic><corr>{tone('d')}</corr></choice>"), "D4@0+1"),
        (bar(f"<choice><orig>{tone()}</orig><reg>{tone('d')}</reg></choice>"), "D4@0+1"),
        (bar(f"<supplied>{tone()}</supplied><del>{tone('d')}</del><add>{tone('e')}</add>"), "C4@0+1 E4@1+1"),
        (f'<measure><staff n="1">{tone()}</staff></measure>', "C4@0+1"),
        (bar('<note pname="c" oct="4" dur="4"><accid accid.ges="s"/></note>'), "C#4@0+1"),
        (bar(tone(attributes='accid="s"') + tone()) + bar(tone()), "C#4@0+1 C#4@1+1 C4@2+1"),
        (
            bar(tone(dur="1"), '<octave staff="1" dis="8" dis.place="above" tstamp="1" tstamp2="4"/>'),
            "C5@0+4",
        ),
        (
            bar(
                '<note pname="c" oct="4" oct.ges="5" dur="1"/>',
                '<octave staff="1" dis="8" dis.place="above" tstamp="1" tstamp2="4"/>',
            ),
            "C5@0+4",
        ),
        (bar(tone(dur="breve")), "C4@0+8"),
        (bar('<note pname="c" oct="4" dur="semibrevis"/>'), "C4@0+4"),
    ],
)
def test_constructs(section: str, expected: str) -> None:
    assert played(section) == expected


def test_key_signature_where_only_printed_accidentals_are_told() -> None:
    section = bar(tone("f") + tone("b"))
    assert played(section, 'key.sig="2s"') == "F#4@0+1 B4@1+1"
    assert played(section.replace("/></layer>", ' accid.ges="n"/></layer>'), 'key.sig="2s"').startswith("F4")


def test_transposing_staff() -> None:
    assert played(bar(tone("f")), "", 'trans.semi="-2" trans.diat="-1"') == "Eb4@0+1"
    assert played(bar(tone("f")), "", 'trans.semi="-2"') == "Eb4@0+1"


def test_changes_between_measures() -> None:
    change = '<staffDef n="1" clef.shape="F" clef.line="4" meter.count="3" meter.unit="4"/>'
    parsed = of(bar(tone(dur="1")) + change + bar("<mRest/>") + '<scoreDef key.sig="1f"/>' + bar(tone("b")))
    assert [(sign.onset, sign.beats) for sign in parsed.time_signatures] == [(0, 4), (4, 3)]
    assert parsed.notes.spelling == ("C4", "Bb4")
    assert parsed.notes.onset.tolist() == [0, 7]


def test_repeats_endings_and_movements() -> None:
    strain = bar(tone(), attributes='n="1" left="rptstart"')
    first = '<ending n="1">' + bar(tone("d"), attributes='n="2" right="rptend"') + "</ending>"
    second = '<ending n="2">' + bar(tone("e"), attributes='n="3"') + "</ending>"
    assert [m.number for m in of(strain + first + second).measures] == ["1", "2", "1", "3"]
    dacapo = bar(tone("g"), '<dir tstamp="1" staff="1">D.C. al Fine</dir>', 'n="5"')
    fine = bar(tone("f"), '<dir tstamp="4" staff="1">Fine</dir>', 'n="4"')
    movement = f"</section></score></mdiv><mdiv><score><section>{fine}{dacapo}"
    assert [m.number for m in of(strain + movement).measures] == ["1", "4", "5", "4"]


def section(id_: str, n: int, signs: str = "") -> str:
    return f'<section xml:id="{id_}">' + bar(tone(), attributes=f'n="{n}" {signs}') + "</section>"


def order_of(sections: str, **options: Any) -> list[str]:
    return [measure.number for measure in of(sections, **options).measures]


def test_an_expansion_spells_the_order_out() -> None:
    sections = section("a", 1, 'right="rptend"') + section("b", 2)
    ending = '<ending xml:id="c" n="2">' + bar(tone(), attributes='n="3"') + "</ending>"
    assert order_of('<expansion plist="#b #a c #nowhere #b"/>' + sections + ending) == ["2", "1", "3", "2"]
    assert order_of('<expansion plist="#nowhere"/>' + sections) == ["1", "1", "2"]
    assert order_of('<expansion plist="#b #a"/>' + sections, repeats=False) == ["1", "2"]
    parsed = of('<expansion plist="#b #a #b"/>' + sections)
    assert [id_.rpartition("-")[2] for id_ in parsed.notes.id] == ["1", "1", "2"]


def test_of_several_expansions_the_longest_is_followed() -> None:
    several = '<expansion plist="#a #b"/><expansion xml:id="x" plist="#a #b #a"/>'
    inner = f'<section xml:id="i">{several}{section("a", 1)}{section("b", 2)}</section>'
    assert order_of(inner) == ["1", "2", "1"]
    nested = '<expansion plist="#i #c #x"/>' + inner + section("c", 3)
    assert order_of(nested) == ["1", "2", "1", "3", "1", "2", "1"]


def test_movements_with_and_without_an_expansion() -> None:
    first = '<expansion plist="#b #a"/>' + section("a", 1) + section("b", 2)
    between = "</section></score></mdiv><mdiv><score><section>"
    repeated = bar(tone(), attributes='n="3" right="rptend"')
    assert order_of(repeated + between + first + between + repeated) == ["3", "3", "2", "1", "3", "3"]


def test_an_expansion_of_expansions_is_limited() -> None:
    lists = [f'<expansion xml:id="x{i}" plist="{f"#x{i - 1} " * 50 if i else "#a"}"/>' for i in range(9)]
    with pytest.raises(InputError, match=r"expansion plays more than 20,000 measures"):
        of("".join(lists) + section("a", 1))


def test_grace_notes() -> None:
    group = f'<graceGrp grace="acc">{tone("d", "8")}</graceGrp>'
    notes = of(bar(tone("b", "8", 'grace="unacc"') + tone() + group + tone())).notes
    assert notes.grace == ("acciaccatura", "", "appoggiatura", "")


def test_marks() -> None:
    controls = (
        '<trill tstamp="1" staff="1" accidupper="s"/><turn tstamp="2" staff="1" form="lower"/>'
        '<fermata tstamp="3" staff="1"/><gliss startid="#a" endid="#b"/>'
    )
    layer = tone() * 3 + tone("d", attributes='xml:id="a"') + tone("e", attributes='xml:id="b"')
    marks = [set(found) for found in of(bar(layer, controls)).notes.marks]
    assert marks == [
        {"trill-mark", "accidental-mark-sharp"},
        {"inverted-turn"},
        {"fermata"},
        {"glissando"},
        set(),
    ]


def test_an_upbeat_is_not_filled_by_a_measure_rest() -> None:
    staves = f'<staff n="1"><layer>{tone()}</layer></staff><staff n="2"><layer><mRest/></layer></staff>'
    parsed = of(f'<measure metcon="false">{staves}</measure>' + bar(tone("d", "1")))
    assert parsed.notes.onset.tolist() == [0, 1]


def test_a_copy_of_itself_ends() -> None:
    layer = '<beam xml:id="b"><beam copyof="#b"/><note pname="c" oct="4" dur="4"/></beam>'
    assert len(of(bar(layer)).notes) >= 1


DURATIONS = {"1": 4, "2": 2, "4": 1, "8": 0.5, "16": 0.25}
EVENTS = st.lists(
    st.tuples(
        st.sampled_from("cdefgab"), st.integers(2, 6), st.sampled_from(sorted(DURATIONS)), st.integers(-1, 1)
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_mei_and_musicxml_of_one_score_read_the_same(measures: list[list[tuple[str, int, str, int]]]) -> None:
    accid = {-1: "f", 0: "n", 1: "s"}
    as_mei = "".join(
        bar("".join(
            f'<note pname="{p}" oct="{o}" dur="{d}" accid.ges="{accid[a]}"/>' for p, o, d, a in events
        ))
        for events in measures
    )  # fmt: skip
    name = {-1: "b", 0: "", 1: "#"}
    as_musicxml = [
        "".join(note(f"{p.upper()}{name[a]}{o}", DURATIONS[d]) for p, o, d, a in events)
        for events in measures
    ]
    assert rows(of(as_mei)) == rows(parse(document(part(as_musicxml))))

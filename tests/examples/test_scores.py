"""The example scores: valid, full, balanced, and note by note what others have of the same music."""

from __future__ import annotations

import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from score_to_audio.formats.scores.partitura_bridge import import_partitura
from tests.paths import PROJECT
from tools.typeset import DIVISIONS, musicxml
from tools.typeset_pieces import PIECES
from tools.typeset_pieces.notation import Piece, measure

REPOSITORY = PROJECT
SCORES = REPOSITORY / "examples" / "scores"
SIZE_LIMIT = 150_000
"""Bytes."""

NOTE_CHILDREN = (
    "grace",
    "chord",
    "pitch",
    "rest",
    "duration",
    "tie",
    "voice",
    "type",
    "dot",
    "accidental",
    "time-modification",
    "staff",
    "beam",
    "notations",
)
"""In the order that the MusicXML schema demands."""
KEY_SHARPS, KEY_FLATS = "FCGDAEB", "BEADGCF"
ALTERS = {"double-sharp": 2, "sharp": 1, "natural": 0, "flat": -1, "flat-flat": -2}
SIGNS = {2: "##", 1: "#", 0: "", -1: "b", -2: "bb"}


@dataclass(frozen=True)
class Expected:
    """What is known of a piece apart from its note list. ``notes`` counts heads, ``sounding`` joins ties."""

    measures: int
    fifths: int
    time: str
    notes: int
    sounding: int
    lowest: str
    highest: str
    first: str
    last: str


EXPECTED = {
    "bach_prelude_bwv846": Expected(35, 0, "4/4", 617, 549, "C2", "A5", "C4", "C2 C3 E4 G4 C5"),
    "chopin_prelude_op28_no4": Expected(26, 1, "2/2", 602, 600, "E1", "C6", "B3", "E1 E2 E3 G3 B3 E4"),
    "chopin_prelude_op28_no7": Expected(17, 3, "3/4", 175, 168, "A1", "C#6", "E4", "A3 E4 A4 C#5 A5"),
    "chopin_prelude_op28_no20": Expected(
        13, -3, "4/4", 286, 286, "C1", "Eb5", "C2 C3 G3 C4 Eb4 G4", "C3 G3 C4 Eb4 G4 C5"
    ),
    "petzold_minuet_bwv_anh114": Expected(32, 1, "3/4", 204, 204, "G2", "B5", "G3 B3 D4 D5", "B3 D4 G4 G3"),
    "schumann_kinderszenen_op15_no1": Expected(22, 1, "2/4", 243, 240, "F#2", "G5", "G3 B3 B4", "G2 D3 B4"),
}


@dataclass(frozen=True)
class Found:
    """A notehead as the file has it; ``onset``, from the measure's beginning, and ``length`` in quarters."""

    measure: int
    staff: int
    voice: str
    onset: Fraction
    length: Fraction
    pitch: str
    element: Any

    @property
    def grace(self) -> bool:
        return self.element.find("grace") is not None

    def ties(self, kind: str) -> bool:
        return any(tie.get("type") == kind for tie in self.element.findall("tie"))


def parse(content: bytes) -> Any:
    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))


def pitch_name(pitch: Any) -> str:
    return pitch.findtext("step") + SIGNS[int(pitch.findtext("alter") or 0)] + pitch.findtext("octave")


def midi(name: str) -> int:
    alter = name.count("#") - name[1:].count("b")
    return (
        12 * (int(name[-1]) + 1) + {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]] + alter
    )


def walk(score: Any) -> Iterator[tuple[int, Fraction, Any]]:
    """Every child of every measure, with the measure's place and the position where the child begins."""
    for place, content in enumerate(score.find("part")):
        position = previous = Fraction(0)
        for element in content:
            duration = Fraction(int(element.findtext("duration") or 0), DIVISIONS)
            if element.tag == "backup":
                position -= duration
            elif element.find("chord") is not None:
                yield place, previous, element
            else:
                yield place, position, element
                previous = position
                position += duration


def noteheads(score: Any) -> list[Found]:
    return [
        Found(
            place,
            int(element.findtext("staff")),
            element.findtext("voice"),
            onset,
            Fraction(int(element.findtext("duration") or 0), DIVISIONS),
            pitch_name(element.find("pitch")),
            element,
        )
        for place, onset, element in walk(score)
        if element.tag == "note" and element.find("pitch") is not None
    ]


def lengths(piece: Piece) -> list[Fraction]:
    """Of the measures, in quarter notes."""
    full = Fraction(4 * piece.time[0], piece.time[1])
    return [Fraction(1) if piece.pickup and not place else full for place in range(len(piece.measures))]


def starts(piece: Piece) -> list[Fraction]:
    result = [Fraction(0)]
    for length in lengths(piece):
        result.append(result[-1] + length)
    return result


@pytest.fixture(params=PIECES, ids=lambda piece: piece.file)
def piece(request: pytest.FixtureRequest) -> Piece:
    return request.param


@pytest.fixture
def score(piece: Piece) -> Any:
    return parse((SCORES / f"{piece.file}.musicxml").read_bytes())


def test_the_folder_holds_the_pieces() -> None:
    names = {path.name for path in SCORES.iterdir()}
    assert names == {f"{piece.file}.musicxml" for piece in PIECES}
    assert {piece.file for piece in PIECES} == EXPECTED.keys()


def test_typesetting_again_gives_the_same_bytes(piece: Piece) -> None:
    path = SCORES / f"{piece.file}.musicxml"
    assert musicxml(piece) == path.read_bytes()
    assert path.stat().st_size < SIZE_LIMIT


def test_a_measure_that_is_not_full_is_refused(piece: Piece) -> None:
    short = measure(R1="C4/4 C4/32", L1="r/4 r/32")
    with pytest.raises(ValueError, match=r"measure 1, voice R1: 9/8 quarters"):
        musicxml(replace(piece, measures=(short,), pickup=False))


def test_the_header_says_what_it_is(piece: Piece, score: Any) -> None:
    assert score.tag == "score-partwise"
    assert score.get("version") == "4.0"
    assert score.findtext("work/work-title") == piece.title
    assert score.findtext("identification/creator") == piece.composer
    assert "CC0" in score.findtext("identification/rights")
    assert len(score.findall("part")) == 1
    assert score.findtext("part/measure/attributes/staves") == "2"


def test_notes_are_built_in_the_order_of_the_schema(score: Any) -> None:
    for note in score.iter("note"):
        places = [NOTE_CHILDREN.index(child.tag) for child in note]
        assert places == sorted(places), note.get("id")


def test_every_voice_fills_every_measure_without_overlap(piece: Piece, score: Any) -> None:
    spans: dict[tuple[int, str], list[tuple[Fraction, Fraction]]] = defaultdict(list)
    for place, onset, element in walk(score):
        if element.tag in ("note", "forward") and element.find("chord") is None:
            length = Fraction(int(element.findtext("duration") or 0), DIVISIONS)
            spans[place, element.findtext("voice")].append((onset, onset + length))
    expected = lengths(piece)
    for place in range(len(expected)):
        assert (place, "1") in spans
        assert (place, "5") in spans
    for (place, _voice), parts in spans.items():
        assert parts[0][0] == 0
        assert parts[-1][1] == expected[place]
        assert all(before[1] == after[0] for before, after in pairwise(parts))


def test_ids_are_unique_and_say_where_the_note_is(score: Any) -> None:
    identifiers = [note.get("id") for note in score.iter("note")]
    assert len(set(identifiers)) == len(identifiers)
    for content in score.iter("measure"):
        for note in content.findall("note"):
            hand = "R" if int(note.findtext("voice")) < 5 else "L"
            assert note.get("id").startswith(f"m{content.get('number')}{hand}")


def test_the_piece_is_what_is_known_of_it(piece: Piece, score: Any) -> None:
    known = EXPECTED[piece.file]
    found = noteheads(score)
    time = score.find("part/measure/attributes/time")
    assert f"{time.findtext('beats')}/{time.findtext('beat-type')}" == known.time
    assert int(score.findtext("part/measure/attributes/key/fifths")) == known.fifths
    assert len(score.findall("part/measure")) == known.measures
    assert len(found) == known.notes
    assert sum(not note.ties("stop") for note in found) == known.sounding
    assert min(found, key=lambda note: midi(note.pitch)).pitch == known.lowest
    assert max(found, key=lambda note: midi(note.pitch)).pitch == known.highest
    assert sounding_at(found, 0) == set(known.first.split())
    assert sounding_at(found, known.measures - 1) == set(known.last.split())


def sounding_at(notes: list[Found], place: int) -> set[str]:
    return {note.pitch for note in notes if note.measure == place and note.onset == 0}


OUTER_VOICES = [
    (
        "bach_prelude_bwv846",
        min,
        "C4 C4 B3 C4 C4 C4 B3 B3 A3 D3 G3 G3 F3 F3 E3 E3 D3 G2 C3 C3 F2 F#2 Ab2 G2 G2 G2 G2 G2 G2"
        " G2 G2 C2 C2 C2 C2",
    ),
    (
        "chopin_prelude_op28_no4",
        max,
        "B3 B4 B4 C5 B4 C5 B4 C5 B4 Bb4 A4 B4 A4 B4 A4 B4 A4 A4 G#4 G#4 A4 B4 D5 C5 E4 A4 F#4 A4"
        " F#4 A4 G4 F#4 C4 B3 D#4 F#4 D5 C5 B4 B4 C5 B4 C5 B4 C5 B4 A#4 A#4 G5 F#5 E5 E5 D#5 C6 D#5"
        " D#5 E5 G5 B4 D5 C5 E5 E4 A4 F#4 A4 F#4 A4 F#4 F#4 E4 E4 F#4 E4 F#4 E4 E4 D#4 E4",
    ),
    (
        "chopin_prelude_op28_no20",
        max,
        "G4 Ab4 G4 F4 Eb4 Eb4 F4 Eb4 Db4 C4 D4 E4 G4 F4 Eb4 D4 G4 B4 A4 G4"
        + 2 * " Eb5 Eb5 D5 D5 C5 D5 B4 A4 G4 C5 Ab4 G4 F4 Eb4 Eb4 F4 Eb4 D4 C4"
        + " C5",
    ),
    (
        "schumann_kinderszenen_op15_no1",
        max,
        2 * "B4 G5 F#5 E5 D5 "
        + "B4 G5 E5 D5 C5 A4 D5 B4 B4 C5 A4 B4 G4 A4 F#4 G4 E4 F#4 G4 A4 B4 C5"
        + " D5 G5 F#5 E5 D5 B4 G5 F#5 E5 D5 B4 G5 E5 D5 C5 A4 D5 B4",
    ),
]


@pytest.mark.parametrize(("name", "end", "line"), OUTER_VOICES, ids=[case[0] for case in OUTER_VOICES])
def test_an_outer_voice_is_the_known_one(name: str, end: Callable[..., str], line: str) -> None:
    """Bach's bass, one note to a measure, and the melodies of the others, note by note."""
    score = parse((SCORES / f"{name}.musicxml").read_bytes())
    chords: dict[tuple[int, Fraction], list[str]] = defaultdict(list)
    for note in noteheads(score):
        in_line = note.onset == 0 if end is min else note.voice == "1" and not note.grace
        if in_line:
            chords[note.measure, note.onset].append(note.pitch)
    assert [end(chords[place], key=midi) for place in sorted(chords)] == line.split()


def test_every_alteration_can_be_read_from_the_page(piece: Piece, score: Any) -> None:
    """Key signature and accidentals alone give back the pitches, staff by staff."""
    letters = KEY_SHARPS[: piece.fifths] if piece.fifths > 0 else KEY_FLATS[: -piece.fifths]
    in_key = dict.fromkeys(letters, 1 if piece.fifths > 0 else -1)
    written: dict[tuple[int, int, str], int] = {}
    for note in sorted(noteheads(score), key=lambda note: (note.measure, note.onset, not note.grace)):
        if note.onset == 0 and note.ties("stop"):
            continue
        step, octave = note.pitch[0], note.pitch[-1]
        place = (note.measure, note.staff, step + octave)
        accidental = note.element.findtext("accidental")
        if accidental:
            written[place] = ALTERS[accidental]
        alter = int(note.element.findtext("pitch/alter") or 0)
        assert written.get(place, in_key.get(step, 0)) == alter, note.element.get("id")


def test_ties_lead_to_the_same_pitch(piece: Piece, score: Any) -> None:
    begin = starts(piece)
    found = noteheads(score)
    ends = Counter((begin[n.measure] + n.onset + n.length, n.pitch) for n in found if n.ties("start"))
    targets = Counter((begin[n.measure] + n.onset, n.pitch) for n in found if n.ties("stop"))
    assert ends == targets
    for note in score.iter("note"):
        assert [t.get("type") for t in note.findall("tie")] == [
            t.get("type") for t in note.findall("notations/tied")
        ]


@pytest.mark.parametrize("kind", ["slur", "wedge", "pedal", "dashes", "tuplet"])
def test_what_begins_also_ends(kind: str, score: Any) -> None:
    begun: set[tuple[str | None, str | None]] = set()
    for element in score.iter(kind):
        voice = next(element.iterancestors("note", "direction")).findtext("voice")
        mark = (element.get("number"), voice if kind == "tuplet" else None)
        if element.get("type") == "stop":
            assert mark in begun
            begun.remove(mark)
        else:
            assert mark not in begun
            begun.add(mark)
    assert not begun


def test_beams_join_whole_groups(score: Any) -> None:
    open_beams: set[tuple[str, str]] = set()
    for note in score.iter("note"):
        for beam in note.findall("beam"):
            mark = (note.findtext("voice"), beam.get("number"))
            if beam.text in ("continue", "end"):
                assert mark in open_beams
            if beam.text == "begin":
                assert mark not in open_beams
                open_beams.add(mark)
            if beam.text == "end":
                open_beams.remove(mark)
    assert not open_beams


def test_hands_stay_within_reach(piece: Piece, score: Any) -> None:
    """None of these pieces asks a hand for more than a major tenth at once, in semitones 16."""
    together: dict[tuple[int, bool, Fraction], list[int]] = defaultdict(list)
    for note in noteheads(score):
        if not note.ties("stop"):
            together[note.measure, int(note.voice) < 5, note.onset].append(midi(note.pitch))
    spans = {place: max(pitches) - min(pitches) for place, pitches in together.items()}
    assert max(spans.values()) <= 16


def test_repeated_music_is_the_same() -> None:
    def music(name: str, first: int, last: int, shift: int = 0) -> list[tuple[Any, ...]]:
        score = parse((SCORES / f"{name}.musicxml").read_bytes())
        return sorted(
            (note.measure + shift, note.voice, note.onset, note.length, note.pitch)
            for note in noteheads(score)
            if first <= note.measure + 1 <= last
        )

    chopin, schumann = "chopin_prelude_op28_no20", "schumann_kinderszenen_op15_no1"
    assert music(chopin, 5, 8, shift=4) == music(chopin, 9, 12)
    assert music(schumann, 2, 7, shift=14) == music(schumann, 16, 21)


def test_the_phrases_of_the_a_major_prelude_share_their_rhythm() -> None:
    """Upbeat, dotted figure and three chords, eight times over; measure 0 holds the first upbeat."""
    score = parse((SCORES / "chopin_prelude_op28_no7.musicxml").read_bytes())
    onsets = defaultdict(set)
    for note in noteheads(score):
        if note.staff == 1 and not note.grace and not note.ties("stop"):
            onsets[note.measure].add(note.onset)
    odd = {Fraction(0), Fraction(3, 4), Fraction(1), Fraction(2)}
    assert all(onsets[place] == odd for place in range(1, 17, 2))
    assert all(onsets[place] == {Fraction(0), Fraction(2)} for place in range(2, 16, 2))


def test_partitura_reads_the_same_notes(piece: Piece, score: Any) -> None:
    partitura = import_partitura()
    parts = partitura.score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = partitura.load_musicxml(SCORES / f"{piece.file}.musicxml").parts[0]
    read = Counter(
        (note.id, note.step + SIGNS[note.alter or 0] + str(note.octave), note.staff)
        for note in part.iter_all(parts.Note, include_subclasses=True)
    )
    assert read == Counter((n.element.get("id"), n.pitch, n.staff) for n in noteheads(score))
    repeats = piece.file in ("petzold_minuet_bwv_anh114", "schumann_kinderszenen_op15_no1")
    assert len(list(part.iter_all(parts.Repeat))) == (2 if repeats else 0)


# Each line is a known difference from the typesetting of others: where, onset, pitch, length.
CHOPIN_TURN = [
    "16 1 A#4 1/2",
    "16 3/2 B4 1/8",
    "16 13/8 A#4 1/8",
    "16 7/4 G##4 1/8",
    "16 15/8 A#4 1/8",
]
OTHERS = [
    ("chopin_prelude_op28_no4", "chopin_prelude_op28_no4.mxl", CHOPIN_TURN, ["16 1 A#4 1"]),
    (
        "petzold_minuet_bwv_anh114",
        "bach-petzold_minuet_g_bwv_anh_114.mxl",
        ["7 0 B4 1", "7 1 A4 2"],
        ["7 0 A4 3", "7 0 B4 0"],
    ),
]


@pytest.mark.parametrize(("name", "other", "theirs", "ours"), OTHERS, ids=[other[0] for other in OTHERS])
def test_another_typesetting_has_the_same_notes(
    name: str, other: str, theirs: list[str], ours: list[str]
) -> None:
    """Save an ornament that the other writes out: Chopin's turn, and Petzold's long grace note."""
    corpus = Path(os.environ.get("SCORE_TO_AUDIO_CORPUS") or REPOSITORY.parent / "shared" / "data")
    path = corpus / "examples" / other
    if not path.is_file():
        pytest.skip(f"needs {other}, which is not in {corpus}: set SCORE_TO_AUDIO_CORPUS")
    here = Counter(
        f"{note.measure} {note.onset} {note.pitch} {note.length}"
        for note in noteheads(parse((SCORES / f"{name}.musicxml").read_bytes()))
    )
    there = notes_by_partitura(path)
    assert sorted((there - here).elements()) == sorted(theirs)
    assert sorted((here - there).elements()) == sorted(ours)


def notes_by_partitura(path: Path) -> Counter[str]:
    partitura = import_partitura()
    parts = partitura.score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = partitura.load_musicxml(path).parts[0]
    notes: Counter[str] = Counter()
    for place, content in enumerate(part.iter_all(parts.Measure)):
        for note in part.iter_all(parts.Note, content.start, content.end, include_subclasses=True):
            onset, end = (
                Fraction(
                    float(part.quarter_map(time.t) - part.quarter_map(content.start.t))
                ).limit_denominator(96)
                for time in (note.start, note.end)
            )
            length = 0 if isinstance(note, parts.GraceNote) else end - onset
            notes[f"{place} {onset} {note.step}{SIGNS[note.alter or 0]}{note.octave} {length}"] += 1
    return notes

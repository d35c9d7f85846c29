"""Writes examples/scores from the note lists in tools/typeset_pieces, as MusicXML 4.0.

    python -m tools.typeset [--output FOLDER]

The same lists always give the same bytes. A measure that is not full is an error.
"""

from __future__ import annotations

import argparse
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from tools.typeset_pieces import PIECES
from tools.typeset_pieces.notation import ARTICULATIONS, ORNAMENTS, Measure, Piece

OUTPUT = Path(__file__).parents[1] / "examples" / "scores"
DIVISIONS = 24
"""Per quarter note: exact for every duration that the lists use."""
DOCTYPE = (
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN"'
    ' "http://www.musicxml.org/dtds/partwise.dtd">'
)
TYPES = {1: "whole", 2: "half", 4: "quarter", 8: "eighth", 16: "16th", 32: "32nd"}
FLAGS = {"eighth": 1, "16th": 2, "32nd": 3}
VOICES = {"R1": 1, "R2": 2, "L1": 5, "L2": 6, "L3": 7}
"""Voice numbers in the file."""
ALTERS = {"bb": -2, "b": -1, "": 0, "#": 1, "##": 2}
ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}
SHARPS = "FCGDAEB"
"""The order in which a key signature raises the notes; it lowers them in the reverse."""

PITCH = r"[A-G](?:##|#|bb|b)?\d[!~]*"
NOTE = re.compile(
    rf"(?P<grace>[ag]:)?(?P<pitches>{PITCH}(?:\+{PITCH})*|r|s)/(?P<value>\d+)(?P<dots>\.*)(?P<triplet>t?)"
    r"(?P<slurs>[()\[\]]*)(?:@(?P<staff>[12]))?(?P<marks>(?::[a-z-]+)*)(?:\*(?P<times>\d+))?"
)
ONE_PITCH = re.compile(r"([A-G])(##|#|bb|b)?(\d)([!~]*)")


@dataclass(frozen=True)
class Pitch:
    step: str
    alter: int
    octave: int
    tied: bool
    forced: bool

    @property
    def sound(self) -> tuple[str, int, int]:
        return self.step, self.alter, self.octave


@dataclass
class Note:
    """A note, chord, rest (no pitches) or space, with what the passes over the measure find out about it.

    ``start`` and ``length`` count quarter notes; ``start`` from the beginning of the measure.
    """

    pitches: list[Pitch]
    type: str
    dots: int
    triplet: bool
    staff: int
    start: Fraction
    length: Fraction
    grace: str = ""
    space: bool = False
    slurs: str = ""
    marks: list[str] = field(default_factory=list)
    beams: list[str] = field(default_factory=list)
    tuplet: list[str] = field(default_factory=list)
    accidentals: dict[Pitch, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Direction:
    """What is written between two notes of a voice, without the backslash."""

    text: str


Voice = list[Note | Direction]


def read_pitch(match: re.Match[str]) -> Pitch:
    step, alter, octave, extra = match.groups()
    return Pitch(step, ALTERS[alter or ""], int(octave), "~" in extra, "!" in extra)


def read_note(token: str, staff: int, start: Fraction) -> Iterator[Note]:
    match = NOTE.fullmatch(token)
    if match is None:
        raise ValueError(f"not a note: {token!r}")
    dots = len(match["dots"])
    length = Fraction(4, int(match["value"])) * (2 - Fraction(1, 2**dots))
    if match["triplet"]:
        length = length * 2 / 3
    note = Note(
        pitches=[read_pitch(found) for found in ONE_PITCH.finditer(match["pitches"])],
        type=TYPES[int(match["value"])],
        dots=dots,
        triplet=bool(match["triplet"]),
        staff=int(match["staff"] or staff),
        start=start,
        length=Fraction(0) if match["grace"] else length,
        grace=(match["grace"] or "")[:1],
        space=match["pitches"] == "s",
        slurs=match["slurs"],
        marks=match["marks"].split(":")[1:],
    )
    for repetition in range(int(match["times"] or 1)):
        yield replace(note, start=start + repetition * length, beams=[], tuplet=[], accidentals={})


def read_voice(name: str, line: str) -> Voice:
    staff = 1 if name.startswith("R") else 2
    voice: Voice = []
    position = Fraction(0)
    for token in line.split():
        if token.startswith("\\"):
            voice.append(Direction(token[1:]))
            continue
        for note in read_note(token, staff, position):
            voice.append(note)
            position += note.length
    return voice


def notes_of(voice: Voice) -> list[Note]:
    return [item for item in voice if isinstance(item, Note)]


def check_full(voices: dict[str, Voice], length: Fraction, place: str) -> None:
    for name, voice in voices.items():
        found = sum((note.length for note in notes_of(voice)), Fraction(0))
        if found != length:
            raise ValueError(f"{place}, voice {name}: {found} quarters instead of {length}")


def join_beams(voice: Voice, unit: Fraction) -> None:
    """Join neighbours shorter than a quarter within each group of ``unit`` quarters."""
    groups: list[list[Note]] = [[]]
    for note in notes_of(voice):
        if note.grace:
            continue
        joins = bool(note.pitches) and note.type in FLAGS
        if groups[-1] and (not joins or groups[-1][0].start // unit != note.start // unit):
            groups.append([])
        if joins:
            groups[-1].append(note)
    for group in groups:
        if len(group) > 1:
            beam_group(group)


def beam_group(group: list[Note]) -> None:
    for level in range(1, 1 + max(FLAGS[note.type] for note in group)):
        has = [FLAGS[note.type] >= level for note in group]
        for place, note in enumerate(group):
            if not has[place]:
                continue
            before = place > 0 and has[place - 1]
            after = place + 1 < len(group) and has[place + 1]
            alone = "backward hook" if place else "forward hook"
            note.beams.append(
                "continue" if before and after else "end" if before else "begin" if after else alone
            )


def mark_tuplets(voice: Voice) -> None:
    """Triplets fill one quarter each."""
    groups: dict[int, list[Note]] = {}
    for note in notes_of(voice):
        if note.triplet and not note.space:
            groups.setdefault(int(note.start), []).append(note)
    for group in groups.values():
        group[0].tuplet.append("start")
        group[-1].tuplet.append("stop")


def key_alter(step: str, fifths: int) -> int:
    if fifths > 0:
        return int(step in SHARPS[:fifths])
    return -int(step in SHARPS[7 + fifths :]) if fifths else 0


def mark_accidentals(voices: dict[str, Voice], fifths: int, tied_in: set[tuple[str, int, int]]) -> None:
    """Give each note the accidental that it needs: those of a measure hold for its staff and octave."""
    written: dict[tuple[int, str, int], int] = {}
    everything = [note for voice in voices.values() for note in notes_of(voice)]
    for note in sorted(everything, key=lambda note: (note.start, not note.grace)):
        for pitch in note.pitches:
            if note.start == 0 and pitch.sound in tied_in:
                continue
            place = (note.staff, pitch.step, pitch.octave)
            if pitch.forced or written.get(place, key_alter(pitch.step, fifths)) != pitch.alter:
                note.accidentals[pitch] = ACCIDENTALS[pitch.alter]
            written[place] = pitch.alter


class Writer:
    """Writes one piece; remembers the open ties and slurs, and the clefs."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self.time = Fraction(0)
        self.ties: set[tuple[tuple[str, int, int], Fraction]] = set()
        self.slurs: dict[tuple[str, str], int] = {}
        self.clefs = {1: piece.upper_clef, 2: "F4"}

    def score(self) -> Element:
        piece = self.piece
        root = Element("score-partwise", version="4.0")
        work = SubElement(root, "work")
        add(work, "work-number", piece.number)
        add(work, "work-title", piece.title)
        identification = SubElement(root, "identification")
        SubElement(identification, "creator", type="composer").text = piece.composer
        add(identification, "rights", "CC0 1.0 Universal (public domain)")
        encoding = SubElement(identification, "encoding")
        add(encoding, "software", "score-to-audio tools/typeset.py")
        for element in ("accidental", "beam"):
            SubElement(encoding, "supports", element=element, type="yes")
        SubElement(encoding, "supports", element="stem", type="no")
        source = f"after the text of {piece.source}, typeset for score-to-audio"
        add(identification, "source", source)
        score_part = SubElement(SubElement(root, "part-list"), "score-part", id="P1")
        add(score_part, "part-name", "Piano")
        part = SubElement(root, "part", id="P1")
        for number, content in enumerate(piece.measures, start=0 if piece.pickup else 1):
            self.measure(part, number, content)
        return root

    def measure(self, part: Element, number: int, content: Measure) -> None:
        piece = self.piece
        first = len(part) == 0
        last = len(part) == len(piece.measures) - 1
        implicit = first and piece.pickup
        voices = {name: read_voice(name, line) for name, line in content.voices.items()}
        length = Fraction(1 if implicit else piece.quarters).limit_denominator(64)
        check_full(voices, length, f"{piece.file}, measure {number}")
        for voice in voices.values():
            join_beams(voice, Fraction(piece.beam).limit_denominator(64))
            mark_tuplets(voice)
        mark_accidentals(voices, piece.fifths, {sound for sound, end in self.ties if end == self.time})

        element = SubElement(part, "measure", number=str(number))
        if implicit:
            element.set("implicit", "yes")
        if content.repeat_starts:
            add_barline(element, "left", "heavy-light", "forward")
        if first:
            self.attributes(element)
            self.opening_tempo(element)
        for place, (name, voice) in enumerate(voices.items()):
            if place:
                duration = SubElement(SubElement(element, "backup"), "duration")
                duration.text = str(int(length * DIVISIONS))
            self.voice(element, number, name, voice)
        if content.repeat_ends:
            add_barline(element, "right", "light-heavy", "backward")
        elif last:
            add_barline(element, "right", "light-heavy", None)
        self.time += length

    def attributes(self, measure: Element) -> None:
        piece = self.piece
        attributes = SubElement(measure, "attributes")
        add(attributes, "divisions", DIVISIONS)
        key = SubElement(attributes, "key")
        add(key, "fifths", piece.fifths)
        add(key, "mode", piece.mode)
        time = SubElement(attributes, "time")
        if piece.time_symbol:
            time.set("symbol", piece.time_symbol)
        add(time, "beats", piece.time[0])
        add(time, "beat-type", piece.time[1])
        add(attributes, "staves", 2)
        for staff, clef in self.clefs.items():
            add_clef(attributes, staff, clef)

    def opening_tempo(self, measure: Element) -> None:
        piece = self.piece
        if not piece.words and not piece.metronome:
            SubElement(measure, "sound", tempo=str(piece.tempo))
            return
        direction = SubElement(measure, "direction", placement="above")
        if piece.words:
            add_words(direction, piece.words, bold=True)
        if piece.metronome:
            metronome = SubElement(SubElement(direction, "direction-type"), "metronome")
            add(metronome, "beat-unit", "quarter")
            add(metronome, "per-minute", piece.tempo)
        add(direction, "staff", 1)
        SubElement(direction, "sound", tempo=str(piece.tempo))

    def voice(self, measure: Element, number: int, name: str, voice: Voice) -> None:
        staff = 1 if name.startswith("R") else 2
        count = 0
        for item in voice:
            if isinstance(item, Direction) and item.text.startswith("clef:"):
                self.clef(measure, staff, item.text.removeprefix("clef:"))
            elif isinstance(item, Direction):
                add_direction(measure, item.text, VOICES[name], staff)
            elif item.space:
                forward = SubElement(measure, "forward")
                add(forward, "duration", int(item.length * DIVISIONS))
                add(forward, "voice", VOICES[name])
                add(forward, "staff", staff)
            else:
                count += 1
                self.note(measure, f"m{number}{name}n{count}", name, item)

    def clef(self, measure: Element, staff: int, clef: str) -> None:
        if clef != self.clefs[staff]:
            self.clefs[staff] = clef
            add_clef(SubElement(measure, "attributes"), staff, clef)

    def note(self, measure: Element, identifier: str, name: str, note: Note) -> None:
        """Write a rest, or every note of a chord, with the slurs and marks at the first."""
        for place, pitch in enumerate(note.pitches or [None]):
            letter = chr(ord("a") + place) if len(note.pitches) > 1 else ""
            element = SubElement(measure, "note", id=identifier + letter)
            if note.grace:
                SubElement(element, "grace", slash="yes" if note.grace == "a" else "no")
            if place:
                SubElement(element, "chord")
            add_pitch(element, pitch)
            if not note.grace:
                add(element, "duration", int(note.length * DIVISIONS))
            ties = self.tie(note, pitch) if pitch else []
            for kind in ties:
                SubElement(element, "tie", type=kind)
            add(element, "voice", VOICES[name])
            add(element, "type", note.type)
            for _ in range(note.dots):
                SubElement(element, "dot")
            if pitch in note.accidentals:
                add(element, "accidental", note.accidentals[pitch])
            if note.triplet:
                modification = SubElement(element, "time-modification")
                add(modification, "actual-notes", 3)
                add(modification, "normal-notes", 2)
            add(element, "staff", note.staff)
            if not place:
                for level, beam in enumerate(note.beams, start=1):
                    SubElement(element, "beam", number=str(level)).text = beam
            self.notations(element, name, note, ties, first=not place)

    def tie(self, note: Note, pitch: Pitch) -> list[str]:
        """Of ``stop`` and ``start``, what holds for this pitch; remembers when the new tie ends."""
        start = self.time + note.start
        kinds = []
        if (pitch.sound, start) in self.ties and not note.grace:
            self.ties.discard((pitch.sound, start))
            kinds.append("stop")
        if pitch.tied:
            self.ties.add((pitch.sound, start + note.length))
            kinds.append("start")
        return kinds

    def notations(self, element: Element, name: str, note: Note, ties: list[str], first: bool) -> None:
        notations = Element("notations")
        for kind in ties:
            SubElement(notations, "tied", type=kind)
        if first:
            for sign in note.slurs:
                self.slur(notations, name, sign)
            for kind in note.tuplet:
                tuplet = SubElement(notations, "tuplet", type=kind)
                if kind == "start":
                    shown = "actual" if self.piece.tuplet_numbers else "none"
                    tuplet.attrib.update({"bracket": "no", "show-number": shown})
            add_marks(notations, note.marks)
        if len(notations):
            element.append(notations)

    def slur(self, notations: Element, name: str, sign: str) -> None:
        """Number a slur by the lowest number that no open slur has."""
        level = "1" if sign in "()" else "2"
        if sign in "([":
            number = next(n for n in range(1, 7) if n not in self.slurs.values())
            self.slurs[name, level] = number
            SubElement(notations, "slur", type="start", number=str(number))
        else:
            number = self.slurs.pop((name, level))
            SubElement(notations, "slur", type="stop", number=str(number))


def add(parent: Element, tag: str, text: object) -> Element:
    element = SubElement(parent, tag)
    element.text = str(text)
    return element


def add_pitch(note: Element, pitch: Pitch | None) -> None:
    if pitch is None:
        SubElement(note, "rest")
        return
    element = SubElement(note, "pitch")
    add(element, "step", pitch.step)
    if pitch.alter:
        add(element, "alter", pitch.alter)
    add(element, "octave", pitch.octave)


def add_marks(notations: Element, marks: list[str]) -> None:
    ornaments = [mark for mark in marks if mark in ORNAMENTS]
    articulations = [mark for mark in marks if mark in ARTICULATIONS]
    if ornaments:
        parent = SubElement(notations, "ornaments")
        for mark in ornaments:
            SubElement(parent, mark)
        if "below-double-sharp" in marks:
            add(parent, "accidental-mark", "double-sharp").set("placement", "below")
    if articulations:
        parent = SubElement(notations, "articulations")
        for mark in articulations:
            SubElement(parent, mark)
    if "fermata" in marks:
        SubElement(notations, "fermata", type="upright")
    unknown = set(marks) - {*ORNAMENTS, *ARTICULATIONS, "fermata", "below-double-sharp"}
    if unknown:
        raise ValueError(f"unknown marks: {sorted(unknown)}")


def add_clef(attributes: Element, staff: int, clef: str) -> None:
    element = SubElement(attributes, "clef", number=str(staff))
    add(element, "sign", clef[0])
    add(element, "line", clef[1])


def add_words(direction: Element, words: str, bold: bool = False) -> None:
    style = {"font-weight": "bold"} if bold else {"font-style": "italic"}
    SubElement(SubElement(direction, "direction-type"), "words", style).text = words.replace("_", " ")


def add_direction(measure: Element, text: str, voice: int, staff: int) -> None:
    kind, _, words = text.partition(":")
    above = kind in ("T", "tempo", "dashes", "enddashes")
    direction = SubElement(measure, "direction", placement="above" if above else "below")
    tempo = ""
    if kind in ("t", "T"):
        add_words(direction, words)
    elif kind == "tempo":
        words, _, tempo = words.partition("=")
        add_words(direction, words, bold=True)
    elif kind in ("dashes", "enddashes"):
        stop = kind == "enddashes"
        direction_type = SubElement(direction, "direction-type")
        SubElement(direction_type, "dashes", type="stop" if stop else "start", number="1")
    elif kind in ("<", ">", "!"):
        wedge = {"<": "crescendo", ">": "diminuendo", "!": "stop"}[kind]
        SubElement(SubElement(direction, "direction-type"), "wedge", type=wedge, number="1")
    elif kind in ("ped", "*"):
        pedal = "start" if kind == "ped" else "stop"
        SubElement(SubElement(direction, "direction-type"), "pedal", type=pedal, line="no", sign="yes")
    elif kind in ("pp", "p", "f", "ff"):
        SubElement(SubElement(SubElement(direction, "direction-type"), "dynamics"), kind)
    else:
        raise ValueError(f"unknown direction: {text!r}")
    add(direction, "voice", voice)
    add(direction, "staff", staff)
    if tempo:
        SubElement(direction, "sound", tempo=tempo)


def add_barline(measure: Element, location: str, style: str, repeat: str | None) -> None:
    barline = SubElement(measure, "barline", location=location)
    add(barline, "bar-style", style)
    if repeat:
        SubElement(barline, "repeat", direction=repeat)


def on_one_line(element: Element) -> None:
    for inner in element.iter():
        if len(inner):
            inner.text = None
        if inner is not element:
            inner.tail = None


def musicxml(piece: Piece) -> bytes:
    """The whole file of a piece."""
    root = Writer(piece).score()
    ET.indent(root, " ")
    for measure in root.iter("measure"):
        for element in measure:
            on_one_line(element)
    body = ET.tostring(root, encoding="unicode", short_empty_elements=True)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{DOCTYPE}\n{body}\n'.encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for piece in PIECES:
        path = output / f"{piece.file}.musicxml"
        path.write_bytes(musicxml(piece))
        print(f"{path}: {path.stat().st_size // 1024} kB, {len(piece.measures)} measures")


if __name__ == "__main__":
    main()

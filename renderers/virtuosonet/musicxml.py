"""VirtuosoNet's MusicXML reader: from a document tree to parts with their measures in playing order.

The model has a reader of its own because its features depend on details that a general reader drops (beams
that stay open, the order in which repeats unfold, directions at their position in the file). One state is
shared by the whole document; positions count divisions from the start of the unrolled part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from renderers.ornaments import SEMITONES
from renderers.virtuosonet import official
from renderers.virtuosonet.notation import (
    Compatibility,
    PlaybackTempo,
    PlayedMeasure,
    XmlDirection,
    XmlDocument,
    XmlMeasure,
    XmlNote,
    XmlPart,
    XmlTimeSignature,
)
from score_to_audio.errors import InputError

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

MAX_DIVISIONS = 10**9
"""Of a quarter note, so that positions in a piece stay exact in float64."""

OTHER_DYNAMICS = {
    **{"Piano": "p", "Forte": "f", "Mezzo": "m", "Sforzando": "sf"},
    **{"Rinforzando": "r", "Niente": "n", "Z": "z"},
}
"""Name of a SMuFL glyph in <other-dynamics> (``<sym>dynamicPiano</sym>``) -> letters."""


@dataclass(slots=True)
class _ReaderState:
    """The state of the reader, shared by all parts."""

    divisions: int = 1
    written_divisions: int = 1
    """As in the file, before conversion to a common unit."""
    common_divisions: int | None = None
    """Unit of all positions; None leaves them as written."""
    qpm: float = 120.0
    position: float = 0
    seconds: float = 0.0
    transpose: int = 0
    fifths: int = 0
    beam_start: bool = False
    beam_continue: bool = False
    beam_stop: bool = False
    chord_index: int = 0
    previous: XmlNote | None = None
    first_ending_discontinues: bool = False

    def scaled(self, written: float) -> float:
        if self.common_divisions is None:
            return written
        value = Fraction(written) * self.common_divisions / self.written_divisions
        return int(value) if value.denominator == 1 else float(value)

    def advance(self, duration: float) -> None:
        self.position += duration
        self.seconds += duration / self.divisions * 60 / self.qpm


def read_document(
    root: Element,
    *,
    name: str,
    order: Sequence[PlayedMeasure] | None = None,
    compatibility: Compatibility = "none",
) -> XmlDocument:
    """The parts of a <score-partwise> tree, unrolled. ``name``: of the score in errors.

    ``order``: the measures as they are played; None: repeats are unrolled as by the published code.
    Raises ``InputError`` for other documents and for invalid numbers.
    """
    _drop_namespace(root)
    if root.tag != "score-partwise":
        raise InputError(
            f"{name}: holds <{root.tag}> instead of <score-partwise>; export it as MusicXML again"
        )
    parts = root.findall("part")
    try:
        common_divisions = _common_divisions(parts, compatibility)
    except ValueError as error:
        raise InputError(f"{name}: its divisions cannot be used ({error}); export the score again") from error
    state = _ReaderState(common_divisions=common_divisions)
    reader = _Reader(name, compatibility)
    unrolled = []
    for part in parts:
        state.position, state.seconds, state.transpose = 0, 0.0, 0
        if order is None:
            measures = official.unrolled_measures(part.findall("measure"), state, reader.measure, name)
        else:
            measures = reader.in_order(part, order, state)
        _number_passes(measures)
        unrolled.append(XmlPart(measures))
    if not any(note.pitch is not None for part in unrolled for m in part.measures for note in m.notes):
        raise InputError(f"{name}: has no notes with a pitch; is it the right file?")
    return XmlDocument(unrolled, state.qpm, state.divisions)


def _number_passes(measures: Sequence[XmlMeasure]) -> None:
    passes: Counter[int] = Counter()
    for measure in measures:
        passes[measure.written_index] += 1
        for note in measure.notes:
            note.pass_number = passes[measure.written_index]


def _drop_namespace(root: Element) -> None:
    if "}" in root.tag:
        for element in root.iter("{*}*"):
            element.tag = element.tag.rpartition("}")[2]


def _common_divisions(parts: list[Element], compatibility: Compatibility) -> int | None:
    written = {_divisions(element) for part in parts for element in part.iter("divisions")}
    if len(written) <= 1 or (len(parts) == 1 and compatibility == "official"):
        return None
    common = math.lcm(*written)
    if common > MAX_DIVISIONS:
        raise ValueError(f"the least common multiple of {len(written)} different ones is {common}")
    return common


def _divisions(element: Element) -> int:
    value = _number(element.text, 1)
    return int(value) if value >= 1 else 1


def _number(text: str | None, default: float) -> float:
    """The number in an element's text: int where it is one."""
    if text is None or not text.strip():
        return default
    value = float(text)
    if not math.isfinite(value) or abs(value) > 1e9:
        raise ValueError(f"{text.strip()} is out of range")
    return int(value) if value.is_integer() else value


def _whole(text: str | None, default: int) -> int:
    return int(_number(text, default))


class _Reader:
    """Reads the measures of one document."""

    def __init__(self, name: str, compatibility: Compatibility) -> None:
        self.name = name
        self.compatibility = compatibility

    def in_order(
        self, part: Element, order: Sequence[PlayedMeasure], state: _ReaderState
    ) -> list[XmlMeasure]:
        """The measures of a part in the given order, each at its given onset."""
        elements = part.findall("measure")
        measures: list[XmlMeasure] = []
        for played in order:
            if played.written < len(elements):
                divisions = self._divisions_at(elements[played.written], state)
                onset = played.onset * divisions
                state.position = round(onset) if abs(onset - round(onset)) < 1e-6 * divisions else onset
                element = elements[played.written]
                measures.append(self.measure(element, played.written, len(measures) + 1, state))
        return measures

    @staticmethod
    def _divisions_at(element: Element, state: _ReaderState) -> int:
        """Divisions at the start of a measure."""
        written = element.find("attributes/divisions")
        return state.common_divisions or (state.divisions if written is None else _divisions(written))

    # ----------------------------------------------------------------------------------- measures

    def measure(self, element: Element, written_index: int, number: int, state: _ReaderState) -> XmlMeasure:
        """A measure from the state's position on. ``number``: 1-based index in playing order."""
        measure = XmlMeasure(state.position, written_index, is_implicit=element.get("implicit") is not None)
        children = list(element)
        lonely_forward = self._lonely_forward(children)
        try:
            for child in children:
                if child.tag == "note":
                    self._append_note(measure, child, number, state)
                elif child.tag == "backup":
                    state.advance(-state.scaled(_number(child.findtext("duration"), 0)))
                elif child.tag == "forward" and child is not lonely_forward:
                    state.advance(state.scaled(_number(child.findtext("duration"), 0)))
                elif child.tag == "direction":
                    self._direction(measure, child, state)
                elif child.tag == "attributes":
                    self._attributes(measure, child, state)
                elif child.tag == "barline":
                    self._barline(measure, child, state)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            shown = element.get("number", str(written_index + 1))
            raise InputError(
                f"{self.name}: measure {shown} has an invalid number ({error}); export the score again"
            ) from error
        if lonely_forward is not None:
            rest = XmlNote(
                "", 1, state.position, state.scaled(_number(lonely_forward.findtext("duration"), 0))
            )
            rest.divisions, rest.measure_number = state.divisions, number
            state.advance(rest.duration)
            measure.notes.append(rest)
        return measure

    @staticmethod
    def _lonely_forward(children: list[Element]) -> Element | None:
        """The only <forward> of a measure without notes, which counts as a rest."""
        if any(child.tag == "note" for child in children):
            return None
        forwards = [child for child in children if child.tag == "forward"]
        return forwards[0] if len(forwards) == 1 else None

    def _attributes(self, measure: XmlMeasure, element: Element, state: _ReaderState) -> None:
        for child in element:
            if child.tag == "divisions":
                state.written_divisions = _divisions(child)
                state.divisions = state.common_divisions or state.written_divisions
            elif child.tag == "key":
                state.fifths = _whole(child.findtext("fifths"), 0)
            elif child.tag == "time" and measure.time_signature is None:
                measure.time_signature = self._time_signature(child, state)
            elif child.tag == "transpose":
                octaves = _whole(child.findtext("octave-change"), 0)
                state.transpose = _whole(child.findtext("chromatic"), 0) + 12 * octaves

    @staticmethod
    def _time_signature(element: Element, state: _ReaderState) -> XmlTimeSignature | None:
        """Composite meters (3+2, or 2/4 + 3/8) are summed."""
        symbol = element.get("symbol")
        beats = [
            [_whole(number, 0) for number in (b.text or "").split("+")] for b in element.findall("beats")
        ]
        beat_types = [_whole(b.text, 4) for b in element.findall("beat-type")]
        if symbol == "cut":
            numerator, denominator = 2, 2
        elif symbol == "common":
            numerator, denominator = 4, 4
        elif beats and len(beats) == len(beat_types) and min(beat_types) > 0:
            denominator = math.lcm(*beat_types)
            numerator = sum(
                sum(group) * denominator // beat_type
                for group, beat_type in zip(beats, beat_types, strict=True)
            )
        else:
            return None
        if numerator <= 0:
            return None
        return XmlTimeSignature(state.position, numerator, denominator, state.divisions, state.seconds)

    @staticmethod
    def _barline(measure: XmlMeasure, element: Element, state: _ReaderState) -> None:
        for child in element:
            if child.tag == "repeat":
                measure.repeat = child.get("direction", "")
            elif child.tag == "ending" and child.get("number") == "1":
                kind = child.get("type")
                if kind == "start":
                    measure.first_ending_starts = True
                elif kind == "stop":
                    measure.first_ending_stops = True
                elif kind == "discontinue":
                    state.first_ending_discontinues = True

    # --------------------------------------------------------------------------------- directions

    def _direction(self, measure: XmlMeasure, element: Element, state: _ReaderState) -> None:
        first_type = element.find("direction-type")
        if first_type is not None:
            direction = _direction_of(first_type, state.position)
            direction.staff = _whole(element.findtext("staff"), 1)
            direction.placement = element.get("placement", "")
            measure.directions.append(direction)
            if (
                direction.kind == "bracket"
                and direction.content == "stop"
                and state.first_ending_discontinues
            ):
                measure.first_ending_stops = True
                state.first_ending_discontinues = False
        for sound in element.findall("sound"):
            if sound.get("tempo") is not None:
                qpm = float(_number(sound.get("tempo"), 120))
                state.qpm = qpm if qpm > 0 else 120.0
                divisions = state.divisions
                if self.compatibility == "official":
                    divisions = state.written_divisions
                measure.tempos.append(PlaybackTempo(state.position, state.qpm, divisions))
            elif sound.get("dacapo") is not None:
                measure.is_dacapo = True
            elif sound.get("fine") is not None:
                measure.is_fine = True

    # -------------------------------------------------------------------------------------- notes

    def _append_note(self, measure: XmlMeasure, element: Element, number: int, state: _ReaderState) -> None:
        note = XmlNote(element.get("id", ""), 1, state.position, divisions=state.divisions)
        note.measure_number, note.fifths = number, state.fifths
        note.is_hidden = element.get("print-object") == "no"
        is_chord = False
        for child in element:
            tag = child.tag
            if tag == "pitch":
                _read_pitch(note, child, state.transpose)
            elif tag == "duration":
                note.duration = state.scaled(_number(child.text, 0))
            elif tag == "voice":
                note.voice = _voice(child.text)
            elif tag == "staff":
                note.staff = _whole(child.text, 1)
            elif tag == "chord":
                is_chord = True
            elif tag == "beam":
                _read_beam(note, child.text, state)
            elif tag == "notations":
                _read_notations(note, child)
            elif tag == "grace":
                note.is_grace = True
                note.is_slash = child.get("slash") == "yes"
            elif tag == "cue":
                note.is_cue = True
        if note.is_grace:
            note.duration = 0
        if is_chord and state.previous is not None:
            state.chord_index += 1
            note.position, note.duration = state.previous.position, state.previous.duration
            # The state's flags are set by any beam and never cleared; the weights were trained with this.
            note.beam_start, note.beam_continue = state.beam_start, state.beam_continue
            note.beam_stop = state.beam_stop
        else:
            state.chord_index = 0
            state.advance(note.duration)
        note.chord_index = state.chord_index
        state.previous = note
        measure.notes.append(note)


def _voice(text: str | None) -> int:
    try:
        return _whole(text, 1)
    except ValueError:  # MusicXML allows any text
        return 1


def _read_pitch(note: XmlNote, element: Element, transpose: int) -> None:
    step = (element.findtext("step") or "").strip()
    if step not in SEMITONES:
        raise ValueError(f"step {step!r}")
    note.step, note.alter = step, int(_number(element.findtext("alter"), 0))
    octave = _whole(element.findtext("octave"), 4)
    note.pitch = 12 * (octave + 1) + SEMITONES[step] + note.alter + transpose


def _read_beam(note: XmlNote, value: str | None, state: _ReaderState) -> None:
    if name := {"begin": "beam_start", "continue": "beam_continue", "end": "beam_stop"}.get(value or ""):
        setattr(note, name, True)
        setattr(state, name, True)


def _read_notations(note: XmlNote, notations: Element) -> None:
    for child in notations:
        tag = child.tag
        if tag == "articulations":
            if len(child):
                _read_articulation(note, child[0].tag)
        elif tag == "slur":
            note.slurs.append((child.get("type", ""), child.get("number", "1")))
        elif tag == "tied":
            note.tied_start |= child.get("type") == "start"
            note.tied_stop |= child.get("type") == "stop"
        elif tag == "fermata":
            note.is_fermata = True
        elif tag == "arpeggiate":
            note.is_arpeggiate = True
        elif tag == "ornaments":
            _read_ornaments(note, child)


def _read_articulation(note: XmlNote, tag: str) -> None:
    """``tag``: the first mark of an <articulations> element; the model ignores the others."""
    if tag in ("accent", "staccato", "tenuto", "strong-accent", "arpeggiate", "fermata"):
        setattr(note, f"is_{tag.replace('-', '_')}", True)


ACCIDENTAL_MARKS = {"sharp": 1, "flat": -1, "natural": 0, "double-sharp": 2, "flat-flat": -2}


def _read_ornaments(note: XmlNote, ornaments: Element) -> None:
    for child in ornaments:
        if child.tag == "trill-mark":
            note.is_trill = True
        elif child.tag == "wavy-line":
            note.wavy_lines.append((child.get("type", ""), child.get("number", "1")))
        elif child.tag == "accidental-mark":
            note.trill_alter = ACCIDENTAL_MARKS.get((child.text or "").strip())


def _direction_of(element: Element, position: float) -> XmlDirection:
    """The mark of a <direction-type>; several words are joined."""
    direction = XmlDirection(position, "", "")
    for child in element:
        tag = child.tag
        if tag == "dynamics":
            if len(child):
                direction.kind, direction.content = _dynamic_of(child[0])
        elif tag == "words":
            direction.kind = "words"
            direction.content += child.text or ""
        else:
            direction.kind, direction.content = tag, child.get("type", "")
            direction.number = child.get("number", "1")
            if tag == "wedge" and direction.content in ("crescendo", "diminuendo"):
                direction.kind, direction.content = direction.content, "start"
    return direction


def _dynamic_of(mark: Element) -> tuple[str, str]:
    """Kind and content of a child element of <dynamics>."""
    if mark.tag != "other-dynamics" or not mark.text:
        return "dynamic", mark.tag
    text = mark.text
    for name, letters in OTHER_DYNAMICS.items():
        text = text.replace(f"<sym>dynamic{name}</sym>", letters)
    return "words", text

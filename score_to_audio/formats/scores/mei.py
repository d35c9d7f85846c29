"""MEI document -> MusicXML document, which ``musicxml.py`` reads.

MusicXML's reader knows how repeats, ties, ornaments, tempo and pedal are played; what is left here is what
MEI says in another way. Places are settled first (``mei_layers.py``), then control events refer to them
(``mei_controls.py``), then everything is written.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from lxml import etree

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.files import strip_namespaces
from score_to_audio.formats.scores.mei_controls import ControlReader, Measure, add_tempo
from score_to_audio.formats.scores.mei_layers import (
    Lane,
    LayerReader,
    Sources,
    StaffState,
    infer_accidentals,
    sub,
)
from score_to_audio.formats.scores.mei_values import (
    XML_ID,
    children,
    count_of,
    key_fifths,
    key_mode,
    meter_of,
    reference,
    text_of,
    transposition_of,
    tuplet_ratio,
    written_duration,
)
from score_to_audio.formats.scores.musicxml import LONGEST_ID
from score_to_audio.formats.scores.written import UniqueNames

MOST_MEASURES = 20_000
MOST_RESTED_MEASURES = 1000
"""Longest <multiRest>."""
FINEST_DIVISIONS = 2**8 * 3**4 * 5 * 7
"""Divisions of a quarter note where the tuplets of a score have no common ones below it."""
_EVENTS = frozenset(["note", "chord", "rest", "space"])


def musicxml_of_mei(document: Any, name: str) -> Any:
    """The <score-partwise> of a MEI document whose notes have ids. Raises ``InputError``.

    All movements follow each other. The namespaces of ``document`` are stripped.
    """
    strip_namespaces(document)
    scores = [score for score in document.iter("score", "parts") if _is_movement(score)]
    if not scores:
        raise InputError(f"{name} is MEI without a score (such as a header alone); give a file with music")
    translator = _Translator(document, name)
    for score in scores:
        translator.movement(score)
    return translator.written()


def _is_movement(element: Any) -> bool:
    parent = element.getparent()
    is_alternative = element.tag == "parts" and parent is not None and parent.find("score") is not None
    return parent is not None and parent.tag == "mdiv" and not is_alternative


def name_notes(document: Any) -> list[str]:
    """Gives every note a unique xml:id, counted in document order where it has none; returns them."""
    unique = UniqueNames()
    ids = []
    for number, note in enumerate(document.iter("{*}note"), start=1):
        ids.append(unique((note.get(XML_ID) or f"n{number}")[:LONGEST_ID]))
        note.set(XML_ID, ids[-1])
    return ids


# ---------------------------------------------------------------------------------------------- parts


@dataclass(slots=True)
class _Part:
    name: str
    staves: list[Any]
    """<staffDef> elements."""
    program: str = ""
    channel: str = ""
    instrument: str = ""


def _parts_of(definition: Any) -> list[_Part]:
    """The parts of a scoreDef: staves with a brace, or with the label of their group alone, are one."""
    groups = [child for child in children(definition) if child.tag == "staffGrp"] or [definition]
    parts = [part for group in groups for part in _parts_of_group(group, "")]
    staves = [staff for part in parts for staff in part.staves]
    if len(staves) == 2 and not any(part.name for part in parts):
        return [replace(parts[0], staves=staves)]
    return parts


def _parts_of_group(group: Any, outer: str) -> list[_Part]:
    staves = list(group.iter("staffDef"))
    own = {label for staff in staves if (label := _label(staff))}
    label = _label(group)
    is_braced = group.get("symbol") == "brace" or group.find("grpSym[@symbol='brace']") is not None
    if staves and len(own) < 2 and (is_braced or (label and not own)):
        name = label or outer or next(iter(own), "")
        return [_played_by(_Part(name, staves), group.find("instrDef"))]
    inherited = label if is_braced else outer
    parts = []
    for child in children(group):
        if child.tag == "staffDef":
            name = " ".join(filter(None, (inherited, _label(child))))
            parts.append(_played_by(_Part(name, [child]), group.find("instrDef")))
        elif child.tag == "staffGrp":
            parts += _parts_of_group(child, inherited)
    return parts


def _label(element: Any) -> str:
    return " ".join((element.get("label") or text_of(element.find("label"))).split())


def _played_by(part: _Part, instrument: Any) -> _Part:
    """With what an <instrDef> of the first staff, else of the group, says about playback."""
    first = part.staves[0]
    own = first.find("instrDef")
    instrument = instrument if own is None else own
    if instrument is not None:
        program = instrument.get("midi.instrnum") or ""
        part.program = str(int(program) + 1) if program.isdecimal() and len(program) < 4 else ""
        part.channel = instrument.get("midi.channel") or ""
        part.instrument = instrument.get("midi.instrname") or ""
    if first.get("clef.shape") == "perc" or first.find("clef[@shape='perc']") is not None:
        part.channel = "10"
    return part


# --------------------------------------------------------------------------------------- translation


@dataclass
class _Translator:
    document: Any
    name: str
    parts: list[_Part] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    states: dict[str, StaffState] = field(default_factory=dict)
    """n -> what holds on the staff, in the movement that is being read."""

    def __post_init__(self) -> None:
        by_id = {element.get(XML_ID): element for element in self.document.iter() if element.get(XML_ID)}
        has_sounding = any(True for _ in self.document.iterfind(".//music//*[@accid.ges]"))
        self.sources = Sources(by_id, {}, self.states, has_sounding)
        self.tempo: Any = None
        """A scoreDef whose tempo is still to be written."""

    def movement(self, score: Any) -> None:
        begin = len(self.measures)
        self.sources.ratios = _tuplet_spans(score, self.sources.by_id)
        for voice in [score] if score.tag == "score" else score.iterfind("part"):
            self._begin(voice)
            _Walk(self, begin).read(voice)
        if len(self.measures) > begin:
            self.measures[-1].right.append(_final_barline())
        controls = ControlReader(self.measures, self.sources.events)
        for measure in self.measures[begin:]:
            controls.read(measure)

    def _begin(self, score: Any) -> None:
        """The parts and staves at the beginning of a movement."""
        self.states.clear()
        definition = next(score.iter("scoreDef"), None)
        found = _parts_of(score if definition is None else definition)
        places = self._places(found)
        for part, place in zip(found, places, strict=True):
            for number, staff in enumerate(part.staves, start=1):
                n = (staff.get("n") or str(len(self.states) + 1)).strip()
                self.states[n] = StaffState(n, place, number)
        if definition is not None:
            self.define(definition)

    def _places(self, found: Sequence[_Part]) -> list[int]:
        """The index of each part of a movement among the parts of the score.

        Parts of several movements are one by their name; by their order where a movement names none.
        """
        taken: set[int] = set()
        places = []
        is_named = any(part.name for part in found)
        for index, part in enumerate(found):
            free = [i for i in range(len(self.parts)) if i not in taken]
            alike = [i for i in free if self.parts[i].name.lower() == part.name.lower()]
            if not is_named:
                alike = [i for i in free if i == index]
            if not alike:
                self.parts.append(part)
                alike = [len(self.parts) - 1]
            known = self.parts[alike[0]]
            known.staves = max(known.staves, part.staves, key=len)
            taken.add(alike[0])
            places.append(alike[0])
        return places

    def state(self, n: str) -> StaffState:
        """That of a staff, which becomes a part of its own where none defines it."""
        if n not in self.states:
            self.parts.append(_Part("", [None]))
            first = next(iter(self.states.values()), StaffState(n, 0, 1))
            self.states[n] = replace(first, n=n, part=len(self.parts) - 1, number=1, transposition=(0, 0))
        return self.states[n]

    def define(self, definition: Any) -> None:
        """What a scoreDef says, for all staves, and its staffDefs for theirs."""
        for n in self.states:
            self._redefine(n, definition)
        for staff in definition.iter("staffDef"):
            self.define_staff(staff)
        if any(definition.get(key) for key in ("mm", "midi.bpm", "midi.tempo")):
            self.tempo = definition

    def define_staff(self, staff: Any) -> None:
        n = (staff.get("n") or "").strip()
        if n in self.states:
            self._redefine(n, staff)
            if (transposition := transposition_of(staff)) is not None:
                self.states[n] = replace(self.states[n], transposition=transposition)

    def _redefine(self, n: str, definition: Any) -> None:
        """States of measures that are read already keep what they are."""
        state = self.states[n]
        fifths = key_fifths(definition)
        given = {key: definition.get(key) for key in ("dur.default", "oct.default") if definition.get(key)}
        self.states[n] = replace(
            state,
            meter=meter_of(definition) or state.meter,
            fifths=state.fifths if fifths is None else fifths,
            mode=key_mode(definition) or ("" if fifths is not None else state.mode),
            ticks_per_quarter=count_of(definition.get("ppq")) or state.ticks_per_quarter,
            defaults=state.defaults | given,
        )

    # ---------------------------------------------------------------------------------------- writing

    def written(self) -> Any:
        root = etree.Element("score-partwise", version="4.0")
        title, composer = _title_and_composer(self.document)
        sub(sub(root, "work"), "work-title", title)
        sub(sub(root, "identification"), "creator", composer, type="composer")
        listed = sub(root, "part-list")
        divisions = self._divisions()
        for index, part in enumerate(self.parts):
            _list_part(listed, part, f"P{index + 1}")
            element = sub(root, "part", id=f"P{index + 1}")
            for measure in self.measures:
                self._write_measure(element, measure, index, divisions)
        return root

    def _divisions(self) -> int:
        values = {
            value
            for measure in self.measures
            for lane in itertools.chain(*measure.lanes.values())
            for event in lane.events
            for value in (event.onset, event.duration, lane.length)
        } | {
            offset
            for measure in self.measures
            for directions in measure.directions.values()
            for offset, _ in directions
        }
        divisions = 1
        for denominator in {value.denominator for value in values}:
            divisions = math.lcm(divisions, denominator)
            if divisions > FINEST_DIVISIONS:
                return FINEST_DIVISIONS
        return divisions

    def _write_measure(self, part: Any, measure: Measure, index: int, divisions: int) -> None:
        element = sub(part, "measure", number=measure.number)
        if measure.is_implicit:
            element.set("implicit", "yes")
        if not len(part) - 1 or index in measure.attributes:
            self._write_attributes(sub(element, "attributes"), measure, index, divisions, len(part) == 1)
        element.extend(measure.left if index == 0 else ())
        cursor = _Cursor(element, divisions)
        for offset, direction in sorted(measure.directions[index], key=lambda one: one[0]):
            cursor.move(offset)
            element.append(direction)
        for lane in measure.lanes[index]:
            for event in lane.events:
                if event.element.find("chord") is None:
                    cursor.move(event.onset)
                cursor.add(event.element, event.duration)
            if lane.length > Fraction(cursor.position, divisions):
                cursor.move(lane.length)
        element.extend(measure.right if index == 0 else ())

    def _write_attributes(
        self, attributes: Any, measure: Measure, index: int, divisions: int, is_first: bool
    ) -> None:
        if is_first:
            sub(attributes, "divisions", str(divisions))
        state = measure.attributes.get(index)
        if state is not None:
            if state.fifths is not None:
                key = sub(attributes, "key")
                sub(key, "fifths", str(state.fifths))
                sub(key, "mode", state.mode)
            if state.meter:
                time = sub(attributes, "time")
                for count, unit in state.meter:
                    sub(time, "beats", count)
                    sub(time, "beat-type", unit)
        if is_first:
            sub(attributes, "staves", str(len(self.parts[index].staves)))
        if state is not None:
            transpose = sub(attributes, "transpose")
            sub(transpose, "diatonic", str(state.transposition[0]))
            sub(transpose, "chromatic", str(state.transposition[1]))


@dataclass(slots=True)
class _Cursor:
    """Where the next element of a <measure> would be."""

    measure: Any
    divisions: int
    position: int = 0
    """Divisions from the start of the measure."""

    def move(self, offset: Fraction) -> None:
        goal = round(offset * self.divisions)
        if goal != self.position:
            moved = sub(self.measure, "forward" if goal > self.position else "backup")
            sub(moved, "duration", str(abs(goal - self.position)))
            self.position = goal

    def add(self, note: Any, duration: Fraction) -> None:
        self.measure.append(note)
        length = note.find("duration")
        if length is not None:
            length.text = str(round(duration * self.divisions))
            if note.find("chord") is None:
                self.position += int(length.text)


def _final_barline() -> Any:
    barline = etree.Element("barline", location="right")
    sub(barline, "bar-style", "light-heavy")
    return barline


def _list_part(listed: Any, part: _Part, id_: str) -> None:
    element = sub(listed, "score-part", id=id_)
    sub(element, "part-name", part.name)
    if part.instrument:
        sub(sub(element, "score-instrument", id=f"{id_}-I1"), "instrument-name", part.instrument)
    if part.program or part.channel:
        instrument = sub(element, "midi-instrument", id=f"{id_}-I1")
        if part.channel:
            sub(instrument, "midi-channel", part.channel)
        if part.program:
            sub(instrument, "midi-program", part.program)


def _title_and_composer(document: Any) -> tuple[str, str]:
    statement = next(document.iter("titleStmt"), None)
    if statement is None:
        return "", ""
    composers = [
        *statement.iter("composer"),
        *(name for name in statement.iter("persName") if name.get("role") in ("composer", "cmp")),
    ]
    return text_of(next(statement.iter("title"), None)), text_of(next(iter(composers), None))


def _tuplet_spans(score: Any, by_id: Mapping[str, Any]) -> dict[Any, Fraction]:
    """Notes, chords, rests and spaces below a <tupletSpan> -> by how much they are shortened."""
    spans = list(score.iter("tupletSpan"))
    layers: dict[tuple[str, str], list[Any]] = {}
    places: dict[Any, tuple[list[Any], int]] = {}
    for element in score.iter(*_EVENTS):
        parent = element.getparent()
        if element.tag == "note" and parent.tag == "chord":
            places[element] = places[parent]
            continue
        layer = next(element.iterancestors("layer", "staff"), None)
        staff = next(element.iterancestors("staff"), None)
        if layer is not None and staff is not None:
            row = layers.setdefault((staff.get("n"), layer.get("n")), [])
            places[element] = row, len(row)
            row.append(element)
    ratios: dict[Any, Fraction] = {}
    for span in spans:
        first, last = (places.get(by_id.get(reference(span.get(key)))) for key in ("startid", "endid"))
        if first is None or last is None or first[0] is not last[0]:
            continue
        for element in first[0][first[1] : last[1] + 1]:
            if next(element.iterancestors("tuplet"), None) is None:
                ratios[element] = ratios.get(element, Fraction(1)) * tuplet_ratio(span)
    for row in layers.values():
        _add_tuplet_attributes(row, ratios)
    return ratios


def _add_tuplet_attributes(row: Sequence[Any], ratios: dict[Any, Fraction]) -> None:
    """Tuplets as "i1", "m1", "t1" at their notes, without a number: as many as of the shortest value."""
    group: list[Any] = []
    for element in row:
        mark = (element.get("tuplet") or "")[:1]
        if mark == "i":
            group = []
        if mark in ("i", "m", "t"):
            group.append(element)
        if mark != "t":
            continue
        values = [value for one in group if (value := written_duration(one)) is not None]
        is_told = any(one in ratios or next(one.iterancestors("tuplet"), None) is not None for one in group)
        number = sum(values) / min(values) if values else 0
        if not is_told and number in (3, 5, 6, 7, 9):
            ratio = Fraction(8 if number == 9 else 4 if number > 4 else 2) / number
            ratios.update((one, ratio) for one in group)


# -------------------------------------------------------------------------- sections and measures


class _Walk:
    """Through the sections of a movement, or of one of its parts."""

    def __init__(self, translator: _Translator, index: int) -> None:
        self._translator = translator
        self._sources = translator.sources
        self._index = index
        """Of the next measure."""
        self._written: dict[int, StaffState] = {}
        """Part -> state of its first staff that its attributes told last."""
        self._lanes: dict[tuple[str, str], list[Lane]] = {}
        """(staff, layer) -> the last lanes, the latest first."""
        self._held: dict[str, dict[tuple[str, str], str]] = {}

    def read(self, element: Any) -> None:
        for child in children(element):
            tag = child.tag
            if tag == "measure":
                self._measure(self._sources.resolved(child), child)
            elif tag == "section":
                self.read(child)
            elif tag == "ending":
                self._ending(child)
            elif tag == "scoreDef":
                self._translator.define(child)
            elif tag == "staffDef":
                self._translator.define_staff(child)
            elif tag == "staff":
                self._unmeasured(child)

    def _unmeasured(self, staff: Any) -> None:
        """Staves without measures: those that follow each other are one measure."""
        before = staff.getprevious()
        if before is None or before.tag != "staff":
            measure = etree.Element("measure")
            following = [other for other in staff.itersiblings() if other.tag == "staff"]
            measure.extend([staff, *following])
            self._measure(measure, measure)

    def _ending(self, element: Any) -> None:
        first = self._index
        self.read(element)
        measures = self._translator.measures[first : self._index]
        if measures:
            number = element.get("n") or element.get("label") or ""
            begin = etree.Element("barline", location="left")
            sub(begin, "ending", number=number, type="start")
            end = etree.Element("barline", location="right")
            sub(end, "ending", number=number, type="stop")
            measures[0].left.insert(0, begin)
            measures[-1].right.insert(0, end)

    def _measure(self, element: Any, place: Any) -> None:
        """``place``: the element itself, or the copy of it that stands here."""
        measure = self._next_measure(place)
        self._barlines(element, measure)
        staves = [self._sources.resolved(child) for child in _staves(element)]
        for child in children(element):
            if child.tag == "staffDef":
                self._translator.define_staff(child)
        for position, staff in enumerate(staves, start=1):
            n = (staff.get("n") or self._n_of_definition(staff) or str(position)).strip()
            self._translator.state(n)
            for change in staff.iter("keySig", "meterSig"):
                if change.getparent().tag == "layer":
                    self._change_in_layer(n, change)
        measure.states = dict(self._translator.states)
        self._attributes(measure)
        self._tempo(measure)
        for position, staff in enumerate(staves, start=1):
            n = (staff.get("n") or self._n_of_definition(staff) or str(position)).strip()
            self._staff(staff, measure, measure.states[n])
        rests = max((count_of(rest.get("num")) or 1 for rest in element.iter("multiRest")), default=1)
        for _ in range(min(rests, MOST_RESTED_MEASURES) - 1):
            self._next_measure(etree.Element("measure")).states = measure.states

    def _change_in_layer(self, n: str, change: Any) -> None:
        holder = etree.Element("staffDef", n=n)
        holder.append(etree.Element(change.tag, dict(change.attrib)))
        self._translator.define_staff(holder)

    def _n_of_definition(self, staff: Any) -> str | None:
        definition = self._sources.by_id.get(reference(staff.get("def")))
        return None if definition is None else definition.get("n")

    def _next_measure(self, element: Any) -> Measure:
        measures = self._translator.measures
        if self._index == len(measures):
            if self._index >= MOST_MEASURES:
                raise InputError(
                    f"{self._translator.name} has more than {MOST_MEASURES:,} measures; split it"
                )
            number = element.get("n") or str(self._index + 1)
            measures.append(Measure(element, self._index, number, {}))
        measure = measures[self._index]
        measure.is_implicit = element.get("metcon") == "false" or element.get("n") == "0"
        self._index += 1
        return measure

    def _barlines(self, element: Any, measure: Measure) -> None:
        for side in ("left", "right"):
            form = element.get(side) or ""
            if side == "right" and not form:
                inner = [one.get("form") or "" for one in element.iter("barLine")]
                form = next((one for one in inner if one.startswith("rpt")), "")
            barline = etree.Element("barline", location=side)
            if form == "end":
                sub(barline, "bar-style", "light-heavy")
            if form in ("rptend", "rptboth"):
                sub(barline, "repeat", direction="backward")
            if form in ("rptstart", "rptboth"):
                sub(barline, "repeat", direction="forward")
            if len(barline):
                (measure.left if side == "left" else measure.right).append(barline)

    def _attributes(self, measure: Measure) -> None:
        """Notes where the first staff of a part has a new signature or transposition."""
        for state in measure.states.values():
            told = self._written.get(state.part)
            if state.number == 1 and (told is None or _signs(told) != _signs(state)):
                self._written[state.part] = state
                measure.attributes[state.part] = state

    def _tempo(self, measure: Measure) -> None:
        definition, self._translator.tempo = self._translator.tempo, None
        if definition is not None and measure.states:
            direction = etree.Element("direction")
            add_tempo(direction, definition, measure.unit)
            first = next(iter(measure.states.values()))
            measure.directions[first.part].append((Fraction(0), direction))

    def _staff(self, element: Any, measure: Measure, state: StaffState) -> None:
        self._sources.staff_numbers = measure.states
        layers = [self._sources.resolved(child) for child in children(element) if child.tag == "layer"]
        lanes: list[Lane] = []
        for position, layer in enumerate(layers or [element], start=1):
            name = (layer.get("n") if layers else None) or str(position)
            if any(lane.layer == name for lane in lanes):
                name = f"{name}.{position}"
            lanes.append(self._layer(layer, name, position, measure, state))
        if not self._sources.has_sounding_accidentals:
            infer_accidentals(lanes, state.fifths or 0, self._held.setdefault(state.n, {}))

    def _layer(self, element: Any, name: str, position: int, measure: Measure, state: StaffState) -> Lane:
        voice = str(10 * (state.number - 1) + (int(name) if name in "123456789" else position))
        lane = Lane(measure.index, state, name, voice)
        before = self._lanes.setdefault((state.n, name), [])
        reader = LayerReader(self._sources, lane, before, element.get("cue") == "true")
        if element.get("visible") != "false" or element.tag != "layer":
            reader.read(children(element), Fraction(1), "")
        measure.lanes[state.part].append(lane)
        before.insert(0, lane)
        del before[8:]
        return lane


def _staves(measure: Any) -> Iterator[Any]:
    """The staves of a measure; of an ossia the main text."""
    for child in children(measure):
        if child.tag == "staff":
            yield child
        elif child.tag == "ossia":
            yield from _staves(child)


def _signs(state: StaffState) -> tuple[Any, ...]:
    return state.meter, state.fifths, state.mode, state.transposition

"""The movements, sections and endings of MEI, measure by measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from lxml import etree

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.mei_controls import ControlReader, Measure, add_tempo
from score_to_audio.formats.scores.mei_layers import (
    Lane,
    LayerReader,
    Sources,
    StaffState,
    infer_accidentals,
    sub,
)
from score_to_audio.formats.scores.mei_parts import Part, parts_of
from score_to_audio.formats.scores.mei_tuplets import tuplet_spans
from score_to_audio.formats.scores.mei_values import (
    XML_ID,
    children,
    count_of,
    key_fifths,
    key_mode,
    meter_of,
    reference,
    transposition_of,
)
from score_to_audio.formats.scores.written import MAX_PLAYED_MEASURES, Expansion

MOST_MEASURES = 20_000
MOST_RESTED_MEASURES = 1000
"""Longest <multiRest>."""


@dataclass
class MovementReader:
    """Walks through the movements of a document, which follow each other."""

    document: Any
    name: str
    parts: list[Part] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    states: dict[str, StaffState] = field(default_factory=dict)
    """n -> what holds on the staff, in the movement that is being read."""
    expansions: list[Expansion] = field(default_factory=list)

    def __post_init__(self) -> None:
        by_id = {element.get(XML_ID): element for element in self.document.iter() if element.get(XML_ID)}
        has_sounding = any(True for _ in self.document.iterfind(".//music//*[@accid.ges]"))
        self.sources = Sources(by_id, {}, self.states, has_sounding)
        self.tempo: Any = None
        """A scoreDef whose tempo is still to be written."""

    def read(self, score: Any) -> None:
        """Reads a <score> or <parts>."""
        begin = len(self.measures)
        self.sources.ratios = tuplet_spans(score, self.sources.by_id)
        for voice in [score] if score.tag == "score" else score.iterfind("part"):
            self._begin(voice)
            reader = _SectionReader(self, begin)
            order = reader.read(voice)
        if reader.is_expanded:
            self.expansions.append(Expansion(begin, len(self.measures), tuple(order)))
        if len(self.measures) > begin:
            self.measures[-1].right.append(_final_barline())
        controls = ControlReader(self.measures, self.sources.events)
        for measure in self.measures[begin:]:
            controls.read(measure)

    def _begin(self, score: Any) -> None:
        """The parts and staves at the beginning of a movement."""
        self.states.clear()
        definition = next(score.iter("scoreDef"), None)
        found = parts_of(score if definition is None else definition)
        places = self._places(found)
        for part, place in zip(found, places, strict=True):
            for number, staff in enumerate(part.staves, start=1):
                n = (staff.get("n") or str(len(self.states) + 1)).strip()
                self.states[n] = StaffState(n, place, number)
        if definition is not None:
            self.define(definition)

    def _places(self, found: Sequence[Part]) -> list[int]:
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
            self.parts.append(Part("", [None]))
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


class _SectionReader:
    """Walks through the sections of a movement, or of one of its parts."""

    def __init__(self, movements: MovementReader, index: int) -> None:
        self.is_expanded = False
        """An <expansion> says the playing order."""
        self._movements = movements
        self._sources = movements.sources
        self._index = index
        """Of the next measure."""
        self._written: dict[int, StaffState] = {}
        """Part -> state of its first staff that its attributes told last."""
        self._lanes: dict[tuple[str, str], list[Lane]] = {}
        """(staff, layer) -> the last lanes, the latest first."""
        self._held: dict[str, dict[tuple[str, str], str]] = {}
        self._orders: dict[str, Sequence[int]] = {}
        """xml:id of a section, ending, measure or expansion -> its measures in playing order."""

    def read(self, element: Any) -> list[int]:
        """Reads what is below the element; returns its measures in playing order, repeats aside."""
        order: list[int] = []
        expansions = []
        for child in children(element):
            tag, first = child.tag, self._index
            played: Sequence[int] = ()
            if tag == "measure":
                self._measure(self._sources.resolved(child), child)
                played = range(first, self._index)
            elif tag == "section":
                played = self.read(child)
            elif tag == "ending":
                played = self._ending(child)
            elif tag == "expansion":
                expansions.append(child)
            elif tag == "scoreDef":
                self._movements.define(child)
            elif tag == "staffDef":
                self._movements.define_staff(child)
            elif tag == "staff":
                self._unmeasured(child)
                played = range(first, self._index)
            order += played
            if (id_ := child.get(XML_ID)) is not None:
                self._orders[id_] = played
        return self._expanded(expansions) or order

    def _expanded(self, expansions: Sequence[Any]) -> list[int]:
        """The longest of the orders that are spelled out, as that plays all repeats; empty without one."""
        found: list[list[int]] = []
        for expansion in expansions:
            order: list[int] = []
            for name in (expansion.get("plist") or "").split():
                order += self._orders.get(reference(name), ())
                if len(order) > MAX_PLAYED_MEASURES:
                    raise InputError(
                        f"{self._movements.name}: its expansion plays more than {MAX_PLAYED_MEASURES:,} "
                        "measures; correct it"
                    )
            if (id_ := expansion.get(XML_ID)) is not None:
                self._orders[id_] = order
            found.append(order)
        longest = max(found, key=len, default=[])
        self.is_expanded = self.is_expanded or bool(longest)
        return longest

    def _unmeasured(self, staff: Any) -> None:
        """Staves without measures: those that follow each other are one measure."""
        before = staff.getprevious()
        if before is None or before.tag != "staff":
            measure = etree.Element("measure")
            following = [other for other in staff.itersiblings() if other.tag == "staff"]
            measure.extend([staff, *following])
            self._measure(measure, measure)

    def _ending(self, element: Any) -> list[int]:
        first = self._index
        order = self.read(element)
        measures = self._movements.measures[first : self._index]
        if measures:
            number = element.get("n") or element.get("label") or ""
            begin = etree.Element("barline", location="left")
            sub(begin, "ending", number=number, type="start")
            end = etree.Element("barline", location="right")
            sub(end, "ending", number=number, type="stop")
            measures[0].left.insert(0, begin)
            measures[-1].right.insert(0, end)
        return order

    def _measure(self, element: Any, place: Any) -> None:
        """``place``: the element itself, or the copy of it that stands here."""
        measure = self._next_measure(place)
        self._barlines(element, measure)
        staves = [self._sources.resolved(child) for child in _staves(element)]
        for child in children(element):
            if child.tag == "staffDef":
                self._movements.define_staff(child)
        for position, staff in enumerate(staves, start=1):
            n = (staff.get("n") or self._n_of_definition(staff) or str(position)).strip()
            self._movements.state(n)
            for change in staff.iter("keySig", "meterSig"):
                if change.getparent().tag == "layer":
                    self._change_in_layer(n, change)
        measure.states = dict(self._movements.states)
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
        self._movements.define_staff(holder)

    def _n_of_definition(self, staff: Any) -> str | None:
        definition = self._sources.by_id.get(reference(staff.get("def")))
        return None if definition is None else definition.get("n")

    def _next_measure(self, element: Any) -> Measure:
        measures = self._movements.measures
        if self._index == len(measures):
            if self._index >= MOST_MEASURES:
                raise InputError(f"{self._movements.name} has more than {MOST_MEASURES:,} measures; split it")
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
        definition, self._movements.tempo = self._movements.tempo, None
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


def _final_barline() -> Any:
    barline = etree.Element("barline", location="right")
    sub(barline, "bar-style", "light-heavy")
    return barline

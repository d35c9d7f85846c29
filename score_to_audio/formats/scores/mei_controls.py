"""The control events of MEI measures (MEI 5, chapters 4.2 and 4.3) as notations and directions."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lxml import etree

from score_to_audio.formats.scores.directions import IMPULSES, LEVELS
from score_to_audio.formats.scores.mei_layers import Event, Lane, StaffState, notations, sub, tie
from score_to_audio.formats.scores.mei_values import (
    MOST_DOTS,
    NOTE_VALUES,
    TYPES,
    beat_offset,
    children,
    count_of,
    measures_ahead,
    reference,
    text_of,
)
from score_to_audio.formats.scores.words import beats_per_minute

Place = tuple[int, Fraction]
"""Index of a measure, and quarter notes from its start."""
_TIE_MEASURES = 2
"""Measures after that of its start in which the end of a tie without ``endid`` is looked for."""
_ACCIDENTAL_MARKS = {"s": "sharp", "f": "flat", "n": "natural", "x": "double-sharp", "ss": "double-sharp"}
_FUNCTIONS = {"coda": "\ue048", "segno": "\ue047", "fine": "Fine", "daCapo": "D.C.", "dalSegno": "D.S."}
"""``func`` of a <repeatMark> -> what its text says."""

_PEDALS = {"down": "start", "half": "start", "bounce": "change", "up": "stop"}
"""``dir`` of a <pedal> -> type in MusicXML."""


@dataclass(slots=True)
class Measure:
    """A measure of all parts."""

    source: Any
    index: int
    number: str
    states: dict[str, StaffState]
    """n -> what holds on the staff in this measure."""
    is_implicit: bool = False
    lanes: dict[int, list[Lane]] = field(default_factory=lambda: defaultdict(list))
    """Index of a part -> its layers."""
    attributes: dict[int, Any] = field(default_factory=dict)
    """Index of a part -> its <attributes>."""
    directions: dict[int, list[tuple[Fraction, Any]]] = field(default_factory=lambda: defaultdict(list))
    """Index of a part -> [(quarter notes, <direction>), ...]."""
    left: list[Any] = field(default_factory=list)
    right: list[Any] = field(default_factory=list)
    """<barline> elements."""

    @property
    def unit(self) -> int:
        return next(iter(self.states.values())).unit if self.states else 4

    def events(self, n: str) -> Iterator[Event]:
        """Those of the layers of a staff."""
        for lane in itertools.chain(*self.lanes.values()):
            if lane.staff.n == n:
                yield from lane.events


class ControlReader:
    """Adds what the control events of measures say to their notes and directions."""

    def __init__(self, measures: Sequence[Measure], events: dict[str, list[Event]]) -> None:
        self._measures = measures
        self._events = events
        self._numbers = map(str, itertools.count(1))
        self._open_slurs: dict[tuple[str, str, str], Event] = {}

    def read(self, measure: Measure) -> None:
        for element in children(measure.source):
            if (reader := _READERS.get(element.tag)) is not None:
                reader(self, element, measure)
        for lane in itertools.chain(*measure.lanes.values()):
            for event in lane.events:
                self._slur_attributes(event)

    # ------------------------------------------------------------------------------ places and notes

    def _staves(self, element: Any, measure: Measure) -> list[StaffState]:
        named = [measure.states[n] for n in (element.get("staff") or "").split() if n in measure.states]
        if not named and (event := self._started(element)) is not None:
            named = [event.lane.staff]
        return named

    def _started(self, element: Any) -> Event | None:
        return next(iter(self._events.get(reference(element.get("startid")), ())), None)

    def _unit(self, element: Any, measure: Measure) -> int:
        staves = self._staves(element, measure)
        return staves[0].unit if staves else measure.unit

    def _start(self, element: Any, measure: Measure) -> Place:
        if (event := self._started(element)) is not None:
            return event.lane.measure, event.onset
        offset = beat_offset(element.get("tstamp"), self._unit(element, measure))
        return measure.index, offset or Fraction(0)

    def _end(self, element: Any, measure: Measure) -> Place | None:
        ends = self._events.get(reference(element.get("endid")))
        if ends:
            return ends[0].lane.measure, ends[0].onset
        ahead = measures_ahead(element.get("tstamp2"))
        if ahead is None:
            return None
        index = min(measure.index + ahead[0], len(self._measures) - 1)
        offset = beat_offset(ahead[1], self._unit(element, self._measures[index]))
        return index, offset or Fraction(0)

    def _notes(self, element: Any, measure: Measure) -> list[Event]:
        """The notes or rests at which the element starts."""
        ids = (element.get("plist") or element.get("startid") or "").split()
        found = [event for id_ in ids for event in self._events.get(reference(id_), ())]
        if found or element.get("tstamp") is None:
            return found
        _, offset = self._start(element, measure)
        staves = self._staves(element, measure) or list(measure.states.values())[:1]
        return [event for staff in staves for event in self._at(measure, staff.n, offset, element)]

    def _at(self, measure: Measure, n: str, offset: Fraction, element: Any) -> list[Event]:
        """The notes of a staff that start at a place, else those that sound then."""
        layer = element.get("layer")
        events = [event for event in measure.events(n) if not event.is_grace]
        events = [event for event in events if event.lane.layer == layer] or events
        exact = [event for event in events if event.onset == offset]
        sounding = [event for event in events if event.onset <= offset < event.onset + event.duration]
        found = exact or sounding
        return [event for event in found if event.is_note] or found

    # -------------------------------------------------------------------------------- lines to notes

    def slur(self, element: Any, measure: Measure) -> None:
        starts, ends = self._notes(element, measure), self._ends(element, measure)
        if starts and ends and starts[0].is_note and ends[0].is_note:
            self._join(starts[0], ends[0], "slur")

    def _ends(self, element: Any, measure: Measure) -> list[Event]:
        if found := self._events.get(reference(element.get("endid"))):
            return found
        end = self._end(element, measure)
        if end is None or not (staves := self._staves(element, measure)):
            return []
        return self._at(self._measures[end[0]], staves[-1].n, end[1], element)

    def _join(self, first: Event, last: Event, tag: str) -> None:
        number = next(self._numbers)
        sub(notations(first.element), tag, type="start", number=number)
        sub(notations(last.element), tag, type="stop", number=number)

    def _slur_attributes(self, event: Event) -> None:
        """Slurs as "i1", "m1" and "t1" at a note, or at its chord."""
        if event.source is None or not event.is_note:
            return
        holders = [event.source]
        if event.source.getparent().tag == "chord" and event.element.find("chord") is None:
            holders.append(event.source.getparent())
        for token in " ".join(holder.get("slur") or "" for holder in holders).split():
            key = (event.lane.staff.n, event.lane.layer, token[1:])
            if token[0] == "t" and (first := self._open_slurs.pop(key, None)) is not None:
                self._join(first, event, "slur")
            elif token[0] == "i":
                self._open_slurs[key] = event

    def glissando(self, element: Any, measure: Measure) -> None:
        starts, ends = self._notes(element, measure), self._ends(element, measure)
        if starts and ends and starts[0].is_note and ends[0].is_note:
            self._join(starts[0], ends[0], "glissando")

    def tie(self, element: Any, measure: Measure) -> None:
        """Ties between notes, chords, or whatever a staff has at two time stamps."""
        starts = [event for event in self._notes(element, measure) if event.is_note]
        given = self._events.get(reference(element.get("endid")), [])
        for first in starts:
            last = next((event for event in given or self._following(first) if _same_key(first, event)), None)
            if last is not None:
                tie(first.element, "start")
                tie(last.element, "stop")

    def _following(self, first: Event) -> Iterator[Event]:
        """The notes of its staff that may continue a note, in the next measures."""
        begin = first.lane.measure
        for measure in self._measures[begin : begin + 1 + _TIE_MEASURES]:
            for event in sorted(measure.events(first.lane.staff.n), key=lambda event: event.onset):
                if measure.index > begin or event.onset >= first.onset + first.duration > first.onset:
                    yield event

    def let_ring(self, element: Any, measure: Measure) -> None:
        for event in self._notes(element, measure):
            if event.is_note:
                sub(notations(event.element), "tied", type="let-ring")

    # ------------------------------------------------------------------------------------------ marks

    def ornament(self, element: Any, measure: Measure) -> None:
        events = self._notes(element, measure)
        named = element.get("startid") or element.get("plist")
        highest = [event for event in events if event.is_note][: None if named else 1]
        for event in highest:
            ornaments = notations(event.element, "ornaments")
            sub(ornaments, _ornament_name(element))
            for attribute, placement in (("accidupper", "above"), ("accidlower", "below")):
                if (name := _ACCIDENTAL_MARKS.get(element.get(attribute) or "")) is not None:
                    sub(ornaments, "accidental-mark", name, placement=placement)

    def fermata(self, element: Any, measure: Measure) -> None:
        events = self._notes(element, measure)
        for event in events:
            notations(event.element, "fermata")
        if not events:
            barline = etree.Element("barline", location="right")
            sub(barline, "fermata")
            measure.right.append(barline)

    def arpeggio(self, element: Any, measure: Measure) -> None:
        is_rolled = element.get("order") != "nonarp"
        kind = {"direction": "down"} if element.get("order") == "down" else {}
        for event in self._notes(element, measure):
            whole = [event] if element.get("plist") else _chord_of(event)
            for member in whole:
                if member.is_note and member.element.find("notations/arpeggiate") is None:
                    sub(notations(member.element), "arpeggiate" if is_rolled else "non-arpeggiate", **kind)

    def articulation(self, element: Any, measure: Measure) -> None:
        name = {"breath": "breath-mark"}.get(element.tag, element.tag)
        for event in self._notes(element, measure)[:1]:
            notations(event.element, "articulations", name)

    # ------------------------------------------------------------------------------------- directions

    def _add(self, element: Any, place: Place, measure: Measure) -> Any:
        """A new, empty <direction>."""
        staves = self._staves(element, measure)
        part = min(staff.part for staff in staves or measure.states.values())
        direction = etree.Element("direction")
        if len(staves) == 1:
            sub(direction, "staff", str(staves[0].number))
        self._measures[place[0]].directions[part].append((place[1], direction))
        return direction

    def dynamics(self, element: Any, measure: Measure) -> None:
        text = text_of(element)
        if text in LEVELS or text in IMPULSES:
            direction = self._add(element, self._start(element, measure), measure)
            sub(_typed(direction, "dynamics"), text)
        elif text:
            self._words(element, measure, text)

    def words(self, element: Any, measure: Measure) -> None:
        if text := text_of(element):
            self._words(element, measure, text)

    def _words(self, element: Any, measure: Measure, text: str) -> None:
        """Words, with dashes to their end where it is given."""
        start, end = self._start(element, measure), self._end(element, measure)
        direction = self._add(element, start, measure)
        _typed(direction, "words", text)
        if end is not None and end > start:
            number = next(self._numbers)
            _typed(direction, "dashes", type="start", number=number)
            _typed(self._add(element, end, measure), "dashes", type="stop", number=number)

    def repeat_mark(self, element: Any, measure: Measure) -> None:
        text = text_of(element) or _FUNCTIONS.get(element.get("func") or "", "")
        if text:
            self._words(element, measure, text)

    def heading(self, element: Any, measure: Measure) -> None:
        if text := text_of(element):
            _typed(self._add(element, self._start(element, measure), measure), "rehearsal", text)

    def hairpin(self, element: Any, measure: Measure) -> None:
        start, end = self._start(element, measure), self._end(element, measure)
        number = next(self._numbers)
        kind = "crescendo" if element.get("form") == "cres" else "diminuendo"
        _typed(self._add(element, start, measure), "wedge", type=kind, number=number)
        if end is not None:
            _typed(self._add(element, end, measure), "wedge", type="stop", number=number)

    def pedal(self, element: Any, measure: Measure) -> None:
        kind = {"down": "start", "half": "start", "bounce": "change", "up": "stop"}.get(
            element.get("dir") or ""
        )
        if kind is None:
            return
        self._press(element, self._start(element, measure), measure, kind)
        end = self._end(element, measure)
        if kind == "start" and end is not None:
            self._press(element, end, measure, "stop")

    def _press(self, element: Any, place: Place, measure: Measure, kind: str) -> None:
        direction = self._add(element, place, measure)
        if element.get("func") == "soft":
            sub(direction, "sound", **{"soft-pedal": "no" if kind == "stop" else "yes"})
        elif element.get("func") == "sostenuto" and kind != "stop":
            _typed(direction, "pedal", type="sostenuto")
        else:
            _typed(direction, "pedal", type=kind)

    def tempo(self, element: Any, measure: Measure) -> None:
        direction = self._add(element, self._start(element, measure), measure)
        if text := text_of(element):
            _typed(direction, "words", text)
        add_tempo(direction, element, self._unit(element, measure))

    def octave(self, element: Any, measure: Measure) -> None:
        """Shifts the notes below an ottava, whose ``oct`` is as written, unless they have ``oct.ges``."""
        staves = self._staves(element, measure)
        start, end = self._start(element, measure), self._end(element, measure)
        if not staves or end is None:
            return
        octaves = {"8": 1, "15": 2, "22": 3}.get(element.get("dis") or "8", 0)
        inside = [
            event
            for index in range(start[0], end[0] + 1)
            for event in self._measures[index].events(staves[0].n)
            if event.is_note and start <= (index, event.onset) <= end
        ]
        if not inside:
            return
        for event in inside:
            if event.source is not None and event.source.get("oct.ges") is None:
                octave = event.element.find("pitch/octave")
                sign = -1 if element.get("dis.place") == "below" else 1
                octave.text = str(int(octave.text) + sign * octaves)


def add_tempo(direction: Any, element: Any, unit: int) -> None:
    """Adds the tempo that a tempo or scoreDef element gives as ``mm``, else as ``midi.bpm``.

    ``unit``: that of the meter, which stands for a missing ``mm.unit``.
    """
    if element.get("mm"):
        metronome = _typed(direction, "metronome")
        value = NOTE_VALUES.get(element.get("mm.unit") or str(unit), Fraction(1))
        sub(metronome, "beat-unit", TYPES.get(value, "quarter"))
        for _ in range(min(count_of(element.get("mm.dots")) or 0, MOST_DOTS)):
            sub(metronome, "beat-unit-dot")
        sub(metronome, "per-minute", element.get("mm"))
    elif (tempo := beats_per_minute(element.get("midi.bpm") or element.get("midi.tempo") or "")) is not None:
        sub(direction, "sound", tempo=f"{tempo:g}")


def _typed(direction: Any, tag: str, text: str | None = None, **attributes: str) -> Any:
    """A new element in a <direction-type> of its own."""
    return sub(sub(direction, "direction-type"), tag, text, **attributes)


def _same_key(first: Event, second: Event) -> bool:
    """Whether two notes have the same step and octave; accidentals are repeated at will."""
    return second.is_note and all(
        first.element.findtext(f"pitch/{tag}") == second.element.findtext(f"pitch/{tag}")
        for tag in ("step", "octave")
    )


def _chord_of(event: Event) -> list[Event]:
    return [other for other in event.lane.events if other.onset == event.onset and not other.is_grace]


def _ornament_name(element: Any) -> str:
    form = element.get("form") or ""
    if element.tag == "mordent":
        return "inverted-mordent" if form == "upper" else "mordent"
    if element.tag == "turn":
        kind = "inverted-turn" if form == "lower" else "turn"
        return f"delayed-{kind}" if element.get("delayed") == "true" else kind
    return "trill-mark"


_READERS = {
    "slur": ControlReader.slur,
    "phrase": ControlReader.slur,
    "tie": ControlReader.tie,
    "lv": ControlReader.let_ring,
    "gliss": ControlReader.glissando,
    "trill": ControlReader.ornament,
    "mordent": ControlReader.ornament,
    "turn": ControlReader.ornament,
    "fermata": ControlReader.fermata,
    "arpeg": ControlReader.arpeggio,
    "breath": ControlReader.articulation,
    "caesura": ControlReader.articulation,
    "dynam": ControlReader.dynamics,
    "hairpin": ControlReader.hairpin,
    "tempo": ControlReader.tempo,
    "dir": ControlReader.words,
    "repeatMark": ControlReader.repeat_mark,
    "reh": ControlReader.heading,
    "pedal": ControlReader.pedal,
    "octave": ControlReader.octave,
}

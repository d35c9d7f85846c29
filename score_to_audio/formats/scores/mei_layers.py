"""The layers of a MEI measure as MusicXML notes with their places."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lxml import etree

from score_to_audio.formats.scores.mei_values import (
    NOTE_VALUES,
    TYPES,
    XML_ID,
    alteration,
    children,
    count_of,
    dots_of,
    reference,
    slashes,
    sounding_duration,
    tuplet_ratio,
    written_duration,
)
from score_to_audio.formats.scores.musicxml_values import key_alteration

ARTICULATIONS = {
    "acc": "accent",
    "stacc": "staccato",
    "ten": "tenuto",
    "stacciss": "staccatissimo",
    "marc": "strong-accent",
    "spicc": "spiccato",
    "ten-stacc": "detached-legato",
}
MOST_COPIES = 100_000
"""Elements of a score that may stand for others (``copyof``)."""


@dataclass(slots=True)
class Event:
    """A <note> or a rest and its place."""

    lane: Lane
    onset: Fraction
    """Quarter notes from the start of the measure."""
    duration: Fraction
    element: Any
    """The <note> of MusicXML, its <duration> still empty."""
    source: Any
    """The element of MEI."""

    @property
    def is_note(self) -> bool:
        return self.element.find("pitch") is not None

    @property
    def is_grace(self) -> bool:
        return self.element.find("grace") is not None


@dataclass(slots=True)
class Lane:
    """One layer of one measure."""

    measure: int
    staff: StaffState
    layer: str
    voice: str
    events: list[Event] = field(default_factory=list)
    length: Fraction = Fraction(0)
    """Quarter notes, including spaces at the end."""


@dataclass(slots=True)
class StaffState:
    """What holds on a staff from a measure on."""

    n: str
    part: int
    number: int
    """In its part, from 1."""
    meter: list[tuple[str, str]] | None = None
    fifths: int | None = None
    mode: str = ""
    transposition: tuple[int, int] = (0, 0)
    ticks_per_quarter: int | None = None
    defaults: dict[str, str] = field(default_factory=dict)
    """``dur.default`` and ``oct.default``."""

    @property
    def unit(self) -> int:
        return int(self.meter[-1][1]) if self.meter else 4

    @property
    def measure_length(self) -> Fraction:
        """Quarter notes."""
        pairs = self.meter or [("4", "4")]
        return sum((Fraction(4 * _sum(count), int(unit)) for count, unit in pairs), Fraction(0))


def _sum(count: str) -> int:
    return sum(int(number) for number in count.replace("+", " ").split() if number.isdecimal()) or 4


@dataclass(slots=True)
class Sources:
    """What layers refer to."""

    by_id: Mapping[str, Any]
    """xml:id -> element."""
    ratios: Mapping[Any, Fraction]
    """Elements below a <tupletSpan> -> by how much it shortens them."""
    staff_numbers: Mapping[str, StaffState]
    """n -> state of the staff."""
    has_sounding_accidentals: bool
    """``accid.ges`` is used; else the printed accidentals tell all."""
    events: dict[str, list[Event]] = field(default_factory=dict)
    """xml:id of a note, or of what holds notes -> events."""
    copies: int = 0

    def resolved(self, element: Any) -> Any:
        """The element that this one is a copy of, else itself."""
        for _ in range(4):
            original = self.by_id.get(reference(element.get("copyof")))
            if original is None or original.tag != element.tag or self.copies >= MOST_COPIES:
                break
            self.copies += 1
            element = original
        return element


def sub(parent: Any, tag: str, text: str | None = None, **attributes: str) -> Any:
    """A new child."""
    child = etree.SubElement(parent, tag, attributes)
    child.text = text
    return child


def notations(note: Any, *path: str) -> Any:
    """The <notations> of a <note>, or an element in it, made where it is missing."""
    for tag in ("notations", *path):
        child = note.find(tag)
        note = etree.SubElement(note, tag) if child is None else child
    return note


def tie(note: Any, kind: str) -> None:
    """Adds a <tie> of type "start" or "stop"."""
    if all(known.get("type") != kind for known in note.iterfind("tie")):
        note.find("voice").addprevious(etree.Element("tie", type=kind))


@dataclass(slots=True)
class LayerReader:
    """Walks through one layer of one measure."""

    sources: Sources
    lane: Lane
    before: Sequence[Lane]
    """The same layer in the measures before, the last one first."""
    is_cue: bool = False
    last_value: Fraction = Fraction(1)
    last_octave: str = "4"
    depth: int = 0
    share_of_gap: Fraction | None = None
    """Quarter notes of a space without a value."""

    def read(self, elements: Iterable[Any], ratio: Fraction, grace: str) -> None:
        """``ratio``: that of the tuplets around; ``grace``: as the attribute of the group around."""
        if self.depth > 40:
            return
        self.depth += 1
        for written in elements:
            element = self.sources.resolved(written)
            reader = _READERS.get(element.tag)
            if reader is None:
                continue
            first = len(self.lane.events)
            reader(self, element, ratio, grace)
            if (id_ := written.get(XML_ID)) is not None:
                self.sources.events.setdefault(id_, []).extend(self.lane.events[first:])
        self.depth -= 1

    @property
    def staff(self) -> StaffState:
        return self.lane.staff

    def group(self, element: Any, ratio: Fraction, grace: str) -> None:
        self.read(children(element), ratio, element.get("grace") or grace)

    def tuplet(self, element: Any, ratio: Fraction, grace: str) -> None:
        self.read(children(element), ratio * tuplet_ratio(element), grace)

    def grace_group(self, element: Any, ratio: Fraction, _: str) -> None:
        self.read(children(element), ratio, element.get("grace") or "unknown")

    # ------------------------------------------------------------------------------ notes and rests

    def note(self, element: Any, ratio: Fraction, grace: str) -> None:
        self._notes(element, [element], ratio, element.get("grace") or grace)

    def chord(self, element: Any, ratio: Fraction, grace: str) -> None:
        members = [self.sources.resolved(child) for child in children(element)]
        notes = [child for child in members if child.tag == "note"]
        grace = element.get("grace") or (notes[0].get("grace") if notes else "") or grace
        self._notes(element, notes, ratio, grace)

    def _notes(self, holder: Any, notes: Sequence[Any], ratio: Fraction, grace: str) -> None:
        """A note, or those of a chord."""
        value = written_duration(holder)
        if value is None:
            value = next(filter(None, map(written_duration, notes)), None)
        value = self._value(holder, value, grace)
        ratio *= self.sources.ratios.get(holder, 1)
        duration = Fraction(0) if grace else value * ratio
        for number, element in enumerate(notes):
            own = value if holder is element else (written_duration(element) or value)
            if number == 0 or grace:
                own = value
            note = self._note(element, holder, own, ratio, grace, in_chord=number > 0)
            self._add(note, duration if own == value else own * ratio, element)
            if element is not holder and (id_ := element.get(XML_ID)) is not None:
                self.sources.events.setdefault(id_, []).append(self.lane.events[-1])
        self._advance(duration)

    def _value(self, element: Any, value: Fraction | None, grace: str) -> Fraction:
        """Quarter notes without tuplets; a missing value is that of a neighbour, or as before."""
        if value is None:
            value = sounding_duration(element, self.staff.ticks_per_quarter)
        if value is None:
            value = NOTE_VALUES.get(self.staff.defaults.get("dur.default", ""))
        if value is None and grace:
            return Fraction(1, 2)
        if value is None:
            value = _value_beside(element) or self.last_value
        if not grace:
            self.last_value = value
        return value

    def _note(
        self, element: Any, holder: Any, value: Fraction, ratio: Fraction, grace: str, *, in_chord: bool
    ) -> Any:
        note = etree.Element("note", id=element.get(XML_ID) or "")
        if "false" in (element.get("visible"), holder.get("visible")):
            note.set("print-object", "no")
        if grace:
            sub(note, "grace", **({"slash": "yes"} if grace == "unacc" else {}))
        elif self._is_small(element, holder):
            sub(note, "cue")
        if in_chord:
            sub(note, "chord")
        self._pitch(note, element)
        self._finish(note, element if element.get("dur") else holder, value, ratio, grace)
        staff = self.sources.staff_numbers.get((element.get("staff") or holder.get("staff") or "").strip())
        if staff is not None and staff.part == self.staff.part:
            note.find("staff").text = str(staff.number)
        self._marks(note, element, holder, value)
        if element.find("verse") is not None or element.find("syl") is not None or element.get("syl"):
            sub(note, "lyric")
        return note

    def _is_small(self, element: Any, holder: Any) -> bool:
        return self.is_cue or any(
            one.get("cue") == "true" or one.get("size") == "cue" for one in (element, holder)
        )

    def _pitch(self, note: Any, element: Any) -> None:
        step = (element.get("pname") or element.get("pname.ges") or "").strip().upper()
        if not step:
            pitch = element.get("pnum") or ""
            if pitch.isdecimal() and len(pitch) < 4 and int(pitch) < 128:
                self._midi_pitch(note, int(pitch))
            else:
                sub(note, "unpitched")
            return
        octave = element.get("oct.ges") or element.get("oct") or self.staff.defaults.get("oct.default")
        self.last_octave = octave or self.last_octave
        found = sub(note, "pitch")
        sub(found, "step", step)
        altered = alteration(element, "accid.ges") if self.sources.has_sounding_accidentals else None
        altered = alteration(element, "accid") if altered is None else altered
        sub(found, "alter", None if altered is None else f"{altered:g}")
        sub(found, "octave", self.last_octave)

    def _midi_pitch(self, note: Any, pitch: int) -> None:
        found = sub(note, "pitch")
        name = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")[pitch % 12]
        sub(found, "step", name[0])
        sub(found, "alter", str(name.count("#") - name.count("b")))
        sub(found, "octave", str(pitch // 12 - 1))

    def _finish(self, note: Any, element: Any, value: Fraction, ratio: Fraction, grace: str) -> None:
        """Duration, voice, type, dots, ratio and staff."""
        if not grace:
            sub(note, "duration")
        sub(note, "voice", self.lane.voice)
        dots = dots_of(element)
        if (name := TYPES.get(value / (2 - Fraction(1, 2**dots)))) is not None:
            sub(note, "type", name)
            for _ in range(dots):
                sub(note, "dot")
        if ratio != 1:
            modification = sub(note, "time-modification")
            sub(modification, "actual-notes", str(ratio.denominator))
            sub(modification, "normal-notes", str(ratio.numerator))
        sub(note, "staff", str(self.staff.number))

    def _marks(self, note: Any, element: Any, holder: Any, value: Fraction) -> None:
        holders = [element] if holder is element else [element, holder]
        for one in holders:
            names = [one.get("artic") or ""]
            names += [artic.get("artic") or "" for artic in one.iterfind("artic")]
            for name in " ".join(names).split():
                if name in ARTICULATIONS:
                    notations(note, "articulations", ARTICULATIONS[name])
            if (strokes := slashes(one, value)) is not None and one.get("stem.mod"):
                tremolo(note, "single", strokes)
            if one.get("fermata"):
                notations(note, "fermata")
            if one.get("lv") == "true":
                sub(notations(note), "tied", type="let-ring")
            for kind, letters in (("stop", "mt"), ("start", "im")):
                if any(letter in letters for letter in one.get("tie") or ""):
                    tie(note, kind)

    def rest(self, element: Any, ratio: Fraction, grace: str) -> None:
        value = self._value(element, written_duration(element), grace)
        ratio *= self.sources.ratios.get(element, 1)
        if grace:
            return
        note = etree.Element("note")
        sub(note, "rest")
        self._finish(note, element, value, ratio, "")
        if element.get("fermata"):
            notations(note, "fermata")
        self._add(note, value * ratio, element)
        self._advance(value * ratio)

    def space(self, element: Any, ratio: Fraction, grace: str) -> None:
        value = written_duration(element) or sounding_duration(element, self.staff.ticks_per_quarter)
        if value is None:
            if self.share_of_gap is None:
                self.share_of_gap = self._share_of_gap(element)
            self._advance(self.share_of_gap)
            return
        if not grace:
            self._advance(value * ratio * self.sources.ratios.get(element, 1))

    def _share_of_gap(self, element: Any) -> Fraction:
        """Spaces without a value fill what the others of their layer leave of the measure."""
        layer = next(element.iterancestors("layer", "staff"))
        total, unknown = Fraction(0), 0
        for other in layer.iter("chord", "note", "rest", "space"):
            if other.get("grace") or other.getparent().tag in ("chord", "graceGrp"):
                continue
            value = written_duration(other)
            ratio = self.sources.ratios.get(other, Fraction(1))
            for tuplet in other.iterancestors("tuplet"):
                ratio *= tuplet_ratio(tuplet)
            unknown += value is None and other.tag == "space"
            total += (value or 0) * ratio
        return max(Fraction(0), self.staff.measure_length - total) / unknown

    def measure_rest(self, element: Any, *_: Any) -> None:
        note = etree.Element("note")
        sub(note, "rest", measure="yes")
        sub(note, "duration")
        sub(note, "voice", self.lane.voice)
        sub(note, "staff", str(self.staff.number))
        if element.get("fermata"):
            notations(note, "fermata")
        self._add(note, self.staff.measure_length, element)

    def _add(self, note: Any, duration: Fraction, source: Any) -> None:
        self.lane.events.append(Event(self.lane, self.lane.length, duration, note, source))

    def _advance(self, duration: Fraction) -> None:
        self.lane.length += duration

    # --------------------------------------------------------------------------- tremolos and repeats

    def tremolo_on_one(self, element: Any, ratio: Fraction, grace: str) -> None:
        first = len(self.lane.events)
        self.group(element, ratio, grace)
        for event in self.lane.events[first:]:
            if event.is_note and event.element.find("notations/ornaments/tremolo") is None:
                value = event.duration / ratio
                tremolo(event.element, "single", (slashes(element, value) if value else None) or 3)

    def tremolo_on_two(self, element: Any, ratio: Fraction, grace: str) -> None:
        """Each of the two notes is written with the value of both together."""
        first = len(self.lane.events)
        self.read(children(element), ratio / 2, grace)
        events = self.lane.events[first:]
        onsets = sorted({event.onset for event in events if event.is_note})
        for event in events:
            if event.is_note and not event.is_grace and len(onsets) == 2:
                strokes = count_of(element.get("beams")) or slashes(element, Fraction(1)) or 3
                kind = "start" if event.onset == onsets[0] else "stop"
                tremolo(event.element, kind, min(strokes, 4))

    def measure_repeat(self, element: Any, *_: Any) -> None:
        """<mRpt>, <mRpt2> and <multiRpt>: what the layer has one, two or more measures before."""
        distance = {"mRpt": 1, "mRpt2": 2}.get(element.tag) or count_of(element.get("num")) or 1
        if distance <= len(self.before):
            lane = self.before[distance - 1]
            self._repeat(lane.events, -self.lane.length)
            self.lane.length = lane.length

    def half_repeat(self, *_: Any) -> None:
        self._repeat_last(self.staff.measure_length / 2)

    def beat_repeat(self, element: Any, ratio: Fraction, _: str) -> None:
        beat = NOTE_VALUES.get(element.get("beatdef") or "") or Fraction(4, self.staff.unit)
        self._repeat_last(beat * ratio)

    def _repeat_last(self, duration: Fraction) -> None:
        begin = self.lane.length - duration
        self._repeat([event for event in self.lane.events if event.onset >= begin], begin)
        self._advance(duration)

    def _repeat(self, events: Sequence[Event], begin: Fraction) -> None:
        """Adds copies of events that begin ``begin`` after the start of their measure."""
        here = self.lane.length
        for event in list(events):
            note = copy.deepcopy(event.element)
            if note.get("id"):
                note.set("id", f"{note.get('id')}_{self.lane.measure}")
            self.lane.events.append(Event(self.lane, event.onset - begin + here, event.duration, note, None))


def _value_beside(element: Any) -> Fraction | None:
    """The value of the last, else the next element of the same beam or layer that has one."""
    beside = itertools.chain(element.itersiblings(preceding=True), element.itersiblings())
    values = (written_duration(other) for other in beside if other.get("grace") is None)
    return next(filter(None, values), None)


def tremolo(note: Any, kind: str, strokes: int) -> None:
    sub(notations(note, "ornaments"), "tremolo", str(min(strokes, 4)), type=kind)


_Reader = Callable[[LayerReader, Any, Fraction, str], None]
_READERS: dict[str, _Reader] = {
    "note": LayerReader.note,
    "chord": LayerReader.chord,
    "rest": LayerReader.rest,
    "space": LayerReader.space,
    "mRest": LayerReader.measure_rest,
    "multiRest": LayerReader.measure_rest,
    "beam": LayerReader.group,
    "ligature": LayerReader.group,
    "tuplet": LayerReader.tuplet,
    "graceGrp": LayerReader.grace_group,
    "bTrem": LayerReader.tremolo_on_one,
    "fTrem": LayerReader.tremolo_on_two,
    "mRpt": LayerReader.measure_repeat,
    "mRpt2": LayerReader.measure_repeat,
    "multiRpt": LayerReader.measure_repeat,
    "halfmRpt": LayerReader.half_repeat,
    "beatRpt": LayerReader.beat_repeat,
}


def infer_accidentals(lanes: Sequence[Lane], fifths: int, held: dict[tuple[str, str], str]) -> None:
    """Alters the notes of one staff in one measure by its key and the accidentals before them.

    For documents that tell only what is printed. ``held``: (step, octave) of notes that are tied on ->
    alteration; it is replaced by those of this measure.
    """
    printed: dict[tuple[str, str], str] = {}
    tied: dict[tuple[str, str], str] = {}
    events = [event for lane in lanes for event in lane.events if event.is_note]
    for event in sorted(events, key=lambda event: event.onset):
        pitch = event.element.find("pitch")
        key = pitch.findtext("step"), pitch.findtext("octave")
        alter = pitch.find("alter")
        kinds = {one.get("type") for one in event.element.iterfind("tie")}
        if alter.text is not None:
            printed[key] = alter.text
        elif "stop" in kinds and key in held:
            alter.text = held[key]
        else:
            alter.text = printed.get(key) or str(key_alteration(fifths, key[0]))
        if "start" in kinds:
            tied[key] = alter.text
    held.clear()
    held.update(tied)

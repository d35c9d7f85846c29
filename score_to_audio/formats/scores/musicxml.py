"""MusicXML document -> written score, in one walk through its elements.

partitura reads MusicXML too, but without arpeggios, depth of tremolos, pedal changes, most jumps, the
measure of an error and more (docs/reference/scores.md lists what was measured). A walk that finds these has
to follow the notes anyway, so that it reads the notes as well. partitura checks it in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.directions import MEASURE_END, TEMPO_KINDS, DirectionReader
from score_to_audio.formats.scores.musicxml_values import (
    ending_numbers,
    grace_kind,
    key_signature,
    marks_of,
    number,
    sounding_pitch,
    staff_number,
    ties,
    time_signature,
    transposition,
)
from score_to_audio.formats.scores.ornaments import PlacedNote, mark_played_out
from score_to_audio.formats.scores.parts import part_names
from score_to_audio.formats.scores.written import (
    ROUNDING_QUARTERS,
    Place,
    Sign,
    UniqueNames,
    WrittenEnding,
    WrittenMeasure,
    WrittenNote,
    WrittenScore,
    WrittenSlur,
)
from score_to_audio.wording import brief

MAX_MEASURE_QUARTERS = 4000
"""Longest measure that is believed, in quarter notes; the longest of the ASAP corpus has 21."""
LONGEST_ID = 100
"""Characters of a note id that are kept."""
MOST_KNOWN_DURATIONS = 1000
"""Texts of durations whose ticks are remembered; a part has a few dozen."""
MOST_OPEN_SLURS = 16
"""Slurs of one number that may wait for their other end at a time."""
TITLES = ("work/work-title", "movement-title")
LONGEST_WORK = 50
"""Characters of a work's title before that of its movement."""
MAX_TICKS_PER_QUARTER = 10**9
"""Finest common grid of all divisions; beyond it durations are rounded."""

_NOTICES = {
    "hidden": "left out {} hidden small notes{} that play out ornaments; the ornaments are marked",
    "small": "left out {} cue notes{}",
    "unpitched": "left out {} notes{} without a pitch (percussion)",
    "negative": "played {} notes{} with a negative duration as if it were positive",
    "microtones": "rounded {} microtones{} to semitones",
}
"""What is counted in a part and said about it."""


def assign_note_ids(root: Any) -> None:
    """Gives every <note> a unique ``id``: its own one, or "p<part>n<note>" counted in document order."""
    unique = UniqueNames()
    for part_number, part in enumerate(root.iterfind("part"), start=1):
        for note_number, note in enumerate(part.iterfind("measure/note"), start=1):
            wanted = note.get("id") or note.get("ID") or f"p{part_number}n{note_number}"
            note.set("id", unique(wanted[:LONGEST_ID]))


def unify_divisions(root: Any, name: str) -> None:
    """Gives every part one value of <divisions>, since partitura makes no note array of a part with more.

    Scores whose parts keep to one value are left as they are. Raises ``InputError``.
    """
    ticks, _ = _common_ticks(root, name)
    for part in root.iterfind("part"):
        divisions = part.findall("measure/attributes/divisions")
        if len({element.text for element in divisions}) < 2:
            continue
        factor = Fraction(1)
        for element in part.iter("divisions", "duration", "offset"):
            value = number(element.text)
            if element.tag == "divisions" and value:
                factor = ticks / value
                element.text = str(ticks)
            elif value is not None:
                element.text = str(round(value * factor))


def partwise(root: Any, name: str) -> Any:
    """The <score-partwise> root; a <score-timewise> one is turned inside out. Raises ``InputError``."""
    from lxml import etree

    if root.tag == "score-partwise":
        return root
    if root.tag != "score-timewise":
        raise InputError(
            f"{name} is not a MusicXML score: its root element is <{root.tag}>, "
            "not <score-partwise>; export the score as MusicXML"
        )
    parts: dict[str, Any] = {}
    for measure in root.findall("measure"):
        for part in measure.findall("part"):
            target = parts.setdefault(part.get("id", ""), etree.Element("part", id=part.get("id", "")))
            copy = etree.SubElement(target, "measure", dict(measure.attrib))
            copy.extend(list(part))
        root.remove(measure)
    root.extend(parts.values())
    root.tag = "score-partwise"
    return root


def read_written(root: Any, part_indices: Sequence[int], name: str) -> WrittenScore:
    """The chosen parts (indices of <part> elements) of a <score-partwise> whose notes have ids.

    Raises ``InputError`` naming the measure for values that make no sense.
    """
    elements = root.findall("part")
    names = part_names(root)
    ticks, exact = _common_ticks(root, name)
    score = WrittenScore(ticks=ticks, title=_title(root), composer=_composer(root))
    if not exact:
        score.notices.append("note durations were rounded: the parts divide the quarter note too differently")
    score.measures = [WrittenMeasure() for _ in range(max(len(part.findall("measure")) for part in elements))]
    solo = len(elements) == 1
    readers, others = [], []
    for part_index, part in enumerate(elements):
        label = "" if solo else names[part_index]
        if part_index in part_indices:
            reader = _PartReader(score, len(score.parts), name, label, solo)
            score.parts.append(names[part_index])
            readers.append(reader)
        else:
            # Lengths, signatures, repeats and tempo marks of a part that is left out hold for all.
            reader = _PartReader(WrittenScore(ticks, measures=score.measures), 0, name, label, solo)
            others.append(reader)
        for measure_index, measure in enumerate(part.findall("measure")):
            reader.read_measure(measure, measure_index)
    _settle_lengths(score, elements)
    for reader in readers:
        score.directions.extend(reader.directions.finish(score.measures))
        score.slurs.extend(reader.slurs.finished)
        score.notices.extend(reader.notices())
    for reader in others:
        found = reader.directions.finish(score.measures)
        score.directions.extend(direction for direction in found if direction.kind in TEMPO_KINDS)
    score.directions.sort(key=lambda direction: direction.start)
    return score


def _title(root: Any) -> str:
    """Of the work and the movement: a work may be a collection of songs."""
    work, movement = (" ".join((root.findtext(path) or "").split()) for path in TITLES)
    if work and movement and movement not in work:
        return f"{brief(work, LONGEST_WORK)}: {movement}"
    return work or movement or _credit(root, "title")


def _composer(root: Any) -> str:
    for creator in root.iterfind("identification/creator"):
        if creator.get("type") == "composer" and (text := " ".join((creator.text or "").split())):
            return text
    return _credit(root, "composer")


def _credit(root: Any, kind: str) -> str:
    for credit in root.iterfind("credit"):
        if credit.findtext("credit-type") == kind:
            return " ".join((credit.findtext("credit-words") or "").split())
    return ""


def _common_ticks(root: Any, name: str) -> tuple[int, bool]:
    """Ticks per quarter note that all divisions of all parts divide; False where they had to be capped."""
    ticks = 1
    for text in {element.text for element in root.iterfind("part/measure/attributes/divisions")}:
        value = number(text)
        if value is None or value <= 0:
            raise InputError(
                f"{name} divides the quarter note into '{text}', which must be above 0; export it again"
            )
        ticks = math.lcm(ticks, value.numerator)
        if ticks > MAX_TICKS_PER_QUARTER:
            return 2**8 * 3**4 * 5 * 7, False
    return ticks, True


def _settle_lengths(score: WrittenScore, parts: Sequence[Any]) -> None:
    """Fixes how long each measure is, all parts considered.

    Notes count. Rests and <forward> fill a measure up to its time signature at most: programs write rests of
    four quarter notes into any measure, and hidden ones beside played-out ornaments at random. A measure
    that misses its time signature by a rounding error, and an empty one, are as long as the signature says.
    Rests for a whole measure do not lengthen a pickup or another part of a measure.
    """
    signature: tuple[int, int] | None = None
    latest = [0] * len(score.measures)
    for note in score.notes:
        if not note.grace:
            latest[note.measure] = max(latest[note.measure], note.offset)
    implicit = {
        i
        for part in parts
        for i, m in enumerate(part.findall("measure"))
        if m.get("implicit") == "yes" or (i == 0 and m.get("number") == "0")
    }
    tolerance = score.ticks * ROUNDING_QUARTERS
    for index, measure in enumerate(score.measures):
        if measure.times:
            signature = measure.times[-1][1]
        beats, beat_type = signature or (4, 4)
        nominal = score.ticks * 4 * beats // beat_type
        most = nominal if signature is not None else MAX_MEASURE_QUARTERS * score.ticks
        length = max(measure.length, min(measure.reach, most))
        if length == 0 or index not in implicit:
            length = max(length, min(measure.full_rests, most))
        is_rounded = abs(length - nominal) <= tolerance and latest[index] < nominal
        if is_rounded or (length == 0 and index not in implicit):
            length = nominal
        measure.length = length
    for note in score.notes:
        if note.grace:
            note.offset = min(note.offset, score.measures[note.measure].length)


@dataclass(slots=True)
class _OpenSlur:
    note: int
    voice: int


@dataclass(slots=True)
class _Slurs:
    """Pairs starts and stops of one number, also where the stop comes first in the document."""

    finished: list[WrittenSlur] = field(default_factory=list)
    _starts: dict[str, list[_OpenSlur]] = field(default_factory=dict)
    _stops: dict[str, list[_OpenSlur]] = field(default_factory=dict)
    _given_up: int = 0

    def start(self, number: str, index: int, notes: Sequence[WrittenNote]) -> None:
        waiting = self._stops.get(number, [])
        later = [stop for stop in waiting if _place(notes[stop.note]) >= _place(notes[index])]
        if later:
            waiting.remove(later[0])
            self.finished.append(WrittenSlur(index, later[0].note))
        else:
            self._wait(self._starts, number, _OpenSlur(index, notes[index].voice))

    def stop(self, number: str, index: int, notes: Sequence[WrittenNote]) -> None:
        waiting = self._starts.get(number, [])
        earlier = [start for start in waiting if _place(notes[start.note]) <= _place(notes[index])]
        same_voice = [start for start in earlier if start.voice == notes[index].voice]
        if earlier:
            chosen = (same_voice or earlier)[-1]
            waiting.remove(chosen)
            self.finished.append(WrittenSlur(chosen.note, index))
        else:
            self._wait(self._stops, number, _OpenSlur(index, notes[index].voice))

    def _wait(self, where: dict[str, list[_OpenSlur]], number: str, end: _OpenSlur) -> None:
        waiting = where.setdefault(number, [])
        waiting.append(end)
        if len(waiting) > MOST_OPEN_SLURS:
            del waiting[0]
            self._given_up += 1

    def left_over(self) -> int:
        waiting = [*self._starts.values(), *self._stops.values()]
        return self._given_up + sum(len(ends) for ends in waiting)


def _place(note: WrittenNote) -> Place:
    return Place(note.measure, note.offset)


class _PartReader:
    """Walks through the measures of a part and adds what it finds to the score."""

    def __init__(self, score: WrittenScore, part: int, file: str, part_name: str, solo: bool) -> None:
        self.score = score
        self.part = part
        self.file = file
        self.part_name = part_name
        self.solo = solo
        self.directions = DirectionReader(part)
        self.slurs = _Slurs()
        self.index = 0
        self.position = 0
        self.chord_onset = 0
        self.ticks_per_division = Fraction(score.ticks)
        self.known_durations: dict[str | None, int] = {}
        self.hidden: list[PlacedNote] = []
        self.transposition = (0, 0)
        self.voices: dict[str, int] = {}
        self.first_in_measure = 0
        self.counts = dict.fromkeys(_NOTICES, 0)

    # --------------------------------------------------------------------------------------- measures

    @property
    def measure(self) -> WrittenMeasure:
        return self.score.measures[self.index]

    def read_measure(self, element: Any, index: int) -> None:
        self.index = index
        self.position = self.chord_onset = 0
        self.first_in_measure = len(self.score.notes)
        measure = self.measure
        measure.number = measure.number or (element.get("number") or str(index + 1))
        for child in element:
            tag = child.tag
            if tag == "note":
                self._note(child)
            elif tag == "backup":
                self._move(-self._duration(child, tag))
            elif tag == "forward":
                self._move(self._duration(child, tag))
            elif tag == "direction":
                self.directions.direction(child, self._place(child), measure)
            elif tag == "attributes":
                self._attributes(child)
            elif tag == "barline":
                self._barline(child)
            elif tag == "sound":
                self.directions.sound(child, self._place(child), measure)
        mark_played_out(self.hidden, self.score.notes[self.first_in_measure :])
        self.hidden.clear()
        if measure.length > MAX_MEASURE_QUARTERS * self.score.ticks:
            raise self._error(
                f"it is longer than {MAX_MEASURE_QUARTERS:,} quarter notes; correct its durations"
            )

    def _place(self, element: Any) -> Place:
        """Here, moved by an <offset> where it is meant for playback too."""
        offset = element.find("offset")
        position = self.position
        if offset is not None and offset.get("sound") == "yes" and (value := number(offset.text)) is not None:
            position += round(value * self.ticks_per_division)
        return Place(self.index, max(0, position))

    def _move(self, ticks: int) -> None:
        self.position += ticks
        self.measure.reach = max(self.measure.reach, self.position)

    def _duration(self, element: Any, tag: str) -> int:
        """Ticks; only a note may have a negative duration."""
        text = element.findtext("duration")
        if text in self.known_durations:
            return self.known_durations[text]
        value = number(text)
        if value is None or (value < 0 and tag != "note"):
            said = "has no duration" if text is None else f"has the duration '{text.strip()[:20]}'"
            raise self._error(f"a <{tag}> {said}; correct it, or export the score again")
        ticks = round(value * self.ticks_per_division)
        if value >= 0 and len(self.known_durations) < MOST_KNOWN_DURATIONS:
            self.known_durations[text] = ticks
        return ticks

    def _error(self, reason: str) -> InputError:
        part = f" of the part '{self.part_name}'" if self.part_name else ""
        return InputError(f"{self.file}, measure {self.measure.number}{part}: {reason}")

    def _attributes(self, element: Any) -> None:
        measure = self.measure
        for child in element:
            if child.tag == "divisions":
                self.ticks_per_division = Fraction(self.score.ticks) / (number(child.text) or 1)
                self.known_durations = {}
            elif child.tag == "time":
                if (signature := time_signature(child)) is not None:
                    _set_signature(measure.times, self.position, signature)
            elif child.tag == "key":
                if (key := key_signature(child)) is not None:
                    _set_signature(measure.keys, self.position, key)
            elif child.tag == "transpose":
                self.transposition = transposition(child)

    def _barline(self, element: Any) -> None:
        """Reads repeats, endings and signs.

        A sign on the wrong side of a bar line belongs to the measure on its other side.
        """
        measure = self.measure
        side = element.get("location")
        at_start = side == "left" or (side is None and self.position == 0)
        offset = 0 if at_start else MEASURE_END
        has_repeat = False
        for child in element:
            if child.tag == "repeat":
                has_repeat = True
                self._repeat(child, at_start)
            elif child.tag == "ending":
                self._ending(child, at_start)
            elif child.tag in ("segno", "coda"):
                measure.add_sign(Sign(child.tag, element.get(child.tag) or "", offset))
            elif child.tag == "fermata":
                place = Place(self.index, offset)
                self.directions.fermata(place, place, None)
        if element.findtext("bar-style") == "light-heavy" and not has_repeat and not at_start:
            measure.is_final = True

    def _ending(self, element: Any, at_start: bool) -> None:
        measures = self.score.measures
        if element.get("type") == "start":
            begins = self.index if at_start else self.index + 1
            if begins < len(measures) and measures[begins].ending is None:
                numbers = ending_numbers(element.get("number") or "")
                measures[begins].ending = WrittenEnding(numbers, ending_numbers(element.text or ""))
        elif at_start and self.index and self.measure.ending is None:
            measures[self.index - 1].ending_stops = True
        else:
            self.measure.ending_stops = True

    def _repeat(self, element: Any, at_start: bool) -> None:
        measures = self.score.measures
        if element.get("direction") == "forward":
            begins = self.index if at_start else min(self.index + 1, len(measures) - 1)
            measures[begins].repeat_start = True
            return
        ends = measures[self.index - 1 if at_start and self.index else self.index]
        times = number(element.get("times")) or Fraction(2)
        ends.repeat_end = max(ends.repeat_end, min(int(times), 10**6), 1)
        ends.repeat_after_jump = element.get("after-jump") == "yes"

    # ------------------------------------------------------------------------------------------ notes

    def _note(self, element: Any) -> None:
        children = {child.tag: child for child in element}
        grace = children.get("grace")
        chord = "chord" in children
        hidden = element.get("print-object") == "no"
        left_out = "cue" in children and (hidden or not self.solo)
        duration = 0 if grace is not None else self._duration(element, "note")
        if chord:
            onset = self.chord_onset
        else:
            # A <backup> may go too far where hidden notes follow; what is heard stays in its measure.
            onset = self.chord_onset = max(0, self.position)
            rest = children.get("rest")
            if rest is not None and self._fills_measure(rest, duration):
                self.position += duration
                self.measure.full_rests = max(self.measure.full_rests, self.position)
            else:
                self._move(duration)
            if rest is None and not left_out:
                self.measure.length = max(self.measure.length, self.position)
        if duration < 0:
            # Some programs write these in broken tuplets; what follows is meant to move back.
            self.counts["negative"] += 1
            duration = -duration
        staff = staff_number(element.findtext("staff"))
        if left_out:
            self._left_out(children, element, onset, duration, staff)
        elif "rest" in children:
            self._rest(element, onset, duration, staff)
        elif "unpitched" in children:
            self.counts["unpitched"] += 1
        elif "pitch" in children:
            self._pitched(element, children, onset, duration, staff)

    def _fills_measure(self, rest: Any, duration: int) -> bool:
        """Whether a rest stands for the whole measure: it says so, or is a whole rest at its beginning."""
        return rest.get("measure") == "yes" or (self.position == 0 and duration == 4 * self.score.ticks)

    def _rest(self, element: Any, onset: int, duration: int, staff: int) -> None:
        if element.find("notations/fermata") is not None:
            place = Place(self.index, onset)
            self.directions.fermata(place, Place(self.index, onset + duration), staff)

    def _left_out(
        self, children: dict[str, Any], element: Any, onset: int, duration: int, staff: int
    ) -> None:
        """A cue note; a hidden one plays out an ornament."""
        if "pitch" not in children:
            return
        if element.get("print-object") != "no":
            self.counts["small"] += 1
            return
        self.counts["hidden"] += 1
        pitch, _ = self._pitch(children["pitch"])
        if "chord" not in children:
            marks = frozenset(marks_of(element.findall("notations")))
            self.hidden.append(
                PlacedNote(onset, duration, pitch, staff, str(self._voice(children)), marks, element)
            )

    def _pitched(self, element: Any, children: dict[str, Any], onset: int, duration: int, staff: int) -> None:
        pitch, spelling = self._pitch(children["pitch"])
        notations = element.findall("notations")
        marks = marks_of(notations)
        grace = children.get("grace")
        if grace is not None and "chord" in children:
            marks.add("chord")
        started, stopped = ties(element, notations)
        index = len(self.score.notes)
        self.score.notes.append(
            WrittenNote(
                id=element.get("id"),
                part=self.part,
                measure=self.index,
                offset=onset,
                duration=duration,
                pitch=pitch,
                spelling=spelling,
                voice=self._voice(children),
                staff=staff,
                grace="" if grace is None else grace_kind(grace),
                tied_from=stopped,
                tied_on=started,
                marks=marks,
            )
        )
        for notation in notations:
            self._spans(notation, index, staff)

    def _spans(self, notation: Any, index: int, staff: int) -> None:
        """Slurs, stops before starts, and dynamics that stand at the note."""
        slurs = notation.findall("slur")
        for kind in ("stop", "start"):
            for slur in slurs:
                if slur.get("type") == kind:
                    pair = self.slurs.stop if kind == "stop" else self.slurs.start
                    pair(slur.get("number", "1"), index, self.score.notes)
        for dynamics in notation.iterfind("dynamics"):
            place = Place(self.index, self.score.notes[index].offset)
            self.directions.dynamics(dynamics, place, staff)

    def _pitch(self, element: Any) -> tuple[int, str]:
        """MIDI pitch as it sounds, and its spelling."""
        step = (element.findtext("step") or "").strip()
        octave = (element.findtext("octave") or "").strip()
        alter = element.findtext("alter") or "0"
        found = sounding_pitch(step, alter, octave, self.transposition)
        if found is None:
            raise self._error(
                f"a note has the step '{brief(step, 20)}', alter '{brief(alter, 20)}', "
                f"octave '{brief(octave, 20)}'; correct it, or export the score again"
            )
        pitch, spelling = found
        if not 0 <= pitch <= 127:
            raise self._error(
                f"the note {spelling} lies outside the MIDI range (C-1 to G9); correct it, or export again"
            )
        if "." in alter and float(alter) % 1:
            self.counts["microtones"] += 1
        return pitch, spelling

    def _voice(self, children: dict[str, Any]) -> int:
        text = (children["voice"].text or "").strip() if "voice" in children else ""
        if not text:
            return 0
        if text.isdecimal() and len(text) < 6:
            return int(text)
        return self.voices.setdefault(text, 100_001 + len(self.voices))

    def notices(self) -> list[str]:
        where = f" of the part '{self.part_name}'" if self.part_name else ""
        found = [_NOTICES[key].format(count, where) for key, count in self.counts.items() if count]
        if unpaired := self.slurs.left_over():
            found.append(f"left out {unpaired} slur ends{where} without a counterpart")
        return found


def _set_signature(changes: list[tuple[int, Any]], offset: int, signature: Any) -> None:
    """Adds a change; the first part that tells one at a place is believed."""
    if all(known != offset for known, _ in changes):
        changes.append((offset, signature))
        changes.sort(key=lambda change: change[0])

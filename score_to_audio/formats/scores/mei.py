"""MEI document -> MusicXML document (by partitura), and what partitura leaves out, joined by note ids.

partitura 1.9 reads notes, ties, measures and repeats of MEI. Articulations, ornaments, slurs, dynamics,
tempo marks, pedals and fermatas are read here (MEI 5 guidelines, chapters 4.2 and 4.3).
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from score_to_audio.formats.scores.directions import IMPULSES, LEVELS, DirectionReader
from score_to_audio.formats.scores.words import beats_per_minute, dotted, plain_text
from score_to_audio.formats.scores.written import Place, UniqueNames, WrittenNote, WrittenScore, WrittenSlur

XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_ARTICULATIONS = {
    "acc": "accent",
    "stacc": "staccato",
    "ten": "tenuto",
    "stacciss": "staccatissimo",
    "marc": "strong-accent",
    "spicc": "spiccato",
    "ten-stacc": "detached-legato",
}
_DURATIONS = {"breve": 8.0, "1": 4.0, "2": 2.0, "4": 1.0, "8": 0.5, "16": 0.25, "32": 0.125}
"""Quarter notes in a MEI note value."""


def prepare(root: Any) -> None:
    """Gives every note a unique xml:id, counted in document order where it has none.

    Chords and rests get one too, since partitura insists.
    """
    unique = UniqueNames()
    for tag in ("note", "chord", "rest", "mRest", "multiRest", "space", "mSpace"):
        for number, element in enumerate(root.iter(f"{{*}}{tag}"), start=1):
            element.set(XML_ID, unique(element.get(XML_ID) or f"{tag[0]}{number}"))


def staff_labels(root: Any) -> list[str]:
    """For every staff, in score order, its label or that of the group it belongs to."""
    labels = []
    first_group = next(root.iter("{*}staffGrp"), None)
    for staff in first_group.iter("{*}staffDef") if first_group is not None else ():
        element: Any = staff
        label = ""
        while element is not None and not label:
            label = element.get("label") or _text(element.find("{*}label"))
            element = element.getparent()
        labels.append(label)
    return labels


def title_and_composer(root: Any) -> tuple[str, str]:
    statement = next(root.iter("{*}titleStmt"), None)
    if statement is None:
        return "", ""
    title = next(statement.iter("{*}title"), None)
    composers = [
        *statement.iter("{*}composer"),
        *(name for name in statement.iter("{*}persName") if name.get("role") in ("composer", "cmp")),
    ]
    return _text(title), _text(composers[0]) if composers else ""


def merge_staves(score: WrittenScore) -> None:
    """Makes the staves of one instrument, which partitura reads as parts of their own, one part again.

    They are told by their common label.
    """
    labels = list(dict.fromkeys(score.parts))
    part_of = [labels.index(label) for label in score.parts]
    staff_of = [score.parts[: i + 1].count(label) for i, label in enumerate(score.parts)]
    for note in score.notes:
        note.staff = staff_of[note.part]
        note.voice += 100 * note.part
        note.part = part_of[note.part]
    score.parts = labels


def add_marks(root: Any, score: WrittenScore) -> None:
    """Adds to the notes and directions of ``score`` what the MEI document says beside them."""
    _Marks(score).read(root)


def _text(element: Any) -> str:
    return "" if element is None else plain_text("".join(element.itertext()))


class _Marks:
    def __init__(self, score: WrittenScore) -> None:
        self.score = score
        self.index = {note.id: index for index, note in enumerate(score.notes)}
        self.chords: dict[tuple[int, int, int], list[WrittenNote]] = defaultdict(list)
        for note in score.notes:
            self.chords[note.measure, note.offset, note.voice].append(note)
        self.directions = DirectionReader(None)
        self.beat_ticks = score.ticks
        self.measure = 0

    def read(self, root: Any) -> None:
        for definition in root.iter("{*}scoreDef"):
            if (tempo := beats_per_minute(definition.get("midi.bpm") or "")) is not None:
                self.directions.add("tempo", Place(0, 0), "", value=tempo)
            break
        for note in root.iter("{*}note"):
            self._articulations(note)
        for measure_index, measure in enumerate(root.iter("{*}measure")):
            if measure_index >= len(self.score.measures):
                break
            self.measure = measure_index
            times = self.score.measures[measure_index].times
            if times:
                self.beat_ticks = self.score.ticks * 4 // times[0][1][1]
            for element in measure:
                self._control(element)
        self.score.directions.extend(self.directions.finish(self.score.measures))
        self.score.directions.sort(key=lambda direction: direction.start)

    def _articulations(self, note: Any) -> None:
        written = self._note(note.get(XML_ID))
        if written is None:
            return
        parent = note.getparent()
        holders = [note, parent] if parent.tag.endswith("}chord") else [note]
        for holder in holders:
            artics = [holder.get("artic") or ""]
            artics += [artic.get("artic") or "" for artic in holder.iterfind("{*}artic")]
            for name in " ".join(artics).split():
                if name in _ARTICULATIONS:
                    written.marks.add(_ARTICULATIONS[name])

    def _control(self, element: Any) -> None:
        """A control event of the measure."""
        tag = element.tag.partition("}")[2]
        if tag in ("slur", "phrase"):
            self._slur(element)
        elif tag in ("trill", "mordent", "turn", "fermata", "arpeg", "breath", "caesura"):
            self._mark(element, tag)
        elif tag in ("dynam", "hairpin", "tempo", "dir", "pedal"):
            self._direction(element, tag)

    def _slur(self, element: Any) -> None:
        start, end = (self.index.get(_reference(element.get(key))) for key in ("startid", "endid"))
        if start is not None and end is not None:
            self.score.slurs.append(WrittenSlur(start, end))

    def _mark(self, element: Any, tag: str) -> None:
        ids = [_reference(text) for text in (element.get("plist") or element.get("startid") or "").split()]
        notes = [note for note in map(self._note, ids) if note is not None]
        if not notes and tag == "fermata":
            place = self._place(element)
            self.directions.fermata(place, place, None)
        for note in notes:
            note.marks.add(_mark_name(element, tag))
        if tag == "arpeg" and not element.get("plist"):
            for note in notes:
                self._mark_chord(note, _mark_name(element, tag))

    def _mark_chord(self, note: WrittenNote, mark: str) -> None:
        for other in self.chords[note.measure, note.offset, note.voice]:
            other.marks.add(mark)

    def _direction(self, element: Any, tag: str) -> None:
        place = self._place(element)
        if tag == "pedal":
            self._pedal(element, place)
        elif tag == "hairpin":
            text = "crescendo" if element.get("form") == "cres" else "diminuendo"
            hairpin = self.directions.add("hairpin", place, text)
            hairpin.end = self._end(element, place)
        elif (text := _text(element)) and tag == "dynam" and text in LEVELS:
            self.directions.add("dynamic", place, text)
        elif text and tag == "dynam" and text in IMPULSES:
            self.directions.add("impulse", place, text)
        elif text or tag == "tempo":
            tempo = _metronome(element) if tag == "tempo" else None
            self.directions.words(text, tempo, place, None, is_tempo=tag == "tempo")

    def _pedal(self, element: Any, place: Place) -> None:
        pedal = {"soft": "soft", "sostenuto": "sostenuto"}.get(element.get("func") or "", "sustain")
        action = element.get("dir")
        if action in ("down", "half", "bounce"):
            self.directions.press(pedal, place, None)
        elif action == "up":
            self.directions.release(pedal, place)

    def _note(self, id_: str | None) -> WrittenNote | None:
        index = self.index.get(id_ or "")
        return None if index is None else self.score.notes[index]

    def _place(self, element: Any) -> Place:
        note = self._note(_reference(element.get("startid")))
        if note is not None:
            return Place(note.measure, note.offset)
        return Place(self.measure, self._beat(element.get("tstamp")))

    def _end(self, element: Any, start: Place) -> Place:
        note = self._note(_reference(element.get("endid")))
        if note is not None:
            return Place(note.measure, note.offset)
        match = re.fullmatch(r"(?:(\d{1,4})m\s*\+\s*)?(\d{1,3}(?:\.\d{1,6})?)", element.get("tstamp2") or "")
        if match is None:
            return start
        measure = min(self.measure + int(match.group(1) or 0), len(self.score.measures) - 1)
        return Place(measure, self._beat(match.group(2)))

    def _beat(self, text: str | None) -> int:
        """Ticks from the start of the measure to a time stamp, which counts beats from 1."""
        if text is None or not re.fullmatch(r"\d{1,3}(?:\.\d{1,6})?", text):
            return 0
        return max(0, round((float(text) - 1) * self.beat_ticks))


def _reference(text: str | None) -> str:
    return (text or "").removeprefix("#")


def _mark_name(element: Any, tag: str) -> str:
    form = element.get("form") or ""
    if tag == "mordent":
        return "inverted-mordent" if form == "upper" else "mordent"
    if tag == "turn":
        kind = "inverted-turn" if form == "lower" else "turn"
        return f"delayed-{kind}" if element.get("delayed") == "true" else kind
    if tag == "arpeg":
        return "arpeggiate-down" if element.get("order") == "down" else "arpeggiate"
    return {"trill": "trill-mark", "breath": "breath-mark"}.get(tag, tag)


def _metronome(element: Any) -> float | None:
    """Quarter notes per minute."""
    per_minute = beats_per_minute(element.get("mm") or "")
    if per_minute is not None:
        unit = _DURATIONS.get(element.get("mm.unit") or "4", 1.0)
        dots = element.get("mm.dots") or "0"
        return per_minute * dotted(unit, int(dots) if dots in "1234" else 0)
    return beats_per_minute(element.get("midi.bpm") or "")

"""Directions of one MusicXML part: dynamics, hairpins, tempo marks, pedals, words, jumps."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from typing import Any

from score_to_audio.formats.scores.jump_words import read_jump, section_heading
from score_to_audio.formats.scores.musicxml_values import NOTE_VALUES
from score_to_audio.formats.scores.words import (
    beats_per_minute,
    dotted,
    meanings,
    metronome_in_words,
    pedal_action,
    plain_text,
)
from score_to_audio.formats.scores.written import Kind, Place, Sign, WrittenDirection, WrittenMeasure

LEVELS = frozenset(
    ["n", "mp", "mf", *("p" * count for count in range(1, 7)), *("f" * count for count in range(1, 7))]
)
"""Dynamics that hold until the next one; all other dynamics stand for one onset."""
IMPULSES = frozenset(["sf", "sfz", "sffz", "sfp", "sfpp", "sfzp", "fp", "fz", "rf", "rfz", "pf"])
WORD_EXTENT_MEASURES = 4
""""cresc." or "rit." without a written end last until the next mark of their sort, at most this long."""
_PEDALS = {"damper-pedal": "sustain", "soft-pedal": "soft", "sostenuto-pedal": "sostenuto"}
MEASURE_END = 2**62
"""Offset of a place at the end of a measure whose length is not known yet."""
TEMPO_KINDS = ("tempo", "tempo-change", "tempo-reset")
"""Kinds of directions that hold for all parts."""
SLOWEST, FASTEST = 4.0, 2000.0
"""Quarter notes per minute; a mark outside is a slip of the pen (or of a scanner)."""
SLOWEST_PLAYED, FASTEST_PLAYED = 10.0, 600.0
"""Quarter notes per minute; a playback tempo outside is not preferred to a mark."""


@dataclass(slots=True)
class DirectionReader:
    """Collects the directions of a part while its measures are walked through in document order."""

    part: int | None
    """Index of the part; None where directions hold for all parts."""
    found: list[WrittenDirection] = field(default_factory=list)
    _open_wedges: dict[str, WrittenDirection] = field(default_factory=dict)
    _open_pedals: dict[str, WrittenDirection] = field(default_factory=dict)
    _open_dashes: dict[str, list[WrittenDirection]] = field(default_factory=dict)
    _unended: dict[int, WrittenDirection] = field(default_factory=dict)
    _quarters_per_minute: float | None = None

    def direction(self, element: Any, place: Place, measure: WrittenMeasure) -> None:
        """Reads a <direction>."""
        staff = _integer(element.findtext("staff"))
        sounds = element.findall("sound")
        texts: list[str] = []
        metronome: float | None = None
        has_metronome = False
        pedals_seen: set[str] = set()
        begun: list[WrittenDirection] = []
        for child in element.iterfind("direction-type/*"):
            if child.tag == "words":
                texts.append(child.text or "")
            elif child.tag == "dynamics":
                self.dynamics(child, place, staff)
            elif child.tag == "wedge":
                self._wedge(child, place, staff)
            elif child.tag == "pedal":
                pedals_seen.add(self._pedal(child, place, staff))
            elif child.tag == "metronome":
                has_metronome = True
                metronome = self._metronome(child)
            elif child.tag == "rehearsal":
                measure.section = measure.section or section_heading(child.text or "")
        text = plain_text(" ".join(texts))
        if text:
            metronome = metronome or metronome_in_words(text)
        tempo = _played_tempo(next(filter(None, map(_tempo, sounds)), None), metronome)
        for sound in sounds:
            self._sound_pedals(sound, place, pedals_seen)
        _read_signs(element, sounds, place, measure)
        if text:
            begun = self.words(text, tempo, place, staff, is_tempo=has_metronome)
        elif tempo is not None:
            self.add("tempo", place, "", value=tempo)
        for child in element.iterfind("direction-type/dashes"):
            self._dashes(child, place, begun)

    def sound(self, element: Any, place: Place, measure: WrittenMeasure) -> None:
        """Reads a <sound> that stands in the measure itself."""
        if (tempo := _tempo(element)) is not None:
            twin = self._tempo_at(place)
            if twin is not None:
                twin.value = _played_tempo(tempo, twin.value)
            else:
                self.add("tempo", place, "", value=tempo)
        self._sound_pedals(element, place, set())
        for sign in _signs_of_sound(element, place.offset):
            measure.add_sign(sign)

    def dynamics(self, element: Any, place: Place, staff: int | None) -> None:
        for child in element:
            if child.tag in LEVELS:
                self.add("dynamic", place, child.tag, staff=staff)
            elif child.tag in IMPULSES:
                self.add("impulse", place, child.tag, staff=staff)
            elif child.tag == "other-dynamics" and (text := plain_text(child.text or "")):
                if re.fullmatch(r"[pmfsrz]{2,6}", text) and text not in LEVELS:
                    self.add("impulse", place, text, staff=staff)
                else:
                    self.words(text, None, place, staff, is_tempo=False)

    def fermata(self, place: Place, end: Place, staff: int | None) -> None:
        self.add("fermata", place, "fermata", end=end, staff=staff)

    def finish(self, measures: list[WrittenMeasure]) -> list[WrittenDirection]:
        """All directions of the part, every extent closed and every place inside its measure."""
        last = Place(len(measures) - 1, measures[-1].length)
        for pedal in self._open_pedals.values():
            pedal.end = last
        unended = [*self._unended.values(), *self._open_wedges.values()]
        dynamics = sorted(other.start for other in self.found if other.kind in ("dynamic", "hairpin"))
        tempos = sorted(other.start for other in self.found if other.kind in TEMPO_KINDS)
        for direction in unended:
            next_marks = dynamics if direction.kind == "hairpin" else tempos
            direction.end = _end_of_words(direction.start, next_marks, measures)
        for direction in self.found:
            direction.start = _inside(direction.start, measures)
            direction.end = max(direction.start, _inside(direction.end, measures))
        return self.found

    # ------------------------------------------------------------------------------------- the pieces

    def add(
        self,
        kind: Kind,
        place: Place,
        text: str,
        *,
        end: Place | None = None,
        value: float | None = None,
        staff: int | None = None,
    ) -> WrittenDirection:
        """Tempo marks hold for all parts, everything else for its own."""
        is_tempo = kind in TEMPO_KINDS
        if value is not None:
            self._quarters_per_minute = value
        twin = self._tempo_at(place) if kind == "tempo" else None
        if twin is not None and not (twin.text and text):
            # "Allegro" and its metronome mark, written one after the other; the written one counts.
            if twin.value is None or (value is not None and not twin.text):
                twin.value = value
            twin.text = twin.text or text
            return twin
        direction = WrittenDirection(
            kind,
            place,
            end or place,
            text,
            value,
            None if is_tempo else self.part,
            None if is_tempo else staff,
        )
        self.found.append(direction)
        return direction

    def _tempo_at(self, place: Place) -> WrittenDirection | None:
        for direction in reversed(self.found[-8:]):
            if direction.start == place and direction.kind in ("tempo", "tempo-reset"):
                return direction
        return None

    def words(
        self, text: str, tempo: float | None, place: Place, staff: int | None, *, is_tempo: bool
    ) -> list[WrittenDirection]:
        """Adds what the words mean; returns those that last, for dashes to end.

        ``tempo``: quarter notes per minute of a metronome mark beside them; ``is_tempo``: they are a tempo
        mark whatever they say.
        """
        if (action := pedal_action(text)) is not None and self._pedal_words(action, place, staff):
            return []
        found = meanings(text)
        if not any(meaning.kind in TEMPO_KINDS for meaning in found) and (tempo is not None or is_tempo):
            found = [meaning for meaning in found if meaning.kind != "words"]
            self.add("tempo", place, text, value=tempo)
        begun = []
        for meaning in found:
            value = tempo if meaning.kind in TEMPO_KINDS else None
            direction = self.add(meaning.kind, place, meaning.text, value=value, staff=staff)
            if meaning.lasts:
                begun.append(direction)
                self._unended[id(direction)] = direction
        return begun

    def _wedge(self, element: Any, place: Place, staff: int | None) -> None:
        number, kind = element.get("number", "1"), element.get("type")
        if kind in ("crescendo", "diminuendo"):
            if (unclosed := self._open_wedges.pop(number, None)) is not None:
                self._unended[id(unclosed)] = unclosed
            self._open_wedges[number] = self.add("hairpin", place, kind, staff=staff)
        elif kind == "stop" and (wedge := self._open_wedges.pop(number, None)) is not None:
            wedge.end = max(place, wedge.start)

    def _dashes(self, element: Any, place: Place, begun: list[WrittenDirection]) -> None:
        """Dashes end the words that they follow."""
        number, kind = element.get("number", "1"), element.get("type")
        if kind == "start":
            self._open_dashes[number] = begun or [
                direction for direction in self.found[-4:] if direction.start == place
            ]
        elif kind == "stop":
            for direction in self._open_dashes.pop(number, []):
                if place > direction.start and self._unended.pop(id(direction), None) is not None:
                    direction.end = place

    def _pedal(self, element: Any, place: Place, staff: int | None) -> str:
        """Reads a <pedal>; returns which pedal it is."""
        kind = element.get("type")
        pedal = "sostenuto" if kind == "sostenuto" else "sustain"
        if kind in ("start", "sostenuto", "change", "resume"):
            self.press(pedal, place, staff)
        elif kind in ("stop", "discontinue"):
            self.release(pedal, place) or self.release("sostenuto", place)
        elif kind == "continue" and pedal not in self._open_pedals:
            self.press(pedal, place, staff)
        return pedal

    def _pedal_words(self, action: tuple[str, bool], place: Place, staff: int | None) -> bool:
        """False where the words cannot be about a pedal ("*" as a footnote)."""
        pedal, down = action
        if down:
            self.press(pedal, place, staff)
            return True
        return self.release(pedal, place)

    def _sound_pedals(self, sound: Any, place: Place, written: set[str]) -> None:
        """Pedals that only playback knows ("yes", "no", or a depth in percent)."""
        for attribute, pedal in _PEDALS.items():
            value = sound.get(attribute)
            if value is None or pedal in written:
                continue
            if value == "yes" or (value not in ("no", "") and value.strip("0.") != ""):
                if pedal not in self._open_pedals:
                    self.press(pedal, place, None)
            else:
                self.release(pedal, place)

    def press(self, pedal: str, place: Place, staff: int | None) -> None:
        self.release(pedal, place)
        self._open_pedals[pedal] = self.add("pedal", place, pedal, staff=staff)

    def release(self, pedal: str, place: Place) -> bool:
        direction = self._open_pedals.pop(pedal, None)
        if direction is None:
            return False
        direction.end = max(place, direction.start)
        return True

    def _metronome(self, element: Any) -> float | None:
        """Quarter notes per minute. "♩ = ♪" (old note value = new one) follows from the tempo before."""
        units: list[float] = []
        dots: list[int] = []
        per_minute: float | None = None
        for child in element:
            if child.tag == "beat-unit":
                units.append(NOTE_VALUES.get((child.text or "").strip(), 1.0))
                dots.append(0)
            elif child.tag == "beat-unit-dot" and dots:
                dots[-1] += 1
            elif child.tag == "per-minute":
                per_minute = beats_per_minute(child.text or "")
        quarters = [dotted(unit, count) for unit, count in zip(units, dots, strict=True)]
        if per_minute is not None:
            return _plausible(per_minute * (quarters[0] if quarters else 1.0))
        if len(quarters) == 2 and self._quarters_per_minute is not None:
            return _plausible(self._quarters_per_minute * quarters[1] / quarters[0])
        return None


def _end_of_words(start: Place, next_marks: list[Place], measures: list[WrittenMeasure]) -> Place:
    """Where something without a written end stops: the next mark of its sort, or a few measures on."""
    limit = start.measure + WORD_EXTENT_MEASURES
    last = Place(limit, start.offset) if limit < len(measures) else _end_of(measures)
    following = bisect.bisect_right(next_marks, start)
    return min(last, next_marks[following]) if following < len(next_marks) else last


def _inside(place: Place, measures: list[WrittenMeasure]) -> Place:
    return Place(place.measure, min(place.offset, measures[place.measure].length))


def _end_of(measures: list[WrittenMeasure]) -> Place:
    return Place(len(measures) - 1, measures[-1].length)


def _played_tempo(sound: float | None, mark: float | None) -> float | None:
    """The tempo that playback is told, unless it is absurd and a mark says better."""
    if sound is None or (mark is not None and not SLOWEST_PLAYED <= sound <= FASTEST_PLAYED):
        return mark
    return sound


def _plausible(tempo: float) -> float | None:
    return tempo if SLOWEST <= tempo <= FASTEST else None


def _tempo(sound: Any) -> float | None:
    """The ``tempo`` of a <sound>: quarter notes per minute."""
    text = sound.get("tempo")
    value = beats_per_minute(text) if text else None
    return None if value is None else _plausible(value)


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() and len(text.strip()) < 5 else None


def _read_signs(element: Any, sounds: list[Any], place: Place, measure: WrittenMeasure) -> None:
    """What a <direction> says about the playing order: by its <sound>, else by its signs and words.

    Signs and words are read as one text ("Dal <segno/> al Fine").
    """
    told = [sign for sound in sounds for sign in _signs_of_sound(sound, place.offset)]
    parts = [_TEXT_OF_SIGN.get(child.tag) or child.text or "" for child in _words_and_signs(element)]
    text = plain_text(" ".join(parts))
    written = read_jump(text, place.offset)
    if written is None:
        measure.section = measure.section or section_heading(text)
    elif not told or any(sign.kind == written.kind for sign in told):
        told.append(written)
    for sign in told:
        measure.add_sign(sign)


def _words_and_signs(element: Any) -> list[Any]:
    return [child for child in element.iterfind("direction-type/*") if child.tag in _TEXT_OF_SIGN]


_TEXT_OF_SIGN = {"words": "", "segno": "\U0001d10b", "coda": "\U0001d10c"}


def _signs_of_sound(sound: Any, offset: int) -> list[Sign]:
    """What a <sound> says about the playing order (MusicXML 4.0, sound element)."""
    found = []
    if label := sound.get("segno"):
        found.append(Sign("segno", label, offset))
    if label := sound.get("coda"):
        found.append(Sign("coda", label, offset))
    if label := sound.get("tocoda"):
        found.append(Sign("to-coda", label, offset))
    if label := sound.get("dalsegno"):
        found.append(Sign("dal-segno", label, offset))
    if sound.get("dacapo") == "yes":
        found.append(Sign("da-capo", "", offset))
    if sound.get("fine", "no") != "no":
        found.append(Sign("fine", "", offset))
    return found

"""Measures of MEI whose notes have their places, written as MusicXML."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lxml import etree

from score_to_audio.formats.scores.mei_controls import Measure
from score_to_audio.formats.scores.mei_layers import StaffState, sub
from score_to_audio.formats.scores.mei_parts import Part

FINEST_DIVISIONS = 2**8 * 3**4 * 5 * 7
"""Divisions of a quarter note where the tuplets of a score have no common ones below it."""


def write_musicxml(title: str, composer: str, parts: Sequence[Part], measures: Sequence[Measure]) -> Any:
    """The <score-partwise> of measures whose notes have their places."""
    root = etree.Element("score-partwise", version="4.0")
    sub(sub(root, "work"), "work-title", title)
    sub(sub(root, "identification"), "creator", composer, type="composer")
    listed = sub(root, "part-list")
    divisions = _divisions(measures)
    for index, part in enumerate(parts):
        _list_part(listed, part, f"P{index + 1}")
        element = sub(root, "part", id=f"P{index + 1}")
        for measure in measures:
            _write_measure(element, measure, index, divisions, len(part.staves))
    return root


def _divisions(measures: Sequence[Measure]) -> int:
    values = {
        value
        for measure in measures
        for lane in itertools.chain(*measure.lanes.values())
        for event in lane.events
        for value in (event.onset, event.duration, lane.length)
    } | {
        offset
        for measure in measures
        for directions in measure.directions.values()
        for offset, _ in directions
    }
    divisions = 1
    for denominator in {value.denominator for value in values}:
        divisions = math.lcm(divisions, denominator)
        if divisions > FINEST_DIVISIONS:
            return FINEST_DIVISIONS
    return divisions


def _write_measure(part: Any, measure: Measure, index: int, divisions: int, staves: int) -> None:
    element = sub(part, "measure", number=measure.number)
    if measure.is_implicit:
        element.set("implicit", "yes")
    if not len(part) - 1 or index in measure.attributes:
        attributes = sub(element, "attributes")
        if len(part) == 1:
            sub(attributes, "divisions", str(divisions))
        state = measure.attributes.get(index)
        if state is not None:
            _write_signatures(attributes, state)
        if len(part) == 1:
            sub(attributes, "staves", str(staves))
        if state is not None:
            transpose = sub(attributes, "transpose")
            sub(transpose, "diatonic", str(state.transposition[0]))
            sub(transpose, "chromatic", str(state.transposition[1]))
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


def _write_signatures(attributes: Any, state: StaffState) -> None:
    if state.fifths is not None:
        key = sub(attributes, "key")
        sub(key, "fifths", str(state.fifths))
        sub(key, "mode", state.mode)
    if state.meter:
        time = sub(attributes, "time")
        for count, unit in state.meter:
            sub(time, "beats", count)
            sub(time, "beat-type", unit)


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


def _list_part(listed: Any, part: Part, id_: str) -> None:
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

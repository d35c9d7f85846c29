"""Which dynamics and tempo directions hold for each note, as VirtuosoNet's training data have it.

Absolute marks hold until the next one; relative marks (hairpins, "cresc.", "rit.") hold over a range.
(Fact sheet of the golden vectors, section 2, directions.)
"""

from __future__ import annotations

import copy
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from renderers.virtuosonet import vocabulary
from renderers.virtuosonet.lookup import probing_index
from renderers.virtuosonet.notation import Direction, Document, Note
from renderers.virtuosonet.words import has_keyword, regularised

WEDGES = ("crescendo", "diminuendo")
SPLIT_DYNAMICS = {"fp": "f", "ffp": "ff", "sfp": "sf"}
"""Loud-soft marks -> the loud one; the soft one follows as a mark of its own."""
SPLIT_DISTANCE = 0.1
"""Divisions after which the soft half of a loud-soft mark stands."""
ACCENT_DYNAMICS = ("sf", "fz", "sfz", "sffz", "rf", "rfz")


@dataclass(slots=True)
class Marks:
    """What is in force at a note."""

    dynamic: str = ""
    dynamic_position: float = 0
    relative_dynamics: list[Direction] = field(default_factory=list)
    tempo: str = ""
    relative_tempos: list[Direction] = field(default_factory=list)
    tempo_changed_position: float = 0
    """Latest start of an absolute tempo or of a relative dynamic (sic: relative tempos do not count)."""

    @property
    def dynamic_words(self) -> str:
        return _joined(self.dynamic, self.relative_dynamics)

    @property
    def tempo_words(self) -> str:
        return _joined(self.tempo, self.relative_tempos)


def _joined(absolute: str, relatives: Sequence[Direction]) -> str:
    return absolute + "".join(" " + (d.content if d.kind == "words" else d.kind) for d in relatives)


def read_marks(document: Document, notes: Sequence[Note]) -> list[Marks]:
    """One entry per note."""
    directions = _all_directions(document)
    absolute_dynamics, relative_dynamics = _dynamics(directions)
    absolute_tempos, relative_tempos = _tempos(directions)
    marks = [Marks() for _ in notes]
    _assign_absolute_dynamics(marks, notes, absolute_dynamics)
    _assign_absolute_tempos(marks, notes, absolute_tempos)
    positions = [note.position for note in notes]
    for relative in relative_dynamics:
        for index in _covered(relative, positions):
            marks[index].relative_dynamics.append(relative)
            if relative.position > marks[index].tempo_changed_position:
                marks[index].tempo_changed_position = relative.position
    for relative in relative_tempos:
        for index in _covered(relative, positions):
            marks[index].relative_tempos.append(relative)
    for note, entry in zip(notes, marks, strict=True):
        _drop_contradicting_wedges(entry, note.staff)
    return marks


def _all_directions(document: Document) -> list[Direction]:
    directions = [
        direction for part in document.parts for measure in part.measures for direction in measure.directions
    ]
    directions.sort(key=lambda direction: direction.position)
    _resolve_wedge_stops(directions)
    return directions


def _resolve_wedge_stops(directions: Sequence[Direction]) -> None:
    """A stop says only which number it ends: give it the kind of the latest wedge of that number.

    Two hairpins of one number in different staves get mixed up here; the weights were trained with it.
    """
    latest: dict[str, str] = {}
    for direction in directions:
        if direction.kind in WEDGES:
            latest[direction.number] = direction.kind
        elif direction.kind == "wedge" and direction.number in latest:
            direction.kind = latest[direction.number]


def _covered(relative: Direction, positions: Sequence[float]) -> range:
    assert relative.end is not None
    return range(bisect_left(positions, relative.position), bisect_left(positions, relative.end))


def _matches(direction: Direction, keywords: tuple[str, ...]) -> bool:
    if direction.kind in keywords:
        return True
    return direction.kind == "words" and has_keyword(direction.content, keywords)


def _without(items: Sequence[Direction], others: Sequence[Direction]) -> list[Direction]:
    identities = {id(other) for other in others}
    return [item for item in items if id(item) not in identities]


# ---------------------------------------------------------------------------------------------- dynamics


def _dynamics(directions: Sequence[Direction]) -> tuple[list[Direction], list[Direction]]:
    """Absolute marks in the order in which they are searched, and relative marks with their ends."""
    marks = [d for d in directions if _matches(d, vocabulary.ABSOLUTE_DYNAMIC_KEYWORDS)]
    relative = [d for d in directions if _matches(d, vocabulary.RELATIVE_DYNAMIC_KEYWORDS)]
    absolute: list[Direction] = []
    for mark in marks:
        if mark.content in SPLIT_DYNAMICS:
            soft = copy.copy(mark)
            soft.position, soft.content = mark.position + SPLIT_DISTANCE, "p"
            mark.content = SPLIT_DYNAMICS[mark.content]
            absolute.append(soft)
        if mark.content in ACCENT_DYNAMICS or _is_relative_inside_absolute(mark):
            relative.append(mark)
        else:
            absolute.append(mark)
    relative = _without(relative, absolute)
    relative = _without_repetition(relative)
    relative.sort(key=lambda d: d.position)
    _end_wedges(relative)
    relative = [d for d in relative if (d.kind in WEDGES and d.content == "start") or d.kind == "words"]
    positions = [d.position for d in absolute]
    for index, mark in enumerate(relative):
        if mark.end is None and index + 1 < len(relative):
            mark.end = relative[index + 1].position
        if mark.end is None:
            mark.end = math.inf
        else:
            mark.end = min(mark.end, _next_absolute(positions, mark.position))
    return absolute, relative


def _is_relative_inside_absolute(mark: Direction) -> bool:
    return mark.kind == "words" and _has_relative_word(mark.content)


def _has_relative_word(text: str) -> bool:
    plain = regularised(text)
    return any(word in plain for word in vocabulary.RELATIVE_WORDS_INSIDE_ABSOLUTE)


def _without_repetition(items: Sequence[Direction]) -> list[Direction]:
    return list({id(item): item for item in items}.values())


def _end_wedges(relative: Sequence[Direction]) -> None:
    for index, stop in enumerate(relative):
        if stop.kind in WEDGES and stop.content == "stop":
            for start in reversed(relative[:index]):
                if (start.kind, start.content, start.staff) == (stop.kind, "start", stop.staff):
                    start.end = stop.position
                    break


def _next_absolute(positions: Sequence[float], position: float) -> float:
    """Where the mark after the absolute one found for ``position`` stands (before the first: the second)."""
    following = probing_index(positions, position) + 1
    return positions[following] if following < len(positions) else math.inf


def _assign_absolute_dynamics(
    marks: Sequence[Marks], notes: Sequence[Note], absolute: Sequence[Direction]
) -> None:
    if not absolute:
        return
    positions = [d.position for d in absolute]
    for entry, note in zip(marks, notes, strict=True):
        found = absolute[probing_index(positions, note.position)]
        entry.dynamic, entry.dynamic_position = found.content, found.position


def _drop_contradicting_wedges(entry: Marks, staff: int) -> None:
    """Where both kinds of hairpin hold, those that stand on the far side of the other staff go."""
    kinds = {d.kind for d in entry.relative_dynamics}
    if not kinds.issuperset(WEDGES):
        return
    far = {1: "below", 2: "above"}.get(staff)
    entry.relative_dynamics = [
        d for d in entry.relative_dynamics if not (d.kind in WEDGES and d.placement == far)
    ]


# ------------------------------------------------------------------------------------------------ tempos


def _tempos(directions: Sequence[Direction]) -> tuple[list[Direction], list[Direction]]:
    """Absolute marks, and relative marks with their ends."""
    absolute = [d for d in directions if _matches(d, vocabulary.ABSOLUTE_TEMPO_KEYWORDS)]
    relative = [d for d in directions if _matches(d, vocabulary.RELATIVE_TEMPO_KEYWORDS)]
    long = [d for d in directions if _matches(d, vocabulary.RELATIVE_LONG_TEMPO_KEYWORDS)]
    if (not absolute or absolute[0].position != 0) and long and long[0].position == 0:
        absolute.insert(0, long[0])
    relative = _without(relative, absolute)
    long = _without(long, absolute)
    moved = [d for d in absolute if _has_relative_word(d.content)]
    absolute = _without(absolute, moved)
    relative += moved
    long += moved
    for mark in absolute:
        if has_keyword(mark.content, vocabulary.TEMPO_PRIMO_WORDS):
            mark.content = absolute[0].content
    relative.sort(key=lambda d: d.position)
    positions = [d.position for d in absolute]
    long_marks = {id(d) for d in long}
    following: Direction | None = None
    following_long: Direction | None = None
    for mark in reversed(relative):
        successor = following_long if id(mark) in long_marks else following
        following = mark
        if id(mark) in long_marks:
            following_long = mark
        if successor is not None:
            mark.end = successor.position
        end = math.inf if mark.end is None else mark.end
        mark.end = min(end, _next_absolute(positions, mark.position))
    return absolute, relative


def _assign_absolute_tempos(
    marks: Sequence[Marks], notes: Sequence[Note], absolute: Sequence[Direction]
) -> None:
    if not absolute:
        return
    positions = [d.position for d in absolute]
    for entry, note in zip(marks, notes, strict=True):
        found = absolute[probing_index(positions, note.position)]
        entry.tempo, entry.tempo_changed_position = found.content, found.position

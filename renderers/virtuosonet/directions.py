"""The dynamics and tempo directions that apply to each note, as in VirtuosoNet's training data.

Absolute marks apply until the next one; relative marks (hairpins, "cresc.", "rit.") apply to a range (fact
sheet of the golden vectors, section 2, directions)."""

from __future__ import annotations

import copy
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from renderers.virtuosonet import vocabulary
from renderers.virtuosonet.lookup import probing_index
from renderers.virtuosonet.notation import XmlDirection, XmlDocument, XmlNote
from renderers.virtuosonet.words import has_keyword, regularised

WEDGES = ("crescendo", "diminuendo")
SPLIT_DYNAMICS = {"fp": "f", "ffp": "ff", "sfp": "sf"}
"""Loud-soft mark -> its loud half; the soft half becomes a mark of its own."""
SPLIT_DISTANCE = 0.1
"""Divisions between the halves of a loud-soft mark."""
ACCENT_DYNAMICS = ("sf", "fz", "sfz", "sffz", "rf", "rfz")


@dataclass(slots=True)
class Marks:
    """The directions that apply to a note."""

    dynamic: str = ""
    dynamic_position: float = 0
    relative_dynamics: list[XmlDirection] = field(default_factory=list)
    tempo: str = ""
    relative_tempos: list[XmlDirection] = field(default_factory=list)
    tempo_changed_position: float = 0
    """Latest start of an absolute tempo or of a relative dynamic (sic: not of a relative tempo)."""

    @property
    def dynamic_words(self) -> str:
        return _joined(self.dynamic, self.relative_dynamics)

    @property
    def tempo_words(self) -> str:
        return _joined(self.tempo, self.relative_tempos)


def _joined(absolute: str, relatives: Sequence[XmlDirection]) -> str:
    return absolute + "".join(" " + (d.content if d.kind == "words" else d.kind) for d in relatives)


def read_marks(document: XmlDocument, notes: Sequence[XmlNote]) -> list[Marks]:
    """The marks of each note."""
    directions = _all_directions(document)
    absolute_dynamics, relative_dynamics = _dynamics(directions)
    absolute_tempos, relative_tempos = _tempos(directions)
    marks = [Marks() for _ in notes]
    positions = [note.position for note in notes]
    for entry, mark in zip(marks, _in_force(absolute_dynamics, positions), strict=False):
        entry.dynamic, entry.dynamic_position = mark.content, mark.position
    for entry, mark in zip(marks, _in_force(absolute_tempos, positions), strict=False):
        entry.tempo, entry.tempo_changed_position = mark.content, mark.position
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


def _all_directions(document: XmlDocument) -> list[XmlDirection]:
    directions = [
        direction for part in document.parts for measure in part.measures for direction in measure.directions
    ]
    directions.sort(key=lambda direction: direction.position)
    _resolve_wedge_stops(directions)
    return directions


def _resolve_wedge_stops(directions: Sequence[XmlDirection]) -> None:
    """Set the kind of each wedge stop, which has a number only, to that of the latest wedge of that number.

    This confuses two hairpins of one number in different staves; the weights were trained with it.
    """
    latest: dict[str, str] = {}
    for direction in directions:
        if direction.kind in WEDGES:
            latest[direction.number] = direction.kind
        elif direction.kind == "wedge" and direction.number in latest:
            direction.kind = latest[direction.number]


def _in_force(absolute: Sequence[XmlDirection], positions: Sequence[float]) -> Iterator[XmlDirection]:
    """The absolute mark in force at each position; nothing where there are no marks."""
    starts = [mark.position for mark in absolute]
    for position in positions if absolute else ():
        yield absolute[probing_index(starts, position)]


def _covered(relative: XmlDirection, positions: Sequence[float]) -> range:
    assert relative.end is not None
    return range(bisect_left(positions, relative.position), bisect_left(positions, relative.end))


def _matches(direction: XmlDirection, keywords: tuple[str, ...]) -> bool:
    if direction.kind in keywords:
        return True
    return direction.kind == "words" and has_keyword(direction.content, keywords)


def _without(items: Sequence[XmlDirection], others: Sequence[XmlDirection]) -> list[XmlDirection]:
    identities = {id(other) for other in others}
    return [item for item in items if id(item) not in identities]


# ---------------------------------------------------------------------------------------------- dynamics


def _dynamics(directions: Sequence[XmlDirection]) -> tuple[list[XmlDirection], list[XmlDirection]]:
    """Absolute marks, in the order of ``_in_force``, and relative marks with their ends."""
    marks = [d for d in directions if _matches(d, vocabulary.ABSOLUTE_DYNAMIC_KEYWORDS)]
    relative = [d for d in directions if _matches(d, vocabulary.RELATIVE_DYNAMIC_KEYWORDS)]
    absolute: list[XmlDirection] = []
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


def _is_relative_inside_absolute(mark: XmlDirection) -> bool:
    return mark.kind == "words" and _has_relative_word(mark.content)


def _has_relative_word(text: str) -> bool:
    plain = regularised(text)
    return any(word in plain for word in vocabulary.RELATIVE_WORDS_INSIDE_ABSOLUTE)


def _without_repetition(items: Sequence[XmlDirection]) -> list[XmlDirection]:
    return list({id(item): item for item in items}.values())


def _end_wedges(relative: Sequence[XmlDirection]) -> None:
    for index, stop in enumerate(relative):
        if stop.kind in WEDGES and stop.content == "stop":
            for start in reversed(relative[:index]):
                if (start.kind, start.content, start.staff) == (stop.kind, "start", stop.staff):
                    start.end = stop.position
                    break


def _next_absolute(positions: Sequence[float], position: float) -> float:
    """Position of the mark after the absolute mark in force (before the first mark: of the second)."""
    following = probing_index(positions, position) + 1
    return positions[following] if following < len(positions) else math.inf


def _drop_contradicting_wedges(entry: Marks, staff: int) -> None:
    """Where both kinds of hairpin apply, drop those on the side of the other staff."""
    kinds = {d.kind for d in entry.relative_dynamics}
    if not kinds.issuperset(WEDGES):
        return
    far = {1: "below", 2: "above"}.get(staff)
    entry.relative_dynamics = [
        d for d in entry.relative_dynamics if not (d.kind in WEDGES and d.placement == far)
    ]


# ------------------------------------------------------------------------------------------------ tempos


def _tempos(directions: Sequence[XmlDirection]) -> tuple[list[XmlDirection], list[XmlDirection]]:
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
    following: XmlDirection | None = None
    following_long: XmlDirection | None = None
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

"""The score as it stands on paper: what every reader of a file format makes, and unfolding plays.

Places are (measure, offset): the index of the written measure and ticks from its start, so that nothing
depends on how long earlier measures turn out to be in other parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

MAX_BEAT_TYPE = 128
"""Shortest beat of a time signature that is believed, as a part of a whole note."""
ROUNDING_QUARTERS = 1 / 32
"""Programs round the durations of small tuplets; what differs by at most this was meant to be equal."""

MAX_PLAYED_MEASURES = 20_000
"""Most measures as played; the longest score of the ASAP corpus plays fewer than 1,000."""

Grace = Literal["", "acciaccatura", "appoggiatura"]
Kind = Literal[
    "tempo", "tempo-change", "tempo-reset", "dynamic", "impulse", "hairpin", "pedal", "fermata", "words"
]
Mode = Literal["major", "minor", ""]
SignKind = Literal["segno", "coda", "to-coda", "dal-segno", "da-capo", "fine"]
Until = Literal["", "fine", "coda", "segno"]


class Place(NamedTuple):
    measure: int
    offset: int
    """Ticks from the start of the measure."""


@dataclass(slots=True)
class WrittenNote:
    """A notehead: tied notes are still apart."""

    id: str
    part: int
    measure: int
    offset: int
    duration: int
    """Ticks; 0 for a grace note."""
    pitch: int
    spelling: str
    voice: int
    staff: int
    grace: Grace = ""
    tied_from: bool = False
    """A tie from an earlier note ends here."""
    tied_on: bool = False
    """A tie to a later note starts here."""
    marks: set[str] = field(default_factory=set)


@dataclass(slots=True)
class WrittenSlur:
    start: int
    end: int
    """Indices into the notes of the score."""


@dataclass(slots=True)
class WrittenDirection:
    kind: Kind
    start: Place
    end: Place
    """Equal to ``start`` for a direction without extent."""
    text: str
    value: float | None = None
    part: int | None = None
    staff: int | None = None


class Sign(NamedTuple):
    """A sign, or words, that steer the playing order."""

    kind: SignKind
    label: str = ""
    """Name that a jump shares with its target; "" fits any."""
    offset: int = 0
    """Ticks from the start of its measure."""
    until: Until = ""
    """Where a da capo or dal segno stops, as far as its words say."""
    section: str = ""
    """The section that a da capo names: "menuet" in "Menuetto D.C."."""
    text: str = ""
    """The words, for messages."""
    with_repeats: bool = False
    """Repeats are taken again after the jump ("D.C. con repetizione")."""


class WrittenEnding(NamedTuple):
    """A volta bracket, where it begins."""

    numbers: frozenset[int] = frozenset()
    """Passes in which it is played; empty where none is given."""
    printed: frozenset[int] = frozenset()
    """Passes in the text above the bracket, which may differ."""


@dataclass(slots=True)
class WrittenMeasure:
    """A measure with what steers the playing order; jumps take effect at its end."""

    number: str = ""
    length: int = 0
    """Ticks; while parts are read, as far as its notes go."""
    reach: int = 0
    """Ticks; as far as notes, rests and gaps go."""
    full_rests: int = 0
    """Ticks; as far as rests go that stand for the whole measure."""
    repeat_start: bool = False
    repeat_end: int = 0
    """How often the passage that ends here is played; 0 where no repeat ends."""
    repeat_after_jump: bool = False
    ending: WrittenEnding | None = None
    """The ending that begins with the measure."""
    ending_stops: bool = False
    """An ending stops with the measure."""
    signs: list[Sign] = field(default_factory=list)
    section: str = ""
    """The kind of section whose heading stands here: "trio", "menuet", ..."""
    is_final: bool = False
    """A final bar line, without a repeat, closes the measure."""
    times: list[tuple[int, tuple[int, int]]] = field(default_factory=list)
    """(offset, (beats, beat type)) of the time signatures that change in the measure."""
    keys: list[tuple[int, tuple[int, Mode]]] = field(default_factory=list)
    """(offset, (fifths, mode)) of the key signatures that change in the measure."""

    def add_sign(self, sign: Sign) -> None:
        """Adds a sign; where other parts, or words beside it, have told it already, what is new in it."""
        for index, known in enumerate(self.signs):
            if known.kind == sign.kind and (known.label == sign.label or not known.label or not sign.label):
                merged = {name: getattr(known, name) or getattr(sign, name) for name in Sign._fields}
                self.signs[index] = Sign(**merged)
                return
        self.signs.append(sign)


class Expansion(NamedTuple):
    """The playing order of the measures begin..stop-1 where a score spells it out (MEI ``expansion``)."""

    begin: int
    stop: int
    order: tuple[int, ...]


@dataclass(slots=True)
class WrittenScore:
    ticks: int
    """Ticks per quarter note."""
    title: str = ""
    composer: str = ""
    parts: list[str] = field(default_factory=list)
    notes: list[WrittenNote] = field(default_factory=list)
    """In document order, part by part."""
    slurs: list[WrittenSlur] = field(default_factory=list)
    directions: list[WrittenDirection] = field(default_factory=list)
    measures: list[WrittenMeasure] = field(default_factory=list)
    expansions: list[Expansion] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


class UniqueNames:
    """Gives every name once: one that was given before gets the suffix _2, _3, ..."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def __call__(self, wanted: str) -> str:
        name = wanted
        while name in self._given:
            self._given[wanted] += 1
            name = f"{wanted}_{self._given[wanted]}"
        self._given[name] = 1
        return name

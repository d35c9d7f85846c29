"""What VirtuosoNet reads in a score, as plain data. Positions and durations in divisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Compatibility = Literal["official", "none"]
"""Whether what is plainly wrong in the published code is done all the same."""


@dataclass(slots=True)
class Note:
    """A note or a rest (``pitch`` None). Positions and durations in divisions."""

    xml_id: str = ""
    """As in the file; "" where it has none."""
    play: int = 1
    """Which time it is that its measure is played, from 1."""
    position: float = 0
    duration: float = 0
    divisions: int = 1
    pitch: int | None = None
    step: str = ""
    alter: int = 0
    fifths: int = 0
    """Key signature in force."""
    voice: int = 1
    staff: int = 1
    measure_number: int = 0
    """1-based index of its measure in playing order."""
    chord_index: int = 0
    is_grace: bool = False
    is_slash: bool = False
    is_cue: bool = False
    is_hidden: bool = False
    is_trill: bool = False
    trill_alter: int | None = None
    """Alteration of the upper neighbour where an accidental stands at the trill."""
    is_tenuto: bool = False
    is_accent: bool = False
    is_staccato: bool = False
    is_fermata: bool = False
    is_arpeggiate: bool = False
    is_strong_accent: bool = False
    beam_start: bool = False
    beam_continue: bool = False
    beam_stop: bool = False
    tied_start: bool = False
    tied_stop: bool = False
    slurs: list[tuple[str, str]] = field(default_factory=list)
    """(type, number)"""
    wavy_lines: list[tuple[str, str]] = field(default_factory=list)
    """(type, number)"""

    # Filled in when the notes of a part are put together (notes.py).
    qpm: float = 0.0
    time_position: float = 0.0
    seconds: float = 0.0
    grace_order: int = 0
    num_grace: int = 0
    preceded_by_grace: bool = False
    is_overlapped: bool = False
    following_rest_duration: float = 0
    followed_by_fermata_rest: bool = False
    is_slur_start: bool = False
    is_slur_continue: bool = False
    is_slur_stop: bool = False

    @property
    def end(self) -> float:
        return self.position + self.duration


@dataclass(slots=True)
class Direction:
    """The first <direction-type> of a <direction>."""

    position: float
    kind: str
    """"dynamic", "words", "crescendo", "diminuendo", or another element name."""
    content: str
    """Dynamic mark or text; "start" or "stop" of a wedge."""
    number: str = ""
    staff: int = 1
    placement: str = ""
    end: float | None = None
    """Where it stops to hold; set when directions are interpreted (directions.py)."""


@dataclass(slots=True)
class Tempo:
    """A tempo as notated for playback."""

    position: float
    qpm: float
    divisions: int


@dataclass(slots=True)
class TimeSignature:
    position: float
    numerator: int
    denominator: int
    divisions: int
    """In force where it was read."""
    seconds: float
    """Running time of the part at that point."""


@dataclass(slots=True)
class Measure:
    start: float
    written_index: int
    is_implicit: bool = False
    notes: list[Note] = field(default_factory=list)
    directions: list[Direction] = field(default_factory=list)
    tempos: list[Tempo] = field(default_factory=list)
    time_signature: TimeSignature | None = None
    repeat: str = ""
    first_ending_starts: bool = False
    first_ending_stops: bool = False
    is_dacapo: bool = False
    is_fine: bool = False


@dataclass(frozen=True)
class PlayedMeasure:
    """Which measure is played when."""

    written: int
    """Index in the written score."""
    onset: float
    """Quarter notes from the start of the unrolled score."""


@dataclass(slots=True)
class Part:
    measures: list[Measure]
    """In playing order; a repeated measure is read once per pass, at its new position."""


@dataclass(slots=True)
class Document:
    parts: list[Part]
    last_qpm: float
    """Tempo in force at the end of the document."""
    last_divisions: int

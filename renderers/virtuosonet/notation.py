"""The parts of a MusicXML file that VirtuosoNet uses. Positions and durations are in divisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Compatibility = Literal["official", "none"]
"""official: with the mistakes of the published code (``official.py``)."""


@dataclass(slots=True)
class XmlNote:
    """A note or a rest (``pitch`` None)."""

    xml_id: str = ""
    """As in the file; "" where it has none."""
    pass_number: int = 1
    """1 the first time that its measure is played, and so on."""
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
    """Alteration of the upper neighbour by an accidental at the trill."""
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

    # Set by notes.py.
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

    def extend(self, tied: XmlNote, duration: float) -> None:
        """Merge a tied note into this one, which then lasts ``duration``."""
        self.duration = duration
        self.seconds += tied.seconds
        self.slurs += tied.slurs


@dataclass(slots=True)
class XmlDirection:
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
    """Position where it ceases to apply; set by directions.py."""


@dataclass(slots=True)
class PlaybackTempo:
    """The tempo of a <sound> element."""

    position: float
    qpm: float
    divisions: int


@dataclass(slots=True)
class XmlTimeSignature:
    position: float
    numerator: int
    denominator: int
    divisions: int
    """In force where it was read."""
    seconds: float
    """Running time of the part at that point."""


@dataclass(slots=True)
class XmlMeasure:
    start: float
    written_index: int
    is_implicit: bool = False
    notes: list[XmlNote] = field(default_factory=list)
    directions: list[XmlDirection] = field(default_factory=list)
    tempos: list[PlaybackTempo] = field(default_factory=list)
    time_signature: XmlTimeSignature | None = None
    repeat: str = ""
    first_ending_starts: bool = False
    first_ending_stops: bool = False
    is_dacapo: bool = False
    is_fine: bool = False


@dataclass(frozen=True)
class PlayedMeasure:
    """A measure in playing order."""

    written: int
    """Index in the written score."""
    onset: float
    """Quarter notes from the start of the unrolled score."""


@dataclass(slots=True)
class XmlPart:
    measures: list[XmlMeasure]
    """In playing order; a repeated measure occurs once per pass, at its new position."""


@dataclass(slots=True)
class XmlDocument:
    parts: list[XmlPart]
    last_qpm: float
    """Tempo in force at the end of the document."""
    last_divisions: int

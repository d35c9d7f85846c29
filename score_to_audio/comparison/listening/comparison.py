"""A finished comparison as plain data: what the listening page shows, whoever made it.

A comparison has sections; a section has conditions (its columns) and rows; a row has at most one cell per
condition. The page asks nothing of the store: files are given by path, everything else by value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from score_to_audio.types import Performance

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions

Timeline = tuple[tuple[float, float], ...]
"""(place in the row, seconds into the audio) pairs, sorted by both. The place is counted in quarter notes in
playing order (as ``ScoreNotes.onset``) where the row has a score."""


@dataclass(frozen=True)
class Condition:
    """A column: one way to make sound."""

    key: str
    """Unique within the comparison's section; the same key in two sections is the same condition."""
    label: str
    """Short, as a column's heading: "virtuosonet + midi-valle"."""
    description: str = ""
    """A sentence for those who want to know more."""


@dataclass(frozen=True)
class Measured:
    """A measure of the comparison: what its numbers mean."""

    key: str
    label: str
    """As a column's heading: "onset F1"."""
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    """ "" where neither end is better."""
    description: str = ""
    """A sentence: definition and paper."""
    digits: int = 2
    """Decimals that are shown."""


@dataclass(frozen=True)
class Summary:
    """A measure over all rows of a section."""

    condition: str
    measure: str
    mean: float
    low: float
    high: float
    """Ends of the 95 % confidence interval of the mean; nan where there is none."""
    count: int
    """Rows that it was taken over."""


@dataclass(frozen=True)
class Cell:
    """One row in one condition: either ``audio`` or ``failure`` is given."""

    condition: str
    """Key of the condition."""
    audio: Path | None = None
    """MP3, OGG, FLAC or WAV; MP3 is what every browser plays."""
    failure: str = ""
    """One sentence: why there is no audio."""
    performance: Performance | None = None
    """The performance behind the audio, in the audio's seconds; with ``score_ids`` where they are known."""
    timeline: Timeline = ()
    """Empty: where no cell of the row has one, the place is the second; else, the share of the length."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Key of a ``Measured`` -> value."""
    provenance: tuple[Mapping[str, Any], ...] = ()
    """Plain JSON objects in the order of the stages, as ``Provenance``'s fields; or what else is known of
    a recording."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """What -> its licence: {"piano samples": "CC BY 3.0"}."""
    loudness: float | None = None
    """Integrated loudness of the audio in LUFS (ITU-R BS.1770); cells of a row are played equally loud."""


@dataclass(frozen=True)
class Row:
    """One piece, performance or segment in every condition."""

    name: str
    cells: tuple[Cell, ...]
    """At most one per condition, in any order."""
    score: Path | None = None
    """MusicXML or MEI to engrave; None: the piano roll alone."""
    score_options: ScoreOptions | None = None
    """How the score was read for the timelines; None: the defaults."""
    note: str = ""
    """A sentence about the row: composer, where the segment comes from."""


@dataclass(frozen=True)
class Section:
    title: str
    conditions: tuple[Condition, ...]
    """In the order of the columns."""
    rows: tuple[Row, ...]
    description: str = ""
    summaries: tuple[Summary, ...] = ()


@dataclass(frozen=True)
class Comparison:
    title: str
    sections: tuple[Section, ...]
    measures: tuple[Measured, ...] = ()
    """In the order shown; values without one of these are not shown."""
    description: str = ""


@dataclass(frozen=True)
class Blind:
    """How a comparison becomes a blind test."""

    kind: Literal["pairs", "mushra"]
    """"pairs": which of two is preferred, or neither. "mushra": all conditions of a row beside each other,
    rated 0..100 (after ITU-R BS.1534-3)."""
    key_file: Path
    """Where the key is written: which neutral id stands for what. It belongs outside the page's folder and is
    never given to listeners; ``votes.read_key`` reads it."""
    seed: int = 0
    """Of the neutral ids and, together with the listener's number, of the order."""
    reference: str | None = None
    """Key of the condition that is also played openly as the reference ("mushra" only)."""
    most_trials: int | None = None
    """A listener is given at most so many, drawn at random; None: all."""

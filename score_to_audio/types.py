"""The plain data that all parts of score-to-audio exchange; imports none of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LOWEST_PITCH = 21
"""MIDI number of A0, the lowest key of a piano."""
HIGHEST_PITCH = 108
"""MIDI number of C8, the highest key of a piano."""

SUSTAIN, SOSTENUTO, SOFT = 64, 66, 67
"""MIDI controller numbers of the three pedals (MIDI 1.0, Table III)."""


# ----------------------------------------------------------------------------------------- the score


@dataclass(frozen=True)
class ScoreNotes:
    """The notes of a score in playing order: one entry per sounding note, as columns of length N.

    Repeats and leaps are unfolded, ties are merged, hidden cue notes and rests are left out. Sorted by
    (onset, grace notes first, pitch). Times are in quarter notes from the start of the first measure
    (a pickup measure starts at 0).
    """

    id: tuple[str, ...]
    """Stable and unique: the file's id with the suffix -1, -2, ... of its pass, as in partitura's unfolded
    scores and in match files; without the suffix if repeats are not played."""
    onset: NDArray[np.float64]
    """[N] quarter notes; a grace note has the onset of its main note."""
    duration: NDArray[np.float64]
    """[N] quarter notes as written (ties merged), before articulation; 0 for grace notes."""
    pitch: NDArray[np.int64]
    """[N] MIDI pitch as it sounds (ottava and transposition applied), 0..127."""
    spelling: tuple[str, ...]
    """Step, alteration, octave: "C#4", "Bb3", "F##5"."""
    voice: NDArray[np.int64]
    """[N] voice number as written, unique within a part; 0 if none is given."""
    staff: NDArray[np.int64]
    """[N] staff number within the part, 1 = upper."""
    part: NDArray[np.int64]
    """[N] index into ``ParsedScore.parts``."""
    measure: NDArray[np.int64]
    """[N] index into ``ParsedScore.measures``."""
    grace: tuple[Literal["", "acciaccatura", "appoggiatura"], ...]
    """Kind of grace note, "" for a main note. Grace notes of one group are in playing order."""
    marks: tuple[frozenset[str], ...]
    """Articulations, ornaments and technical marks by their MusicXML element names: "staccato", "tenuto",
    "accent", "strong-accent", "staccatissimo", "detached-legato", "spiccato", "breath-mark", "caesura",
    "fermata", "trill-mark", "shake", "mordent", "inverted-mordent", "turn", "inverted-turn", "delayed-turn",
    "delayed-inverted-turn", "accidental-mark-..." (with the accidental's name), "tremolo-1" ... "tremolo-4"
    (single note), "tremolo-start-N", "tremolo-stop-N" (between two), "wavy-line", "arpeggiate",
    "arpeggiate-down", "non-arpeggiate", "glissando", "slide", "let-ring"; "chord" on a grace note struck
    together with the one before."""

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class Slur:
    """A slur from one note to another, as indices into ``ScoreNotes``; ``end`` >= ``start``."""

    start: int
    end: int


@dataclass(frozen=True)
class Direction:
    """A marking above or below the notes.

    kind and text:
      "tempo"            a new tempo: text as written ("Allegro"), value in quarter notes per minute if given
      "tempo-change"     gradual: "ritardando", "accelerando", ... as written, from ``onset`` to ``end``
      "tempo-reset"      "a tempo", "tempo primo"; of both, value is the file's own playback tempo there
      "dynamic"          a level that holds until the next: "ppp" ... "fff"
      "impulse"          for one onset: "sfz", "fp", "rf", ...
      "hairpin"          "crescendo" or "diminuendo", onset to end (from a wedge or from words)
      "pedal"            text "sustain" (onset to end), "sostenuto" or "soft"
      "fermata"          over a rest or barline
      "words"            any other text
    """

    kind: Literal[
        "tempo", "tempo-change", "tempo-reset", "dynamic", "impulse", "hairpin", "pedal", "fermata", "words"
    ]
    onset: float
    """Quarter notes from the start, in playing order."""
    end: float
    """Quarter notes; equal to ``onset`` for a direction without extent."""
    text: str
    value: float | None = None
    part: int | None = None
    """Index into ``ParsedScore.parts``; None for all parts."""
    staff: int | None = None
    """None for all staves of the part."""


@dataclass(frozen=True)
class Measure:
    """A measure as played: once per pass if repeated."""

    onset: float
    end: float
    """Quarter notes from the start, in playing order."""
    number: str
    """As printed."""
    written: int
    """Index of the measure in the written score, counted from 0."""


@dataclass(frozen=True)
class TimeSignature:
    onset: float
    beats: int
    beat_type: int


@dataclass(frozen=True)
class KeySignature:
    onset: float
    fifths: int
    mode: Literal["major", "minor", ""]
    """ "" if the score does not say."""


@dataclass(frozen=True)
class ParsedScore:
    """The content of a score in playing order (see ``ScoreNotes`` for order and units)."""

    title: str
    composer: str
    parts: tuple[str, ...]
    """Names of the played parts."""
    notes: ScoreNotes
    slurs: tuple[Slur, ...]
    directions: tuple[Direction, ...]
    """Sorted by onset."""
    measures: tuple[Measure, ...]
    time_signatures: tuple[TimeSignature, ...]
    key_signatures: tuple[KeySignature, ...]
    notices: tuple[str, ...] = ()
    """What the reader decided on its own, a sentence each ("left out the part 'Voice'; ...")."""

    @property
    def end(self) -> float:
        """Quarter notes from the start to the end of the last measure."""
        return self.measures[-1].end if self.measures else 0.0


@dataclass(frozen=True)
class Score:
    """A score file: its bytes and, parsed on demand, its content."""

    path: Path
    content: bytes = field(repr=False)
    parse: Callable[[Score], ParsedScore] = field(repr=False, compare=False)
    """The reader for this kind of file with its options; raises ``InputError``."""
    options: str = ""
    """Canonical JSON of the reader's options: the same bytes read in another way are another score."""

    @cached_property
    def sha256(self) -> str:
        """Of the file's bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def parsed(self) -> ParsedScore:
        return self.parse(self)


# ----------------------------------------------------------------------------------- the performance


@dataclass(frozen=True)
class Controls:
    """Controller events, as columns of length C, sorted by time."""

    time: NDArray[np.float64]
    """[C] seconds from the start, >= 0."""
    number: NDArray[np.int64]
    """[C] MIDI controller number, 0..127 (64 sustain, 66 sostenuto, 67 soft)."""
    value: NDArray[np.int64]
    """[C] 0..127; continuous pedalling uses all values."""

    def __len__(self) -> int:
        return len(self.time)

    @staticmethod
    def none() -> Controls:
        return Controls(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Performance:
    """A piano performance: N notes as columns sorted by (onset, pitch), and controller events.

    Raises ``ValueError`` for columns that contradict each other or leave their ranges.
    """

    onset: NDArray[np.float64]
    """[N] seconds from the start, >= 0."""
    offset: NDArray[np.float64]
    """[N] seconds, > onset: release of the key (the pedal may hold the sound longer)."""
    pitch: NDArray[np.int64]
    """[N] MIDI pitch, 21..108."""
    velocity: NDArray[np.int64]
    """[N] MIDI velocity, 1..127."""
    controls: Controls = field(default_factory=Controls.none)
    score_ids: tuple[str, ...] | None = None
    """The id of each note in the score ("" for a note that the score does not have), if known."""

    def __post_init__(self) -> None:
        if len({len(self.onset), len(self.offset), len(self.pitch), len(self.velocity)}) != 1:
            raise ValueError("the columns of a performance differ in length")
        if self.score_ids is not None and len(self.score_ids) != len(self.onset):
            raise ValueError("score_ids needs one entry per note")
        times = np.concatenate([self.onset, self.offset, self.controls.time])
        if not np.isfinite(times).all() or (times < 0).any():
            raise ValueError("times must be finite and not negative")
        if (self.offset <= self.onset).any():
            raise ValueError("every note must end after it starts")
        if (np.diff(self.onset) < 0).any():
            raise ValueError("notes must be sorted by onset")
        if ((self.pitch < LOWEST_PITCH) | (self.pitch > HIGHEST_PITCH)).any():
            raise ValueError(f"pitches must lie in {LOWEST_PITCH}..{HIGHEST_PITCH}")
        if ((self.velocity < 1) | (self.velocity > 127)).any():
            raise ValueError("velocities must lie in 1..127")

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def end(self) -> float:
        """Seconds from the start to the last key release or controller event."""
        last_note = float(self.offset.max()) if len(self.offset) else 0.0
        last_control = float(self.controls.time[-1]) if len(self.controls) else 0.0
        return max(last_note, last_control)


# ---------------------------------------------------------------------------------------- the sound


@dataclass(frozen=True)
class Waveform:
    """Sampled sound: float32 [channels, samples] in [-1, 1], ``sample_rate`` in Hz."""

    samples: NDArray[np.float32]
    sample_rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32:
            raise ValueError("a waveform is float32 [channels, samples]")
        if self.sample_rate <= 0:
            raise ValueError("the sample rate must be positive")

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples.shape[1] / self.sample_rate


@dataclass(frozen=True)
class AudioStream:
    """Sound in blocks, so that a long piece need not fit into memory."""

    sample_rate: int
    channels: int
    blocks: Iterator[NDArray[np.float32]]
    """float32 [channels, any number of samples] each; can be read once."""


# --------------------------------------------------------------------------------------- the records


@dataclass(frozen=True)
class Provenance:
    """How an artifact was made: enough to trace it to its score and to make it again."""

    stage: Literal[
        "render", "synthesize", "encode", "export", "align", "cut", "reconstruct", "measure", "prepare"
    ]
    model: str
    implementation: str
    """Version of the plug-in's implementation (``spec.version``)."""
    checkpoints: Mapping[str, str]
    """Role -> sha256 of the checkpoint; empty for models without weights."""
    input: str
    """sha256 of the score's bytes, or of the performance's."""
    input_name: str
    parameters: Mapping[str, Any]
    """All parameters, defaults included; plain JSON values."""
    seed: int
    device_class: str
    """"cpu" or "cuda"."""
    parent: str | None = None
    """Key of the input, if that is an artifact."""


@dataclass(frozen=True)
class Artifact:
    """A file in the store; the only data that tasks pass to each other."""

    key: str
    """sha256 of everything that determines the content (``store.artifact_key``)."""
    media_type: str
    path: str
    """Relative to the store, which may move."""
    size: int
    """Bytes."""
    sha256: str
    """Of the content."""
    notices: tuple[str, ...] = ()
    """``ParsedScore.notices`` of the score."""

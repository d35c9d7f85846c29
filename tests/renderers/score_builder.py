"""Scores from a few lines of plain data, for tests of renderers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from score_to_audio.types import (
    Direction,
    KeySignature,
    Measure,
    ParsedScore,
    ScoreNotes,
    Slur,
    TimeSignature,
)

_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class N:
    """A note: spelling, onset and duration in quarter notes, marks separated by spaces."""

    spelling: str
    onset: float
    duration: float = 1.0
    marks: str = ""
    grace: str = ""
    voice: int = 1
    staff: int = 1
    part: int = 0


def midi_pitch(spelling: str) -> int:
    letters = spelling.rstrip("-0123456789")
    octave = int(spelling[len(letters) :])
    accidentals = letters[1:]
    return 12 * (octave + 1) + _SEMITONES[letters[0]] + accidentals.count("#") - accidentals.count("b")


def parsed(
    notes: Sequence[N] = (),
    directions: Sequence[Direction] = (),
    *,
    slurs: Sequence[tuple[int, int]] = (),
    beats: int = 4,
    beat_type: int = 4,
    fifths: int = 0,
    composer: str = "",
    measures: int = 0,
) -> ParsedScore:
    """A score of the notes in playing order (sorted here; slurs are indices into the sorted notes)."""
    ordered = sorted(notes, key=lambda n: (n.onset, not n.grace, 0 if n.grace else midi_pitch(n.spelling)))
    length = beats * 4 / beat_type
    end = max([n.onset + n.duration for n in ordered] + [measures * length, 1e-9])
    bars = max(int(np.ceil(end / length)), 1)
    return ParsedScore(
        title="",
        composer=composer,
        parts=tuple(f"P{part}" for part in range(1 + max((n.part for n in ordered), default=0))),
        notes=ScoreNotes(
            id=tuple(f"n{i}" for i in range(len(ordered))),
            onset=np.array([n.onset for n in ordered], np.float64),
            duration=np.array([0.0 if n.grace else n.duration for n in ordered], np.float64),
            pitch=np.array([midi_pitch(n.spelling) for n in ordered], np.int64),
            spelling=tuple(n.spelling for n in ordered),
            voice=np.array([n.voice for n in ordered], np.int64),
            staff=np.array([n.staff for n in ordered], np.int64),
            part=np.array([n.part for n in ordered], np.int64),
            measure=np.array([min(int(n.onset // length), bars - 1) for n in ordered], np.int64),
            grace=tuple(n.grace for n in ordered),  # type: ignore[arg-type]
            marks=tuple(frozenset(n.marks.split()) for n in ordered),
        ),
        slurs=tuple(Slur(*pair) for pair in slurs),
        directions=tuple(sorted(directions, key=lambda d: d.onset)),
        measures=tuple(Measure(i * length, (i + 1) * length, str(i + 1), i) for i in range(bars)),
        time_signatures=(TimeSignature(0.0, beats, beat_type),),
        key_signatures=(KeySignature(0.0, fifths, "major"),),
    )


def tempo(onset: float, text: str = "", value: float | None = None) -> Direction:
    return Direction("tempo", onset, onset, text, value)


def change(onset: float, end: float, text: str) -> Direction:
    return Direction("tempo-change", onset, end, text)


def reset(onset: float, text: str = "a tempo") -> Direction:
    return Direction("tempo-reset", onset, onset, text)


def dynamic(onset: float, text: str, staff: int | None = None) -> Direction:
    return Direction("dynamic", onset, onset, text, part=0, staff=staff)


def impulse(onset: float, text: str, staff: int | None = None) -> Direction:
    return Direction("impulse", onset, onset, text, part=0, staff=staff)


def hairpin(onset: float, end: float, text: str = "crescendo", staff: int | None = None) -> Direction:
    return Direction("hairpin", onset, end, text, part=0, staff=staff)


def pedal(onset: float, end: float, text: str = "sustain") -> Direction:
    return Direction("pedal", onset, end, text, part=0)

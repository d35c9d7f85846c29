"""Parts of the published VirtuosoNet that only parity tests need: its MIDI file, and what its class
records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from renderers.virtuosonet.decoding import DecodedPerformance
from renderers.virtuosonet.features import COPY_SUFFIX, UNNORMALISED_COPIES, WIDTHS
from renderers.virtuosonet.performance import (
    CLOSING_SECONDS,
    control_changes,
    midi_notes,
    without_repetitions,
)
from renderers.virtuosonet.score import NoteScore, located
from renderers.virtuosonet.tempo_curve import TempoCurve
from score_to_audio.imports import import_quietly
from score_to_audio.types import SUSTAIN

if TYPE_CHECKING:
    from pretty_midi import PrettyMIDI

CLOCK_PITCH, CLOCK_VELOCITY = 64, 64
CLOCK_SECONDS = 0.01
"""Length of the clock's notes."""


def column_names(keys: Sequence[str]) -> list[str]:
    """The name of each input column; wider features with an index."""
    names = []
    for key in keys:
        width = WIDTHS[key]
        names += [key] if width == 1 else [f"{key}[{index}]" for index in range(width)]
    return names + [name + COPY_SUFFIX for name in UNNORMALISED_COPIES]


def spanned(vectors: Tensor, index: Tensor) -> Tensor:
    """``vectors[index]`` [T, ...] with the published mistake: where the first two notes lie in different
    beats (measures), only the notes up to the first minimum of the index differences get a vector."""
    filled = int((index[1:] - index[:-1]).argmin()) + 1 if len(index) > 1 else 1
    result = vectors[index].clone()
    if filled != 1:
        result[filled:] = 0
    return result


def section_positions(score: NoteScore) -> list[float]:
    """Positions where the tempo words change, and just after the last onset."""
    notes, marks = score.notes, score.marks
    positions = [notes[0].position]
    for index in range(1, len(notes)):
        before, after = marks[index - 1], marks[index]
        if before.tempo != after.tempo or before.relative_tempos != after.relative_tempos:
            positions.append(notes[index].position)
    return [*positions, notes[-1].position + 0.1]


def locations(score: NoteScore) -> dict[str, NDArray[np.int64]]:
    """[N] indices of the beat, measure, section and voice of each note."""
    at = score.locations
    sections = located(score.notes, section_positions(score))
    return {"beat": at.beat, "measure": at.measure, "section": sections, "voice": at.voice}


def clock_times(score: NoteScore, curve: TempoCurve, sixteenths: int = 4) -> list[float]:
    """Seconds of the clock: one tick for so many sixteenths of each measure's time signature."""
    positions: list[float] = []
    for start in score.meter.measures:
        signature = score.meter.time_signature_at(start)
        ticks = int(signature.numerator * 16 / (signature.denominator * sixteenths))
        positions += [start + tick * signature.divisions * sixteenths / 4 for tick in range(ticks)]
    return curve.seconds(np.array(positions)).tolist()


def official_midi(
    score: NoteScore,
    decoded: DecodedPerformance,
    *,
    bool_pedal: bool = False,
    clock: Sequence[float] | None = None,
) -> PrettyMIDI:
    """One piano track, and the clock's if one is given. ``bool_pedal``: values below 64 become 0."""
    pretty_midi = import_quietly("pretty_midi")

    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(program=0)
    piano.notes = [
        pretty_midi.Note(note.velocity, note.pitch, note.start, note.end)
        for note in without_repetitions(midi_notes(score, decoded))
    ]
    piano.control_changes = [
        pretty_midi.ControlChange(number, 0 if bool_pedal and value < 64 else value, time)
        for number, value, time in control_changes(decoded)
    ]
    last = max(piano.notes, key=lambda note: (note.start, note.pitch, note.start - note.end))
    piano.control_changes.append(pretty_midi.ControlChange(SUSTAIN, 0, last.end + CLOSING_SECONDS))
    midi.instruments.append(piano)
    if clock is not None:
        ticker = pretty_midi.Instrument(program=0)
        ticker.notes = [
            pretty_midi.Note(CLOCK_VELOCITY, CLOCK_PITCH, time, time + CLOCK_SECONDS) for time in clock
        ]
        midi.instruments.append(ticker)
    return midi

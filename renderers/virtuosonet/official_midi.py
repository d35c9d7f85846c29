"""The MIDI file that the published code writes, for comparison note by note and byte by byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from renderers.virtuosonet.playing import LONGEST, SHORTEST, Played
from renderers.virtuosonet.score import NoteScore
from score_to_audio.imports import import_quietly
from score_to_audio.types import SOFT, SUSTAIN

if TYPE_CHECKING:
    from pretty_midi import PrettyMIDI

CLOCK_PITCH = 64
CLOCK_SECONDS = 0.01
"""Length of the notes that tick in the second track."""
CLOSING_SECONDS = 3.0
"""After the last note the pedal goes up."""


@dataclass(frozen=True)
class MidiNote:
    start: float
    end: float
    pitch: int
    velocity: int
    index: int
    """Into ``Played``."""


def midi_notes(score: NoteScore, played: Played) -> list[MidiNote]:
    """Notes that are not overlapped, with their lengths and velocities within MIDI's ranges."""
    velocity = np.rint(played.velocity.clip(0, 127)).astype(int).tolist()
    length = np.where(played.seconds < SHORTEST, SHORTEST, np.minimum(played.seconds, LONGEST))
    starts, ends, pitch = played.start.tolist(), (played.start + length).tolist(), played.pitch.tolist()
    return [
        MidiNote(starts[i], ends[i], pitch[i], velocity[i], i)
        for i, note in enumerate(played.note.tolist())
        if not score.notes[note].is_overlapped
    ]


def control_changes(played: Played) -> list[tuple[int, int, float]]:
    """(number, value, time)"""
    return [(SUSTAIN, event.value, event.time) for event in played.sustain] + [
        (SOFT, event.value, event.time) for event in played.soft
    ]


def without_repetitions(notes: list[MidiNote]) -> list[MidiNote]:
    """Where two neighbours start together, the following neighbours of the first one's pitch go."""
    kept = list(notes)
    index = 0
    while index + 1 < len(kept):
        if kept[index].start == kept[index + 1].start:
            while index + 1 < len(kept) and kept[index + 1].pitch == kept[index].pitch:
                del kept[index + 1]
        index += 1
    return kept


def clock_times(score: NoteScore, played: Played, sixteenths: int = 4) -> list[float]:
    """Seconds of the ticks, one for every so many sixteenths of each measure's time signature."""
    positions: list[float] = []
    for start in score.meter.measures:
        signature = score.meter.time_signature_at(start)
        ticks = int(signature.numerator * 16 / (signature.denominator * sixteenths))
        positions += [start + tick * signature.divisions * sixteenths / 4 for tick in range(ticks)]
    return played.curve.seconds(np.array(positions)).tolist()


def official_midi(
    score: NoteScore, played: Played, *, bool_pedal: bool = False, clock: list[float] | None = None
) -> PrettyMIDI:
    """One piano track, and the clock's where one is given. ``bool_pedal``: values below 64 become 0."""
    pretty_midi = import_quietly("pretty_midi")

    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(program=0)
    piano.notes = [
        pretty_midi.Note(note.velocity, note.pitch, note.start, note.end)
        for note in without_repetitions(midi_notes(score, played))
    ]
    piano.control_changes = [
        pretty_midi.ControlChange(number, 0 if bool_pedal and value < 64 else value, time)
        for number, value, time in control_changes(played)
    ]
    last = max(piano.notes, key=lambda note: (note.start, note.pitch, note.start - note.end))
    piano.control_changes.append(pretty_midi.ControlChange(SUSTAIN, 0, last.end + CLOSING_SECONDS))
    midi.instruments.append(piano)
    if clock is not None:
        ticker = pretty_midi.Instrument(program=0)
        ticker.notes = [pretty_midi.Note(64, CLOCK_PITCH, time, time + CLOCK_SECONDS) for time in clock]
        midi.instruments.append(ticker)
    return midi

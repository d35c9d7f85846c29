"""The decoded notes and pedals as a ``Performance``, within the piano's ranges, with realised trills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from renderers.ornaments import SEMITONES, STEPS, key_alteration
from renderers.virtuosonet.decoding import DecodedPerformance
from renderers.virtuosonet.notation import XmlNote
from renderers.virtuosonet.score import NoteScore
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, SOFT, SUSTAIN, Controls, Performance

SHORTEST, LONGEST = 0.005, 10.0
"""Limits of note lengths in seconds."""
CLOSING_SECONDS = 3.0
"""Seconds from the last event to the final release of the pedal."""
TRILL_NOTE = 0.08
"""Seconds per note of a trill: about twelve notes per second, a common speed of pianists."""
SHORTEST_TRILL = 3
"""Smallest number of notes; shorter trills become one note."""
NEIGHBOUR_SOFTER = 0.9
"""Velocity of the neighbouring note of a trill relative to the main note."""


@dataclass(frozen=True)
class MidiNote:
    """A note within the ranges of MIDI; times in seconds."""

    start: float
    end: float
    pitch: int
    velocity: int
    index: int
    """Into ``DecodedPerformance``."""


def midi_notes(score: NoteScore, decoded: DecodedPerformance) -> list[MidiNote]:
    """The notes that are not overlapped, with limited lengths and velocities."""
    velocity = np.rint(decoded.velocity.clip(0, 127)).astype(int).tolist()
    starts, pitch = decoded.start.tolist(), decoded.pitch.tolist()
    ends = (decoded.start + decoded.seconds.clip(SHORTEST, LONGEST)).tolist()
    return [
        MidiNote(starts[i], ends[i], pitch[i], velocity[i], i)
        for i, note in enumerate(decoded.note.tolist())
        if not score.notes[note].is_overlapped
    ]


def control_changes(decoded: DecodedPerformance) -> list[tuple[int, int, float]]:
    """(number, value, time in seconds)"""
    return [(SUSTAIN, event.value, event.time) for event in decoded.sustain] + [
        (SOFT, event.value, event.time) for event in decoded.soft
    ]


def without_repetitions(notes: list[MidiNote]) -> list[MidiNote]:
    """Drop the notes of a note's pitch that follow it where the next note starts with it."""
    kept = list(notes)
    index = 0
    while index + 1 < len(kept):
        if kept[index].start == kept[index + 1].start:
            while index + 1 < len(kept) and kept[index + 1].pitch == kept[index].pitch:
                del kept[index + 1]
        index += 1
    return kept


def to_performance(
    score: NoteScore, decoded: DecodedPerformance, *, trills: bool, note_ids: Sequence[str]
) -> Performance:
    """The performance, shifted to start at 0 s or later; notes outside the piano's range are left out.

    ``trills``: realise trills; otherwise each is one note. ``note_ids`` [N]: of the score's notes.
    """
    notes: list[MidiNote] = []
    for note in without_repetitions(midi_notes(score, decoded)):
        written = score.notes[decoded.note[note.index]]
        notes += _trilled(written, note) if trills and written.is_trill else [note]
    notes = [note for note in notes if LOWEST_PITCH <= note.pitch <= HIGHEST_PITCH]
    notes.sort(key=lambda note: (note.start, note.pitch))
    changes = sorted(control_changes(decoded), key=lambda change: change[2])
    start, end = np.array([note.start for note in notes]), np.array([note.end for note in notes])
    time = np.array([change[2] for change in changes])
    earliest = min(0.0, start.min(initial=0.0), time.min(initial=0.0))
    closing = max(end.max(initial=0.0), time.max(initial=0.0)) + CLOSING_SECONDS
    return Performance(
        onset=start - earliest,
        offset=end - earliest,
        pitch=np.array([note.pitch for note in notes], dtype=np.int64),
        velocity=np.array([note.velocity for note in notes], dtype=np.int64).clip(1, 127),
        controls=Controls(
            time=np.append(time, closing) - earliest,
            number=np.array([change[0] for change in changes] + [SUSTAIN], dtype=np.int64),
            value=np.array([change[1] for change in changes] + [0], dtype=np.int64),
        ),
        score_ids=tuple(note_ids[decoded.note[note.index]] for note in notes),
    )


def _trilled(written: XmlNote, note: MidiNote) -> list[MidiNote]:
    onsets, is_neighbour = trill(note.start, note.end - note.start)
    pitch, velocity = note.pitch + upper_neighbour(written), round(note.velocity * NEIGHBOUR_SOFTER)
    neighbour = replace(note, pitch=pitch, velocity=velocity)
    ends = np.append(onsets[1:], note.end).tolist()
    return [
        replace(neighbour if above else note, start=start, end=end)
        for start, end, above in zip(onsets.tolist(), ends, is_neighbour.tolist(), strict=True)
    ]


def trill(start: float, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """[T] onsets of a trill's notes, and [T] True for the neighbour. The main note is first and last."""
    count = int(seconds / TRILL_NOTE)
    count -= count % 2 == 0
    if count < SHORTEST_TRILL:
        return np.array([start]), np.array([False])
    onsets = np.linspace(start, start + seconds, count, endpoint=False, dtype=np.float64)
    return onsets, np.arange(count) % 2 == 1


def upper_neighbour(note: XmlNote) -> int:
    """Semitones from the note to the next step, by an accidental at the trill or else by the key."""
    above = STEPS[(STEPS.index(note.step) + 1) % len(STEPS)]
    alter = key_alteration(note.fifths, above) if note.trill_alter is None else note.trill_alter
    distance = (SEMITONES[above] - SEMITONES[note.step]) % 12 + alter - note.alter
    return min(max(distance, 1), 3)

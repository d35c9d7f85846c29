"""The chain of the published script, for ``compatibility="official"``: the first track of a MIDI file in
separate segments. Section numbers are those of the fact sheet of the golden vectors."""

from __future__ import annotations

import io
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import mido
import numpy as np
from numpy.typing import NDArray

from renderers.m2m.tokens import BAR_TICKS, BOS, EOS, PAD, SPECIALS, TickNotes, Tokens, velocity_of
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH

TICKS_PER_QUARTER = 96


@dataclass(frozen=True)
class MidiNote:
    """A note of one track in the file's ticks."""

    onset: int
    pitch: int
    duration: int
    velocity: int


def midi_tracks(content: bytes) -> tuple[list[list[MidiNote]], int]:
    """(notes per track, ticks per quarter) of a MIDI file (section 2a).

    A track is one channel and program of a MIDI track; notes of one pitch are paired first in, first out;
    notes that are never closed, or closed at their onset, are dropped. Tracks without a note in the piano's
    range are dropped. Raises errors of mido for other files."""
    midi = mido.MidiFile(file=io.BytesIO(content))
    tracks: list[list[MidiNote]] = []
    for track in midi.tracks:
        groups: dict[tuple[int, int], list[MidiNote]] = defaultdict(list)
        open_notes: dict[tuple[int, int], deque[tuple[int, int, int]]] = defaultdict(deque)
        programs: dict[int, int] = defaultdict(int)
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "program_change":
                programs[message.channel] = message.program
            elif message.type == "note_on" and message.velocity > 0:
                key = (message.channel, message.note)
                open_notes[key].append((tick, message.velocity, programs[message.channel]))
            elif message.type in ("note_on", "note_off") and open_notes[message.channel, message.note]:
                start, velocity, program = open_notes[message.channel, message.note].popleft()
                if tick > start:
                    note = MidiNote(start, message.note, tick - start, velocity)
                    groups[message.channel, program].append(note)
        tracks += [groups[key] for key in sorted(groups)]
    played = [notes for notes in tracks if any(LOWEST_PITCH <= note.pitch <= HIGHEST_PITCH for note in notes)]
    return played, midi.ticks_per_beat


def notes_of_track(notes: Sequence[MidiNote], ticks_per_quarter: int) -> TickNotes:
    """A track's notes at ``TICKS_PER_QUARTER``: sorted by the file's ticks, then rounded half up."""
    table = np.array(
        sorted((note.onset, note.pitch, note.duration, note.velocity) for note in notes), np.int64
    ).reshape(-1, 4)

    def resampled(ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        return (2 * ticks * TICKS_PER_QUARTER + ticks_per_quarter) // (2 * ticks_per_quarter)

    onset, pitch, duration, velocity = table.T
    return TickNotes(resampled(onset), np.maximum(resampled(duration), 1), pitch, velocity)


def segments(tokens: Tokens, length: int) -> tuple[Tokens, NDArray[np.int64]]:
    """BOS, the tokens and EOS in consecutive segments [S, length, columns], and their mask [S, length]."""
    columns = tokens.shape[1]
    framed = np.concatenate([np.full((1, columns), BOS), tokens, np.full((1, columns), EOS)])
    count = -(-len(framed) // length)
    padded = np.full((count * length, columns), PAD, np.int64)
    padded[: len(framed)] = framed
    mask = (np.arange(count * length) < len(framed)).astype(np.int64)
    return padded.reshape(count, length, columns), mask.reshape(count, length)


def predicted_rows(segment: Tokens, velocity: Tokens, ioi: Tokens, duration: Tokens) -> Tokens:
    """[L, 11] (section 5): pitch, predicted velocity, duration and IOI, score position and bar, then the
    score's velocity, duration, IOI, position and bar. ``segment``: [L, 6]; predictions: [L] ids."""
    performance = np.stack([segment[:, 0], velocity, duration, ioi, segment[:, 4], segment[:, 5]], axis=1)
    return np.concatenate([performance, segment[:, 1:]], axis=1)


def performed_notes(rows: Tokens) -> TickNotes:
    """The notes of rows [N, 11] (section 5). A row with any special id is dropped with its interval; onsets
    may run backwards."""
    rows = rows[(rows >= SPECIALS).all(axis=1)]
    intervals = rows[:, 3] - SPECIALS - BAR_TICKS
    start = (rows[:1, 4] - SPECIALS) + (rows[:1, 5] - SPECIALS) * BAR_TICKS
    onset = np.cumsum(np.concatenate([start, intervals[1:]]))
    pitch = rows[:, 0] + LOWEST_PITCH - SPECIALS
    return TickNotes(onset, rows[:, 2] - SPECIALS + 1, pitch, velocity_of(rows[:, 1]))

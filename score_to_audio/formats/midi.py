"""Performances to and from standard MIDI files, on pretty_midi.

Files are written at 960 ticks per quarter and 120 bpm: a grid of 0.52 ms. The ids of the score notes are text
events ("PITCH ID", at the note's onset), so that one file has the performance and its alignment.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from score_to_audio.errors import InputError
from score_to_audio.formats.midi_events import cleaned
from score_to_audio.imports import import_quietly
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, Controls, Performance
from score_to_audio.wording import reason

if TYPE_CHECKING:
    from pretty_midi import PrettyMIDI

TICKS_PER_QUARTER = 960
SECONDS_PER_TICK = 60 / (120 * TICKS_PER_QUARTER)
"""In files that are written: at 120 quarter notes per minute."""
MAX_FILE_SIZE = 8 * 2**20
"""Bytes; a performance of an hour with continuous pedal takes about 1 MB."""

log = logging.getLogger(__name__)


def read_performance(path: Path) -> Performance:
    """The piano performance in a MIDI file: all tracks but drums, without notes outside A0..C8.

    Raises ``InputError`` for a file that is missing, too large or not MIDI.
    """
    try:
        if path.stat().st_size > MAX_FILE_SIZE:
            raise InputError(f"{path}: larger than {MAX_FILE_SIZE >> 20} MB; is it a MIDI file?")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return performance_from_midi(content, name=str(path))


def write_performance(performance: Performance, path: Path) -> None:
    path.write_bytes(performance_to_midi(performance))


def performance_from_midi(content: bytes, *, name: str) -> Performance:
    """As ``read_performance``; ``name``: of the content, in errors."""
    pretty_midi = import_quietly("pretty_midi")

    try:
        midi = pretty_midi.PrettyMIDI(io.BytesIO(cleaned(content)))
    except Exception as error:  # the parsers of mido and pretty_midi raise EOFError, KeyError, IndexError ...
        raise InputError(f"{name}: not a readable MIDI file ({reason(error)}); export it again") from error
    performance = _performance(midi, name)
    if not len(performance):
        raise InputError(f"{name}: has no piano notes; give it a MIDI file with at least one")
    return performance


def performance_to_midi(performance: Performance) -> bytes:
    """A type 1 MIDI file with one piano track; the same performance gives the same bytes."""
    pretty_midi = import_quietly("pretty_midi")

    midi = pretty_midi.PrettyMIDI(resolution=TICKS_PER_QUARTER, initial_tempo=120)
    midi._charset = "utf-8"  # read by write(); the constructor takes it only together with a file
    piano = pretty_midi.Instrument(program=0, name="Piano")
    start = np.rint(performance.onset / SECONDS_PER_TICK).astype(np.int64)
    end = _ends_before_restrike(performance, start)
    rows = zip(performance.velocity, performance.pitch, start, end, strict=True)
    piano.notes = [
        pretty_midi.Note(int(velocity), int(pitch), a * SECONDS_PER_TICK, b * SECONDS_PER_TICK)
        for velocity, pitch, a, b in rows
    ]
    events = performance.controls
    piano.control_changes = [
        pretty_midi.ControlChange(int(number), int(value), float(time))
        for time, number, value in zip(events.time, events.number, events.value, strict=True)
    ]
    midi.instruments.append(piano)
    if performance.score_ids is not None:
        midi.text_events = [
            pretty_midi.Text(f"{pitch} {note_id}", a * SECONDS_PER_TICK)
            for pitch, note_id, a in zip(performance.pitch, performance.score_ids, start, strict=True)
            if note_id
        ]
    buffer = io.BytesIO()
    midi.write(buffer)
    return buffer.getvalue()


def _ends_before_restrike(performance: Performance, start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ticks of the note-offs; a key that is struck again is released first, so that readers pair the
    events."""
    end = np.maximum(np.rint(performance.offset / SECONDS_PER_TICK).astype(np.int64), start + 1)
    order = np.lexsort((start, performance.pitch))
    same_key = performance.pitch[order][1:] == performance.pitch[order][:-1]
    next_start = np.where(same_key, start[order][1:], np.iinfo(np.int64).max)
    end[order[:-1]] = np.maximum(np.minimum(end[order[:-1]], next_start), start[order[:-1]] + 1)
    return end


def _performance(midi: PrettyMIDI, name: str) -> Performance:
    instruments = [instrument for instrument in midi.instruments if not instrument.is_drum]
    found = [(note.start, note.pitch, note.end, note.velocity) for one in instruments for note in one.notes]
    # Sorted by all fields, so that the order of tracks in the file does not matter.
    notes = sorted(note for note in found if LOWEST_PITCH <= note[1] <= HIGHEST_PITCH and note[3] > 0)
    if len(notes) < len(found):
        log.warning("%s: left out %d notes outside the piano's range", name, len(found) - len(notes))
    controls = sorted(
        ((event.time, event.number, event.value) for one in instruments for event in one.control_changes),
        key=lambda event: event[0],
    )
    columns = np.array(notes, dtype=np.float64).reshape(-1, 4)
    onset = np.maximum(columns[:, 0], 0.0)
    pitch = columns[:, 1].astype(np.int64)
    return Performance(
        onset=onset,
        offset=np.maximum(columns[:, 2], onset + SECONDS_PER_TICK),
        pitch=pitch,
        velocity=columns[:, 3].astype(np.int64),
        controls=Controls(
            np.array([time for time, _, _ in controls], dtype=np.float64),
            np.array([number for _, number, _ in controls], dtype=np.int64),
            np.array([value for _, _, value in controls], dtype=np.int64),
        ),
        score_ids=_score_ids(midi, onset, pitch),
    )


def _score_ids(
    midi: PrettyMIDI, onset: NDArray[np.float64], pitch: NDArray[np.int64]
) -> tuple[str, ...] | None:
    ids: dict[tuple[int, int], str] = {}
    for event in midi.text_events:
        number, _, note_id = event.text.encode("latin1").decode("utf-8", "replace").partition(" ")
        if number.isdecimal() and note_id:
            ids[_tick(event.time), int(number)] = note_id
    if not ids:
        return None
    return tuple(ids.get((_tick(time), int(key)), "") for time, key in zip(onset, pitch, strict=True))


def _tick(seconds: float) -> int:
    return round(seconds / SECONDS_PER_TICK)

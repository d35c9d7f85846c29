"""What was played as a ``Performance``: within the ranges of a piano, with the trills realised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet.official_midi import (
    CLOSING_SECONDS,
    MidiNote,
    control_changes,
    midi_notes,
    without_repetitions,
)
from renderers.virtuosonet.ornaments import NEIGHBOUR_SOFTER, trill, upper_neighbour
from renderers.virtuosonet.playing import Played
from renderers.virtuosonet.score import NoteScore
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, SUSTAIN, Controls, Performance


def performance(score: NoteScore, played: Played, *, trills: bool, note_ids: Sequence[str]) -> Performance:
    """The performance, moved so that nothing happens before 0 s; notes beyond the piano are left out.

    ``trills``: as many notes instead of one. ``note_ids`` [N]: of the score's notes.
    Raises ``ValueError`` where the network gave no numbers.
    """
    sounding = []
    for note in without_repetitions(midi_notes(score, played)):
        if trills and score.notes[played.note[note.index]].is_trill:
            sounding += _trilled(score, played, note)
        else:
            sounding.append(note)
    sounding = [note for note in sounding if LOWEST_PITCH <= note.pitch <= HIGHEST_PITCH]
    sounding.sort(key=lambda note: (note.start, note.pitch))
    changes = sorted(control_changes(played), key=lambda change: change[2])
    start, end = _column(sounding, "start"), _column(sounding, "end")
    time = np.array([change[2] for change in changes])
    earliest = min(0.0, start.min(initial=0.0), time.min(initial=0.0))
    closing = max(end.max(initial=0.0), time.max(initial=0.0)) + CLOSING_SECONDS
    return Performance(
        onset=start - earliest,
        offset=end - earliest,
        pitch=_column(sounding, "pitch").astype(np.int64),
        velocity=_column(sounding, "velocity").astype(np.int64).clip(1, 127),
        controls=Controls(
            time=np.append(time, closing) - earliest,
            number=np.array([change[0] for change in changes] + [SUSTAIN], dtype=np.int64),
            value=np.array([change[1] for change in changes] + [0], dtype=np.int64),
        ),
        score_ids=tuple(note_ids[played.note[note.index]] for note in sounding),
    )


def _column(notes: Sequence[MidiNote], name: str) -> NDArray[np.float64]:
    return np.array([getattr(note, name) for note in notes], dtype=np.float64)


def _trilled(score: NoteScore, played: Played, note: MidiNote) -> list[MidiNote]:
    onsets, neighbour = trill(note.start, note.end - note.start)
    ends = np.append(onsets[1:], note.end)
    interval = upper_neighbour(score.notes[played.note[note.index]])
    return [
        MidiNote(
            start,
            end,
            note.pitch + interval * above,
            round(note.velocity * (NEIGHBOUR_SOFTER if above else 1)),
            note.index,
        )
        for start, end, above in zip(onsets.tolist(), ends.tolist(), neighbour.tolist(), strict=True)
    ]

"""Plays exactly what is written: the baseline, and the fallback for scores that a model refuses.

Written tempo, dynamics, articulation, ornaments and pedal; no interpretation.
"""

from __future__ import annotations

import numpy as np

from renderers import articulation, dynamics, keyboard, ornaments, pedalling, tempo
from score_to_audio.types import ParsedScore, Performance


def render(
    score: ParsedScore,
    *,
    default_tempo: float = tempo.DEFAULT_TEMPO,
    speed: float = 1.0,
    default_dynamic: str = "mf",
    softest: float = dynamics.SOFTEST,
    loudest: float = dynamics.LOUDEST,
    upper_start: bool | None = None,
) -> Performance:
    """The score as written.

    ``default_tempo``: quarter notes per minute where no tempo is written; ``speed`` multiplies every tempo;
    ``default_dynamic``: "ppp" ... "fff" until the first mark; ``softest`` and ``loudest``: MIDI velocity of
    ppp and fff; ``upper_start``: trills begin with the upper note (None: depends on the composer). Every
    performed note has the id of its score note. Notes outside the piano's range are left out.
    """
    notes = score.notes
    times = tempo.time_map(score, default_tempo=default_tempo, speed=speed)
    onset, end = times.to_seconds(notes.onset), times.to_seconds(notes.onset + notes.duration)
    levels = dynamics.note_levels(score, default_dynamic)
    plain = keyboard.TimedNotes(
        source=np.arange(len(notes)),
        onset=onset,
        offset=articulation.releases(notes, score.slurs, onset, end),
        pitch=notes.pitch,
        velocity=dynamics.velocities(levels, softest=softest, loudest=loudest),
    )
    timed = ornaments.realise(score, plain, upper_start=upper_start)
    return keyboard.to_performance(timed, notes.id, pedalling.written_pedals(score.directions, times))

"""Plays exactly what is written: the honest baseline, and the fallback for scores that a model refuses.

No interpretation: written tempo, dynamics, articulation, ornaments and pedal, and nothing else.
"""

from __future__ import annotations

import numpy as np

from renderers import articulation, dynamics, ornaments, pedalling, playing, tempo
from score_to_audio.types import ParsedScore, Performance


def play(
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
    ppp and fff; ``upper_start``: trills begin with the upper note (None: as in the composer's time). Every
    performed note bears the id of the score note behind it. Notes that no piano has are left out.
    """
    notes = score.notes
    times = tempo.time_map(score, default_tempo=default_tempo, speed=speed)
    onset, end = times.to_seconds(notes.onset), times.to_seconds(notes.onset + notes.duration)
    plain = playing.Played(
        source=np.arange(len(notes)),
        onset=onset,
        offset=articulation.releases(notes, score.slurs, onset, end),
        pitch=notes.pitch,
        velocity=dynamics.velocities(
            dynamics.note_levels(score, default_dynamic), softest=softest, loudest=loudest
        ),
    )
    if upper_start is None:
        upper_start = ornaments.begins_on_upper_note(score.composer)
    played = ornaments.realise(notes, score.key_signatures, plain, upper_start=upper_start)
    return playing.performance(played, notes.id, pedalling.written_pedals(score.directions, times))

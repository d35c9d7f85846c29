"""Where in the score a performance is at each second."""

from __future__ import annotations

import numpy as np

from score_to_audio.listening.comparison import Timeline
from score_to_audio.types import ParsedScore, Performance


def timeline(score: ParsedScore, performance: Performance) -> Timeline:
    """(quarter notes in playing order, seconds) at every struck onset of the score and at the end.

    Of a chord, the mean of its main notes; onsets that come out of order are pulled up to the one before.
    Empty where the performance has no ``score_ids`` that the score knows.
    """
    onsets = {
        name: onset
        for name, onset, grace in zip(score.notes.id, score.notes.onset, score.notes.grace, strict=True)
        if not grace
    }
    known = (
        [
            (onsets[name], seconds)
            for name, seconds in zip(performance.score_ids or (), performance.onset, strict=True)
            if name in onsets
        ]
        if performance.score_ids
        else []
    )
    if not known:
        return ()
    quarters, seconds = np.array(known, np.float64).T
    positions, index = np.unique(quarters, return_inverse=True)
    times = np.maximum.accumulate(np.bincount(index, seconds) / np.bincount(index))
    pairs = list(zip(positions.tolist(), times.tolist(), strict=True))
    last_release = float(performance.offset.max())
    if score.end > pairs[-1][0] and last_release > pairs[-1][1]:
        pairs.append((score.end, last_release))
    return tuple(pairs)

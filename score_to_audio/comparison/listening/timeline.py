"""Where in the score a performance is at each second."""

from __future__ import annotations

from renderers.expression import Grid, grid, performed_onsets
from score_to_audio.comparison.listening.comparison import Timeline
from score_to_audio.types import ParsedScore, Performance


def timeline(score: ParsedScore, performance: Performance) -> Timeline:
    """(quarter notes in playing order, seconds) at the struck onsets of the score, and at the last release.

    Onsets that are out of order, and those of ornaments and broken chords, are left out, as in
    ``evaluation.expression``. Empty where the performance has no ``score_ids`` that the score knows.
    """
    return timeline_on(grid(score), performance)


def timeline_on(of_score: Grid, performance: Performance) -> Timeline:
    """As ``timeline``, for a score that is prepared already."""
    played = [of_score.index[name] for name in performance.score_ids or () if name in of_score.index]
    if not played:
        return ()
    quarters, seconds = (column.tolist() for column in performed_onsets(of_score, performance))
    end = float((of_score.onset[played] + of_score.duration[played]).max())
    last_release = float(performance.offset.max())
    if quarters and end > quarters[-1] and last_release > seconds[-1]:
        quarters.append(end)
        seconds.append(last_release)
    return tuple(zip(quarters, seconds, strict=True))

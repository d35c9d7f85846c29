"""Note alignment of performances with scores, by parangonar (extra ``align``).

S. D. Peter et al., Automatic Note-Level Score-to-Performance Alignments in the ASAP Dataset, TISMIR 6(1),
2023."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from score_to_audio.errors import InputError
from score_to_audio.types import Performance, Score


def align(
    *,
    onset: NDArray[np.floating],
    duration: NDArray[np.floating],
    pitch: NDArray[np.integer],
    performance: Performance,
) -> NDArray[np.int64]:
    """[N] index of the performed note of each score note, -1 for none.

    ``onset``, ``duration``: [N] beats of the score's notes; ``pitch``: [N]. Raises ``InputError`` where the
    extra is not installed."""
    matcher = _matcher()
    score = np.zeros(
        len(onset),
        [("onset_beat", "f4"), ("duration_beat", "f4"), ("pitch", "i4"), ("id", "U16"), ("is_grace", "?")],
    )
    score["onset_beat"], score["duration_beat"], score["pitch"] = onset, duration, pitch
    score["is_grace"] = duration <= 0
    score["id"] = np.arange(len(onset)).astype(str)
    performed = np.zeros(
        len(performance),
        [("onset_sec", "f4"), ("duration_sec", "f4"), ("pitch", "i4"), ("velocity", "i4"), ("id", "U16")],
    )
    performed["onset_sec"], performed["pitch"] = performance.onset, performance.pitch
    performed["duration_sec"] = performance.offset - performance.onset
    performed["velocity"] = performance.velocity
    performed["id"] = np.arange(len(performance)).astype(str)
    index = np.full(len(onset), -1, np.int64)
    for entry in matcher(score, performed):
        if entry["label"] == "match":
            index[int(entry["score_id"])] = int(entry["performance_id"])
    return index


def aligned_performance(
    midi: Path,
    score: Score,
    *,
    onset: NDArray[np.floating],
    duration: NDArray[np.floating],
    pitch: NDArray[np.integer],
    advice: str,
) -> tuple[Performance, NDArray[np.int64]]:
    """The performance in a MIDI file, and its alignment (``align``) with notes of the score.

    Raises ``InputError``, which ends with ``advice`` where less than half of the score's notes are in it.
    """
    from score_to_audio.formats.midi import read_performance

    performance = read_performance(midi)
    match = align(onset=onset, duration=duration, pitch=pitch, performance=performance)
    matched = int((match >= 0).sum())
    if 2 * matched < len(match):
        raise InputError(
            f"{midi}: only {matched} of the {len(match)} notes of {score.path} are in it; {advice}"
        )
    return performance, match


def _matcher() -> Any:
    from score_to_audio.formats.scores.partitura_bridge import import_partitura

    import_partitura()
    try:
        from parangonar import DualDTWNoteMatcher
    except ImportError as error:
        raise InputError(
            "aligning a performance with its score needs parangonar: pip install 'score-to-audio[align]'"
        ) from error
    return DualDTWNoteMatcher()

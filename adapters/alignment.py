"""Which performed note belongs to which score note, by parangonar (extra ``align``).

S. D. Peter et al., Automatic Note-Level Score-to-Performance Alignments in the ASAP Dataset, TISMIR 6(1),
2023.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from score_to_audio.errors import InputError
from score_to_audio.types import Performance


def align(
    *,
    onset: NDArray[np.floating],
    duration: NDArray[np.floating],
    pitch: NDArray[np.integer],
    performance: Performance,
) -> NDArray[np.int64]:
    """[N] index of the performed note behind each score note, -1 where none is.

    ``onset``, ``duration``: [N] beats of the score's notes; ``pitch``: [N]. Raises ``InputError`` where the
    extra is not installed.
    """
    matcher = _matcher()
    score = np.zeros(
        len(onset),
        [("onset_beat", "f4"), ("duration_beat", "f4"), ("pitch", "i4"), ("id", "U16"), ("is_grace", "?")],
    )
    score["onset_beat"], score["duration_beat"], score["pitch"] = onset, duration, pitch
    score["is_grace"] = duration <= 0
    score["id"] = np.arange(len(onset)).astype(str)
    played = np.zeros(
        len(performance),
        [("onset_sec", "f4"), ("duration_sec", "f4"), ("pitch", "i4"), ("velocity", "i4"), ("id", "U16")],
    )
    played["onset_sec"], played["pitch"] = performance.onset, performance.pitch
    played["duration_sec"] = performance.offset - performance.onset
    played["velocity"] = performance.velocity
    played["id"] = np.arange(len(performance)).astype(str)
    index = np.full(len(onset), -1, np.int64)
    for entry in matcher(score, played):
        if entry["label"] == "match":
            index[int(entry["score_id"])] = int(entry["performance_id"])
    return index


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

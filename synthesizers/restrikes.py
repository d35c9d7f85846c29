"""Keys that are struck again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import Performance


def next_onset(performance: Performance) -> NDArray[np.float64]:
    """[N] seconds at which each note's key is struck next; infinite for its last note."""
    result = np.full(len(performance), np.inf)
    order = np.lexsort((performance.onset, performance.pitch))
    same_key = np.diff(performance.pitch[order]) == 0
    result[order[:-1][same_key]] = performance.onset[order[1:][same_key]]
    return result

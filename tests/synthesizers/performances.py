"""Performances and measures of their sound for the tests of the pianos."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import SUSTAIN, Controls, Performance

RATE = 48_000
"""Hz, of both pianos."""

Sound = NDArray[np.float32]
"""[2, samples]"""


def notes(*rows: tuple[float, float, int, int], controls: Controls | None = None) -> Performance:
    """Rows of (onset, offset, pitch, velocity)."""
    onset, offset, pitch, velocity = zip(*rows, strict=True)
    times = np.array(onset, float), np.array(offset, float)
    return Performance(*times, np.array(pitch), np.array(velocity), controls or Controls.none())


def pedal(*events: tuple[float, int], number: int = SUSTAIN) -> Controls:
    """Events of (time, value)."""
    time, value = zip(*events, strict=True)
    return Controls(np.array(time, float), np.full(len(time), number), np.array(value))


def decibels(samples: Sound, start: float, end: float) -> float:
    """Power between two times in seconds, as if silent after the end."""
    part = samples[:, int(start * RATE) : int(end * RATE)].astype(np.float64)
    return float(10 * np.log10((part**2).sum() / (end - start) / RATE + 1e-20))

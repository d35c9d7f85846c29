"""The sound of a synthesizer as it is delivered: at a loudness, ending where nothing more is heard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from score_to_audio.levels import (
    CEILING,
    GATE_STEP,
    MAX_OVERSHOOT,
    TRUE_PEAK_TAPS,
    gated_loudness,
    loudness,
    step_powers,
    true_peak_envelope,
)
from score_to_audio.types import AudioStream

INAUDIBLE = -70.0
"""LUFS; what is softer after the last sound, once it is as loud as asked for, is cut."""
FADE = 0.3
"""Seconds of fade-out after the last sound."""
WORTH_SAYING = 1.0
"""LU by which a sound may miss its loudness without a message."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What one pass over a sound finds."""

    loudness: float
    """LUFS, integrated; minus infinity for silence and for less than 0.4 s."""
    true_peak: float
    """Linear."""
    step_powers: NDArray[np.float64]
    """[steps] K-weighted power of each 0.1 s."""


def mastered(read: Callable[[], AudioStream], wanted: float) -> AudioStream:
    """A sound at ``wanted`` LUFS by one gain for the whole, with a true peak of at most -1.2 dBTP.

    Where the peaks do not allow the loudness, the sound stays below it. It ends ``FADE`` after the last step
    that is louder than ``INAUDIBLE``. ``read`` gives the sound; it is called twice, since the first pass
    measures. Memory does not depend on the length. A sound too short to have a loudness keeps its level.
    """
    measured = measure(read())
    gain = _gain(measured, wanted)
    heard = np.flatnonzero(loudness(measured.step_powers * gain**2) > INAUDIBLE)
    stream = read()
    steps = len(measured.step_powers) if not len(heard) else int(heard[-1]) + 1
    length = round((steps * GATE_STEP + FADE) * stream.sample_rate)
    return replace(stream, blocks=_faded(stream, gain, length))


def measure(stream: AudioStream) -> Measured:
    meter = _PeakMeter()
    powers = step_powers(replace(stream, blocks=map(meter.passing, stream.blocks)))
    return Measured(gated_loudness(powers), meter.peak, powers)


class _PeakMeter:
    """The true peak of the blocks that pass through."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._before: NDArray[np.float32] | None = None

    def passing(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        before = np.zeros((block.shape[0], 0), np.float32) if self._before is None else self._before
        window = np.concatenate([before, block], axis=1)
        if np.abs(window).max(initial=0.0) * MAX_OVERSHOOT > self.peak:
            inner = true_peak_envelope(window)[min(before.shape[1], TRUE_PEAK_TAPS) :]
            self.peak = max(self.peak, float(inner.max(initial=0.0)))
        self._before = window[:, -2 * TRUE_PEAK_TAPS :]
        return block


def _gain(measured: Measured, wanted: float) -> float:
    if not np.isfinite(measured.loudness):
        return 1.0
    gain = 10 ** ((wanted - measured.loudness) / 20)
    allowed = CEILING / measured.true_peak
    missing = 20 * np.log10(gain / allowed)
    if missing > WORTH_SAYING:
        log.info("%.1f LUFS instead of %g: louder, its peaks would pass -1 dBTP", wanted - missing, wanted)
    return float(min(gain, allowed))


def _faded(stream: AudioStream, gain: float, length: int) -> Iterator[NDArray[np.float32]]:
    """The stream times ``gain``, cut or filled to ``length`` samples, its last ``FADE`` seconds faded out."""
    fade = min(round(FADE * stream.sample_rate), length)
    silence = np.zeros((stream.channels, fade), np.float32)
    done = 0
    for block in chain(stream.blocks, [silence]):
        part = block[:, : length - done] * np.float32(gain)
        remaining = length - done - np.arange(part.shape[1])
        if part.shape[1] and remaining[-1] <= fade:
            part *= np.sin(np.pi / 2 * np.minimum(remaining / fade, 1)).astype(np.float32) ** 2
        done += part.shape[1]
        if part.shape[1]:
            yield part

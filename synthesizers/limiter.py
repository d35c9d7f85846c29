"""A look-ahead peak limiter for streams of samples."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from score_to_audio.levels import CEILING, MAX_OVERSHOOT, TRUE_PEAK_TAPS, true_peak_envelope
from score_to_audio.progress import report
from score_to_audio.types import AudioStream

REPORTED_GAIN = 10 ** (-0.05 / 20)
"""Lowest gain that is not worth a warning, which would read "0.0 dB"."""
REACH = 0.03
"""Seconds before and after a peak over which the gain falls and rises again."""

log = logging.getLogger(__name__)

Block = NDArray[np.float32]


def limit_peaks(stream: AudioStream) -> AudioStream:
    """The stream with true peaks of at most -1.2 dBTP; unchanged where they are lower.

    Logs a warning at the end if the gain was lowered by more than 0.05 dB.
    """
    return replace(stream, blocks=_limited(stream.blocks, stream.sample_rate))


def with_progress(stream: AudioStream, seconds: float) -> AudioStream:
    """The stream; reports its progress towards an expected length of ``seconds``."""

    def blocks() -> Iterator[Block]:
        done = 0
        for block in stream.blocks:
            done += block.shape[1]
            report(min(done / stream.sample_rate, seconds), seconds, "seconds of sound")
            yield block

    return replace(stream, blocks=blocks())


def _limited(blocks: Iterable[Block], sample_rate: int) -> Iterator[Block]:
    reach = int(REACH * sample_rate)
    context = 2 * reach + TRUE_PEAK_TAPS
    reduced, min_gain = 0, 1.0
    for window in _with_context(blocks, context):
        inner = window[:, context:-context]
        if np.abs(window).max(initial=0) * MAX_OVERSHOOT <= CEILING:
            yield inner
            continue
        gain = _gain(window, reach)[context:-context]
        reduced += int((gain < 1).sum())
        min_gain = min(min_gain, float(gain.min(initial=1)))
        yield (inner * gain).astype(np.float32)
    if min_gain < REPORTED_GAIN:
        log.warning(
            "the limiter lowered %.2f s of the sound by up to %.1f dB to keep its peaks below -1 dBTP",
            reduced / sample_rate,
            -20 * np.log10(min_gain),
        )


def _gain(samples: Block, reach: int) -> NDArray[np.float64]:
    """[n] factor: the lowest that any peak within ``reach`` needs, smoothed over the same distance."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d  # slow to import

    needed = np.minimum(1, CEILING / np.maximum(true_peak_envelope(samples), CEILING)).astype(np.float64)
    if needed.min() == 1:
        return needed
    held = minimum_filter1d(needed, 2 * reach + 1, mode="nearest")
    width = 2 * (reach // 2) + 1
    smooth = uniform_filter1d(uniform_filter1d(held, width, mode="nearest"), width, mode="nearest")
    return np.asarray(np.minimum(smooth, 1))


def _with_context(blocks: Iterable[Block], context: int) -> Iterator[Block]:
    """Windows that overlap by ``context`` samples on either side; without it they add up to the stream."""
    pending: Block | None = None
    for block in blocks:
        if pending is None:
            pending = np.zeros((block.shape[0], context), np.float32)
        pending = np.concatenate([pending, block], axis=1)
        if pending.shape[1] > 2 * context:
            yield pending
            pending = pending[:, -2 * context :]
    if pending is None:
        return
    rest = np.concatenate([pending, np.zeros((pending.shape[0], context), np.float32)], axis=1)
    if rest.shape[1] > 2 * context:
        yield rest

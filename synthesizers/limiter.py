"""A guard against clipping: a look-ahead limiter for streams of samples."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from score_to_audio.formats.audio import stream_of
from score_to_audio.progress import report
from score_to_audio.types import AudioStream, Waveform
from synthesizers.levels import MOST_OVERSHOOT, TRUE_PEAK_TAPS, true_peak_envelope

CEILING = 10 ** (-1.2 / 20)
"""Of full scale: 0.2 dB below the -1 dBTP that is promised, since meters with other filters read a little
differently."""
WORTH_TELLING = 10 ** (-0.05 / 20)
"""Gain below which the intervention is said; less would read "0.0 dB"."""
REACH = 0.03
"""Seconds before and after a peak over which the gain falls and rises again."""

log = logging.getLogger(__name__)

Block = NDArray[np.float32]


def limited(blocks: Iterable[Block], sample_rate: int) -> Iterator[Block]:
    """The blocks [channels, n] with true peaks of at most ``CEILING``; unchanged where they are lower.

    Logs a warning at the end if the gain had to be lowered by more than nothing worth mentioning.
    """
    reach = int(REACH * sample_rate)
    context = 2 * reach + TRUE_PEAK_TAPS
    reduced, least = 0, 1.0
    for window in _with_context(blocks, context):
        inner = window[:, context:-context]
        if np.abs(window).max(initial=0) * MOST_OVERSHOOT <= CEILING:
            yield inner
            continue
        gain = _gain(window, reach)[context:-context]
        reduced += int((gain < 1).sum())
        least = min(least, float(gain.min(initial=1)))
        yield (inner * gain).astype(np.float32)
    if least < WORTH_TELLING:
        log.warning(
            "the limiter lowered %.2f s of the sound by up to %.1f dB to keep its peaks below -1 dBTP",
            reduced / sample_rate,
            -20 * np.log10(least),
        )


def limited_stream(sound: Waveform) -> AudioStream:
    """A whole sound as a stream, peaks limited to -1 dBTP: what a codec gives may exceed full scale."""
    stream = stream_of(sound)
    return replace(stream, blocks=limited(stream.blocks, stream.sample_rate))


def finished(blocks: Iterator[Block], *, sample_rate: int, seconds: float) -> AudioStream:
    """What a synthesizer delivers of its stereo blocks: peaks limited to -1 dBTP, progress reported.

    ``seconds``: expected length.
    """

    def reported() -> Iterator[Block]:
        done = 0
        for block in limited(blocks, sample_rate):
            done += block.shape[1]
            report(min(done / sample_rate, seconds), seconds, "seconds of sound")
            yield block

    return AudioStream(sample_rate, 2, reported())


def _gain(samples: Block, reach: int) -> NDArray[np.float64]:
    """[n] factor: the least that any peak within ``reach`` asks for, smoothed over as much."""
    asked = np.minimum(1, CEILING / np.maximum(true_peak_envelope(samples), CEILING)).astype(np.float64)
    if asked.min() == 1:
        return asked
    held = minimum_filter1d(asked, 2 * reach + 1, mode="nearest")
    half = reach // 2
    smooth = uniform_filter1d(held, 2 * half + 1, mode="nearest")
    return np.asarray(np.minimum(uniform_filter1d(smooth, 2 * half + 1, mode="nearest"), 1))


def _with_context(blocks: Iterable[Block], context: int) -> Iterator[Block]:
    """Windows that overlap by ``context`` samples on either side; together their insides are the stream."""
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

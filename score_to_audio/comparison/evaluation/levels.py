"""What can be said of a sound file by itself: loudness, true peak, silence, clipping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from score_to_audio.types import Waveform
from synthesizers.levels import integrated_loudness, true_peak

SILENT = 1e-3
"""Full scale, -60 dBFS: what stays below counts as silence."""
SILENCE_STEP = 0.01
"""Seconds: silence is looked for in steps of this length."""
CLIPPED = 1 - 2**-14
"""Full scale: magnitudes from here on count as clipped, as 16-bit and 24-bit files hold them."""
CLIPPED_RUN = 3
"""Samples in a row at full scale that make clipping; a single one may be a peak that just fits."""


@dataclass(frozen=True)
class Levels:
    """Of one sound."""

    loudness: float
    """LUFS, integrated and gated (ITU-R BS.1770-4, Annex 1); minus infinity for silence."""
    true_peak: float
    """dBTP (ITU-R BS.1770-4, Annex 2); minus infinity for silence."""
    silence: float
    """Share of the sound, 0..1, in steps of 10 ms that stay below -60 dBFS in all channels."""
    clipped: int
    """Samples in runs of three or more at full scale, over all channels."""


def levels(waveform: Waveform) -> Levels:
    peak = true_peak(waveform.samples)
    return Levels(
        loudness=integrated_loudness(waveform.samples, waveform.sample_rate),
        true_peak=20 * float(np.log10(peak)) if peak > 0 else -np.inf,
        silence=_silence(waveform),
        clipped=sum(_in_runs(np.abs(channel) >= CLIPPED) for channel in waveform.samples),
    )


def _silence(waveform: Waveform) -> float:
    step = max(1, round(SILENCE_STEP * waveform.sample_rate))
    loudest = np.abs(waveform.samples).max(axis=0)
    starts = np.arange(0, len(loudest), step)
    return float((np.maximum.reduceat(loudest, starts) < SILENT).mean()) if len(starts) else 1.0


def _in_runs(full: np.ndarray) -> int:
    """How many True values stand in runs of ``CLIPPED_RUN`` or more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= CLIPPED_RUN].sum())

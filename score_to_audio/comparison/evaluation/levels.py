"""Levels of a sound: loudness, true peak, silence, clipping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from score_to_audio.levels import integrated_loudness, true_peak
from score_to_audio.types import Waveform

SILENT = 1e-3
"""Full scale (-60 dBFS): silence stays below."""
SILENCE_STEP = 0.01
"""Seconds: the resolution at which silence is found."""
CLIPPED = 1 - 2**-14
"""Full scale: magnitudes from here on count as clipped, whether 16-bit or 24-bit."""
CLIPPED_RUN = 3
"""Successive samples at full scale that count as clipping; a single one may be a peak that just fits."""


@dataclass(frozen=True)
class Levels:
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
    """Number of True values in runs of ``CLIPPED_RUN`` or more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= CLIPPED_RUN].sum())

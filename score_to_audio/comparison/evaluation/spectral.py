"""Distances of harmony and spectrum between two sounds of the same performance.

The objective metrics of Tang et al., "Towards an Integrated Approach for Expressive Piano Performance
Synthesis from Music Scores" (ICASSP 2025; M2M and M2A), used again by Tang et al., "MIDI-VALLE" (ISMIR 2025).
Frames are compared one by one without alignment, so both sounds must follow the same performance. In the
papers the target is the synthesized sound, the other the recording. Needs the extra ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray

from score_to_audio.errors import InputError
from score_to_audio.formats.resampling import resample
from score_to_audio.types import Waveform

Features = NDArray[np.float32]
"""[frames, columns]"""

SAMPLE_RATE = 24_000
"""Hz."""
HOP, WINDOW, TRANSFORM = 288, 1200, 32_768
"""Samples; the frames of the MIDI spectrogram are 12 ms apart."""
LEAST_AMPLITUDE, REFERENCE_LEVEL = 1e-5, -20.0
"""Floor of the MIDI spectrogram (linear), and its offset in dB."""
LEAST_CHROMA = 1e-5
"""The other's chroma is clipped to this distance from 0 and 1."""
SOUNDING = 0.3
"""Chroma of the target above which a pitch class counts as sounding."""
BLOCK = 256
"""Frames transformed at once, which bounds the memory to 34 MB."""


def prepared(waveform: Waveform) -> NDArray[np.float32]:
    """[samples] one channel (the mean) at 24 kHz, by soxr at high quality as librosa loads files."""
    mono = waveform.samples.mean(axis=0)
    if waveform.sample_rate == SAMPLE_RATE:
        return mono
    # librosa rounds in floating point: from 119,070 samples at 44.1 kHz it makes 64,801.
    length = ceil(len(mono) * (SAMPLE_RATE / waveform.sample_rate))
    converted = resample(Waveform(mono[None], waveform.sample_rate), SAMPLE_RATE, method="HQ").samples[0]
    return np.pad(converted, (0, length - len(converted)))


def chroma(samples: NDArray[np.float32]) -> Features:
    """[frames, 12] of samples at 24 kHz: librosa's chroma of the constant-Q transform with its defaults (hop
    512, seven octaves from C1, 36 bins each, tuning estimated, every frame scaled to a maximum of 1)."""
    try:
        import librosa
    except ModuleNotFoundError as error:
        raise InputError(
            f"chroma needs {error.name}; install it with `pip install 'score-to-audio[evaluation]'`"
        ) from error
    return np.asarray(librosa.feature.chroma_cqt(y=samples, sr=SAMPLE_RATE).T, dtype=np.float32)


def midi_spectrogram(samples: NDArray[np.float32]) -> Features:
    """[frames, 128] dB of samples at 24 kHz: one band per MIDI note, 12 ms apart.

    The magnitude of a Fourier transform of 32768 samples (Hann window of 1200, centred, silence beyond the
    ends), through M2A's filter bank; 20 log10 of it, at least -100 dB, less 20 dB.
    """
    from synthesizers.m2a.spectrum import filter_bank

    bank = filter_bank().T
    bands = np.concatenate([magnitude @ bank for magnitude in _magnitudes(samples)])
    return (20 * np.log10(np.maximum(bands, LEAST_AMPLITUDE)) + REFERENCE_LEVEL).astype(np.float32)


def _magnitudes(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """[up to ``BLOCK``, 16385] each. The window's place in the transform only turns the phases."""
    from scipy.fft import rfft
    from scipy.signal import get_window

    window = get_window("hann", WINDOW).astype(np.float32)
    padded = np.pad(samples, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    for start in range(0, len(frames), BLOCK):
        yield np.abs(rfft(frames[start : start + BLOCK] * window, TRANSFORM, axis=1))


def chroma_distance(target: Features, other: Features) -> float:
    """The sum of |difference| of two chromas [frames, 12] over the frames that both have, divided by the
    number of values above 0.3 in all of the target. 0 is best; nan for a target in which nothing sounds."""
    frames = min(len(target), len(other))
    difference = np.clip(target[:frames], 0, 1) - np.clip(other[:frames], LEAST_CHROMA, 1 - LEAST_CHROMA)
    sounding = int((target > SOUNDING).sum())
    return float(np.abs(difference).sum(dtype=np.float64)) / sounding if sounding else float("nan")


def spectrogram_distance(target: Features, other: Features) -> float:
    """The root of sum (difference)^2 / sum (target)^2 of two MIDI spectrograms over the frames that both
    have. 0 is best. A ratio of decibels: it depends on the level, and is no spectral convergence."""
    frames = min(len(target), len(other))
    wanted, found = target[:frames].astype(np.float64), other[:frames].astype(np.float64)
    power = float((wanted**2).sum())
    return float(np.sqrt(((wanted - found) ** 2).sum() / power)) if power else float("nan")

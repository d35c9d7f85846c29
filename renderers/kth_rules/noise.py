"""Noise: the irregularity that remains when a person tries to play regularly."""

from __future__ import annotations

import numpy as np

from renderers.kth_rules.analysis import Floats, ScoreAnalysis

CLOCK_NOISE = 0.012
"""Standard deviation of the relative length of a slice at k = 1; about 1 to 2 % in tapping and scales
(Madison 2001; Juslin, Friberg & Bresin 2002, Musicae Scientiae special issue)."""

MOTOR_NOISE = 0.004
"""Seconds, standard deviation of a single onset at k = 1 (Wing & Kristofferson 1973)."""

LOUDNESS_NOISE = 0.4
"""dB, standard deviation of the loudness of a note at k = 1."""


def one_over_f(count: int, generator: np.random.Generator) -> Floats:
    """``count`` values with mean 0, variance 1 and a power spectrum that falls as 1 / f.

    Gilden, Thornton & Mallon, "1/f noise in human cognition", Science 267, 1995. Made in the frequency domain
    (Timmer & König 1995) at a longer power of two, so that the values do not repeat.
    """
    if count < 2:
        return np.zeros(count)
    size = 1 << (count - 1).bit_length() + 1
    spectrum = np.fft.rfft(generator.standard_normal(size))
    spectrum[0] = 0.0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    values = np.fft.irfft(spectrum, size)[:count]
    values -= values.mean()
    deviation = values.std()
    return values / deviation if deviation > 0 else values


def clock_noise(analysis: ScoreAnalysis, generator: np.random.Generator, k: float = 1.0) -> Floats:
    """[S] ln of the factor of each slice: the internal clock drifts from beat to beat as 1/f noise (Juslin et
    al. 2002, "random variability")."""
    drift = one_over_f(len(analysis.beats) - 1, generator)
    return k * CLOCK_NOISE * drift[analysis.beat_of_slice]


def motor_noise(analysis: ScoreAnalysis, generator: np.random.Generator, k: float = 1.0) -> Floats:
    """[N] seconds by which onsets deviate; all notes of a chord share one deviation, as of one movement."""
    deviation = np.clip(generator.standard_normal(len(analysis.slice_onset)), -2.0, 2.0)
    return k * MOTOR_NOISE * deviation[analysis.slice_of]


def loudness_noise(analysis: ScoreAnalysis, generator: np.random.Generator, k: float = 1.0) -> Floats:
    """[N] dB by which the loudness of notes deviates."""
    return k * LOUDNESS_NOISE * np.clip(generator.standard_normal(len(analysis.notes)), -2.0, 2.0)

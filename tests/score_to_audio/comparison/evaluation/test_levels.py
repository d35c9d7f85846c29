from __future__ import annotations

import numpy as np
import pytest

from score_to_audio.comparison.evaluation.levels import levels
from score_to_audio.types import Waveform

RATE = 48_000


def sine(level: float, *, frequency: float = 997.0, seconds: float = 3.0) -> Waveform:
    time = np.arange(int(seconds * RATE)) / RATE
    return Waveform((level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None], RATE)


# BS.1770-4: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS.
@pytest.mark.parametrize("decibels", [0, -20, -40])
def test_loudness_of_a_sine(decibels: int) -> None:
    found = levels(sine(10 ** (decibels / 20)))
    assert found.loudness == pytest.approx(decibels - 3.01, abs=0.02)


def test_the_true_peak_lies_between_the_samples() -> None:
    time = np.arange(RATE) / RATE
    between = np.sin(2 * np.pi * RATE / 4 * time + np.pi / 4)  # samples at 0.707 only
    found = levels(Waveform(between.astype(np.float32)[None], RATE))
    assert found.true_peak == pytest.approx(0.0, abs=0.1)
    assert found.clipped == 0


def test_silence_is_a_share() -> None:
    half = sine(0.5, seconds=1).samples.copy()
    half[:, RATE // 2 :] = 1e-5
    assert levels(Waveform(half, RATE)).silence == pytest.approx(0.5, abs=0.02)
    nothing = levels(Waveform(np.zeros((2, RATE), np.float32), RATE))
    assert (nothing.loudness, nothing.true_peak, nothing.silence) == (-np.inf, -np.inf, 1.0)


def test_clipping_is_runs_at_full_scale() -> None:
    samples = np.zeros((1, 100), np.float32)
    samples[0, 10:15], samples[0, 20], samples[0, 30:33] = 1.0, 1.0, -1.0
    assert levels(Waveform(samples, RATE)).clipped == 8

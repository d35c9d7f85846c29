"""Loudness and true peaks against BS.1770-4's own reference values; the limiter's promise."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from score_to_audio.levels import (
    HIGH_PASS,
    HIGH_SHELF,
    MAX_OVERSHOOT,
    integrated_loudness,
    k_weighted,
    step_powers,
    true_peak,
    true_peak_envelope,
)
from score_to_audio.types import AudioStream
from synthesizers.limiter import CEILING, limit_peaks

RATE = 48000
PROMISED = 10 ** (-1 / 20)


def sine(
    frequency: float, seconds: float, *, amplitude: float = 1.0, phase: float = 0.0
) -> NDArray[np.float32]:
    time = np.arange(int(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency * time + phase)).astype(np.float32)[None]


def limit(samples: NDArray[np.float32], cuts: list[int]) -> NDArray[np.float32]:
    blocks = np.split(samples, cuts, axis=1)
    return np.concatenate(list(limit_peaks(AudioStream(RATE, len(samples), iter(blocks))).blocks), axis=1)


def independent_true_peak(samples: NDArray[np.float32]) -> float:
    return float(np.abs(soxr.resample(samples.T, 1, 8, quality="VHQ")).max())


# ------------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_loudness_of_a_stereo_sine_is_its_level(level: float) -> None:
    """EBU Tech 3341, cases 1 and 2: 1 kHz in both channels at -23 dBFS reads -23.0 LUFS."""
    tone = sine(1000, 20, amplitude=10 ** (level / 20))
    assert integrated_loudness(np.concatenate([tone, tone]), RATE) == pytest.approx(level, abs=0.1)


def test_loudness_gates_out_silence() -> None:
    """EBU Tech 3341, case 3: softer passages do not count beside a loud one."""
    parts = [(4, -36.0), (24, -23.0), (4, -36.0)]
    tone = np.concatenate([sine(1000, s, amplitude=10 ** (level / 20)) for s, level in parts], axis=1)
    assert integrated_loudness(np.concatenate([tone, tone]), RATE) == pytest.approx(-23.0, abs=0.1)


def test_loudness_at_another_rate() -> None:
    tone = sine(1000, 10, amplitude=0.1)
    there = soxr.resample(tone.T, RATE, 44100).T
    assert integrated_loudness(there, 44100) == pytest.approx(integrated_loudness(tone, RATE), abs=0.1)


def test_silence_has_no_loudness() -> None:
    assert integrated_loudness(np.zeros((2, RATE), np.float32), RATE) == -np.inf
    assert integrated_loudness(np.zeros((2, 0), np.float32), RATE) == -np.inf


@given(
    length=st.integers(0, 3 * RATE),
    cuts=st.lists(st.integers(0, 3 * RATE), max_size=4).map(sorted),
    seed=st.integers(0, 9),
)
@settings(max_examples=25)
def test_the_k_weighting_is_the_standards_recursion(length: int, cuts: list[int], seed: int) -> None:
    from scipy.signal import lfilter

    samples = np.random.default_rng(seed).uniform(-1, 1, (2, length)).astype(np.float32)
    wanted = lfilter(*HIGH_PASS, lfilter(*HIGH_SHELF, samples.astype(np.float64)))
    np.testing.assert_allclose(k_weighted(samples), wanted, rtol=0, atol=1e-10)
    whole = length // 4800
    powers = (wanted[:, : whole * 4800] ** 2).sum(axis=0).reshape(-1, 4800).mean(axis=1)
    blocks = np.split(samples, [cut for cut in cuts if cut <= length], axis=1)
    found = step_powers(AudioStream(RATE, 2, iter(blocks)))
    np.testing.assert_allclose(found, powers, rtol=1e-11)


def test_true_peak_lies_between_samples() -> None:
    """A sine at a quarter of the rate, sampled at 45 degrees: samples at 0.707, peaks at 1."""
    tone = sine(RATE / 4, 1, phase=np.pi / 4)
    assert np.abs(tone).max() == pytest.approx(0.7071, abs=1e-3)
    assert true_peak(tone) == pytest.approx(1.0, abs=0.02)
    assert true_peak(np.zeros((2, 0), np.float32)) == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_no_true_peak_exceeds_the_bound(seed: int) -> None:
    noise = np.random.default_rng(seed).choice([-1, 1], (2, 500)).astype(np.float32)
    assert true_peak_envelope(noise).max() <= MAX_OVERSHOOT * 1.0001


# ------------------------------------------------------------------------------------------ limiter


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    gain=st.floats(0.1, 6),
    cuts=st.lists(st.integers(0, 30000), max_size=6).map(sorted),
)
def test_peaks_stay_below_the_promise_however_blocks_are_cut(seed: int, gain: float, cuts: list[int]) -> None:
    generator = np.random.default_rng(seed)
    bursts = np.repeat(generator.uniform(0, 1, 30), 1000)
    samples = (gain * bursts * generator.normal(0, 0.4, (2, 30000))).astype(np.float32)
    result = limit(samples, cuts)
    assert result.shape == samples.shape
    assert true_peak(result) <= PROMISED
    whole = limit(samples, [])
    np.testing.assert_allclose(result, whole, atol=1e-6)


@pytest.mark.parametrize("frequency", [55, 440, 4186, 11000])
def test_another_meter_agrees(frequency: float) -> None:
    tone = sine(frequency, 0.5, amplitude=3, phase=0.3)
    assert independent_true_peak(limit(tone, [5000])) <= PROMISED


def test_sound_below_the_ceiling_passes_bit_for_bit(caplog: pytest.LogCaptureFixture) -> None:
    quiet = sine(440, 1, amplitude=0.95 * CEILING)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(limit(quiet, [100, 20000]), quiet)
    assert not caplog.records


def test_it_says_when_it_acts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        limit(sine(440, 0.2, amplitude=2), [])
    assert "the limiter lowered" in caplog.text
    assert "7.2 dB" in caplog.text


def test_it_does_not_say_that_it_did_next_to_nothing(caplog: pytest.LogCaptureFixture) -> None:
    samples = sine(440, 0.2, amplitude=1.003 * CEILING)
    with caplog.at_level(logging.WARNING):
        assert np.abs(limit(samples, []) - samples).max() > 0
    assert not caplog.records


def test_far_from_a_peak_nothing_changes() -> None:
    sound = sine(440, 1, amplitude=0.3)
    sound[:, 24000:24010] = 1.4
    result = limit(sound, [])
    assert true_peak(result) <= PROMISED
    np.testing.assert_array_equal(result[:, :20000], sound[:, :20000])
    np.testing.assert_array_equal(result[:, 28000:], sound[:, 28000:])


def test_an_empty_stream_stays_empty() -> None:
    assert list(limit_peaks(AudioStream(RATE, 2, iter([]))).blocks) == []

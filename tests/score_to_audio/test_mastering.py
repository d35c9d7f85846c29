"""Mastering: the loudness and peaks that it promises, where the sound ends, and independence of blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from score_to_audio.formats.audio import collect, stream_of
from score_to_audio.levels import integrated_loudness, true_peak
from score_to_audio.mastering import FADE, mastered, measure
from score_to_audio.types import AudioStream, Waveform

RATE = 48000


def tone(seconds: float, amplitude: float, rate: int = RATE) -> NDArray[np.float32]:
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave, wave]).astype(np.float32)


def reader(samples: NDArray[np.float32], rate: int = RATE) -> Callable[[], AudioStream]:
    return lambda: stream_of(Waveform(samples, rate))


def test_a_sound_gets_the_loudness_asked_for() -> None:
    for wanted, rate in ((-18.0, RATE), (-30.0, 44100), (-23.0, 16000)):
        sound = collect(mastered(reader(tone(5, 0.01, rate), rate), wanted))
        assert integrated_loudness(sound.samples[:, : 5 * rate], rate) == pytest.approx(wanted, abs=0.1)


def test_peaks_limit_the_gain_and_nothing_else_changes() -> None:
    samples = tone(5, 0.01)
    samples[:, 24000] = 0.5
    sound = collect(mastered(reader(samples), -18.0)).samples
    assert 20 * np.log10(true_peak(sound)) == pytest.approx(-1.2, abs=0.01)
    assert integrated_loudness(sound, RATE) < -25
    kept = slice(0, 4 * RATE)
    np.testing.assert_allclose(sound[:, kept] / sound[0, 24000], samples[:, kept] / 0.5, atol=1e-6)


def test_silence_at_the_end_is_cut_and_an_abrupt_end_fades() -> None:
    sound = tone(3, 0.1)
    silent = np.concatenate([sound, np.zeros((2, 5 * RATE), np.float32)], axis=1)
    long, short = (collect(mastered(reader(one), -20.0)) for one in (silent, sound))
    for waveform in (long, short):
        assert waveform.duration == pytest.approx(3 + FADE, abs=0.11)
        assert np.abs(waveform.samples[:, -10:]).max() < 1e-4
    held = np.concatenate([sound, np.zeros((2, RATE), np.float32), sound], axis=1)
    assert collect(mastered(reader(held), -20.0)).duration > 7


def test_blocks_do_not_matter() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, (2, 100_000)).astype(np.float32)

    def in_blocks(size: int) -> AudioStream:
        parts = (samples[:, start : start + size] for start in range(0, samples.shape[1], size))
        return AudioStream(44100, 2, parts)

    whole, small = measure(in_blocks(100_000)), measure(in_blocks(777))
    assert small.loudness == pytest.approx(whole.loudness, abs=1e-4)
    assert small.true_peak == pytest.approx(true_peak(samples), rel=1e-4)
    first, second = (collect(mastered(lambda n=size: in_blocks(n), -20.0)) for size in (100_000, 777))  # type: ignore[misc]
    np.testing.assert_allclose(first.samples, second.samples, atol=1e-5)


def test_what_has_no_loudness_keeps_its_level() -> None:
    for samples in (np.zeros((2, RATE), np.float32), tone(0.2, 0.1)):
        sound = collect(mastered(reader(samples), -18.0)).samples
        assert np.abs(sound).max() == pytest.approx(np.abs(samples).max(), rel=0.01)

"""Changes of sample rate: length, pitch and level, for every method."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_to_audio.formats import resampling
from score_to_audio.formats.resampling import Method, SincFilter, resample
from score_to_audio.types import Waveform

METHODS: list[Method] = ["VHQ", "HQ", SincFilter(), SincFilter(64, 0.9475937167399596, 14.769656459379492)]
each_method = pytest.mark.parametrize("method", METHODS, ids=["VHQ", "HQ", "Hann", "Kaiser"])


@each_method
@given(rate=st.sampled_from([8000, 22050, 44100, 48000, 96000]), samples=st.integers(1, 2000))
def test_the_length_is_rounded_up(method: Method, rate: int, samples: int) -> None:
    silence = Waveform(np.zeros((2, samples), np.float32), rate)
    found = resample(silence, 32000, method=method)
    assert found.samples.shape == (2, -(-samples * 32000 // rate))
    assert found.sample_rate == 32000


@each_method
@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_tone_keeps_its_pitch_place_and_level(method: Method, rate: int) -> None:
    def tone(rate: int) -> Waveform:
        turns = np.arange(rate) / rate * 1000
        return Waveform(np.sin(2 * np.pi * np.stack([turns, turns + 0.1])).astype(np.float32), rate)

    found = resample(tone(rate), 32000, method=method).samples
    np.testing.assert_allclose(found[:, 1000:-1000], tone(32000).samples[:, 1000:-1000], atol=2e-3)


def test_the_same_rate_changes_nothing() -> None:
    sound = Waveform(np.ones((1, 9), np.float32), 32000)
    assert resample(sound, 32000) is sound


def test_convolution_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Waveform(np.random.default_rng(0).normal(size=(2, 3000)).astype(np.float32), 44100)
    whole = resample(sound, 32000, method=SincFilter()).samples
    monkeypatch.setattr(resampling, "BLOCK", 2)
    np.testing.assert_allclose(resample(sound, 32000, method=SincFilter()).samples, whole, atol=1e-6)

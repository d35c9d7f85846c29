"""Distances of harmony and spectrum on sounds whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest

from score_to_audio.comparison.evaluation import spectral
from score_to_audio.types import Waveform


def tone(pitch: int, *, seconds: float = 0.5, level: float = 0.3) -> np.ndarray:
    time = np.arange(int(seconds * spectral.SAMPLE_RATE)) / spectral.SAMPLE_RATE
    return (level * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time)).astype(np.float32)


def test_a_tone_is_in_its_band_and_a_softer_one_lies_lower_by_the_decibels() -> None:
    loud, soft = spectral.midi_spectrogram(tone(69)), spectral.midi_spectrogram(tone(69, level=0.03))
    assert loud.shape == (1 + 12000 // spectral.HOP, 128)
    middle = loud[10:30, :127]  # the last row of the bank is the mean over all frequencies
    assert (middle.argmax(axis=1) == 69).all()
    np.testing.assert_allclose(loud[10:30, 69] - soft[10:30, 69], 20.0, atol=1e-3)


def test_a_spectrogram_in_blocks_is_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = spectral.midi_spectrogram(tone(60))
    monkeypatch.setattr(spectral, "BLOCK", 7)
    np.testing.assert_allclose(spectral.midi_spectrogram(tone(60)), whole, atol=1e-4)


def test_the_same_is_at_no_distance_and_a_shift_of_levels_at_its_share() -> None:
    features = np.full((20, 128), -40, np.float32)
    assert spectral.spectrogram_distance(features, features) == 0
    assert spectral.spectrogram_distance(features, features[:15] + 4) == pytest.approx(4 / 40)


def test_chroma_distance_counts_what_sounds_in_all_of_the_target() -> None:
    target = np.tile([1.0] + [0.0] * 11, (20, 1)).astype(np.float32)
    other = np.roll(target, 1, axis=1)
    # Two pitch classes differ by 1 in each of the 10 common frames; 20 values of the target sound.
    assert spectral.chroma_distance(target, other[:10]) == pytest.approx(1.0, abs=1e-3)
    assert spectral.chroma_distance(target, target) == pytest.approx(0.0, abs=1e-3)
    assert np.isnan(spectral.chroma_distance(np.zeros((5, 12), np.float32), target))


def test_chroma_of_a_fifth_higher_is_rotated() -> None:
    low, high = spectral.chroma(tone(60, seconds=1)), spectral.chroma(tone(67, seconds=1))
    assert {int(low[20].argmax()), int(high[20].argmax())} == {0, 7}
    assert spectral.chroma_distance(low, high) > 0.5


def test_sounds_are_brought_to_one_channel_at_24_khz() -> None:
    stereo = np.stack([np.ones(441), np.zeros(441)]).astype(np.float32)
    found = spectral.prepared(Waveform(stereo, 44100))
    assert found.shape == (241,)  # librosa rounds 441 * (24000 / 44100) = 240.00000000000003 up
    np.testing.assert_allclose(found[100:140], 0.5, atol=1e-3)

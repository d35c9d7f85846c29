"""Chroma and MIDI-spectrogram distances against what was recorded from the papers' own scripts."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from score_to_audio.comparison.evaluation import spectral
from score_to_audio.formats.audio import read_audio
from score_to_audio.types import Waveform
from synthesizers.m2a.spectrum import filter_bank
from tests.parity.golden_files import golden_root, load_arrays

FOLDER = golden_root() / "objective_eval"
SOUNDS = ("reference", "synthesised")
TOLERANCE = {"chroma": 1e-4, "midispec": 1e-2}
"""Of features; 1e-2 dB for the spectrogram."""


@cache
def features() -> dict[str, NDArray[Any]]:
    return load_arrays(FOLDER / "features.npz")


@cache
def samples(sound: str) -> NDArray[np.float32]:
    return spectral.prepared(read_audio(FOLDER / f"{sound}.wav"))


@cache
def computed(feature: str, sound: str) -> NDArray[np.float32]:
    compute = {"chroma": spectral.chroma, "midispec": spectral.midi_spectrogram}[feature]
    return compute(samples(sound))


@pytest.mark.parametrize("sound", SOUNDS)
def test_resampling(sound: str) -> None:
    assert len(samples(sound)) == int(features()[f"{sound}_24k_length"])
    for name, recorded in features().items():
        if name.startswith(f"{sound}_24k") and recorded.ndim:
            np.testing.assert_allclose(samples(sound), recorded.reshape(-1), rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_resampling_is_that_of_librosa(rate: int) -> None:
    """Its length too: it rounds ceil(n * ratio) in floating point, so 119,070 samples become 64,801."""
    import librosa

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 119_070).astype(np.float32)
    for length in (119_070, 1000, 1001, 1002):
        wanted = librosa.resample(noise[:length], orig_sr=rate, target_sr=spectral.SAMPLE_RATE)
        np.testing.assert_array_equal(spectral.prepared(Waveform(noise[None, :length], rate)), wanted)


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("feature", TOLERANCE)
def test_features(feature: str, sound: str) -> None:
    frames = json.loads((FOLDER / "distances.json").read_text())[f"{feature}_frames"]
    found, recorded = computed(feature, sound), features()[f"{feature}_{sound}"]
    assert len(found) == frames[SOUNDS.index(sound)]
    kept = found if len(recorded) == len(found) else found[::10]
    np.testing.assert_allclose(kept, recorded, rtol=0, atol=TOLERANCE[feature])


@pytest.mark.parametrize("sound", SOUNDS)
def test_tuning(sound: str) -> None:
    import librosa

    found = librosa.estimate_tuning(y=samples(sound), sr=spectral.SAMPLE_RATE, bins_per_octave=36)
    assert found == pytest.approx(float(features()[f"tuning_{sound}"]), abs=1e-9)


@pytest.mark.parametrize("target", SOUNDS)
@pytest.mark.parametrize("feature", TOLERANCE)
def test_distances(feature: str, target: str) -> None:
    recorded = json.loads((FOLDER / "distances.json").read_text())[feature]
    distance = {"chroma": spectral.chroma_distance, "midispec": spectral.spectrogram_distance}[feature]
    both = {sound: computed(feature, sound) for sound in SOUNDS}
    other = next(sound for sound in SOUNDS if sound != target)
    found = distance(both[target], both[other])
    assert found == pytest.approx(recorded[f"rows: target={target}"], abs=1e-4)
    # The scripts reshape the features to rows of 512 values; the sums are the same ones over fewer frames.
    cut = {sound: both[sound].reshape(-1)[: both[sound].size // 512 * 512].reshape(-1, 512) for sound in both}
    scripted = next(value for name, value in recorded.items() if f"columns), target={target}" in name)
    assert distance(cut[target], cut[other]) == pytest.approx(scripted, abs=1e-4)


def test_filter_bank() -> None:
    recorded, bank = features(), filter_bank()
    np.testing.assert_allclose(bank.astype(np.float64).sum(axis=1), recorded["bank_row_sum"], rtol=1e-12)
    np.testing.assert_array_equal(bank.argmax(axis=1), recorded["bank_row_argmax"])
    np.testing.assert_array_equal(bank.max(axis=1), recorded["bank_row_max"])
    np.testing.assert_array_equal((bank > 0).argmax(axis=1), recorded["bank_row_first_nonzero"])
    np.testing.assert_array_equal((bank > 0).sum(axis=1), recorded["bank_row_nonzeros"])
    assert set(recorded["bank_rows"]) <= set(range(len(bank)))

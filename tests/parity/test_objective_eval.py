"""Chroma and MIDI-spectrogram distances against what was recorded from the papers' own scripts."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from score_to_audio.comparison.evaluation import spectral
from score_to_audio.formats.audio import read_audio
from score_to_audio.types import Waveform
from synthesizers.m2a.spectrum import filter_bank
from tests.parity.golden_files import Recording, golden_root

FOLDER = golden_root() / "objective_eval"
SOUNDS = sorted(path.stem for path in FOLDER.glob("*.wav"))
DISTANCES: dict[str, Any] = json.loads((FOLDER / "distances.json").read_text("utf-8"))
MEASURES = {
    "chroma": (spectral.chroma, spectral.chroma_distance, 1e-4),
    "midispec": (spectral.midi_spectrogram, spectral.spectrogram_distance, 1e-2),
}
"""Features, distance, tolerance of the features (1e-2 dB for the spectrogram)."""
DISTANCE_TOLERANCE = 1e-4


@cache
def samples(sound: str) -> NDArray[np.float32]:
    return spectral.prepared(read_audio(FOLDER / f"{sound}.wav"))


@cache
def features(measure: str, sound: str) -> NDArray[np.float32]:
    return MEASURES[measure][0](samples(sound))


def test_every_recorded_array() -> None:
    import librosa

    recorded = Recording(FOLDER / "features.npz")
    for place, sound in enumerate(SOUNDS):
        found = samples(sound)
        for name in recorded.named(f"{sound}_24k"):
            wanted = recorded[name]
            if wanted.ndim:
                np.testing.assert_allclose(found, wanted.reshape(-1), rtol=0, atol=1e-6, err_msg=name)
            else:
                assert len(found) == wanted
        tuning = librosa.estimate_tuning(y=found, sr=spectral.SAMPLE_RATE, bins_per_octave=36)
        assert tuning == pytest.approx(float(recorded[f"tuning_{sound}"]), abs=1e-9)
        for measure, (_, _, tolerance) in MEASURES.items():
            frames, kept = features(measure, sound), recorded[f"{measure}_{sound}"]
            assert len(frames) == DISTANCES[f"{measure}_frames"][place]
            every = -(-len(frames) // len(kept))
            np.testing.assert_allclose(frames[::every], kept, rtol=0, atol=tolerance)
    check_filter_bank(recorded)
    recorded.check_complete()


def check_filter_bank(recorded: Recording) -> None:
    bank = filter_bank()
    np.testing.assert_allclose(bank.astype(np.float64).sum(axis=1), recorded["bank_row_sum"], rtol=1e-12)
    np.testing.assert_array_equal(bank.argmax(axis=1), recorded["bank_row_argmax"])
    np.testing.assert_array_equal(bank.max(axis=1), recorded["bank_row_max"])
    np.testing.assert_array_equal((bank > 0).argmax(axis=1), recorded["bank_row_first_nonzero"])
    np.testing.assert_array_equal((bank > 0).sum(axis=1), recorded["bank_row_nonzeros"])
    assert set(recorded["bank_rows"]) <= set(range(len(bank)))


@pytest.mark.parametrize("measure", MEASURES)
def test_every_recorded_distance(measure: str) -> None:
    distance, found = MEASURES[measure][1], {sound: features(measure, sound) for sound in SOUNDS}
    # The scripts reshape the features to rows of 512 values; the sums are the same ones over fewer frames.
    cut = {sound: one.reshape(-1)[: one.size // 512 * 512].reshape(-1, 512) for sound, one in found.items()}
    for name, recorded in DISTANCES[measure].items():
        (target,) = re.findall(r"target=(\w+)", name)
        (other,) = set(SOUNDS) - {target}
        both = cut if "512 columns" in name else found
        assert distance(both[target], both[other]) == pytest.approx(recorded, abs=DISTANCE_TOLERANCE), name


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_resampling_is_that_of_librosa(rate: int) -> None:
    """Its length too: it rounds ceil(n * ratio) in floating point, so 119,070 samples become 64,801."""
    import librosa

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 119_070).astype(np.float32)
    for length in (119_070, 1000, 1001, 1002):
        wanted = librosa.resample(noise[:length], orig_sr=rate, target_sr=spectral.SAMPLE_RATE)
        np.testing.assert_array_equal(spectral.prepared(Waveform(noise[None, :length], rate)), wanted)

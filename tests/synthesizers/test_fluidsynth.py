"""FluidSynth: its events, its sound, and errors where something is missing."""

from __future__ import annotations

import sys
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.fluidsynth import FluidSynth, FluidSynthParameters, bundled_soundfont
from score_to_audio.errors import InputError
from score_to_audio.levels import integrated_loudness, true_peak
from score_to_audio.plugins import Checkpoint
from score_to_audio.registry import build, resolve
from score_to_audio.testing import example_performance
from score_to_audio.types import SOFT, Controls, Performance
from synthesizers.fluidsynth import CONTROL, NOTE_OFF, NOTE_ON, events_of
from tests.synthesizers.performances import RATE, decibels, notes, pedal

needs_library = pytest.mark.skipif(
    not find_library("fluidsynth"), reason="libfluidsynth is not installed: apt install libfluidsynth3"
)


def sound(performance: Performance) -> NDArray[np.float32]:
    piano = build(resolve("synthesizer", "fluidsynth"))
    samples: NDArray[np.float32] = piano.synthesize(performance, prompt=None, seed=0).samples
    return samples


# ------------------------------------------------------------------------------------------ events


def test_events_of_one_moment_pedal_then_release_then_blow() -> None:
    performance = notes((0, 1, 60, 50), (1, 2, 60, 70), controls=pedal((1.0, 127)))
    events = events_of(performance)
    assert events[:, 0].tolist() == [0, *[RATE] * 3, 2 * RATE]
    assert events[:, 1].tolist() == [NOTE_ON, CONTROL, NOTE_OFF, NOTE_ON, NOTE_OFF]
    assert events[:, 3].tolist() == [50, 127, 0, 70, 0]


def test_a_key_is_released_before_it_is_struck_again() -> None:
    events = events_of(notes((0, 5, 60, 50), (1, 2, 60, 70)))
    assert (events[:, 0] / RATE).tolist() == [0, 1, 1, 2]
    assert events[:, 1].tolist() == [NOTE_ON, NOTE_OFF, NOTE_ON, NOTE_OFF]


def test_only_pedals_are_passed_on() -> None:
    controls = Controls(np.zeros(3), np.array([7, SOFT, 121]), np.array([0, 1, 2]))
    events = events_of(notes((0, 1, 60, 50), controls=controls))
    assert events[events[:, 1] == CONTROL, 2].tolist() == [SOFT]


# ------------------------------------------------------------------------------------------- sound


@needs_library
def test_sustain_is_honoured() -> None:
    short, held = notes((0, 0.2, 60, 80)), notes((0, 0.2, 60, 80), controls=pedal((0.1, 127), (2, 0)))
    without, with_pedal = (np.pad(sound(p), ((0, 0), (0, 3 * RATE))) for p in (short, held))
    assert decibels(with_pedal, 1, 1.5) > decibels(without, 1, 1.5) + 30
    assert decibels(with_pedal, 3, 3.2) < decibels(with_pedal, 1, 1.5) - 30


@needs_library
def test_a_note_starts_on_time() -> None:
    samples = np.abs(sound(notes((0.5, 1, 72, 90)))).max(axis=0)
    assert not (samples[: int(0.498 * RATE)] > 1e-6).any()
    assert np.argmax(samples > 0.05 * samples.max()) / RATE < 0.51


@needs_library
def test_same_bytes_every_time_and_level_is_sensible() -> None:
    first, again = sound(example_performance()), sound(example_performance())
    np.testing.assert_array_equal(first, again)
    assert -32 < integrated_loudness(first, RATE) < -14


@needs_library
def test_never_clipped() -> None:
    fist = notes(*((0.0, 1.0, pitch, 127) for pitch in range(21, 109)))
    assert true_peak(sound(fist)) <= 10 ** (-1 / 20)


@needs_library
def test_a_file_that_is_no_soundfont_is_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "fake.sf2"
    fake.write_bytes(b"RIFF" + bytes(100))
    piano = build(resolve("synthesizer", "fluidsynth", {"soundfont": str(fake)}))
    with pytest.raises(InputError, match=r"fake\.sf2: not a SoundFont"):
        piano.synthesize(example_performance(), prompt=None, seed=0)
    capfd.readouterr()


# --------------------------------------------------------------------------------- what is missing


def test_missing_soundfont_says_which_option_to_set() -> None:
    with pytest.raises(InputError, match=r"no SoundFont at '/none\.sf2'; use --set synthesizer\.soundfont"):
        resolve("synthesizer", "fluidsynth", {"soundfont": "/none.sf2"})


def _checkpoints() -> dict[str, Checkpoint]:
    return {"soundfont": Checkpoint("small", {"weights": Path(bundled_soundfont())}, "")}


def test_missing_pyfluidsynth_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, checkpoints = FluidSynthParameters(), _checkpoints()
    monkeypatch.setattr("adapters.fluidsynth.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"pip install 'score-to-audio\[fluidsynth\]'"):
        FluidSynth(parameters, checkpoints=checkpoints, device="cpu")


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, checkpoints = FluidSynthParameters(), _checkpoints()
    monkeypatch.setattr("adapters.fluidsynth.find_spec", lambda _name: object())
    monkeypatch.delitem(sys.modules, "fluidsynth", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda _name: None)
    with pytest.raises(InputError, match="apt install libfluidsynth3"):
        FluidSynth(parameters, checkpoints=checkpoints, device="cpu")

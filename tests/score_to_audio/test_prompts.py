from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from score_to_audio import Waveform, prompts
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import stream_of, write_audio
from score_to_audio.formats.midi import write_performance
from score_to_audio.testing import example_performance


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("SCORE_TO_AUDIO_PROMPTS", str(tmp_path / "prompts"))
    audio, midi = tmp_path / "take.wav", tmp_path / "take.mid"
    write_audio(stream_of(Waveform(np.full((1, 16000), 0.25, np.float32), 16000)), audio, format="wav")
    write_performance(example_performance(), midi)
    return audio, midi


def test_a_prompt_of_the_library_is_found_by_name(recording: tuple[Path, Path]) -> None:
    added = prompts.add("hall", *recording)
    assert prompts.names() == ["hall"]
    found = prompts.find_prompt("hall")
    assert found.sha256 == added.sha256
    assert found.performance is not None
    assert found.audio.duration == 1.0


def test_an_audio_file_brings_its_midi(recording: tuple[Path, Path]) -> None:
    audio, midi = recording
    assert prompts.find_prompt(str(audio)).performance is not None
    midi.unlink()
    assert prompts.find_prompt(str(audio)).performance is None


@pytest.mark.parametrize("name", ["../evil", "", ".hidden", "a/b", "x" * 80])
def test_names_cannot_leave_the_library(name: str, recording: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot name a prompt"):
        prompts.add(name, *recording)
    assert not (tmp_path / "prompts").exists()


def test_a_name_is_taken_once(recording: tuple[Path, Path]) -> None:
    prompts.add("hall", *recording)
    with pytest.raises(InputError, match="exists already"):
        prompts.add("hall", *recording)


def test_unknown_prompts_list_the_known(recording: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="none yet; add one with"):
        prompts.find_prompt("hall")
    prompts.add("studio", *recording)
    with pytest.raises(InputError, match=r"in the library \(studio\)"):
        prompts.find_prompt("hall")

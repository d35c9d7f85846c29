"""The calls for scripts, on example scores through the default models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import score_to_audio
from score_to_audio import InputError, perform, read_score
from tests.paths import EXAMPLE_SCORES

SCORE = EXAMPLE_SCORES / "chopin_prelude_op28_no7.musicxml"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def test_one_call_performs_a_score(store: Path) -> None:
    result = perform(SCORE, renderer="score", format=["wav", "ogg"])
    assert [file.name for file in result.files] == ["performance.mid", "audio.flac", "audio.ogg"]
    assert all(file.is_relative_to(store) for file in result.files)
    assert set(result.performance.score_ids or ()) <= set(result.score.parsed.notes.id)
    assert result.audio.duration > result.performance.end


def test_output_takes_copies_and_the_store_answers_again(tmp_path: Path) -> None:
    result = perform(str(SCORE), output=tmp_path / "out", renderer="score")
    assert [file.name for file in result.files] == [f"{SCORE.stem}.mid", f"{SCORE.stem}.wav"]
    again = perform(SCORE, renderer="score")
    np.testing.assert_array_equal(again.audio.samples, result.audio.samples)
    assert again.files[0].stat().st_mtime_ns == result.files[0].stat().st_mtime_ns


def test_bad_input_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no option 'speed'; did you mean 'seed'\? it has: .*renderer, "):
        perform(SCORE, speed=2)
    with pytest.raises(InputError, match="unknown renderer 'rachmaninov'"):
        perform(SCORE, renderer="rachmaninov")
    with pytest.raises(InputError, match=r"missing\.mxl"):
        perform(tmp_path / "missing.mxl")


def test_scores_are_read_with_options() -> None:
    path = EXAMPLE_SCORES / "petzold_minuet_bwv_anh114.musicxml"
    assert len(read_score(path).parsed.notes) > len(read_score(path, repeats=False).parsed.notes)


@pytest.mark.parametrize("name", score_to_audio.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(score_to_audio, name) is not None

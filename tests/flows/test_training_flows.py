"""Preparing and training as flows, on a real Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from flows.training import TrainerName
from score_to_audio.training.trainers import TRAINERS
from tests.paths import PROJECT
from tests.small_corpus import write_corpus

SCORES = PROJECT / "examples" / "scores"
PIECES = {
    "train/prelude": SCORES / "chopin_prelude_op28_no7.musicxml",
    "train/minuet": SCORES / "petzold_minuet_bwv_anh114.musicxml",
}
CONFIG = """
[network]
hidden = 32
layers = 1
heads = 2
feed_forward = 32
notes = 60
[training]
epochs = 1
batch_blocks = 4
"""


def test_every_trainer_can_be_chosen_in_a_form() -> None:
    assert get_args(TrainerName) == tuple(TRAINERS)


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_what_is_prepared_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapters import m2m_training
    from flows.training import prepare, train

    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    corpus = write_corpus(tmp_path / "corpus", PIECES)
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)
    state = prepare("m2m", corpus, config, return_state=True)
    assert state.is_completed(), state.message
    assert state.message == "2 parts: 2 prepared, 0 failed"

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(m2m_training, "_read_piece", fail)
    state = train("m2m", corpus, config, tmp_path / "out", return_state=True)
    assert state.is_completed(), state.message
    assert (tmp_path / "out" / "best.pt").is_file()


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_a_part_that_cannot_be_read_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.training import prepare, train

    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    corpus = write_corpus(tmp_path / "corpus", PIECES)
    (corpus / "minuet" / "0.match").unlink()
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)
    state = prepare("m2m", corpus, config, return_state=True)
    assert state.is_failed()
    assert "2 parts: 1 prepared, 1 failed" in (state.message or "")
    assert "0.match" in (state.message or "")
    state = train("m2m", corpus, None, tmp_path / "out", return_state=True)
    assert state.is_failed()
    assert "needs a configuration" in (state.message or "")

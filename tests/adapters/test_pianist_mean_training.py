"""Training pianist-mean from a corpus on disk to a checkpoint that the renderer plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.pianist_mean import PianistMean, PianistMeanParameters, read_checkpoint
from adapters.pianist_mean_training import RESULT, train
from renderers.expression import agreement, grid, mean_expression, measure
from renderers.pianist_mean.training.loop import TrainingSettings
from score_to_audio import checkpoints
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import pieces, read_match
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.plugins import Checkpoint
from score_to_audio.store import Store
from score_to_audio.testing import Check, renderer_checks
from tests.paths import PROJECT
from tests.small_corpus import write_corpus

SCORES = PROJECT / "examples" / "scores"
LEARNT = ("chopin_prelude_op28_no7", "petzold_minuet_bwv_anh114")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = {f"train/{name}": SCORES / f"{name}.musicxml" for name in LEARNT}
    return write_corpus(tmp_path_factory.mktemp("corpus"), named)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def settings(**given: Any) -> TrainingSettings:
    return TrainingSettings.model_validate({"folds": 1, "epochs": 1, "width": 16, **given})


def renderer(weights: Path, **options: Any) -> PianistMean:
    found = {"checkpoint": Checkpoint("test", {"weights": weights}, "0" * 64)}
    return PianistMean(PianistMeanParameters(**options), checkpoints=found, device="cpu")


def test_two_pieces_are_learnt_by_heart(corpus: Path, store: Store, tmp_path: Path) -> None:
    """Agreement of the renderer's performance with the mean of the performances."""
    by_heart = {"dropout": 0.0, "weight_decay": 0.0, "augmented": False, "average": 0.8}
    list(
        train(corpus, settings(epochs=50, batch_excerpts=2, learning_rate=1e-2, **by_heart), tmp_path, store)
    )
    played = renderer(tmp_path / RESULT)
    for piece in pieces(corpus, "train"):
        score = read_score(piece.score)
        of_score = grid(score.parsed)
        wanted = mean_expression([measure(of_score, read_match(path)) for path in piece.robust])
        reached = agreement(measure(of_score, played.render(score, seed=0)), wanted)
        for name in ("velocity", "beat_period", "articulation", "pedal"):
            assert reached[name] > 0.8, (piece.title, reached)


def test_an_interrupted_training_ends_where_an_undisturbed_one_does(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    """The two pieces are in different folds of 3."""
    chosen = settings(folds=3, epochs=2)
    list(train(corpus, chosen, tmp_path / "undisturbed", store))
    lines = train(corpus, chosen, tmp_path / "interrupted", store)
    assert next(line for line in lines if line.startswith("network 2 of 3, epoch 1"))
    lines.close()  # type: ignore[attr-defined]
    again = list(train(corpus, chosen, tmp_path / "interrupted", store))
    assert "network 1 of 3: finished before" in again
    assert "network 2 of 3: finished before" not in again
    one, other = ((tmp_path / name / RESULT).read_bytes() for name in ("undisturbed", "interrupted"))
    assert one == other


def test_other_settings_do_not_go_on(corpus: Path, store: Store, tmp_path: Path) -> None:
    list(train(corpus, settings(), tmp_path, store))
    with pytest.raises(InputError, match="other settings"):
        list(train(corpus, settings(epochs=2), tmp_path, store))


def test_a_corpus_without_usable_performances_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", {"train/a": SCORES / "chopin_prelude_op28_no20.musicxml"})
    for match in (corpus / "a").glob("*.match"):
        match.write_text("no match file\n")
    with pytest.raises(InputError, match="no performance of the train split"):
        list(train(corpus, settings(), tmp_path / "out", Store(tmp_path / "store")))


# -------------------------------------------------------------------------------------- what is shipped


def test_the_shipped_checkpoint_is_whole() -> None:
    found = checkpoints.find("pianist-mean")
    assert found.weights.stat().st_size <= 16 * 2**20
    assert "CC BY-NC-SA 4.0" in (found.weights.parent / "LICENSE.md").read_text("utf-8")
    model = read_checkpoint(found.weights)
    assert len(model.networks) == TrainingSettings().folds
    assert all(1 <= gain <= 10 for gain in model.gains.values())


@pytest.mark.parametrize("check", renderer_checks("pianist-mean"), ids=lambda check: check.__name__)
def test_the_shipped_checkpoint_is_a_renderer(check: Check) -> None:
    check()


def test_a_midi_score_is_played_by_the_rules(tmp_path: Path) -> None:
    from adapters.kth_rules import KthRules, KthRulesParameters
    from score_to_audio.formats.midi import write_performance

    xml = read_score(SCORES / "chopin_prelude_op28_no20.musicxml")
    rules = KthRules(KthRulesParameters(), checkpoints={}, device="cpu")
    write_performance(rules.render(xml, seed=0), tmp_path / "prelude.mid")
    score = read_score(tmp_path / "prelude.mid")
    ours = renderer(checkpoints.find("pianist-mean").weights)
    assert ours.notices(xml) == ()
    assert ours.notices(score) == (
        "played by kth-rules: a MIDI file lacks the notation that pianist-mean reads",
    )
    played, by_rules = ours.render(score, seed=0), rules.render(score, seed=0)
    assert played.onset.tolist() == by_rules.onset.tolist()
    assert played.velocity.tolist() == by_rules.velocity.tolist()


def test_files_of_other_models_are_refused(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not a checkpoint of pianist-mean"):
        read_checkpoint(tmp_path / "other.safetensors")
    (tmp_path / "other.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"is a \.safetensors file"):
        read_checkpoint(tmp_path / "other.pt")

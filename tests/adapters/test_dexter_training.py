"""Training DExter from a corpus on disk to a checkpoint that the renderer plays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.dexter import Dexter, DexterParameters, read_checkpoint
from adapters.dexter_training import DexterTrainingConfig, train
from renderers.dexter.network import Denoiser, DenoiserConfig
from renderers.expression import agreement, grid, measure
from score_to_audio.formats.matches import pieces, read_match
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.plugins import Checkpoint
from score_to_audio.store import Store
from score_to_audio.training.folder import BEST, CURVE, LAST
from tests.parity.golden_files import fill, golden_root
from tests.paths import PROJECT
from tests.small_corpus import write_corpus

SCORES = PROJECT / "examples" / "scores"
LEARNT = ("chopin_prelude_op28_no7", "petzold_minuet_bwv_anh114")
SMALL = {"channels": 32, "layers": 8, "notes": 100}
QUICK = {"epochs": 3, "batch_windows": 4}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = {f"train/{name}": SCORES / f"{name}.musicxml" for name in LEARNT}
    return write_corpus(tmp_path_factory.mktemp("corpus"), named)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def config(start: str = "", **training: Any) -> DexterTrainingConfig:
    content = {"start": start, "network": SMALL, "training": {**QUICK, **training}}
    return DexterTrainingConfig.model_validate(content)


def renderer(weights: Path, **options: Any) -> Dexter:
    found = {"checkpoint": Checkpoint("test", {"weights": weights}, "0" * 64)}
    return Dexter(DexterParameters(**options), checkpoints=found, device="cpu")


def test_two_pieces_are_learnt_by_heart(tmp_path: Path) -> None:
    """What the renderer samples is what was played. An epoch has the pieces eight times, for fewer epochs."""
    copies = {f"train/{name}_{copy}": SCORES / f"{name}.musicxml" for name in LEARNT for copy in range(8)}
    corpus = write_corpus(tmp_path / "corpus", copies, performances=1)
    content = {
        "network": {"channels": 64, "layers": 8, "notes": 64},
        "training": {
            **{"epochs": 80, "batch_windows": 10, "learning_rate": 4e-3},
            **{"condition_dropout": 0.0, "mixup": 0.0, "average": 0.98},
        },
    }
    list(
        train(
            corpus, DexterTrainingConfig.model_validate(content), tmp_path / "out", Store(tmp_path / "store")
        )
    )
    played = renderer(tmp_path / "out" / LAST, guidance=1.0, steps=20)
    for piece in list(pieces(corpus, "train"))[::8]:
        score = read_score(piece.score)
        of_score = grid(score.parsed)
        wanted = measure(of_score, read_match(piece.robust[0]))
        reached = agreement(measure(of_score, played.render(score, seed=0)), wanted)
        for name, least in {"velocity": 0.75, "beat_period": 0.55, "articulation": 0.4}.items():
            assert reached[name] > least, (piece.title, reached)


def test_an_interrupted_training_ends_where_an_undisturbed_one_does(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    list(train(corpus, config(), tmp_path / "undisturbed", store))
    lines = train(corpus, config(), tmp_path / "interrupted", store)
    assert next(line for line in lines if line.startswith("epoch"))
    lines.close()  # type: ignore[attr-defined]
    assert "going on after epoch 1" in list(train(corpus, config(), tmp_path / "interrupted", store))
    for name in (LAST, BEST, CURVE):
        whole, resumed = (tmp_path / one / name for one in ("undisturbed", "interrupted"))
        assert whole.read_bytes() == resumed.read_bytes(), name


def test_a_published_checkpoint_is_fine_tuned_with_its_own_statistics(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    network = Denoiser(DenoiserConfig(channels=16, layers=4))
    fill(network, "published")
    settings = {
        "timesteps": 50,
        "seg_len": 60,
        "dataset_means": [0.5, 0.4, 0.0, -0.2, 0.3],
        "dataset_stds": [0.2, 0.1, 0.05, 0.8, 0.3],
    }
    path = tmp_path / "published.ckpt"
    torch.save({"state_dict": network.state_dict(), "hyper_parameters": settings}, path)
    list(train(corpus, config(start=str(path)), tmp_path / "tuned", store))
    before, shape, diffusion = read_checkpoint(path)
    after, same_shape, same_diffusion = read_checkpoint(tmp_path / "tuned" / LAST)
    assert (same_shape, same_diffusion) == (shape, diffusion)
    assert not [name for name, tensor in after.items() if torch.equal(tensor, before[name])]


def test_a_checkpoint_has_the_published_layout(corpus: Path, store: Store, tmp_path: Path) -> None:
    list(train(corpus, config(epochs=1), tmp_path, store))
    layout = json.loads((golden_root() / "dexter" / "checkpoint_layout.json").read_text("utf-8"))
    ours = torch.load(tmp_path / BEST, weights_only=True)
    assert set(layout["top_level_keys"]) == set(ours)
    known = {name.partition(" ")[0] for names in layout["hyper_parameters"].values() for name in names}
    assert set(ours["hyper_parameters"]) <= known
    tensors = json.loads((golden_root() / "dexter" / "state_dict_tiny.json").read_text("utf-8"))
    depth = len([name for name in tensors if name.endswith("dilated_conv.weight")])
    assert {name for name in ours["state_dict"] if f".{depth - 1}." in name or ".0." in name} == {
        name for name in tensors if f".{depth - 1}." in name or ".0." in name
    }


def test_the_validation_decides_which_epoch_is_best(store: Store, tmp_path: Path) -> None:
    score = SCORES / "chopin_prelude_op28_no20.musicxml"
    corpus = write_corpus(tmp_path / "corpus", {"train/a": score, "validation/b": score})
    list(train(corpus, config(epochs=2, validation_steps=2, mixup=1.0), tmp_path / "out", store))
    header, *epochs = (tmp_path / "out" / CURVE).read_text().splitlines()
    assert "local_beat_period" in header
    assert "nan" not in epochs[-1]
    assert len(renderer(tmp_path / "out" / BEST).render(read_score(score), seed=0)) > 0

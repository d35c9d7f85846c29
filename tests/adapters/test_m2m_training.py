"""Training M2M from a corpus on disk to a checkpoint that the renderer plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.m2m import FOREIGN, M2M, M2MParameters, read_checkpoint
from adapters.m2m_training import M2MTrainingConfig, train
from renderers.expression import agreement, grid, measure
from renderers.m2m.network import M2MNetwork, NetworkConfig
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import pieces, read_match
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.plugins import Checkpoint
from score_to_audio.store import Store
from score_to_audio.training.folder import BEST, CURVE, LAST
from score_to_audio.weights import load_checkpoint
from tests.parity.golden_files import fill, golden_root
from tests.paths import PROJECT
from tests.small_corpus import write_corpus

SCORES = PROJECT / "examples" / "scores"
LEARNT = ("chopin_prelude_op28_no7", "petzold_minuet_bwv_anh114")
SMALL = {"hidden": 48, "layers": 1, "heads": 2, "feed_forward": 32, "notes": 126}
EMBEDDINGS = {"embeddings": (16, 2, 16, 16, 16, 16)}
PUBLISHED = golden_root() / "m2m" / "tiny_checkpoint.ckpt"
QUICK = {"epochs": 3, "batch_blocks": 4}


BY_HEART = {
    "epochs": 40,
    "learning_rate": 1e-2,
    "dropout": 0.0,
    "average": 0.5,
    "batch_blocks": 2,
    "transposition": 0,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = {f"train/{name}": SCORES / f"{name}.musicxml" for name in LEARNT}
    return write_corpus(tmp_path_factory.mktemp("corpus"), named, performances=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def config(start: str = "", **training: Any) -> M2MTrainingConfig:
    content = {"start": start, "network": {**SMALL, **EMBEDDINGS}, "training": {**QUICK, **training}}
    return M2MTrainingConfig.model_validate(content)


def renderer(weights: Path, **options: Any) -> M2M:
    found = {"checkpoint": Checkpoint("test", {"weights": weights}, "0" * 64)}
    return M2M(M2MParameters(**({"top_k": 1} | options)), checkpoints=found, device="cpu")


def test_two_pieces_are_learnt_by_heart(corpus: Path, store: Store, tmp_path: Path) -> None:
    """What the renderer finds most probable is what was played."""
    list(train(corpus, config(**BY_HEART), tmp_path, store))
    played = renderer(tmp_path / LAST)
    for piece in pieces(corpus, "train"):
        score = read_score(piece.score)
        of_score = grid(score.parsed)
        wanted = measure(of_score, read_match(piece.robust[0]))
        reached = agreement(measure(of_score, played.render(score, seed=0)), wanted)
        for name, least in {"velocity": 0.9, "beat_period": 0.7, "articulation": 0.7}.items():
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
        assert (tmp_path / "undisturbed" / name).read_bytes() == (
            tmp_path / "interrupted" / name
        ).read_bytes()


def test_a_published_checkpoint_is_fine_tuned_where_it_should_be(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    """Only the style that learns, and nothing of what the network does not use."""
    file = tmp_path / "published.ckpt"
    before = published(file, styles=3)
    tuned = config(start=str(file)).model_copy(update={"performer": "arrau"})
    list(train(corpus, tuned, tmp_path / "tuned", store))
    after = read_checkpoint(tmp_path / "tuned" / LAST)
    assert set(after) == set(before)
    same = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    unused = ("word_embeddings", "position_embeddings", "pooler", "style_proj")
    assert same == {name for name in before if any(one in name for one in unused)}
    styles = "style_emb.lut.weight"
    assert (after[styles] != before[styles]).any(dim=1).tolist() == [False, True, False]


def published(path: Path, *, styles: int) -> dict[str, torch.Tensor]:
    """A checkpoint in the published layout with arbitrary weights; returns its tensors."""
    network = M2MNetwork(NetworkConfig(hidden=16, layers=1, heads=2, feed_forward=16, words=9, styles=styles))
    fill(network, "published")
    torch.save({"state_dict": {f"net.{name}": one for name, one in network.state_dict().items()}}, path)
    return read_checkpoint(path)


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED} is not there")
def test_a_checkpoint_has_the_published_layout(corpus: Path, store: Store, tmp_path: Path) -> None:
    list(train(corpus, config(epochs=1), tmp_path, store))
    ours = torch.load(tmp_path / BEST, weights_only=True)
    theirs = load_checkpoint(PUBLISHED, foreign=FOREIGN)
    assert set(theirs) <= set(ours)
    prefixes = {name.partition(".")[0] for name in theirs["state_dict"]}
    assert {name.partition(".")[0] for name in ours["state_dict"]} == prefixes
    names = {name for name in theirs["state_dict"] if name.startswith("net.")}
    assert {name for name in ours["state_dict"] if name.startswith("net.")} == names


def test_the_validation_decides_which_epoch_is_best(store: Store, tmp_path: Path) -> None:
    score = SCORES / "chopin_prelude_op28_no20.musicxml"
    corpus = write_corpus(tmp_path / "corpus", {"train/a": score, "validation/b": score}, performances=1)
    list(train(corpus, config(epochs=2), tmp_path / "out", store))
    header, *epochs = (tmp_path / "out" / CURVE).read_text().splitlines()
    assert "local_beat_period" in header
    assert len(epochs) == 2


def test_the_mean_is_the_same_for_every_seed(corpus: Path, store: Store, tmp_path: Path) -> None:
    list(train(corpus, config(**BY_HEART | {"epochs": 20}), tmp_path, store))
    score = read_score(SCORES / f"{LEARNT[0]}.musicxml")
    drawn, mean = renderer(tmp_path / LAST, top_k=0), renderer(tmp_path / LAST, top_k=0, decoding="mean")
    assert mean.render(score, seed=0).onset.tolist() == mean.render(score, seed=1).onset.tolist()
    assert drawn.render(score, seed=0).onset.tolist() != drawn.render(score, seed=1).onset.tolist()


def test_an_unknown_style_is_refused(corpus: Path, store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 style"):
        list(train(corpus, config().model_copy(update={"performer": "gulda"}), tmp_path, store))

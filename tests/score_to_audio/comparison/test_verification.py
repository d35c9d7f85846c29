"""`models verify` tells trained weights from filled, swapped and truncated ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from score_to_audio import checkpoints
from score_to_audio.comparison import verification
from score_to_audio.comparison.verification import Verification, verify
from score_to_audio.weights import load_checkpoint
from tests.paths import EXAMPLE_SCORES
from tests.synthesizers.ddsp_piano_checkpoints import published_weights

TRANSCRIBED = "onset F1 of what transkun hears"
Tensors = Mapping[str, Tensor]
Change = Callable[[Tensors], Tensors]


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path / "checkpoints"))


@pytest.fixture
def without_transkun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "find_spec", lambda _name: None)


def filled(tensors: Tensors) -> Tensors:
    """Normal values, each matrix scaled by its inputs, as networks are before training."""
    random = torch.Generator().manual_seed(0)
    matrices = {name for name, one in tensors.items() if one.is_floating_point() and one.ndim > 1}
    return {
        name: torch.randn(one.shape, generator=random) / one[0].numel() ** 0.5 if name in matrices else one
        for name, one in tensors.items()
    }


def swapped(tensors: Tensors) -> Tensors:
    """Matrices of one shape take each other's place; square ones are turned over where there is but one."""
    result = dict(tensors)
    by_shape: dict[torch.Size, list[str]] = {}
    for name, one in tensors.items():
        if one.ndim == 2:
            by_shape.setdefault(one.shape, []).append(name)
    for names in by_shape.values():
        for name, other in zip(names, [*names[1:], names[0]], strict=True):
            result[name] = tensors[other].clone()
        if len(names) == 1 and tensors[names[0]].shape[0] == tensors[names[0]].shape[1]:
            result[names[0]] = tensors[names[0]].t().contiguous()
    return result


def wrong(found: Verification) -> set[str]:
    return {figure.name for figure in found.figures if not figure.ok}


def test_the_phrase_is_our_own() -> None:
    ours = EXAMPLE_SCORES / "chopin_prelude_op28_no7.musicxml"
    assert verification.phrase().path.read_bytes() == ours.read_bytes()


# ------------------------------------------------------------------------------------------ a renderer


def rewritten(change: Change, path: Path) -> Path:
    """The shipped weights with other tensors."""
    with safe_open(checkpoints.find("asap-small").weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(dict(change(tensors)), path, metadata=file.metadata())
    return path


def test_trained_weights_of_a_renderer_pass() -> None:
    found = verify("asap-small")
    assert found.ok, found.lines()
    assert found.verdict == "asap-small behaves like a trained model"


def test_filled_weights_of_a_renderer_are_noticed(tmp_path: Path) -> None:
    found = verify("asap-small", rewritten(filled, tmp_path / "filled.safetensors"))
    assert {
        "ratio of the largest to the smallest scale of a matrix",
        "spread of velocity",
        "correlation of velocity with the rules",
    } <= wrong(found)
    assert "no training had changed them" in "\n".join(found.lines())


def test_swapped_weights_of_a_renderer_are_noticed(tmp_path: Path) -> None:
    found = verify("asap-small", rewritten(swapped, tmp_path / "swapped.safetensors"))
    assert "ratio of the largest to the smallest scale of a matrix" not in wrong(found)
    assert "correlation of beat period with the rules" in wrong(found)
    assert "does not behave like a trained model" in found.verdict


def test_a_truncated_file_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(checkpoints.find("asap-small").weights.read_bytes()[:-1000])
    found = verify("asap-small", path)
    assert not found.ok
    assert found.verdict.startswith("asap-small cannot be used: cut.safetensors: ")
    assert str(tmp_path) not in found.report()


# --------------------------------------------------------------------------------------- a synthesizer

PUBLISHED = published_weights()
needs_weights = pytest.mark.skipif(
    PUBLISHED is None, reason="the published weights are not here: score-to-audio models pull ddsp-piano"
)


@pytest.fixture
def published() -> Path:
    assert PUBLISHED is not None
    checkpoints.import_files("ddsp-piano", [PUBLISHED, PUBLISHED.with_name("ckpt-0.index")])
    return PUBLISHED


def resaved(published: Path, change: Change, path: Path) -> Path:
    tensors = {name: one for name, one in load_checkpoint(published).items() if isinstance(one, Tensor)}
    release = {name: one for name, one in tensors.items() if "release" in name}
    save_file({**change(tensors), **release}, path)
    return path


@needs_weights
@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("transkun"), reason="needs the extra evaluation")
def test_published_weights_of_a_synthesizer_pass(published: Path) -> None:
    found = verify("ddsp-piano")
    assert found.ok, found.lines()
    assert any(figure.name == TRANSCRIBED for figure in found.figures)


@needs_weights
@pytest.mark.parametrize("change", [filled, swapped])
def test_other_weights_of_a_synthesizer_are_noticed(
    published: Path, tmp_path: Path, change: Change, without_transkun: None
) -> None:
    found = verify("ddsp-piano", resaved(published, change, tmp_path / "other.safetensors"))
    assert "correlation of the spectrogram with the sampled piano's" in wrong(found)
    assert verification.WITHOUT_TRANSKUN in found.lines()


@needs_weights
def test_a_truncated_bundle_cannot_be_used(published: Path, tmp_path: Path) -> None:
    (tmp_path / "ckpt-0.index").write_bytes(published.with_name("ckpt-0.index").read_bytes())
    path = tmp_path / published.name
    path.write_bytes(published.read_bytes()[:1_000_000])
    assert "cannot be used" in verify("ddsp-piano", path).verdict


@needs_weights
def test_the_published_file_itself_is_known_by_its_hash(published: Path) -> None:
    weights = checkpoints.find("ddsp-piano").weights
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    with pytest.raises(checkpoints.InputError, match="has changed"):
        verify("ddsp-piano")


# -------------------------------------------------------------------------------------------- a codec


def test_a_codec_that_gives_the_sound_back_passes_and_noise_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from adapters import codec
    from score_to_audio.plugins import Checkpoint
    from score_to_audio.types import Waveform

    monkeypatch.setattr(codec, "load_codec", lambda _found: None)
    monkeypatch.setattr(codec, "reconstruct", lambda _codec, sound: sound)
    assert all(figure.ok for figure in verification._reconstruction(Checkpoint("c", {}, "")))
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 24_000)).astype(np.float32)
    monkeypatch.setattr(codec, "reconstruct", lambda _codec, _sound: Waveform(noise, 24_000))
    assert not any(figure.ok for figure in verification._reconstruction(Checkpoint("c", {}, "")))

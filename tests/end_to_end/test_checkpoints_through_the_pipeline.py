"""Checkpoints in the published layouts, with filled weights, from `models import` to sound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from renderers.dexter.network import Denoiser, DenoiserConfig
from renderers.m2m.network import M2MNetwork, NetworkConfig
from score_to_audio.testing import example_score
from tests import pianist_transformer_checkpoint
from tests.command_line import call
from tests.parity.golden_files import fill
from tests.synthesizers import midi_valle_checkpoints
from tests.virtuosonet_checkpoint import write_checkpoint

pytestmark = pytest.mark.slow


def write_dexter(path: Path) -> list[Path]:
    network = Denoiser(DenoiserConfig(channels=16, layers=4))
    fill(network, "test")
    settings = {"timesteps": 40, "seg_len": 30}
    torch.save({"state_dict": network.state_dict(), "hyper_parameters": settings}, path)
    return [path]


def write_m2m(path: Path) -> list[Path]:
    network = M2MNetwork(NetworkConfig(hidden=16, layers=1, heads=2, feed_forward=8, words=4, style_width=4))
    fill(network, "test")
    torch.save({"state_dict": {f"net.{k}": v for k, v in network.state_dict().items()}}, path)
    return [path]


def write_virtuosonet(path: Path) -> list[Path]:
    write_checkpoint(path)
    return [path]


def write_pianist_transformer(path: Path) -> list[Path]:
    weights = pianist_transformer_checkpoint.write_checkpoint(path.with_name("model.safetensors"))
    return [weights, *(path.with_name(name) for name in ("config.json", "generation_config.json"))]


RENDERERS: dict[str, Callable[[Path], list[Path]]] = {
    "virtuosonet": write_virtuosonet,
    "dexter": write_dexter,
    "m2m": write_m2m,
    "pianist-transformer": write_pianist_transformer,
}
"""Name -> what writes the files of a checkpoint."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path / "checkpoints"))
    (tmp_path / "example.musicxml").write_bytes(example_score().content)
    return tmp_path


@pytest.fixture
def cli(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        code, printed, error = call(monkeypatch, capsys, *arguments)
        assert code == 0, error
        return printed

    return run


@pytest.mark.parametrize("name", RENDERERS)
def test_an_imported_checkpoint_renders_and_is_synthesized(
    name: str, home: Path, cli: Callable[..., str]
) -> None:
    files = RENDERERS[name](home / "weights.pt")
    cli("models", "import", name, *map(str, files))
    assert "tensors" in cli("models", "check", name)
    cli("run", "example.musicxml", "-o", "out", "-r", name, "--seed", "3")
    provenance = json.loads((home / "out" / "manifest.jsonl").read_text())["performance"]["provenance"]
    assert (provenance["model"], provenance["seed"]) == (name, 3)
    assert list(provenance["checkpoints"]) == ["checkpoint"]
    assert (home / "out" / "example.wav").stat().st_size > 100_000
    assert "from the store" in cli("run", "example.musicxml", "-o", "out", "-r", name, "--seed", "3")


def test_an_imported_codec_encodes_and_decodes(home: Path, cli: Callable[..., str]) -> None:
    midi_valle_checkpoints.write_codec(home / "compression_32khz_new.bin")
    cli("models", "import", "piano-encodec", "compression_32khz_new.bin")
    cli("models", "check", "piano-encodec")
    cli("run", "example.musicxml", "-o", "out")
    cli("codec", "encode", "out/example.wav", "-o", "x.npy")
    cli("codec", "decode", "x.npy", "-o", "decoded.wav")
    cli("codec", "reconstruct", "out/example.wav", "-o", "reconstructed.flac")

"""Checkpoints in the published layouts, with filled weights, from `models import` to sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from renderers.dexter.network import Denoiser, DenoiserConfig
from renderers.m2m.network import M2MNetwork, NetworkConfig
from score_to_audio.testing import example_score
from tests import pianist_transformer_checkpoint
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
def home(tmp_path: Path) -> Path:
    (tmp_path / "example.musicxml").write_bytes(example_score().content)
    return tmp_path


def cli(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "score_to_audio.cli", *arguments],
        cwd=home,
        env=os.environ
        | {
            "SCORE_TO_AUDIO_STORE": str(home / "store"),
            "SCORE_TO_AUDIO_CHECKPOINTS": str(home / "checkpoints"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", RENDERERS)
def test_an_imported_checkpoint_renders_and_is_synthesized(name: str, home: Path) -> None:
    files = RENDERERS[name](home / "weights.pt")
    cli(home, "models", "import", name, *map(str, files))
    assert "tensors" in cli(home, "models", "check", name)
    cli(home, "run", "example.musicxml", "-o", "out", "-r", name, "--seed", "3")
    provenance = json.loads((home / "out" / "manifest.jsonl").read_text())["performance"]["provenance"]
    assert (provenance["model"], provenance["seed"]) == (name, 3)
    assert list(provenance["checkpoints"]) == ["checkpoint"]
    assert (home / "out" / "example.wav").stat().st_size > 100_000
    assert "from the store" in cli(home, "run", "example.musicxml", "-o", "out", "-r", name, "--seed", "3")


def test_an_imported_codec_encodes_and_decodes(home: Path) -> None:
    midi_valle_checkpoints.write_codec(home / "compression_32khz_new.bin")
    cli(home, "models", "import", "piano-encodec", "compression_32khz_new.bin")
    cli(home, "models", "check", "piano-encodec")
    cli(home, "run", "example.musicxml", "-o", "out")
    cli(home, "codec", "encode", "out/example.wav", "-o", "x.npy")
    cli(home, "codec", "decode", "x.npy", "-o", "decoded.wav")
    cli(home, "codec", "reconstruct", "out/example.wav", "-o", "reconstructed.flac")

"""Codecs from checkpoint files, and codes in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from adapters import codec as adapter
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint
from score_to_audio.types import Waveform
from synthesizers.codecs.encodec import Codec, name_in_transformers
from tests.synthesizers.midi_valle_checkpoints import TINY_CODEC, random_codec, write_codec


def checkpoint_of(path: Path, content: Any) -> Checkpoint:
    torch.save(content, path)
    return Checkpoint(path.name, {"weights": path}, "")


def audiocraft_content(**changes: Any) -> dict[str, Any]:
    return {
        "best_state": random_codec().state_dict(),
        "xp.cfg": yaml.safe_dump(TINY_CODEC),
        "version": "1.3.0",
        "exported": True,
    } | changes


def assert_same(found: Codec) -> None:
    codes = torch.randint(0, 2048, (1, 4, 9), generator=torch.Generator().manual_seed(1))
    assert torch.equal(found.decode(codes), random_codec().decode(codes))


def test_exported_checkpoint(tmp_path: Path) -> None:
    assert_same(adapter.load_codec(write_codec(tmp_path / "codec.bin")))


def test_training_checkpoint(tmp_path: Path) -> None:
    content = audiocraft_content()
    content["best_state"] = {"model": content["best_state"]}
    assert_same(adapter.load_codec(checkpoint_of(tmp_path / "codec.th", content)))


def test_new_names_of_weight_norm(tmp_path: Path) -> None:
    content = audiocraft_content()
    content["best_state"] = {
        name.replace(".weight_g", ".parametrizations.weight.original0").replace(
            ".weight_v", ".parametrizations.weight.original1"
        ): tensor
        for name, tensor in content["best_state"].items()
    }
    assert_same(adapter.load_codec(checkpoint_of(tmp_path / "codec.bin", content)))


def test_transformers_checkpoint(tmp_path: Path) -> None:
    tensors = {name_in_transformers(name): tensor for name, tensor in random_codec().state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    settings = {
        "sampling_rate": 32000, "audio_channels": 1, "hidden_size": 16, "num_filters": 4,
        "pad_mode": "constant",
        "upsampling_ratios": [8, 5, 4, 4], "num_residual_layers": 1, "kernel_size": 7, "last_kernel_size": 7,
        "residual_kernel_size": 3, "dilation_growth_rate": 2, "compress": 2, "num_lstm_layers": 2,
        "codebook_size": 2048, "target_bandwidths": [2.2], "use_causal_conv": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(settings))
    weights = tmp_path / "model.safetensors"
    assert_same(adapter.load_codec(Checkpoint("stock", {"weights": weights}, "")))
    files = {"weights": weights, "config": tmp_path / "config.json"}
    assert_same(adapter.load_codec(Checkpoint("stock", files, "")))
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json"):
        adapter.load_codec(Checkpoint("stock", {"weights": weights}, ""))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"pretrained": "facebook/encodec_32khz"}, "facebook/encodec_32khz"),
        ({"something": 1}, "best_state"),
        ([1, 2], "best_state"),
        (audiocraft_content(**{"xp.cfg": "{"}), "xp.cfg"),
        (audiocraft_content(**{"xp.cfg": "- 1"}), "xp.cfg"),
        (audiocraft_content(best_state={"a": 1}), "tensors"),
        (audiocraft_content(best_state={"a": torch.zeros(1)}), "lacks .* and 1.. more"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        adapter.load_codec(checkpoint_of(tmp_path / "codec.bin", content))
    assert "codec.bin" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_shapes_are_listed(tmp_path: Path) -> None:
    state = random_codec().state_dict()
    state["quantizer.vq.layers.0._codebook.embed"] = torch.zeros(3, 3)
    with pytest.raises(InputError, match=r"_codebook.embed as \(3, 3\), not \(2048, 16\)"):
        adapter.load_codec(checkpoint_of(tmp_path / "codec.bin", audiocraft_content(best_state=state)))


def test_reconstruction_keeps_the_length(tmp_path: Path) -> None:
    codec = adapter.load_codec(write_codec(tmp_path / "codec.bin"))
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 44_100)).astype(np.float32)
    rebuilt = adapter.reconstruct(codec, Waveform(samples, 44_100))
    assert rebuilt.sample_rate == 32_000
    assert rebuilt.samples.shape == (1, 32_000)
    codes = adapter.encode(codec, Waveform(samples, 44_100))
    assert codes.shape == (4, 50)
    decoded = adapter.decode(codec, codes)
    assert np.array_equal(decoded.samples[:, :32_000], rebuilt.samples)


def test_codes_files(tmp_path: Path) -> None:
    codec = adapter.load_codec(write_codec(tmp_path / "codec.bin"))
    codes = np.random.default_rng(0).integers(0, 2048, (4, 20))
    adapter.write_codes(codes, tmp_path / "codes.npy")
    assert np.array_equal(adapter.read_codes(tmp_path / "codes.npy", codec), codes)
    for name, wrong in {
        "rows": codes[:3], "large": codes + 2048, "float": codes.astype(float), "flat": codes[0],
        "objects": np.array([[{}]] * 4), "empty": codes[:, :0],
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.npy"
        np.save(path, wrong, allow_pickle=True)
        with pytest.raises(InputError, match=name):
            adapter.read_codes(path, codec)
    with pytest.raises(InputError, match="nowhere"):
        adapter.read_codes(tmp_path / "nowhere.npy", codec)

"""Small checkpoints with arbitrary weights, in the layouts in which the real ones are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from score_to_audio.plugins import Checkpoint
from synthesizers.codecs.encodec import Codec, CodecConfig
from synthesizers.midi_valle.network import MidiValleConfig, parameter_shapes

torch.set_num_threads(1)
"""Small networks gain nothing from more, and test processes share the cores."""

TINY = MidiValleConfig(width=64, heads=1, layers=2)
TINY_CODEC: dict[str, Any] = {
    "encodec": {"autoencoder": "seanet", "sample_rate": "${sample_rate}", "causal": False},
    "seanet": {
        "dimension": 16, "channels": 1, "causal": "${encodec.causal}", "n_filters": 4, "n_residual_layers": 1,
        "ratios": [8, 5, 4, 4], "activation": "ELU", "activation_params": {"alpha": 1.0}, "lstm": 2,
        "norm": "weight_norm", "norm_params": {}, "kernel_size": 7, "residual_kernel_size": 3,
        "last_kernel_size": 7, "dilation_base": 2, "pad_mode": "constant", "true_skip": True, "compress": 2,
        "decoder": {"trim_right_ratio": 1.0, "final_activation": None}, "encoder": {},
    },
    "rvq": {"n_q": 4, "bins": 2048},
    "sample_rate": 32000,
}  # fmt: skip
TINY_CODEC_CONFIG = CodecConfig(dimension=16, n_filters=4)


def random_tensors(config: MidiValleConfig = TINY) -> dict[str, Tensor]:
    """Weights of a scale at which the output follows the input."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in parameter_shapes(config).items():
        values = torch.randn(shape, generator=generator)
        if "embeddings" in name or "feat_emb" in name or "audio_embedding" in name:
            tensors[name] = values
        elif len(shape) == 2:
            tensors[name] = values * shape[1] ** -0.5
        else:
            tensors[name] = 0.1 * values + (0.0 if name.endswith("bias") else 1.0)
    for stage in range(config.codebooks - 2):
        tensors[f"nar_predict_layers.{stage}.weight"] = tensors[
            f"nar_audio_embeddings.{stage + 2}.word_embeddings.weight"
        ]
    return tensors


def random_codec(config: CodecConfig = TINY_CODEC_CONFIG) -> Codec:
    """Loud enough for tests of sound, and seldom limited."""
    generator = torch.Generator().manual_seed(0)
    codec = Codec(config)
    for name, tensor in codec.state_dict().items():
        values = torch.randn(tensor.shape, generator=generator)
        if name.endswith("weight_g"):
            tensor.copy_(0.9 + 0.2 * values.abs())
        elif name.endswith(("embed", "weight_v")):
            tensor.copy_(values)
        elif "lstm" in name and tensor.dim() == 2:
            tensor.copy_(values * tensor.shape[1] ** -0.5)
        elif name.endswith("bias") or "bias_" in name:
            tensor.copy_(0.01 * values)
    return codec


def write_model(path: Path, config: MidiValleConfig = TINY) -> Checkpoint:
    torch.save(random_tensors(config), path)
    return Checkpoint(path.name, {"weights": path}, "")


def write_codec(path: Path) -> Checkpoint:
    content = {
        "best_state": random_codec().state_dict(),
        "xp.cfg": yaml.safe_dump(TINY_CODEC),
        "version": "1.3.0",
        "exported": True,
    }
    torch.save(content, path)
    return Checkpoint(path.name, {"weights": path}, "")

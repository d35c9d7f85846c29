"""Small checkpoints of M2A with arbitrary weights, laid out as ESPnet saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from score_to_audio.plugins import Checkpoint
from synthesizers.m2a.network import AcousticConfig, AcousticModel
from synthesizers.vocoders.hifigan import HifiGan, HifiGanConfig
from tests.parity.golden_files import fill

torch.set_num_threads(1)
"""Small networks gain nothing from more, and test processes share the cores."""

ACOUSTIC = AcousticConfig(
    width=32, encoder_layers=2, encoder_units=48, decoder_layers=2, decoder_units=40, prenet_units=24,
    prenet_dropout=0.6, postnet_layers=3, postnet_channels=20,
)  # fmt: skip
VOCODER = HifiGanConfig(channels=32, kernel_sizes=(3, 5), dilations=((1, 3), (1, 3)))
SETTINGS: dict[str, Any] = {
    "text2mel_params": {"dprenet_dropout_rate": 0.6, "aheads": 4},
    "vocoder_params": {"resblock_dilations": [[1, 3], [1, 3]]},
}


def acoustic_model(config: AcousticConfig = ACOUSTIC, salt: str = "test") -> AcousticModel:
    built = AcousticModel(config)
    fill(built, salt)
    return built.eval().requires_grad_(False)


def generator(config: HifiGanConfig = VOCODER, salt: str = "test") -> HifiGan:
    built = HifiGan(config)
    fill(built, salt)
    return built.eval().requires_grad_(False)


def state_dict(config: AcousticConfig = ACOUSTIC) -> dict[str, torch.Tensor]:
    """As published: everything that training needed, and weight norm in two tensors."""
    tensors = {
        "feats_extract.logmidi.midimat": torch.zeros(33, 128),
        "normalize.mean": torch.linspace(-2, 1, 128),
        "normalize.std": torch.linspace(0.5, 1, 128),
        "tts.discriminator.mpd.discriminators.0.output_conv.bias": torch.zeros(1),
        "tts.mel_loss.wav_to_mel.logmel.melmat": torch.zeros(513, 80),
        "tts.generator.text2mel.criterion.bce_criterion.pos_weight": torch.tensor(5.0),
    }
    for name, tensor in acoustic_model(config).state_dict().items():
        tensors[f"tts.generator.text2mel.{name}"] = tensor
    for name, tensor in generator().state_dict().items():
        if name.endswith("weight"):
            norm = tensor.norm(dim=(1, 2), keepdim=True)
            tensors[f"tts.generator.vocoder.{name}_g"] = norm
            tensors[f"tts.generator.vocoder.{name}_v"] = tensor * 3
        else:
            tensors[f"tts.generator.vocoder.{name}"] = tensor
    return tensors


def statistics(path: Path, *, shift: float = 0.0) -> Path:
    """``feats_stats.npz`` of the normalisation in ``state_dict``."""
    count = 7_552_510
    mean, deviation = np.linspace(-2, 1, 128) + shift, np.linspace(0.5, 1, 128)
    np.savez(path, count=count, sum=mean * count, sum_square=(deviation**2 + mean**2) * count)
    return path


def write(folder: Path, config: AcousticConfig = ACOUSTIC, **changes: Any) -> Checkpoint:
    """Weights with their configuration beside them; ``changes``: tensors to replace, None to leave out."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Any] = {**state_dict(config), **changes}
    path = folder / "train.total_count.best.pth"
    torch.save({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    (folder / "config.yaml").write_text(yaml.safe_dump({"tts": "joint_text2wav", "tts_conf": SETTINGS}))
    return Checkpoint("tiny", {"weights": path}, "0" * 64)

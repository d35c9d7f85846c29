"""MIDI-VALLE with the weights of the recordings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from synthesizers.midi_valle.layers import Precision
from synthesizers.midi_valle.network import MidiValle, MidiValleConfig, parameter_shapes
from tests.parity.golden_files import golden_values


def model_of(
    tensors: Mapping[str, Tensor],
    config: MidiValleConfig,
    precision: Precision = "float32",
    device: str = "cpu",
) -> MidiValle:
    def read(prefix: str) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    return MidiValle(config, read, precision=precision, device=device)


def filled_weights(config: MidiValleConfig, salt: str) -> dict[str, Tensor]:
    """As config.json's fill rule says, its three steps after the filling included."""
    tensors = {
        name: torch.from_numpy(golden_values(name, shape, salt))
        for name, shape in parameter_shapes(config).items()
    }
    for stage in range(config.codebooks - 2):
        tied = f"nar_audio_embeddings.{stage + 2}.word_embeddings.weight"
        tensors[tied] = tensors[f"nar_predict_layers.{stage}.weight"]
    scaled: set[int] = set()
    for name, tensor in tensors.items():
        table = name.endswith("word_embeddings.weight") and not name.startswith("nar_stage_embeddings.")
        if (table or name.startswith("nar_predict_layers.")) and id(tensor) not in scaled:
            tensor *= tensor.shape[1] ** 0.5
            scaled.add(id(tensor))
        if name.endswith(".alpha"):
            tensor += 1
        if name.endswith("project_layer.bias"):
            tensor[: len(tensor) // 2] += 1
    return tensors

"""The names that the published TensorFlow checkpoint has for the weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

GRU_PARTS = ("kernel", "recurrent_kernel", "bias")
LAYERS = {
    "context.dense_in": ("context_network/model/layer_with_weights-0", ("kernel", "bias")),
    "context.gru": ("context_network/model/layer_with_weights-1/cell", GRU_PARTS),
    "context.norm": ("context_network/model/layer_with_weights-2", ("scale", "shift")),
    "context.dense_out": ("context_network/dense_out", ("kernel", "bias")),
    "mono.dense_in": ("monophonic_network/model/layer_with_weights-0", ("kernel", "bias")),
    "mono.gru": ("monophonic_network/model/layer_with_weights-1/cell", GRU_PARTS),
    "mono.dense_mid": ("monophonic_network/model/layer_with_weights-2", ("kernel", "bias")),
    "mono.norm": ("monophonic_network/model/layer_with_weights-3", ("scale", "shift")),
    "mono.dense_out": ("monophonic_network/dense_out", ("kernel", "bias")),
    "inharm": ("inharm_model", ("slopes", "slopes_modifier", "offsets", "offsets_modifier")),
    "detuner": ("detuner/layer", ("kernel", "bias")),
}
PUBLISHED = {
    **{
        f"model/{there}/{part}": f"{here}.{part}" for here, (there, parts) in LAYERS.items() for part in parts
    },
    "model/z_encoder/embedding/embeddings": "piano.embedding",
    "model/z_encoder/inharm_embedding/embeddings": "piano.inharmonicity",
    "model/z_encoder/detune_embedding/embeddings": "piano.detuning",
    "model/reverb_model/reverb_dict/layer_with_weights-0/embeddings": "piano.reverb_ir",
    "model/inharm_model/model_specific_weight": "inharm.piano_weight",
    "model/note_release/layer/cell/release_duration": "note_release.seconds",
}
"""Key in the checkpoint -> name here."""


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the published checkpoint under the names of ``DdspPiano``; other names stay."""
    return {
        PUBLISHED.get(name, name): tensor.reshape(1) if tensor.dim() == 0 else tensor
        for name, tensor in tensors.items()
    }

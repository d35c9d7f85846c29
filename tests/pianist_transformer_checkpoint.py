"""A small Pianist Transformer in the layout of the published files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from renderers.pianist_transformer.network import EMBEDDING, shapes
from tests.parity.golden_files import golden_values

STACK = {
    "vocab_size": 5389,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def write_checkpoint(path: Path, **generation: Any) -> Path:
    """Weights at ``path`` with their two JSON files beside them."""
    from adapters.pianist_transformer import read_config

    config = path.with_name("config.json")
    config.write_text(json.dumps({"model_type": "t5gemma", "encoder": STACK, "decoder": STACK}))
    path.with_name("generation_config.json").write_text(json.dumps({"bos_token_id": 2, **generation}))
    tensors = {
        name: torch.from_numpy(golden_values(name, shape, "test")).bfloat16()
        for name, shape in shapes(read_config(config)).items()
    }
    tensors[EMBEDDING] *= 0.5  # else pedals only repeat
    tensors["embeddings.word_embeddings.weight"] = torch.zeros(5389, 32).bfloat16()  # published, not used
    save_file(tensors, path)
    return path

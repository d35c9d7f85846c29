"""What was recorded of M2A but synthesis never computes: encoder stages and attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from synthesizers.m2a.network import AcousticModel, Encoder


def encoder_stages(encoder: Encoder, roll: Tensor) -> list[Tensor]:
    """The embedded input, each block's output, and the result, [B, T, width] each."""
    stages = [encoder.embed(roll)]
    for layer in encoder.encoders:
        stages.append(layer(stages[-1]))
    return [*stages, encoder.after_norm(stages[-1])]


@contextmanager
def source_attention(model: AcousticModel) -> Iterator[list[Tensor]]:
    """The weights [B, heads, Q, T] of every source attention that runs, layer by layer and step by step."""
    weights: list[Tensor] = []
    hooks = [
        layer.src_attn.register_forward_hook(lambda module, inputs, output: weights.append(output[1]))
        for layer in model.decoder.layers()
    ]
    try:
        yield weights
    finally:
        for hook in hooks:
            hook.remove()

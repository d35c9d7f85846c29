"""What was recorded of M2A but synthesis never computes: encoder stages, attention, training, features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from synthesizers.m2a.network import AcousticModel, Encoder
from synthesizers.m2a.spectrum import HOP, TRANSFORM, filter_bank

WINDOW = 1200
MIN_POWER, MIN_AMPLITUDE = 1e-10, 1e-5


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


def teacher_forced(
    model: AcousticModel, memory: Tensor, frames: Tensor, masks: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass as in training: memory [B, T, width] and true frames [B, F, feature_bins] -> (frames after and
    before the postnet [B, S r, feature_bins], stop logits [B, S r]), S = F // r; masks per prenet layer
    [B, S, units]."""
    r = model.config.reduction_factor
    last = frames[:, r - 1 :: r]
    inputs = functional.pad(last[:, :-1], (0, 0, 1, 0))
    count = inputs.shape[1]
    causal = torch.full((count, count), -torch.inf, device=frames.device).triu(1)
    x = model.decoder.embedded(inputs, masks)
    for layer in model.decoder.layers():
        x = layer(x, layer.keys_values(x), layer.src_attn.keys_values(memory), mask=causal)
    x = model.decoder.after_norm(x)
    before = model.feat_out(x).unflatten(2, (r, -1)).flatten(1, 2)
    return model.postnet(before), before, model.prob_out(x).flatten(1)


def log_spectrum(samples: Tensor) -> Tensor:
    """Samples [n] at 24 kHz, n > 16384 -> [1 + n // 288, 128], log10 of amplitude."""
    spectrum = torch.stft(
        samples,
        TRANSFORM,
        hop_length=HOP,
        win_length=WINDOW,
        window=torch.hann_window(WINDOW),
        pad_mode="reflect",
        return_complex=True,
    )
    amplitude = torch.sqrt(torch.clamp(torch.view_as_real(spectrum).square().sum(-1), min=MIN_POWER))
    bank = torch.from_numpy(filter_bank())
    return torch.log10(torch.clamp(amplitude.t() @ bank.t(), min=MIN_AMPLITUDE))

"""The denoiser with gradients: the sums of ``network.PackedDenoiser`` as PyTorch's own layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from renderers.dexter.network import Denoiser, ResidualLayer


def denoise(network: Denoiser, x: Tensor, condition: Tensor, steps: Tensor) -> Tensor:
    """x [B, T, 5], normalised condition [B, T, 4], steps [B] int64 -> noise [B, T, 5]."""
    hidden = functional.relu(network.input_projection(x.mT))
    embedded = network.diffusion_embedding(steps)
    skips = torch.zeros_like(hidden)
    for layer in network.residual_layers:
        assert isinstance(layer, ResidualLayer)
        shifted = hidden + layer.diffusion_projection(embedded)[:, :, None]
        gate, content = (layer.dilated_conv(shifted) + layer.conditioner_projection(condition.mT)).chunk(2, 1)
        residual, skip = layer.output_projection(torch.sigmoid(gate) * torch.tanh(content)).chunk(2, 1)
        hidden = (hidden + residual) / math.sqrt(2)
        skips = skips + skip
    summed = skips / math.sqrt(len(network.residual_layers))
    return network.output_projection(functional.relu(network.skip_projection(summed))).mT

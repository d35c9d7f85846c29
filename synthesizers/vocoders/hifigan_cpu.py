"""The HiFi-GAN generator on a CPU: the same sums as ``hifigan.HifiGan``, in another order.

Channels come last, upsampling is one matrix product, and wide convolutions with many taps go through
``FastConvolution``, which needs fewer multiplications. Every stage runs in tiles that fit into the cache.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthesizers.vocoders.fast_convolution import (
    DirectConvolution,
    FastConvolution,
    FastUpsampling,
    convolution,
)
from synthesizers.vocoders.hifigan import OUTPUT_SLOPE, SLOPE, HifiGan, ResidualBlock

TILE = 8192
"""Samples of a stage's input at once, beside the reach of its residual blocks (60 samples)."""


class CpuHifiGan:
    """A generator with its weights laid out for the CPU; takes one sequence at a time."""

    def __init__(self, generator: HifiGan) -> None:
        self.generator = generator
        self.upsamples = [_upsampling(layer) for layer in generator.upsamples]
        weight, bias, _ = _parameters(generator.output_conv)
        self.output = DirectConvolution(weight, bias, 1, OUTPUT_SLOPE)
        self.stages = [
            [_ResidualBlock(block) for block in generator.blocks_of(stage)]
            for stage in range(len(self.upsamples))
        ]

    def __call__(self, features: Tensor) -> Tensor:
        """[T, in_channels] -> [T * hop] in [-1, 1]."""
        x = self.generator.input_conv(features.t()[None])[0].t().contiguous()
        for upsample, blocks in zip(self.upsamples, self.stages, strict=True):
            x = self._tiled(upsample(functional.leaky_relu(x, SLOPE)), blocks)
        return torch.tanh(self.output(x))[:, 0]

    def _tiled(self, x: Tensor, blocks: list[_ResidualBlock]) -> Tensor:
        """[L, C] -> the mean of the residual blocks' outputs, same shape."""
        reach, length = self.generator.config.reach(), len(x)
        out = torch.empty_like(x)
        for start in range(0, length, TILE):
            end = min(start + TILE, length)
            first = max(0, start - reach)
            tile = x[first : end + reach]
            total = blocks[0](tile)
            for block in blocks[1:]:
                total += block(tile)
            torch.div(total[start - first : end - first], len(blocks), out=out[start:end])
        return out


class _ResidualBlock:
    """[L, C] -> [L, C]"""

    def __init__(self, block: ResidualBlock) -> None:
        self.pairs = [
            (_convolution(first), _convolution(second))
            for first, second in zip(block.convs1, block.convs2, strict=True)
        ]

    def __call__(self, x: Tensor) -> Tensor:
        for first, second in self.pairs:
            x = second(first(x)).add_(x)
        return x


def _convolution(layer: nn.Module) -> FastConvolution | DirectConvolution:
    weight, bias, plain = _parameters(layer)
    return convolution(weight, bias, plain.dilation[0], SLOPE)


def _upsampling(layer: nn.Module) -> FastUpsampling:
    weight, bias, plain = _parameters(layer)
    return FastUpsampling(weight, bias, plain.stride[0], int(plain.padding[0]))


def _parameters(layer: nn.Module) -> tuple[Tensor, Tensor, nn.Conv1d | nn.ConvTranspose1d]:
    """Weight and bias of the convolution that follows the layer's activation, and the convolution."""
    _, plain = layer.children()
    assert isinstance(plain, nn.Conv1d | nn.ConvTranspose1d)
    assert plain.bias is not None
    return plain.weight.detach(), plain.bias.detach(), plain

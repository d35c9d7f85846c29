"""The HiFi-GAN generator on a CPU: the same sums as ``hifigan.Generator``, in another order.

Channels come last everywhere, upsampling is one matrix product, the widest convolutions with the most taps go
through ``FastConvolution``, which saves multiplications, and every stage runs in tiles that stay near the cache.
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
from synthesizers.vocoders.hifigan import OUTPUT_SLOPE, SLOPE, Generator, ResidualBlock

TILE = 8192
"""Samples of a stage's input at once; the reach of its residual blocks (60) is computed twice."""


class CpuGenerator:
    """A generator with its weights laid out for the CPU; takes one sequence at a time."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.upsamples = [_upsampling(layer) for layer in generator.upsamples]
        self.output = _direct(generator.output_conv, OUTPUT_SLOPE)
        self.stages = [
            [_Branch(block) for block in generator.blocks_of(stage)] for stage in range(len(self.upsamples))
        ]

    def __call__(self, features: Tensor) -> Tensor:
        """[T, in_channels] -> [T * hop] in [-1, 1]."""
        x = self.generator.input_conv(features.t()[None])[0].t().contiguous()
        for upsample, branches in zip(self.upsamples, self.stages, strict=True):
            x = self._tiled(upsample(functional.leaky_relu(x, SLOPE)), branches)
        return torch.tanh(self.output(x))[:, 0]

    def _tiled(self, x: Tensor, branches: list[_Branch]) -> Tensor:
        """[L, C] -> the mean of the residual blocks' outputs, same shape."""
        reach, length = self.generator.config.reach(), len(x)
        out = torch.empty_like(x)
        for start in range(0, length, TILE):
            end = min(start + TILE, length)
            first = max(0, start - reach)
            tile = x[first : end + reach]
            total = branches[0](tile)
            for branch in branches[1:]:
                total += branch(tile)
            torch.div(total[start - first : end - first], len(branches), out=out[start:end])
        return out


class _Branch:
    """A residual block, [L, C] -> [L, C]."""

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
    assert isinstance(layer, nn.Sequential)
    plain = layer[1]
    assert isinstance(plain, nn.Conv1d)
    assert plain.bias is not None
    return convolution(plain.weight.detach(), plain.bias.detach(), plain.dilation[0], SLOPE)


def _direct(layer: nn.Sequential, slope: float) -> DirectConvolution:
    plain = layer[1]
    assert isinstance(plain, nn.Conv1d)
    assert plain.bias is not None
    return DirectConvolution(plain.weight.detach(), plain.bias.detach(), 1, slope)


def _upsampling(layer: nn.Module) -> FastUpsampling:
    assert isinstance(layer, nn.Sequential)
    plain = layer[1]
    assert isinstance(plain, nn.ConvTranspose1d)
    assert plain.bias is not None
    return FastUpsampling(plain.weight.detach(), plain.bias.detach(), plain.stride[0], int(plain.padding[0]))

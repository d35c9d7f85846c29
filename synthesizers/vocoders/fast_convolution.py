"""Convolution with fewer multiplications: short blocks, each through a discrete Fourier transform.

A block of n samples gives m = n - r + 1 outputs of a kernel of r taps (overlap-save; Stockham, 1966). A
convolution between channels becomes one complex product per frequency, which costs three real ones
(Karatsuba). The whole is bilinear, outputs = C [(G kernel) * (A block)], with constant matrices A, G, C that
are computed in float64; everything large is a matrix product. For r = 11 and n = 32 this takes 47 / 22 = 2.1
multiplications per sample and pair of channels instead of 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil, log2

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

BLOCK_PER_TAP = 2.5
"""Block length per kernel tap, before rounding up to a power of two: fastest on 64 to 256 channels."""
MIN_TAPS, MIN_CHANNELS = 11, 128
"""Below either, the transforms cost more time than they save (AMD Zen 5, where ``DirectConvolution`` reaches
the peak of 250 GFLOP/s; with 5 and 64 M2A's generator takes a tenth longer)."""
CACHED = 2**20
"""Values that fit into a core's caches (4 MB)."""


@dataclass(frozen=True)
class Transforms:
    """outputs [m] = out_of [m, N] @ ((kernel_to [N, r] @ kernel) * (into [N, n] @ block))."""

    into: NDArray[np.float64]
    kernel_to: NDArray[np.float64]
    out_of: NDArray[np.float64]


@cache
def transforms(block: int, taps: int) -> Transforms:
    """For correlation, y[i] = sum_k kernel[k] x[i + k], the valid part of a block of even length."""
    time = np.arange(block)
    outputs = block - taps + 1
    alternating = (-1.0) ** time
    into = [np.ones(block), alternating]
    kernel_to = [into[0][:taps], alternating[:taps]]
    out_of = [into[0][:outputs] / block, alternating[:outputs] / block]
    for frequency in range(1, block // 2):
        angle = 2 * np.pi * frequency * time / block
        # Spectrum of the block, and conjugate spectrum of the kernel: their product is a correlation.
        x_real, x_imaginary = np.cos(angle), -np.sin(angle)
        w_real, w_imaginary = np.cos(angle[:taps]), np.sin(angle[:taps])
        y_real, y_imaginary = 2 / block * np.cos(angle[:outputs]), -2 / block * np.sin(angle[:outputs])
        into += [x_real + x_imaginary, x_real, x_imaginary]
        kernel_to += [w_real, w_imaginary - w_real, w_real + w_imaginary]
        out_of += [y_real + y_imaginary, y_imaginary, -y_real]
    return Transforms(np.array(into), np.array(kernel_to), np.array(out_of).T)


def block_length(taps: int) -> int:
    return int(2 ** ceil(log2(BLOCK_PER_TAP * taps)))


def convolution(
    weight: Tensor, bias: Tensor, dilation: int, slope: float
) -> FastConvolution | DirectConvolution:
    """The faster one for the weight [C', C, r]."""
    _, channels, taps = weight.shape
    wide = taps >= MIN_TAPS and channels >= MIN_CHANNELS
    return (FastConvolution if wide else DirectConvolution)(weight, bias, dilation, slope)


class FastConvolution:
    """A LeakyReLU, then a convolution over time with zeros beyond both ends: [L, C] -> [L, C'].

    Channels last, so that blocks of any dilation are views of the input.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int, slope: float) -> None:
        """``weight``: [C', C, r] with odd r; ``slope``: of the LeakyReLU."""
        taps = weight.shape[2]
        block = block_length(taps)
        matrices = transforms(block, taps)
        self.taps, self.block, self.dilation, self.slope = taps, block, dilation, slope
        self.into = torch.from_numpy(matrices.into).to(weight)
        self.out_of = torch.from_numpy(matrices.out_of).to(weight)
        kernel = np.einsum("nr,oir->nio", matrices.kernel_to, weight.double().numpy(), optimize=True)
        self.kernel = torch.from_numpy(kernel).to(weight).contiguous()
        self.constant = bias * block
        """The bias as the value of frequency 0."""

    def __call__(self, x: Tensor) -> Tensor:
        outputs = self.block - self.taps + 1
        count = ceil(len(x) / (outputs * self.dilation))
        blocks = self._blocks(x, count, outputs)
        # Products of spectra that fit into the cache are a quarter faster, unless the kernels do not fit.
        together = count if self.kernel.numel() > CACHED else max(1, CACHED // self.kernel[:, 0].numel() // 4)
        parts = [self._convolved(blocks[:, first : first + together]) for first in range(0, count, together)]
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out.view(count * outputs * self.dilation, -1)[: len(x)]

    def _convolved(self, blocks: Tensor) -> Tensor:
        """[phases, count, samples of a block, C] -> [count, outputs of a block, phases, C']"""
        phases, count, _, channels = blocks.shape
        spectra = blocks.new_empty(phases, count, len(self.into), channels)
        for phase in range(phases):
            torch.bmm(self.into.expand(count, -1, -1), blocks[phase], out=spectra[phase])
        mixed = torch.bmm(spectra.flatten(0, 1).transpose(0, 1), self.kernel)
        mixed[0] += self.constant
        out = torch.matmul(self.out_of, mixed.transpose(0, 1))
        return out.unflatten(0, (phases, count)).permute(1, 2, 0, 3).contiguous()

    def _blocks(self, x: Tensor, count: int, outputs: int) -> Tensor:
        """[phase of the dilation, count, sample, C]: overlapping views of the activated input."""
        length, channels = x.shape
        dilation, span = self.dilation, (self.taps - 1) * self.dilation
        before = span // 2
        padded = x.new_empty(count * outputs * dilation + span, channels)
        padded[:before] = 0
        padded[before + length :] = 0
        torch.ops.aten.leaky_relu.out(x, self.slope, out=padded[before : before + length])
        return padded.as_strided(
            (dilation, count, self.block, channels),
            (channels, outputs * dilation * channels, dilation * channels, 1),
        )


class DirectConvolution:
    """The same as ``FastConvolution`` with all multiplications, for few taps or channels.

    As an image with channels last: twice as fast as a one-dimensional convolution (torch 2.13, oneDNN).
    """

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int, slope: float) -> None:
        self.weight = weight[:, :, None].contiguous(memory_format=torch.channels_last)
        self.bias, self.dilation, self.slope = bias, dilation, slope
        self.padding = (weight.shape[2] - 1) // 2 * dilation

    def __call__(self, x: Tensor) -> Tensor:
        image = functional.leaky_relu(x, self.slope).t()[None, :, None]
        out = functional.conv2d(
            image, self.weight, self.bias, padding=(0, self.padding), dilation=(1, self.dilation)
        )
        return out[0, :, 0].t()


class FastUpsampling:
    """A transposed convolution with a kernel of twice its scale: [L, C] -> [L * scale, C']."""

    def __init__(self, weight: Tensor, bias: Tensor, scale: int, padding: int) -> None:
        """``weight``: [C, C', 2 * scale]."""
        channels, out_channels, _ = weight.shape
        self.scale, self.padding = scale, padding
        # ``scale`` outputs depend on two inputs: the older through the kernel's second half, the newer
        # through its first.
        halves = weight.view(channels, out_channels, 2, scale).flip(2).permute(2, 0, 3, 1)
        self.weight = halves.reshape(2 * channels, scale * out_channels).contiguous()
        self.bias = bias.repeat(scale)

    def __call__(self, x: Tensor) -> Tensor:
        length, channels = x.shape
        pairs = functional.pad(x, (0, 0, 1, 1)).as_strided((length + 1, 2 * channels), (channels, 1))
        out = torch.addmm(self.bias, pairs, self.weight).view((length + 1) * self.scale, -1)
        return out[self.padding : self.padding + length * self.scale]

"""The HiFi-GAN generator (Kong et al., HiFi-GAN, NeurIPS 2020). Names of parameters are the checkpoints'.

Only training needs weight norm: ``folded_weight_norm`` replaces it by plain weights before loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import Tensor, nn

SLOPE = 0.1
"""Of every LeakyReLU but the last."""
OUTPUT_SLOPE = 0.01
"""Of the LeakyReLU before the output: torch's default, which the published generator uses there."""


@dataclass(frozen=True)
class HifiGanConfig:
    """Shape of the generator; defaults are M2A's (13.9 million parameters, 288 samples per frame)."""

    in_channels: int = 128
    channels: int = 512
    """Halved at every upsampling."""
    kernel_size: int = 7
    """Of the first and the last convolution."""
    upsample_scales: tuple[int, ...] = (8, 4, 3, 3)
    upsample_kernel_sizes: tuple[int, ...] = (16, 8, 6, 6)
    kernel_sizes: tuple[int, ...] = (3, 7, 11)
    """Of the residual blocks after each upsampling."""
    dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    """Per residual block."""

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return prod(self.upsample_scales)

    def reach(self) -> int:
        """Samples on either side that a sample after a stage's residual blocks depends on."""
        return max(
            (kernel - 1) // 2 * sum(dilation + 1 for dilation in dilations)
            for kernel, dilations in zip(self.kernel_sizes, self.dilations, strict=True)
        )

    def context(self) -> int:
        """Frames on either side that a sample depends on."""
        samples = (self.kernel_size - 1) // 2
        stages = list(zip(self.upsample_scales, self.upsample_kernel_sizes, strict=True))
        for scale, kernel in reversed(stages):
            samples = ceil((samples + self.reach()) / scale) + ceil(kernel / scale)
        return samples + (self.kernel_size - 1) // 2


def folded_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with each pair ``weight_g``, ``weight_v`` as one ``weight`` = g v / |v|.

    The norm is taken over all dimensions but the first (Salimans and Kingma, 2016; torch's ``dim=0``).
    """
    folded = dict(tensors)
    for name in tensors:
        if name.endswith("weight_v") and f"{name.removesuffix('v')}g" in tensors:
            v, g = folded.pop(name), folded.pop(f"{name.removesuffix('v')}g")
            norm = v.norm(dim=tuple(range(1, v.ndim)), keepdim=True)
            folded[name.removesuffix("_v")] = v * (g / norm)
    return folded


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_activated(channels, kernel_size, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_activated(channels, kernel_size, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(first(x))
        return x


def _activated(channels: int, kernel_size: int, dilation: int) -> nn.Sequential:
    padding = (kernel_size - 1) // 2 * dilation
    return nn.Sequential(
        nn.LeakyReLU(SLOPE),
        nn.Conv1d(channels, channels, kernel_size, dilation=dilation, padding=padding),
    )


class HifiGan(nn.Module):
    """Spectrum to waveform."""

    def __init__(self, config: HifiGanConfig) -> None:
        super().__init__()
        self.config = config
        padding = (config.kernel_size - 1) // 2
        self.input_conv = nn.Conv1d(config.in_channels, config.channels, config.kernel_size, padding=padding)
        self.upsamples, self.blocks = nn.ModuleList(), nn.ModuleList()
        channels = config.channels
        for scale, kernel in zip(config.upsample_scales, config.upsample_kernel_sizes, strict=True):
            self.upsamples.append(
                nn.Sequential(
                    nn.LeakyReLU(SLOPE),
                    nn.ConvTranspose1d(
                        channels,
                        channels // 2,
                        kernel,
                        scale,
                        padding=scale // 2 + scale % 2,
                        output_padding=scale % 2,
                    ),
                )
            )
            channels //= 2
            for size, dilations in zip(config.kernel_sizes, config.dilations, strict=True):
                self.blocks.append(ResidualBlock(channels, size, dilations))
        self.output_conv = nn.Sequential(
            nn.LeakyReLU(OUTPUT_SLOPE), nn.Conv1d(channels, 1, config.kernel_size, padding=padding)
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, in_channels, T] -> [B, T * hop] in [-1, 1]."""
        x = self.input_conv(features)
        for stage, upsample in enumerate(self.upsamples):
            x = upsample(x)
            x = torch.stack([block(x) for block in self.blocks_of(stage)]).mean(dim=0)
        return torch.tanh(self.output_conv(x))[:, 0]

    def blocks_of(self, stage: int) -> list[ResidualBlock]:
        """The residual blocks after an upsampling."""
        count = len(self.config.kernel_sizes)
        found = self.blocks[stage * count : (stage + 1) * count]
        return [block for block in found if isinstance(block, ResidualBlock)]

"""The discriminators of HiFi-GAN (Kong et al., NeurIPS 2020): of the sound at several scales and folded at
several periods. Names of parameters are the checkpoints'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from synthesizers.m2a.training.weight_norm import normed
from synthesizers.vocoders.hifigan import SLOPE


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Shape of the discriminators; defaults are the released configuration (70.7 million parameters)."""

    scales: int = 3
    scale_kernels: tuple[int, ...] = (15, 41, 5, 3)
    """Of the first layer, of those that downsample, of the last but one and of the last."""
    scale_channels: int = 128
    scale_max_channels: int = 1024
    scale_max_groups: int = 16
    scale_strides: tuple[int, ...] = (4, 4, 4, 4, 1)
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_kernels: tuple[int, ...] = (5, 3)
    period_channels: int = 32
    period_max_channels: int = 1024
    period_strides: tuple[int, ...] = (3, 3, 3, 3, 1)


def discriminator_config(settings: Mapping[str, Any]) -> DiscriminatorConfig:
    """From ``discriminator_params`` of ESPnet's configuration; missing ones have the released values."""
    released = DiscriminatorConfig()
    scale = settings.get("scale_discriminator_params", {})
    period = settings.get("period_discriminator_params", {})
    return DiscriminatorConfig(
        scales=settings.get("scales", released.scales),
        scale_kernels=tuple(scale.get("kernel_sizes", released.scale_kernels)),
        scale_channels=scale.get("channels", released.scale_channels),
        scale_max_channels=scale.get("max_downsample_channels", released.scale_max_channels),
        scale_max_groups=scale.get("max_groups", released.scale_max_groups),
        scale_strides=tuple(scale.get("downsample_scales", released.scale_strides)),
        periods=tuple(settings.get("periods", released.periods)),
        period_kernels=tuple(period.get("kernel_sizes", released.period_kernels)),
        period_channels=period.get("channels", released.period_channels),
        period_max_channels=period.get("max_downsample_channels", released.period_max_channels),
        period_strides=tuple(period.get("downsample_scales", released.period_strides)),
    )


class ScaleDiscriminator(nn.Module):
    """Convolutions over time. The published one has no normalisation, whatever its configuration says."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        first, middle, late, last = config.scale_kernels
        channels, groups = config.scale_channels, 4
        layers = [_activated(nn.Conv1d(1, channels, first, padding=(first - 1) // 2))]
        width = channels
        for stride in config.scale_strides:
            padding = (middle - 1) // 2
            layers.append(
                _activated(nn.Conv1d(width, channels, middle, stride, padding=padding, groups=groups))
            )
            width, groups = channels, min(4 * groups, config.scale_max_groups)
            channels = min(2 * width, config.scale_max_channels)
        layers.append(_activated(nn.Conv1d(width, channels, late, padding=(late - 1) // 2)))
        self.layers = nn.ModuleList([*layers, nn.Conv1d(channels, 1, last, padding=(last - 1) // 2)])

    def forward(self, audio: Tensor) -> list[Tensor]:
        """[B, 1, samples] -> the output of each layer, the judgement last."""
        outputs = []
        for layer in self.layers:
            audio = layer(audio)
            outputs.append(audio)
        return outputs


class PeriodDiscriminator(nn.Module):
    """Convolutions over the samples that are a period apart."""

    def __init__(self, config: DiscriminatorConfig, period: int) -> None:
        super().__init__()
        self.period = period
        size, last = config.period_kernels
        widths = [1]
        for index in range(len(config.period_strides)):
            widths.append(min(config.period_channels * 4**index, config.period_max_channels))
        self.convs = nn.ModuleList(
            _activated(normed(nn.Conv2d(before, after, (size, 1), (stride, 1), padding=((size - 1) // 2, 0))))
            for (before, after), stride in zip(pairwise(widths), config.period_strides, strict=True)
        )
        self.output_conv = normed(nn.Conv2d(widths[-1], 1, (last - 1, 1), padding=((last - 1) // 2, 0)))

    def forward(self, audio: Tensor) -> list[Tensor]:
        """[B, 1, samples] -> the output of each layer, the judgement last."""
        padded = functional.pad(audio, (0, -audio.shape[-1] % self.period), "reflect")
        x = padded.unflatten(2, (-1, self.period))
        outputs = []
        for layer in self.convs:
            x = layer(x)
            outputs.append(x)
        return [*outputs, self.output_conv(x).flatten(1)]


class Discriminators(nn.Module):
    """All discriminators of a sound."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.msd = _Group(ScaleDiscriminator(config) for _ in range(config.scales))
        self.mpd = _Group(PeriodDiscriminator(config, period) for period in config.periods)

    def forward(self, audio: Tensor) -> list[list[Tensor]]:
        """[B, samples] -> per discriminator the outputs of its layers."""
        audio = audio[:, None]
        outputs, scaled = [], audio
        for discriminator in self.msd.discriminators:
            outputs.append(discriminator(scaled))
            scaled = functional.avg_pool1d(scaled, 4, 2, 2)
        return outputs + [discriminator(audio) for discriminator in self.mpd.discriminators]


class _Group(nn.Module):
    def __init__(self, discriminators: Iterable[nn.Module]) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(discriminators)


def _activated(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.LeakyReLU(SLOPE))

"""The multi-scale STFT discriminator (section 3.4 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOWS = (1024, 2048, 512, 256, 128)
"""Samples of the STFT windows of the parts."""
CHANNELS = 32
SLOPE = 0.3
"""Of the leaky ReLUs."""
DILATIONS = (1, 2, 4)
"""Over time, of the strided convolutions."""


@dataclass(frozen=True)
class Judgement:
    """Of a batch, by one part of the discriminator."""

    logit: Tensor
    """[B, 1, time, frequency], high for recordings."""
    maps: list[Tensor]
    """Five, [B, channels, time, frequency] each."""


class NormedConvolution(nn.Module):
    """A convolution whose weight is g * v / |v| (Salimans & Kingma, "Weight Normalization", NeurIPS 2016)."""

    def __init__(self, shape: tuple[int, int, int, int], stride: int = 1, dilation: int = 1) -> None:
        """``shape``: (channels out, channels in, time, frequency); ``stride`` is over frequency, ``dilation``
        over time."""
        super().__init__()
        plain = nn.Conv2d(shape[1], shape[0], shape[2:])
        assert plain.bias is not None
        self.bias = plain.bias
        self.weight_g = nn.Parameter(plain.weight.detach().flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        self.weight_v = plain.weight
        self.stride, self.dilation = (1, stride), (dilation, 1)
        self.padding = (shape[2] // 2 * dilation, shape[3] // 2)

    def forward(self, planes: Tensor) -> Tensor:
        weight = self.weight_v * (self.weight_g / self.weight_v.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        return functional.conv2d(planes, weight, self.bias, self.stride, self.padding, self.dilation)


def _inside(convolution: nn.Module) -> nn.ModuleDict:
    """Gives the parameters their usual names, ``convs.0.conv.weight``."""
    return nn.ModuleDict({"conv": convolution})


class StftDiscriminator(nn.Module):
    """One part: convolutions over the STFT with one window length."""

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.spec_transform = nn.Module()
        self.spec_transform.register_buffer("window", torch.hann_window(window))
        first = nn.Conv2d(2, channels, (3, 9), padding=(1, 4))
        wide, square = (channels, channels, 3, 9), (channels, channels, 3, 3)
        strided = [NormedConvolution(wide, stride=2, dilation=dilation) for dilation in DILATIONS]
        layers = [first, *strided, NormedConvolution(square)]
        self.convs = nn.ModuleList(_inside(layer) for layer in layers)
        self.conv_post = _inside(NormedConvolution((1, channels, 3, 3)))

    def forward(self, sound: Tensor) -> Judgement:
        """Sound [B, 1, samples], at least as long as the window."""
        window = self.spec_transform.window
        assert isinstance(window, Tensor)
        spectrum = stft(sound[:, 0].float(), window)
        planes = torch.stack([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)
        maps = []
        for layer in self.convs:
            planes = functional.leaky_relu(layer["conv"](planes), SLOPE)  # type: ignore[index]
            maps.append(planes)
        return Judgement(self.conv_post["conv"](planes), maps)


class Discriminator(nn.Module):
    """Parts for several window lengths."""

    def __init__(self, windows: Sequence[int] = WINDOWS, channels: int = CHANNELS) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(StftDiscriminator(window, channels) for window in windows)

    def forward(self, sound: Tensor) -> list[Judgement]:
        """Sound [B, 1, samples] -> one judgement per part."""
        return [part(sound) for part in self.discriminators]


def stft(sound: Tensor, window: Tensor) -> Tensor:
    """[B, samples] -> [B, frequencies, frames], hop of a quarter window, without padding, of unit energy."""
    length = len(window)
    spectrum = torch.stft(
        sound, length, length // 4, window=window, center=False, onesided=True, return_complex=True
    )
    return spectrum / window.square().sum().sqrt()

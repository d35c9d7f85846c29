"""The denoiser: dilated convolutions over the notes of a window, as in DiffWave (Kong et al., ICLR 2021).
Names of parameters are those of checkpoints.

Tensors are [windows, notes, channels], which makes each 1x1 convolution one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from renderers.dexter.dilated_convolution import TAPS, DilatedConvolution
from score_to_audio.packed_linear import PackedLinear

STEP_FREQUENCIES = 64
STEP_WIDTH = 512


@dataclass(frozen=True)
class DenoiserConfig:
    """Shape of the network; defaults are the released configuration (62.4 million parameters)."""

    channels: int = 768
    layers: int = 12
    performance_columns: int = 5
    score_columns: int = 4
    dilation_base: int = 2
    dilation_bound: int = 4
    """Dilations repeat base^0 ... base^(bound - 1)."""

    def dilation(self, layer: int) -> int:
        return int(self.dilation_base ** (layer % self.dilation_bound))


def config_from_tensors(tensors: Mapping[str, Tensor], **hyper_parameters: int) -> DenoiserConfig:
    """The configuration from the shapes of a state dict, with ``hyper_parameters`` for the dilations."""
    channels, performance_columns = tensors["input_projection.weight"].shape[:2]
    return DenoiserConfig(
        channels=channels,
        layers=sum(name.endswith("dilated_conv.weight") for name in tensors),
        performance_columns=performance_columns,
        score_columns=tensors["residual_layers.0.conditioner_projection.weight"].shape[1],
        **hyper_parameters,
    )


class StepEmbedding(nn.Module):
    """Diffusion step -> 512 values. The table is not part of checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.projection1 = nn.Linear(2 * STEP_FREQUENCIES, STEP_WIDTH)
        self.projection2 = nn.Linear(STEP_WIDTH, STEP_WIDTH)

    def forward(self, steps: Tensor) -> Tensor:
        """[S] int64 -> [S, 512]."""
        table = step_table(steps).to(self.projection1.weight)
        return functional.silu(self.projection2(functional.silu(self.projection1(table))))


def step_table(steps: Tensor) -> Tensor:
    """[S] int64 -> [S, 128] float32: sine and cosine of 10^(4d/63), d = 0..63, times the step.

    The angles reach 10^7, where the resolution of float32 is half a radian, so the table depends on rounding:
    it must be computed in float32, on the CPU, in exactly this order."""
    frequencies = 10.0 ** (torch.arange(STEP_FREQUENCIES) * 4.0 / (STEP_FREQUENCIES - 1))
    angles = steps.cpu()[:, None] * frequencies[None]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1).to(steps.device)


class ResidualLayer(nn.Module):
    def __init__(self, config: DenoiserConfig, dilation: int) -> None:
        super().__init__()
        c = config.channels
        self.dilation = dilation
        self.dilated_conv = nn.Conv1d(c, 2 * c, TAPS, padding=dilation, dilation=dilation)
        self.diffusion_projection = nn.Linear(STEP_WIDTH, c)
        self.conditioner_projection = nn.Conv1d(config.score_columns, 2 * c, 1)
        self.output_projection = nn.Conv1d(c, 2 * c, 1)


@dataclass(frozen=True)
class _PackedLayer:
    """A residual layer with packed weights."""

    convolution: DilatedConvolution
    output: PackedLinear


@dataclass(frozen=True)
class ProjectedCondition:
    """The contribution of the score to every step, computed once per window."""

    projected: Tensor
    """[layers, windows, notes, 2C], the biases of condition and convolution included."""


class Denoiser(nn.Module):
    """Predicts the noise in x_t. Official name: ClassifierFreeDenoiser."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.input_projection = nn.Conv1d(config.performance_columns, c, 1)
        self.diffusion_embedding = StepEmbedding()
        self.residual_layers = nn.ModuleList(
            ResidualLayer(config, config.dilation(index)) for index in range(config.layers)
        )
        self.skip_projection = nn.Conv1d(c, c, 1)
        self.output_projection = nn.Conv1d(c, config.performance_columns, 1)

    def forward(self, x: Tensor, condition: Tensor, steps: Tensor) -> Tensor:
        """x [B, T, 5], normalised condition [B, T, 4], steps [B] int64 -> noise [B, T, 5]."""
        return self.packed().denoise(x, self.condition(condition), self.step_projections(steps))

    def condition(self, condition: Tensor) -> ProjectedCondition:
        """Normalised condition [B, T, 4] -> its contribution to each layer."""
        layers = [self._layer(index) for index in range(self.config.layers)]
        weight = torch.stack([layer.conditioner_projection.weight[:, :, 0] for layer in layers]).float()
        bias = torch.stack(
            [_bias(layer.conditioner_projection) + _bias(layer.dilated_conv) for layer in layers]
        ).float()
        projected = torch.einsum("btk,lck->lbtc", condition.to(weight), weight) + bias[:, None, None]
        return ProjectedCondition(projected)

    def step_projections(self, steps: Tensor) -> Tensor:
        """[S] int64 -> [layers, S, 1, C]: the contribution of diffusion steps to each layer."""
        embedded = self.diffusion_embedding(steps)
        layers = (self._layer(index) for index in range(self.config.layers))
        return torch.stack([layer.diffusion_projection(embedded) for layer in layers]).float()[:, :, None]

    def packed(self) -> PackedDenoiser:
        """The network for many passes."""
        return PackedDenoiser(self)

    def _layer(self, index: int) -> ResidualLayer:
        layer = self.residual_layers[index]
        assert isinstance(layer, ResidualLayer)
        return layer


class PackedDenoiser:
    """The denoiser with packed weights, without gradients.

    Linear layers and products of convolutions are in the precision of the weights, all else in float32.
    """

    def __init__(self, network: Denoiser) -> None:
        self.layers = [_packed_layer(network._layer(index)) for index in range(network.config.layers)]
        self.input = _dense(network.input_projection, relu=True)
        self.skip = _dense(network.skip_projection, relu=True)
        self.output = _dense(network.output_projection)

    def denoise(self, x: Tensor, condition: ProjectedCondition, step: Tensor) -> Tensor:
        """x [B, T, 5], its condition, step projections [layers, B or 1, 1, C] -> noise [B, T, 5].

        With a condition of k B windows: [k B, T, 5], x under each of k conditions. The part that does not
        depend on the condition is computed once."""
        copies = condition.projected.shape[1] // len(x)
        hidden = self.input(x).float()
        convolved = self.layers[0].convolution(hidden, step[0]).repeat(copies, 1, 1)
        hidden = hidden.repeat(copies, 1, 1)
        skips = torch.zeros_like(hidden)
        for index, layer in enumerate(self.layers):
            if index:
                convolved = layer.convolution(hidden, step[index])
            residual, skip = layer.output(_gated(convolved.add_(condition.projected[index]))).chunk(2, dim=-1)
            hidden = hidden.add_(residual).mul_(1 / math.sqrt(2))
            skips += skip
        return self.output(self.skip(skips.mul_(1 / math.sqrt(len(self.layers))))).float()


def _gated(convolved: Tensor) -> Tensor:
    """sigmoid(first half of the channels) * tanh(other half); overwrites ``convolved``.

    tanh(x) = 2 sigmoid(2x) - 1, because the sigmoid is several times faster.
    """
    gate, content = convolved.chunk(2, dim=-1)
    content.mul_(2)
    gate, content = convolved.sigmoid_().chunk(2, dim=-1)
    return content.mul(2).sub_(1).mul_(gate)


def _packed_layer(layer: ResidualLayer) -> _PackedLayer:
    return _PackedLayer(
        DilatedConvolution(layer.dilated_conv.weight, layer.dilation), _dense(layer.output_projection)
    )


def _dense(pointwise: nn.Conv1d, *, relu: bool = False) -> PackedLinear:
    """A 1x1 convolution as a linear layer."""
    weight = pointwise.weight[:, :, 0]
    return PackedLinear(weight, _bias(pointwise), weight.dtype, str(weight.device), relu=relu)


def _bias(convolution: nn.Conv1d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias

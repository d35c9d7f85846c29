"""The denoiser: a stack of dilated convolutions over the notes of a window (DiffWave, Kong et al., ICLR 2021,
as DExter uses it). Names of parameters are the checkpoint's.

Everything runs channels last, [windows, notes, channels]: 1x1 convolutions are then one matrix product each,
and a dilated convolution is one over three shifted copies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL_SIZE = 3
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
    """Dilations run through base^0 ... base^(bound - 1), again and again."""

    def dilation(self, layer: int) -> int:
        return int(self.dilation_base ** (layer % self.dilation_bound))


def config_from_tensors(tensors: Mapping[str, Tensor], **hyper_parameters: int) -> DenoiserConfig:
    """The configuration that a state dict shows; what tensors cannot show comes from ``hyper_parameters``."""
    channels, performance_columns = tensors["input_projection.weight"].shape[:2]
    return DenoiserConfig(
        channels=channels,
        layers=sum(name.endswith("dilated_conv.weight") for name in tensors),
        performance_columns=performance_columns,
        score_columns=tensors["residual_layers.0.conditioner_projection.weight"].shape[1],
        **hyper_parameters,
    )


@dataclass(frozen=True)
class Trace:
    """What happens inside one pass: per layer [windows, channels, notes]."""

    x: list[Tensor]
    skip: list[Tensor]


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
    """[S] int64 -> [S, 128] float32: sine and cosine at 10^(4d/63), d = 0..63, times the step.

    The angles reach 10^7, where float32 resolves half a radian: the table is made of that rounding. It is
    reproduced by computing it in float32, on the CPU, in exactly this order.
    """
    frequencies = 10.0 ** (torch.arange(STEP_FREQUENCIES) * 4.0 / (STEP_FREQUENCIES - 1))
    angles = steps.cpu()[:, None] * frequencies[None]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1).to(steps.device)


class ResidualLayer(nn.Module):
    def __init__(self, config: DenoiserConfig, dilation: int) -> None:
        super().__init__()
        c = config.channels
        self.dilation = dilation
        self.dilated_conv = nn.Conv1d(c, 2 * c, KERNEL_SIZE, padding=dilation, dilation=dilation)
        self.diffusion_projection = nn.Linear(STEP_WIDTH, c)
        self.conditioner_projection = nn.Conv1d(config.score_columns, 2 * c, 1)
        self.output_projection = nn.Conv1d(c, 2 * c, 1)


@dataclass(frozen=True)
class _LayerWeights:
    """A layer's weights in the layout of the products that use them."""

    dilation: int
    convolution: Tensor
    """[2C, 3C]: for the three shifted copies side by side."""
    output: Tensor
    output_bias: Tensor


@dataclass(frozen=True)
class Condition:
    """What a score contributes to every step: computed once per window."""

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
        return self.runner().denoise(x, self.condition(condition), self.step_projections(steps))

    def condition(self, condition: Tensor) -> Condition:
        """Normalised condition [B, T, 4] -> what each layer adds for it."""
        layers = [self._layer(index) for index in range(self.config.layers)]
        weight = torch.stack([layer.conditioner_projection.weight[:, :, 0] for layer in layers])
        bias = torch.stack(
            [_bias(layer.conditioner_projection) + _bias(layer.dilated_conv) for layer in layers]
        )
        projected = torch.einsum("btk,lck->lbtc", condition.to(weight), weight) + bias[:, None, None]
        return Condition(projected)

    def step_projections(self, steps: Tensor) -> Tensor:
        """[S] int64 -> [layers, S, 1, C]: what each layer adds at a diffusion step."""
        embedded = self.diffusion_embedding(steps)
        layers = (self._layer(index) for index in range(self.config.layers))
        return torch.stack([layer.diffusion_projection(embedded) for layer in layers])[:, :, None]

    def runner(self) -> Runner:
        """The network ready for many passes."""
        return Runner(self)

    def _layer(self, index: int) -> ResidualLayer:
        layer = self.residual_layers[index]
        assert isinstance(layer, ResidualLayer)
        return layer


class Runner:
    """The denoiser with its weights laid out for repeated use; holds no gradients."""

    def __init__(self, network: Denoiser) -> None:
        self.config = network.config
        self.input_weight = network.input_projection.weight[:, :, 0]
        self.input_bias = network.input_projection.bias
        self.layers = [self._laid_out(network._layer(index)) for index in range(self.config.layers)]
        self.skip_weight = network.skip_projection.weight[:, :, 0] / math.sqrt(self.config.layers)
        self.skip_bias = network.skip_projection.bias
        self.output_weight = network.output_projection.weight[:, :, 0]
        self.output_bias = network.output_projection.bias

    @staticmethod
    def _laid_out(layer: ResidualLayer) -> _LayerWeights:
        return _LayerWeights(
            dilation=layer.dilation,
            convolution=layer.dilated_conv.weight.transpose(1, 2).flatten(1).contiguous(),
            output=layer.output_projection.weight[:, :, 0].contiguous(),
            output_bias=_bias(layer.output_projection),
        )

    def denoise(self, x: Tensor, condition: Condition, step: Tensor, trace: Trace | None = None) -> Tensor:
        """x [B, T, 5], its condition, step projections [layers, B or 1, 1, C] -> noise [B, T, 5].

        A condition of k B windows gives k B results: x under each of k conditions. What does not depend on
        the condition is then computed once.
        """
        dtype = self.input_weight.dtype
        copies = condition.projected.shape[1] // len(x)
        hidden = functional.relu(functional.linear(x.to(dtype), self.input_weight, self.input_bias))
        convolved = self._convolved(hidden, 0, step).repeat(copies, 1, 1)
        hidden = hidden.repeat(copies, 1, 1)
        skips = torch.zeros_like(hidden)
        for index, layer in enumerate(self.layers):
            if index:
                convolved = self._convolved(hidden, index, step)
            gate, content = convolved.add_(condition.projected[index]).chunk(2, dim=-1)
            gated = torch.sigmoid(gate).mul_(torch.tanh(content))
            residual, skip = functional.linear(gated, layer.output, layer.output_bias).chunk(2, dim=-1)
            hidden = (hidden + residual).mul_(1 / math.sqrt(2))
            skips += skip
            if trace:
                trace.x.append(hidden.transpose(1, 2))
                trace.skip.append(skip.transpose(1, 2))
        hidden = functional.relu(functional.linear(skips, self.skip_weight, self.skip_bias))
        return functional.linear(hidden, self.output_weight, self.output_bias).float()

    def _convolved(self, hidden: Tensor, index: int, step: Tensor) -> Tensor:
        """The dilated convolution of a layer, without its bias (which the condition brings)."""
        layer = self.layers[index]
        return functional.linear(_shifted(hidden + step[index], layer.dilation), layer.convolution)


def _bias(convolution: nn.Conv1d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _shifted(x: Tensor, dilation: int) -> Tensor:
    """[B, T, C] -> [B, T, 3C]: at each note the values ``dilation`` before, at, and after it, 0 outside."""
    padded = functional.pad(x, (0, 0, dilation, dilation))
    notes = x.shape[1]
    return torch.cat([padded[:, start : start + notes] for start in (0, dilation, 2 * dilation)], dim=-1)

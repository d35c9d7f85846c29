"""The acoustic model: a Transformer from piano rolls to spectra (Li et al., Neural Speech Synthesis with
Transformer Network, AAAI 2019, as ESPnet 0.10.3 builds it). Names of parameters are the checkpoint's.

The prenet's dropout is needed at inference, too; the caller passes its masks (``synthesizers.m2a.decoding``).
That of the other layers is off until a training sets it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthesizers.positions import sinusoidal_positions

NORM_EPSILON = 1e-12
"""Of the transformer blocks' norms; torch's default elsewhere."""
POSITIONS = 512
"""Rows that the positional table starts with: more than the steps of any segment."""


@dataclass(frozen=True)
class AcousticConfig:
    """Shape of the network; defaults are the released configuration (17.65 million parameters)."""

    roll_bins: int = 128
    feature_bins: int = 128
    width: int = 512
    heads: int = 4
    encoder_layers: int = 3
    encoder_units: int = 1024
    decoder_layers: int = 3
    decoder_units: int = 1024
    prenet_layers: int = 2
    prenet_units: int = 256
    prenet_dropout: float = 0.99
    postnet_layers: int = 5
    postnet_channels: int = 256
    postnet_kernel_size: int = 5
    reduction_factor: int = 4
    """Frames per decoder step."""
    performers: int = 0
    """Rows of the table of performers, the unknown one included; 0: the model has none."""
    environments: int = 0
    """Rows of the table of recording environments, likewise."""


KeysValues = tuple[Tensor, Tensor]
"""[B, heads, T, width / heads] each."""


class Attention(nn.Module):
    """Multi-head scaled dot-product attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = nn.Dropout(0.0)
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Of inputs [B, T, width]."""
        return self._split(self.linear_k(x)), self._split(self.linear_v(x))

    def forward(
        self, x: Tensor, keys_values: KeysValues, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Queries [B, Q, width] -> (result of the same shape, weights [B, heads, Q, T]).

        ``mask``: added to the scores, 0 or minus infinity.
        """
        keys, values = keys_values
        query = self._split(self.linear_q(x)) / math.sqrt(keys.shape[-1])
        scores = query @ keys.transpose(2, 3)
        weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
        mixed = self.dropout(weights) @ values
        return self.linear_out(mixed.transpose(1, 2).flatten(2)), weights

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class PositionalEncoding(nn.Module):
    """Adds alpha times the sinusoids of Vaswani et al. (2017)."""

    table: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.0)
        self.register_buffer("table", sinusoidal_positions(POSITIONS, width), persistent=False)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """[B, T, width] at positions ``first``, ``first`` + 1, ..."""
        count = first + x.shape[1]
        if count > len(self.table):
            self.table = sinusoidal_positions(2 * count, x.shape[2]).to(self.table)
        encoded: Tensor = self.dropout(x + self.alpha * self.table[first:count])
        return encoded


class FeedForward(nn.Module):
    """Two layers with a ReLU; the encoder's are stored as convolutions of kernel size 1."""

    def __init__(self, width: int, units: int, *, as_convolution: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.0)
        self.w_1 = nn.Conv1d(width, units, 1) if as_convolution else nn.Linear(width, units)
        self.w_2 = nn.Conv1d(units, width, 1) if as_convolution else nn.Linear(units, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(functional.linear(x, self.w_1.weight.flatten(1), self.w_1.bias))
        return functional.linear(self.dropout(hidden), self.w_2.weight.flatten(1), self.w_2.bias)


# ----------------------------------------------------------------------------------------- the encoder


class EncoderLayer(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.width, config.heads)
        self.feed_forward = FeedForward(config.width, config.encoder_units, as_convolution=True)
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(0.0)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        normal = self.norm1(x)
        attended, _ = self.self_attn(normal, self.self_attn.keys_values(normal), mask)
        x = x + self.dropout(attended)
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class Encoder(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(config.roll_bins, config.width),
            nn.LayerNorm(config.width),
            nn.Dropout(0.0),
            nn.ReLU(),
            PositionalEncoding(config.width),
        )
        self.encoders = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.after_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, T, roll_bins] -> [B, T, width]; ``mask`` as in ``Attention``, for sequences of several
        lengths."""
        x = self.embed(x)
        for layer in self.encoders:
            x = layer(x, mask)
        output: Tensor = self.after_norm(x)
        return output


# ----------------------------------------------------------------------------------------- the decoder


class Prenet(nn.Module):
    """Linear layers with ReLU and a dropout that stays active at inference."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        widths = [config.feature_bins] + [config.prenet_units] * config.prenet_layers
        self.prenet = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.ReLU()) for before, after in pairwise(widths)
        )

    def forward(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """[B, T, feature_bins], per layer factors [B, T, units] (0 or 1 / (1 - p)) -> [B, T, units]."""
        for layer, mask in zip(self.prenet, masks, strict=True):
            x = layer(x) * mask
        return x


class DecoderLayer(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.width, config.heads)
        self.src_attn = Attention(config.width, config.heads)
        self.feed_forward = FeedForward(config.width, config.decoder_units, as_convolution=False)
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.norm3 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(0.0)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Those of the self-attention, for inputs [B, T, width]."""
        return self.self_attn.keys_values(self.norm1(x))

    def forward(
        self,
        x: Tensor,
        past: KeysValues,
        source: KeysValues,
        *,
        mask: Tensor | None = None,
        source_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """[B, Q, width] -> (the same, weights of the source [B, heads, Q, T]); ``past`` includes x itself."""
        x = x + self.dropout(self.self_attn(self.norm1(x), past, mask)[0])
        attended, weights = self.src_attn(self.norm2(x), source, source_mask)
        x = x + self.dropout(attended)
        return x + self.dropout(self.feed_forward(self.norm3(x))), weights


class Decoder(nn.Module):
    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Sequential(Prenet(config), nn.Linear(config.prenet_units, config.width)),
            PositionalEncoding(config.width),
        )
        self.decoders = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.after_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)

    def embedded(self, frames: Tensor, masks: Sequence[Tensor], first: int = 0) -> Tensor:
        """Frames [B, T, feature_bins] at positions ``first``, ... -> [B, T, width]."""
        prenet, projection = self.embed[0].children()
        embedded: Tensor = self.embed[1](projection(prenet(frames, masks)), first)
        return embedded

    def layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.decoders if isinstance(layer, DecoderLayer)]


class Postnet(nn.Module):
    """Convolutions over time whose output is added to the decoder's."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        last = config.postnet_layers - 1
        widths = [config.feature_bins] + [config.postnet_channels] * last + [config.feature_bins]
        size = config.postnet_kernel_size
        self.postnet = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(widths[index], widths[index + 1], size, padding=(size - 1) // 2, bias=False),
                nn.BatchNorm1d(widths[index + 1]),
                nn.Tanh() if index < last else nn.Identity(),
                nn.Dropout(0.0),
            )
            for index in range(config.postnet_layers)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, feature_bins] -> the same."""
        x = frames.transpose(1, 2)
        for layer in self.postnet:
            x = layer(x)
        return frames + x.transpose(1, 2)


class AcousticModel(nn.Module):
    """Official name: text2mel (ESPnet's Transformer). Use it in ``eval`` mode."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        if config.performers:
            self.sid_emb = nn.Embedding(config.performers, config.width)
        if config.environments:
            self.lid_emb = nn.Embedding(config.environments, config.width)
        self.decoder = Decoder(config)
        self.feat_out = nn.Linear(config.width, config.reduction_factor * config.feature_bins)
        self.prob_out = nn.Linear(config.width, config.reduction_factor)
        self.postnet = Postnet(config)

    def memory(
        self, roll: Tensor, performer: int = 0, environment: int = 0, mask: Tensor | None = None
    ) -> Tensor:
        """Encoder input [B, T, roll_bins] -> the decoder's source [B, T, width].

        ``performer``, ``environment``: rows of the tables, 0 for unknown; ignored where there are none.
        """
        memory: Tensor = self.encoder(roll, mask)
        if self.config.performers:
            memory = memory + self.sid_emb.weight[performer]
        if self.config.environments:
            memory = memory + self.lid_emb.weight[environment]
        return memory

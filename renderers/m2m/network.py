"""The network: octuple-like note tokens -> a distribution per note over velocity, IOI and duration.

A BERT encoder with relative positions in keys and queries (Huang et al., Improve Transformer Models with
Better Relative Position Embeddings, EMNLP Findings 2020, method 4). Names of parameters are those of
checkpoints; unused parameters are declared, so that checkpoints load strictly. Dropout is off until a
training sets it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = ("Pitch", "Velocity", "Duration", "IOI", "Position", "Bar")
HEADS = ("velocity", "ioi", "duration")
"""The predictions in the order of ``proj``: columns 1, 3 and 2 of a token."""
NORM_EPS = 1e-12
WORDS = 30522
"""Rows of BERT's word table, which checkpoints contain and the model does not use."""


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; defaults are the released configuration (11.9 million parameters)."""

    vocabularies: tuple[int, ...] = (92, 68, 1156, 772, 388, 3004)
    """Number of ids per token column, in the order of ``FEATURES``."""
    widths: tuple[int, ...] = (32, 64, 256, 256, 128, 256)
    """Embedding width per token column."""
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    feed_forward: int = 256
    positions: int = 256
    """Largest number of tokens in a segment."""
    styles: int = 6
    words: int = WORDS
    style_width: int = 128
    """Of the unused style projection."""

    @property
    def classes(self) -> tuple[int, int, int]:
        """Of the three heads."""
        return self.vocabularies[1], self.vocabularies[3], self.vocabularies[2]


def config_from_tensors(tensors: Mapping[str, Tensor]) -> NetworkConfig:
    """The configuration from the shapes of a state dict (heads: hidden width over width of a distance)."""
    tables = [tensors[f"bert.feat_emb.{index}.lut.weight"] for index in range(len(FEATURES))]
    distance = tensors["bert.bert.encoder.layer.0.attention.self.distance_embedding.weight"]
    hidden = tensors["out_linear.weight"].shape[0]
    return NetworkConfig(
        vocabularies=tuple(table.shape[0] for table in tables),
        widths=tuple(table.shape[1] for table in tables),
        hidden=hidden,
        layers=sum(name.endswith("attention.self.query.weight") for name in tensors),
        heads=hidden // distance.shape[1],
        feed_forward=tensors["bert.bert.encoder.layer.0.intermediate.dense.weight"].shape[0],
        positions=(distance.shape[0] + 1) // 2,
        styles=tensors["style_emb.lut.weight"].shape[0],
        words=tensors["bert.bert.embeddings.word_embeddings.weight"].shape[0],
        style_width=tensors["style_proj.weight"].shape[0],
    )


class _Table(nn.Module):
    """An embedding scaled by the square root of its width."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.lut = nn.Embedding(rows, width)

    def forward(self, ids: Tensor) -> Tensor:
        return self.lut(ids) * math.sqrt(self.lut.embedding_dim)


class _Embeddings(nn.Module):
    """BERT's embeddings, of which only token type 0 and the norm are used."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.words, config.hidden)
        self.position_embeddings = nn.Embedding(config.positions, config.hidden)
        self.token_type_embeddings = nn.Embedding(2, config.hidden)
        self.LayerNorm = nn.LayerNorm(config.hidden, eps=NORM_EPS)
        self.dropout = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.LayerNorm(x + self.token_type_embeddings.weight[0]))


class _SelfAttention(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.positions = config.positions
        self.query = nn.Linear(config.hidden, config.hidden)
        self.key = nn.Linear(config.hidden, config.hidden)
        self.value = nn.Linear(config.hidden, config.hidden)
        self.distance_embedding = nn.Embedding(2 * config.positions - 1, config.hidden // config.heads)
        self.dropout = nn.Dropout(0.0)

    def forward(self, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, L, hidden], bias [B, 1, 1, L] -> (context [B, L, hidden], attention [B, heads, L, L])."""
        batch, length, hidden = x.shape
        query, key, value = (
            linear(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        # Only the distances -(L-1) ... L-1 occur.
        first = self.positions - length
        distances = self.distance_embedding.weight[first : first + 2 * length - 1]
        scores = query @ key.transpose(-1, -2)
        scores = scores + _of_distance(query @ distances.T) + _of_distance(key @ distances.flip(0).T).mT
        attention = functional.softmax(scores / math.sqrt(hidden // self.heads) + bias, dim=-1)
        context = self.dropout(attention) @ value
        return context.transpose(1, 2).reshape(batch, length, hidden), attention


def _of_distance(products: Tensor) -> Tensor:
    """[..., L, 2L-1] products with the distance l - r at column l - r + L - 1 -> [..., L, L] at (l, r).

    Row l needs the columns l + L - 1 down to l: a skewed view instead of a gather of L x L vectors.
    """
    *batch, length, _ = products.shape
    reversed_columns = products.flip(-1).contiguous()  # distance l - r is now at column L - 1 + r - l
    strides = reversed_columns.stride()
    return reversed_columns.as_strided(
        (*batch, length, length),
        (*strides[:-2], strides[-2] - 1, 1),
        reversed_columns.storage_offset() + length - 1,
    )


class _Dense(nn.Module):
    """A linear layer, with BERT's norm of the residual sum where there is one."""

    def __init__(self, wide: int, narrow: int, *, norm: bool) -> None:
        super().__init__()
        self.dense = nn.Linear(wide, narrow)
        self.dropout = nn.Dropout(0.0)
        if norm:
            self.LayerNorm = nn.LayerNorm(narrow, eps=NORM_EPS)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(residual + self.dropout(self.dense(x)))


class _Attention(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _Dense(config.hidden, config.hidden, norm=True)


class _EncoderLayer(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.intermediate = _Dense(config.hidden, config.feed_forward, norm=False)
        self.output = _Dense(config.feed_forward, config.hidden, norm=True)

    def forward(self, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        context, attention = self.attention.self(x, bias)
        x = self.attention.output(context, x)
        inner = functional.gelu(self.intermediate.dense(x))
        return self.output(inner, x), attention


class _Encoder(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_EncoderLayer(config) for _ in range(config.layers))


class _Bert(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.pooler = _Dense(config.hidden, config.hidden, norm=False)  # in checkpoints, not used


class _ExpressionBert(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.feat_emb = nn.ModuleList(
            _Table(rows, width) for rows, width in zip(config.vocabularies, config.widths, strict=True)
        )
        self.in_linear = nn.Linear(sum(config.widths), config.hidden)
        self.style_emb = _Table(config.styles, config.hidden)
        self.bert = _Bert(config)


class M2MNetwork(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = _ExpressionBert(config)
        self.style_emb = self.bert.style_emb  # one table under two names
        self.style_proj = nn.Linear(config.hidden, config.style_width)  # in checkpoints, not used
        self.out_linear = nn.Linear(config.hidden, config.hidden)
        self.proj = nn.ModuleList(nn.Linear(config.hidden, classes) for classes in config.classes)

    def forward(self, tokens: Tensor, mask: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """tokens [B, L, 6] int64, mask [B, L] (1: a note, 0: padding), style [B] -> logits of the three
        heads, [B, L, classes] each."""
        inner = self.bert
        embedded = [table(tokens[..., column]) for column, table in enumerate(inner.feat_emb)]
        x = inner.bert.embeddings(inner.in_linear(torch.cat(embedded, dim=-1)))
        bias = (1 - mask.to(x))[:, None, None] * torch.finfo(x.dtype).min
        for layer in inner.bert.encoder.layer:
            x, _ = layer(x, bias)
        y = self.out_linear(x + self.style_emb(style)[:, None])
        velocity, ioi, duration = (head(y) for head in self.proj)
        return velocity, ioi, duration

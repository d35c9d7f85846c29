"""What the two decoders are made of, for inference: linear layers in the precision asked for, everything else
(norms, attention on the CPU, sums) in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Precision = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NORM_EPSILON = 1e-5
"""Of all layer norms; PyTorch's default, which the authors kept."""


class Dense:
    """A linear layer: [rows, in] -> [rows, out], in the precision that it is built with.

    On the CPU the weight is kept in oneDNN's blocked layout. Plain ``linear`` copies it there at every call,
    which costs as much as the product itself where there are few rows.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, device: str, *, relu: bool = False
    ) -> None:
        self._dtype, self._relu = dtype, relu
        self._bias = None if bias is None else bias.to(device, dtype, copy=True)
        self._blocked = device == "cpu" and torch.backends.mkldnn.is_available()
        if self._blocked:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype), ROW_TILE)
        else:
            self._weight = weight.to(device, dtype, copy=True)

    def __call__(self, rows: Tensor) -> Tensor:
        rows = rows.to(self._dtype)
        if self._blocked:
            activation = "relu" if self._relu else "none"
            output: Tensor = torch.ops.mkldnn._linear_pointwise(
                rows, self._weight, self._bias, activation, [], ""
            )
            return output
        output = functional.linear(rows, self._weight, self._bias)
        return output.relu_() if self._relu else output


ROW_TILE = 8
"""Rows of a step are padded to a multiple of this, so that a row meets the same kernels whatever its company:
one to eight segments give the same numbers, bit by bit, and on the processors measured more do, too."""


@dataclass(frozen=True)
class Layer:
    """A pre-norm decoder layer. Norms are [stages, 2, width]: weight and bias for each stage."""

    norm1: Tensor
    project_in: Dense
    project_out: Dense
    norm2: Tensor
    feed_in: Dense
    feed_out: Dense


class KeyValueCache:
    """The keys and values of one sequence, in memory that is reserved once, and attention to them.

    Values lie in blocks with the positions innermost, so that both products of a single query are many short
    dot products over contiguous memory. On a CPU that reads twice as fast as fused attention does, and for a
    single query reading is all there is.
    """

    def __init__(self, layers: int, heads: int, head_width: int, capacity: int) -> None:
        blocks = -(-capacity // VALUE_BLOCK)
        self.keys = torch.zeros(layers, heads, capacity, head_width)
        self.values = torch.zeros(layers, blocks, heads, head_width, VALUE_BLOCK)
        self.length = 0
        """Positions filled in every layer."""

    def fill(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Store [heads, positions, head width] from the first position on."""
        heads, count, width = keys.shape
        self.keys[layer, :, :count] = keys
        blocks = functional.pad(values, (0, 0, 0, -count % VALUE_BLOCK)).view(heads, -1, VALUE_BLOCK, width)
        self.values[layer, : blocks.shape[1]] = blocks.permute(1, 0, 3, 2)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store the next position's key and value [heads, head width], and give what its query [heads, head
        width] finds: [heads, head width]. The position counts once ``length`` does."""
        place, count = self.length, self.length + 1
        heads, width = query.shape
        self.keys[layer, :, place] = key
        self.values[layer, place // VALUE_BLOCK, :, :, place % VALUE_BLOCK] = value
        scores = _dot_products(self.keys[layer, :, :count], query * width**-0.5)
        blocks = -(-count // VALUE_BLOCK)
        weights = functional.pad(scores.softmax(dim=-1), (0, -count % VALUE_BLOCK))
        weights = weights.view(heads, blocks, VALUE_BLOCK).transpose(0, 1).reshape(-1, VALUE_BLOCK)
        parts = _dot_products(self.values[layer, :blocks].view(-1, width, VALUE_BLOCK), weights)
        return parts.view(blocks, heads, width).sum(dim=0)


VALUE_BLOCK = 64
"""Positions."""


def _dot_products(rows: Tensor, vectors: Tensor) -> Tensor:
    """Of rows [batch, n, width] with a vector [batch, width] each: [batch, n].

    The vectors have to look like columns to the matrix product: laid out as rows they send it down a path that
    is four times slower (torch 2.13, MKL).
    """
    return torch.bmm(rows, vectors[:, None].transpose(1, 2))[:, :, 0]


class Transformer:
    """A stack of layers, with a forward pass for whole sequences and one for single positions."""

    def __init__(self, layers: Sequence[Layer], norm: Tensor, heads: int) -> None:
        self.layers, self.norm, self.heads = layers, norm, heads

    @property
    def width(self) -> int:
        return int(self.norm.shape[-1])

    def new_cache(self, capacity: int) -> KeyValueCache:
        return KeyValueCache(len(self.layers), self.heads, self.width // self.heads, capacity)

    def whole(
        self,
        rows: Tensor,
        *,
        stage: int = 0,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        needed_from: int = 0,
    ) -> Tensor:
        """All positions at once: [N, width] -> [N - needed_from, width].

        ``mask`` [N, N]: True where a row may look; without it every row sees all. ``cache`` takes the keys
        and values. The last layer computes the needed rows only.
        """
        count = len(rows)
        for index, layer in enumerate(self.layers):
            projected = layer.project_in(_normed(rows, layer.norm1[stage])).float()
            query, key, value = projected.view(count, 3, self.heads, -1).permute(1, 2, 0, 3)
            if cache is not None:
                cache.fill(index, key, value)
            if index == len(self.layers) - 1:
                rows, query = rows[needed_from:], query[:, needed_from:]
                mask = None if mask is None else mask[needed_from:]
            attended = _attention(query, key, value, mask)  # [heads, rows, head width]
            rows = rows + layer.project_out(attended.transpose(0, 1).reshape(len(rows), -1))
            rows = rows + layer.feed_out(layer.feed_in(_normed(rows, layer.norm2[stage])))
        if cache is not None:
            cache.length = count
        return _normed(rows, self.norm[stage])

    def step(self, rows: Tensor, caches: Sequence[KeyValueCache | None]) -> Tensor:
        """The next position of several sequences: [R, width] -> [R, width], R a multiple of ``ROW_TILE``.

        Row r continues the sequence of ``caches[r]``; rows without one are padding. What a row gives depends
        on nothing but its own sequence.
        """
        active = [(row, cache) for row, cache in enumerate(caches) if cache is not None]
        attended = torch.zeros_like(rows).view(len(rows), self.heads, -1)
        for index, layer in enumerate(self.layers):
            projected = layer.project_in(_normed(rows, layer.norm1[0])).float()
            projected = projected.view(len(rows), 3, self.heads, -1)
            for row, cache in active:
                attended[row] = cache.attend(index, *projected[row])
            rows = rows + layer.project_out(attended.view(len(rows), -1))
            rows = rows + layer.feed_out(layer.feed_in(_normed(rows, layer.norm2[0])))
        for _, cache in active:
            cache.length += 1
        return _normed(rows, self.norm[0])


def _normed(rows: Tensor, norm: Tensor) -> Tensor:
    return functional.layer_norm(rows, rows.shape[-1:], norm[0], norm[1], NORM_EPSILON)


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """[heads, rows, head width]; in a batch of one, which selects the fused kernels."""
    return functional.scaled_dot_product_attention(query[None], key[None], value[None], mask)[0]


def positions(count: int, width: int) -> Tensor:
    """Sinusoidal positions [count, width]: sines at even, cosines at odd places (Vaswani et al., "Attention
    Is All You Need", NeurIPS 2017, section 3.5)."""
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(_LOG_10000 / width))
    angle = torch.arange(count, dtype=torch.float32)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


_LOG_10000 = 9.210340371976184

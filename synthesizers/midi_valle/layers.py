"""The layers of the two decoders, for inference.

Linear layers have the chosen precision, norms and sums are in float32. Attention has the chosen precision on
a GPU and on a CPU with matrix instructions, and is in float32 on other CPUs, where nothing is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from score_to_audio.packed_linear import PackedLinear

Precision = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NORM_EPSILON = 1e-5
"""Of all layer norms; PyTorch's default, which the authors kept."""


def has_fast_fused_attention() -> bool:
    """Whether this CPU has bfloat16 matrix instructions (AMX).

    There PyTorch's fused attention to a single query is as fast as the memory, in either precision. Without
    them it takes twice as long in bfloat16 as in float32 (torch 2.13).
    """
    return torch.cpu._is_amx_tile_supported()


@dataclass(frozen=True)
class Layer:
    """A pre-norm decoder layer. Norms are [stages, 2, width]: weight and bias for each stage."""

    norm1: Tensor
    project_in: PackedLinear
    project_out: PackedLinear
    norm2: Tensor
    feed_in: PackedLinear
    feed_out: PackedLinear


class Cache(Protocol):
    """Stores the keys and values of a sequence."""

    def fill(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Store [heads, positions, head width] from the first position on."""


Attend = Callable[[int, Tensor], Tensor]
"""A layer's number and the projections [R, 3, heads, head width] (query, key, value) of the next position of
R sequences -> the attention [R, heads, head width] to all their positions, the next included."""


class Transformer:
    """A stack of layers, with a forward pass for whole sequences and one for single positions."""

    def __init__(
        self, layers: Sequence[Layer], norm: Tensor, heads: int, attention_dtype: torch.dtype
    ) -> None:
        self.layers, self.norm, self.heads = layers, norm, heads
        self.attention_dtype = attention_dtype

    @property
    def head_width(self) -> int:
        return int(self.norm.shape[-1]) // self.heads

    def whole(
        self,
        rows: Tensor,
        *,
        stage: int = 0,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        needed_from: int = 0,
    ) -> Tensor:
        """All positions at once: [N, width] -> [N - needed_from, width].

        ``mask`` [N, N]: True where a row attends to a column (None: everywhere). ``cache`` stores the keys
        and values. The last layer computes only the needed rows.
        """
        count = len(rows)
        for index, layer in enumerate(self.layers):
            projected = layer.project_in(_normed(rows, layer.norm1[stage])).to(self.attention_dtype)
            query, key, value = projected.view(count, 3, self.heads, -1).permute(1, 2, 0, 3)
            if cache is not None:
                cache.fill(index, key, value)
            if index == len(self.layers) - 1:
                rows, query = rows[needed_from:], query[:, needed_from:]
                mask = None if mask is None else mask[needed_from:]
            attended = _attention(query, key, value, mask)  # [heads, rows, head width]
            rows = rows + layer.project_out(attended.transpose(0, 1).reshape(len(rows), -1))
            rows = rows + layer.feed_out(layer.feed_in(_normed(rows, layer.norm2[stage])))
        return _normed(rows, self.norm[stage])

    def step(self, rows: Tensor, attend: Attend) -> Tensor:
        """The next position of several sequences: [R, width] -> [R, width]."""
        for index, layer in enumerate(self.layers):
            projected = layer.project_in(_normed(rows, layer.norm1[0])).to(self.attention_dtype)
            attended = attend(index, projected.view(len(rows), 3, self.heads, -1))
            rows = rows + layer.project_out(attended.reshape(len(rows), -1))
            rows = rows + layer.feed_out(layer.feed_in(_normed(rows, layer.norm2[0])))
        return _normed(rows, self.norm[0])


def _normed(rows: Tensor, norm: Tensor) -> Tensor:
    return functional.layer_norm(rows, rows.shape[-1:], norm[0], norm[1], NORM_EPSILON)


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """[heads, rows, head width]; with a batch dimension of one, which selects the fused kernels."""
    return functional.scaled_dot_product_attention(query[None], key[None], value[None], mask)[0]

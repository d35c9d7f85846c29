"""Linear layers for inference at the processor's full speed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TYPICAL_ROWS = 8
"""Rows for which the blocked layout is chosen; any number works."""


class PackedLinear:
    """A linear layer: [..., in] -> [..., out], in the precision that it is built with.

    On the CPU the weight is stored in oneDNN's blocked layout. Plain ``linear`` converts it at every call,
    which takes as long as the product itself for few rows; in float32 it uses a library that has less than
    half of the speed on AMD processors.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, device: str, *, relu: bool = False
    ) -> None:
        self._dtype, self._relu = dtype, relu
        self._bias = None if bias is None else bias.detach().to(device, dtype, copy=True)
        self._blocked = device == "cpu" and _has_blocked_products(dtype)
        if self._blocked:
            blocked = torch.ops.mkldnn._reorder_linear_weight
            self._weight = blocked(weight.detach().to(dtype).contiguous(), TYPICAL_ROWS)
        else:
            self._weight = weight.detach().to(device, dtype, copy=True)

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


def _has_blocked_products(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    supported: bool = dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported

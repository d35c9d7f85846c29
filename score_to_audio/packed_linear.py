"""Linear layers for inference at the processor's full speed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TYPICAL_ROWS = 8
"""Rows for which the blocked layout is chosen; any number works."""


class PackedLinear:
    """A linear layer: [..., in] -> [..., out], in the precision that it is built with.

    On the CPU a float32 weight that float16 holds, as one of a file in bfloat16, is stored in float16 and
    multiplied in float32: few rows take half the time, which is that of reading the weight. Any other weight
    is stored in oneDNN's blocked layout. Plain ``linear`` converts it at every call, which takes as long as
    the product itself for few rows; in float32 it uses a library that has less than half of the speed on AMD
    processors.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, device: str, *, relu: bool = False
    ) -> None:
        self._dtype, self._relu = dtype, relu
        self._bias = None if bias is None else bias.detach().to(device, dtype, copy=True)
        is_half = device == "cpu" and dtype == torch.float32 and _has_half_products() and _is_half(weight)
        self._half = None
        self._blocked = not is_half and device == "cpu" and _has_blocked_products(dtype)
        if is_half:
            pack = torch.ops.quantized.linear_prepack_fp16
            self._half = pack(weight.detach().float().contiguous(), self._bias)
        elif self._blocked:
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
        if self._half is not None:
            output = torch.ops.quantized.linear_dynamic_fp16(rows, self._half)
        else:
            output = functional.linear(rows, self._weight, self._bias)
        return output.relu_() if self._relu else output


def _has_blocked_products(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    supported: bool = dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported


def _has_half_products() -> bool:
    """Of float32 rows with float16 weights (FBGEMM)."""
    return torch.backends.quantized.engine in ("fbgemm", "x86")


def _is_half(weight: Tensor) -> bool:
    """Whether float16 holds the values; below its smallest normal number they may be off by 3e-8."""
    return bool(((weight - weight.half()).abs() <= 2**-25).all())

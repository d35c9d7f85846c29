"""Dilated convolution of three taps with half of the multiplications.

Four outputs need six products instead of twelve: F(4, 3) of Winograd, Arithmetic Complexity of Computations,
1980, with the matrices of Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016,
section 4. Each product is a matrix product over channels."""

from __future__ import annotations

import torch
from torch import Tensor

from score_to_audio.packed_linear import PackedLinear

TAPS = 3
TILE = 4
"""Number of outputs that are computed together, ``dilation`` notes apart."""

KERNEL_TRANSFORM = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
"""The kernels of the six products from the taps."""


class DilatedConvolution:
    """A convolution over notes with zero padding, without bias: [B, T, C] -> [B, T, C'].

    Products are in the precision of the weight, sums in float32.
    """

    def __init__(self, weight: Tensor, dilation: int) -> None:
        """``weight``: [C', C, 3]."""
        transform = torch.tensor(KERNEL_TRANSFORM, device=weight.device)
        kernels = torch.einsum("kr,ocr->koc", transform, weight.detach().float())
        self._products = [PackedLinear(kernel, None, weight.dtype, str(weight.device)) for kernel in kernels]
        self._dilation, self._channels = dilation, weight.shape[0]

    def __call__(self, x: Tensor, shift: Tensor) -> Tensor:
        """The convolution of ``x + shift`` (``shift`` broadcasts over the notes), float32."""
        windows, notes, channels = x.shape
        tiles = -(-notes // (TILE * self._dilation))
        padded = x.new_zeros(windows, (tiles * TILE + TAPS - 1) * self._dilation, channels)
        torch.add(x, shift, out=padded[:, self._dilation : self._dilation + notes])
        blocks = padded.view(windows, tiles * TILE + TAPS - 1, self._dilation, channels)
        last = (tiles - 1) * TILE + 1
        inputs = [blocks[:, place : place + last : TILE] for place in range(TILE + TAPS - 1)]
        products = [product(values) for product, values in zip(self._products, _inputs(*inputs), strict=True)]
        out = x.new_empty(windows, tiles, TILE, self._dilation, self._channels)
        _outputs(products, out)
        return out.view(windows, -1, self._channels)[:, :notes]


def _inputs(d0: Tensor, d1: Tensor, d2: Tensor, d3: Tensor, d4: Tensor, d5: Tensor) -> list[Tensor]:
    """The six factors of the kernels, from six notes."""
    near, far = d3 - d1, d4 - d2
    sums, differences = (d1 + d2).mul_(-4).add_(d3).add_(d4), (d1 - d2).mul_(4).add_(d4).sub_(d3)
    return [
        torch.sub(far, d2, alpha=4).add_(d0, alpha=4),
        sums,
        differences,
        torch.add(far, near, alpha=2),
        torch.sub(far, near, alpha=2),
        (d5 - d3).sub_(near, alpha=4),
    ]


def _outputs(products: list[Tensor], out: Tensor) -> None:
    """Four outputs from six products, into ``out`` [windows, tiles, 4, dilation, C']."""
    m0, m1, m2, m3, m4, m5 = (product.float() for product in products)
    inner, inner_difference = m1 + m2, m1 - m2
    outer, outer_difference = m3 + m4, m3 - m4
    torch.add(m0, inner, out=out[:, :, 0]).add_(outer)
    torch.add(inner_difference, outer_difference, alpha=2, out=out[:, :, 1])
    torch.add(inner, outer, alpha=4, out=out[:, :, 2])
    torch.add(inner_difference, outer_difference, alpha=8, out=out[:, :, 3]).add_(m5)

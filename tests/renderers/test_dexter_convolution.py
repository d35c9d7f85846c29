"""DExter's convolution against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from renderers.dexter.dilated_convolution import DilatedConvolution


@pytest.mark.parametrize("dilation", [1, 2, 4, 8])
@pytest.mark.parametrize("notes", [1, 3, 30, 200])
def test_it_is_the_convolution(notes: int, dilation: int) -> None:
    generator = torch.Generator().manual_seed(notes)
    x = torch.randn(2, notes, 24, generator=generator)
    weight = torch.randn(40, 24, 3, generator=generator)
    shift = torch.randn(24, generator=generator)
    expected = functional.conv1d((x + shift).transpose(1, 2), weight, padding=dilation, dilation=dilation)
    actual = DilatedConvolution(weight, dilation)(x, shift)
    torch.testing.assert_close(actual, expected.transpose(1, 2), rtol=0, atol=1e-4)


def test_half_precision_stays_as_precise_as_its_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(1, 100, 64, generator=generator), torch.randn(64, 64, 3, generator=generator)
    exact = DilatedConvolution(weight, 2)(x, torch.zeros(64))
    rounded = DilatedConvolution(weight.bfloat16(), 2)(x, torch.zeros(64))
    assert float((rounded - exact).square().mean() / exact.square().mean()) ** 0.5 < 2**-6

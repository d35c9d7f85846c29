"""Linear layers in the storage that their weights allow."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from score_to_audio.packed_linear import PackedLinear


@pytest.mark.parametrize("rows", [1, 2, 70])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("published", [torch.float32, torch.bfloat16])
def test_float32_products_are_exact_whatever_the_file_holds(
    rows: int, relu: bool, published: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(33, 48, generator=generator).to(published)
    bias, x = torch.randn(33, generator=generator), torch.randn(2, rows, 48, generator=generator)
    expected = functional.linear(x.double(), weight.double(), bias.double())
    found = PackedLinear(weight, bias, torch.float32, "cpu", relu=relu)(x)
    columns_first = x.mT.contiguous().mT
    assert torch.equal(PackedLinear(weight, bias, torch.float32, "cpu", relu=relu)(columns_first), found)
    torch.testing.assert_close(found.double(), expected.relu() if relu else expected, atol=2e-5, rtol=0)

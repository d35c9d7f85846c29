"""HiFi-GAN on the CPU: the same sums as the plain generator."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from synthesizers.vocoders.fast_convolution import DirectConvolution, FastConvolution, FastUpsampling
from synthesizers.vocoders.hifigan import HifiGanConfig, folded_weight_norm
from synthesizers.vocoders.hifigan_cpu import CpuHifiGan
from tests.synthesizers.m2a_checkpoints import VOCODER, generator

WIDE = HifiGanConfig(channels=256, upsample_scales=(4, 3), upsample_kernel_sizes=(8, 6), in_channels=16)
"""128 and 64 channels after upsampling: both go through transforms."""


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([FastConvolution, DirectConvolution]),
    st.sampled_from([3, 5, 7, 11]),
    st.integers(1, 5),
    st.integers(1, 300),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_convolutions(
    kind: type[FastConvolution], taps: int, dilation: int, length: int, channels: tuple[int, int]
) -> None:
    source = torch.Generator().manual_seed(length)
    weight = torch.randn(channels[1], channels[0], taps, generator=source)
    bias = torch.randn(channels[1], generator=source)
    x = torch.randn(length, channels[0], generator=source)
    wanted = functional.conv1d(
        functional.leaky_relu(x, 0.1).t()[None], weight, bias, padding=taps // 2 * dilation, dilation=dilation
    )
    found = kind(weight, bias, dilation, 0.1)(x)
    torch.testing.assert_close(found, wanted[0].t(), rtol=0, atol=2e-5)


@given(st.sampled_from([8, 4, 3, 5, 2]), st.integers(1, 40))
def test_upsampling(scale: int, length: int) -> None:
    plain = nn.ConvTranspose1d(
        6, 3, 2 * scale, scale, padding=scale // 2 + scale % 2, output_padding=scale % 2
    ).requires_grad_(False)
    x = torch.randn(length, 6)
    assert plain.bias is not None
    found = FastUpsampling(plain.weight, plain.bias, scale, int(plain.padding[0]))(x)
    torch.testing.assert_close(found, plain(x.t()[None])[0].t(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [VOCODER, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("frames", [1, 3, 50])
def test_the_cpu_generator_is_the_plain_one(config: HifiGanConfig, frames: int) -> None:
    plain = generator(config)
    features = torch.randn(frames, config.in_channels)
    found = CpuHifiGan(plain)(features)
    assert found.shape == (frames * config.hop,)
    torch.testing.assert_close(found, plain(features.t()[None])[0], rtol=0, atol=1e-5)


def test_tiles_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    from synthesizers.vocoders import hifigan_cpu

    features = torch.randn(60, WIDE.in_channels)
    vocode = CpuHifiGan(generator(WIDE))
    whole = vocode(features)
    monkeypatch.setattr(hifigan_cpu, "TILE", 37)
    torch.testing.assert_close(vocode(features), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [VOCODER, WIDE, HifiGanConfig(channels=16)], ids=["a", "b", "released"])
def test_context_is_what_a_sample_depends_on(config: HifiGanConfig) -> None:
    plain, context = generator(config), config.context()
    features = torch.randn(1, config.in_channels, 4 * context)
    changed = features.clone()
    changed[:, :, :context] += 1
    changed[:, :, 3 * context :] -= 1
    middle = slice(2 * context * config.hop, (2 * context + 1) * config.hop)
    assert torch.equal(plain(features)[:, middle], plain(changed)[:, middle])


def test_weight_norm_is_folded_as_torch_computes_it() -> None:
    layers: list[nn.Module] = [nn.Conv1d(4, 6, 3), nn.ConvTranspose1d(4, 6, 8)]
    for layer in layers:
        normed = torch.nn.utils.parametrizations.weight_norm(layer)
        with torch.no_grad():
            normed.parametrizations.weight.original0 *= 1.7
        tensors = {
            "x.weight_g": normed.parametrizations.weight.original0.detach(),
            "x.weight_v": normed.parametrizations.weight.original1.detach(),
        }
        folded = folded_weight_norm(tensors)
        torch.testing.assert_close(folded["x.weight"], normed.weight.detach())
        assert set(folded) == {"x.weight"}

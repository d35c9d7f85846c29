"""The codec's own parts: blocks against the whole, configurations, imports."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from score_to_audio.training.optimization import Precision, mixed_precision, seeded_modules
from synthesizers.codecs.encodec import (
    Codec,
    CodecConfig,
    config_from_audiocraft,
    config_from_transformers,
    remove_weight_norm,
    trainable,
)
from synthesizers.codecs.windows import regular_blocks, windowed
from tests.synthesizers.midi_valle_checkpoints import TINY_CODEC, TINY_CODEC_CONFIG, random_codec


@cache
def codec_with(pad_mode: str) -> Codec:
    codec = random_codec(CodecConfig(dimension=16, n_filters=4, pad_mode=pad_mode))  # type: ignore[arg-type]
    remove_weight_norm(codec)
    return codec


def codes_of(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 2048, (1, 4, frames), generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 17))
def test_regular_blocks_are_the_same_sequence(lengths: list[int], size: int) -> None:
    sequence = torch.arange(sum(lengths))
    blocks = list(regular_blocks(sequence.split(lengths), size)) if lengths else []
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert all(0 < len(block) <= size for block in blocks)
    assert torch.equal(torch.cat([sequence[:0], *blocks]), sequence)


@given(st.integers(1, 60), st.integers(3, 20), st.sampled_from([1, 2, 3]))
def test_windowed_convolution_is_that_of_the_whole(length: int, size: int, context: int) -> None:
    kernel = torch.randn(1, 1, 2 * context + 1, generator=torch.Generator().manual_seed(0))

    def convolve(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(values, kernel, padding=context)

    sequence = torch.randn(1, 1, length, generator=torch.Generator().manual_seed(length))
    pieces = windowed(regular_blocks([sequence], size), convolve, context=context)
    torch.testing.assert_close(torch.cat(list(pieces), dim=-1), convolve(sequence))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 40),
    st.integers(3, 20),
    st.lists(st.integers(1, 15), min_size=1, max_size=5),
    st.sampled_from(["constant", "reflect"]),
)
def test_decoding_in_blocks(frames: int, size: int, parts: list[int], pad_mode: str) -> None:
    codec, codes = codec_with(pad_mode), codes_of(frames)
    arriving = [piece for part in parts for piece in codes.split(part, dim=-1)][: len(codes[0, 0])]
    whole = torch.cat(arriving, dim=-1)
    sound = torch.cat(list(codec.decode_blocks(arriving, size)), dim=-1)
    torch.testing.assert_close(sound, codec.decode(whole), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 20_000), st.integers(3, 20), st.sampled_from(["constant", "reflect"]))
def test_encoding_in_blocks(samples: int, size: int, pad_mode: str) -> None:
    codec = codec_with(pad_mode)
    sound = 0.3 * torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(samples))
    codes = torch.cat(list(codec.encode_blocks([sound], size)), dim=-1)
    assert codes.shape == (1, 4, -(-samples // 640))
    # A code may differ where two rows of a codebook are equally near but for rounding.
    assert (codes == codec.encode(sound)).float().mean() > 0.99


def test_folding_weight_norm_changes_nothing() -> None:
    codec, folded = random_codec(), random_codec()
    remove_weight_norm(folded)
    codes = codes_of(12)
    assert torch.equal(folded.decode(codes), codec.decode(codes))
    assert not any("weight_g" in name for name in folded.state_dict())


def test_importing_encodec_leaves_no_stand_in_behind() -> None:
    code = (
        "import sys; from synthesizers.codecs.encodec import encodec_packages; encodec_packages();"
        "found = sys.modules.get('torchaudio'); assert found is None or hasattr(found, '__version__')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------------------- configurations


def test_references_in_the_configuration_are_followed() -> None:
    assert config_from_audiocraft(TINY_CODEC) == TINY_CODEC_CONFIG


@pytest.mark.parametrize(
    ("section", "key", "value", "named"),
    [
        ("seanet", "causal", True, "seanet.causal"),
        ("seanet", "norm", "time_group_norm", "seanet.norm"),
        ("seanet", "activation", "ReLU", "seanet.activation"),
        ("seanet", "pad_mode", "replicate", "pad_mode"),
        ("seanet", "pad_mode", None, "pad_mode"),
        ("seanet", "ratios", [], "ratios"),
        ("seanet", "n_filters", "64", "n_filters"),
        ("seanet", "n_filters", 10**9, "n_filters"),
        ("seanet", "decoder", {"final_activation": "Tanh"}, "final_activation"),
        ("seanet", "encoder", {"lstm": 0}, "lstm"),
        ("encodec", "renormalize", True, "encodec.renormalize"),
        ("encodec", "sample_rate", "${nowhere}", "sample_rate"),
        ("rvq", "bins", None, "bins"),
    ],
)
def test_unsupported_settings_are_named(section: str, key: str, value: object, named: str) -> None:
    settings_ = {**TINY_CODEC, section: {**TINY_CODEC[section], key: value}}
    with pytest.raises(ValueError, match=named):
        config_from_audiocraft(settings_)


def test_missing_sections_are_named() -> None:
    with pytest.raises(ValueError, match="rvq"):
        config_from_audiocraft({name: value for name, value in TINY_CODEC.items() if name != "rvq"})


def test_transformers_configuration_with_what_is_not_supported() -> None:
    with pytest.raises(ValueError, match="use_causal_conv"):
        config_from_transformers({"use_causal_conv": True})
    with pytest.raises(ValueError, match="missing"):
        config_from_transformers({})


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_form_for_training_is_the_same_network(precision: Precision) -> None:
    """Sound, and gradients, against the package's own layers in float32; bfloat16 has three digits."""
    with seeded_modules(0):
        codec = Codec(CodecConfig(dimension=16, n_filters=16, ratios=(5, 4, 4), pad_mode="constant"))
    sound = 0.1 * torch.randn(2, 1, 1600, generator=torch.Generator().manual_seed(0))

    def passed(encoder: Any, decoder: Any, precision: Precision) -> tuple[torch.Tensor, list[torch.Tensor]]:
        codec.zero_grad()
        with mixed_precision("cpu", precision):
            made = decoder(encoder(sound).float()).float()
        weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(1))
        (made * weights).sum().backward()
        coders = [*codec.encoder.parameters(), *codec.decoder.parameters()]
        return made.detach(), [one.grad.clone() for one in coders if one.grad is not None]

    wanted, wanted_gradients = passed(codec.encoder, codec.decoder, "float32")
    forms = (trainable(one, codec.config) for one in (codec.encoder, codec.decoder))
    found, gradients = passed(*forms, precision)
    limit = 1e-4 if precision == "float32" else 0.1
    assert (found - wanted).norm() <= limit * wanted.norm()
    pairs = zip(gradients, wanted_gradients, strict=True)
    assert max((one - other).norm() / other.norm() for one, other in pairs) <= limit

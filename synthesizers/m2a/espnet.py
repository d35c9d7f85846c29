"""ESPnet's files: network sizes from the shapes of tensors, the rest from ``tts_conf``.

Every function raises ``ValueError`` with a predicate of which "it", the file, is the subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthesizers.m2a.network import AcousticConfig
from synthesizers.vocoders.hifigan import HifiGanConfig

ACOUSTIC_CONSTANTS = {
    "embed_dim": 0,
    "eprenet_conv_layers": 0,
    "positionwise_layer_type": "conv1d",
    "positionwise_conv_kernel_size": 1,
    "use_scaled_pos_enc": True,
    "use_batch_norm": True,
    "encoder_normalize_before": True,
    "decoder_normalize_before": True,
    "encoder_concat_after": False,
    "decoder_concat_after": False,
}
"""Options of ESPnet's Transformer that are not implemented with other values."""
VOCODER_CONSTANTS = {
    "out_channels": 1,
    "bias": True,
    "nonlinear_activation": "LeakyReLU",
    "nonlinear_activation_params": {"negative_slope": 0.1},
    "use_additional_convs": True,
    "use_weight_norm": True,
}
"""The same of its HiFi-GAN generator."""
MAX_DILATION, MAX_SCALE = 1000, 100
"""Limits of plausible configurations."""


def generator_tensors(content: Mapping[object, object]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of (acoustic model, vocoder), without discriminators, losses and training features.

    Names begin with ``tts.generator.`` in published checkpoints.
    """
    bare = {
        name.removeprefix("tts."): tensor
        for name, tensor in content.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    acoustic, vocoder = (
        {name.removeprefix(prefix): tensor for name, tensor in bare.items() if name.startswith(prefix)}
        for prefix in ("generator.text2mel.", "generator.vocoder.")
    )
    if not acoustic:
        raise ValueError("has no tts.generator.*")
    return {name: one for name, one in acoustic.items() if not name.startswith("criterion.")}, vocoder


def acoustic_config(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> AcousticConfig:
    """``settings``: ``text2mel_params`` of the configuration; missing ones have the released values."""
    _check_constants(settings, ACOUSTIC_CONSTANTS)
    released = AcousticConfig()
    width, roll_bins = _shape(tensors, "encoder.embed.0.weight", 2)
    units, feature_bins = _shape(tensors, "decoder.embed.0.0.prenet.0.0.weight", 2)
    postnet_channels, _, postnet_size = _shape(tensors, "postnet.postnet.0.0.weight", 3)
    heads = settings.get("aheads", released.heads)
    if not isinstance(heads, int) or not 1 <= heads <= width:
        raise ValueError(f"has aheads = {heads!r}")
    if width % heads:
        raise ValueError(f"has a width of {width}, which {heads} heads cannot share")
    dropout = settings.get("dprenet_dropout_rate", released.prenet_dropout)
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"has dprenet_dropout_rate = {dropout!r}")
    return AcousticConfig(
        roll_bins=roll_bins,
        feature_bins=feature_bins,
        width=width,
        heads=heads,
        encoder_layers=_count(tensors, "encoder.encoders.", ".norm1.weight"),
        encoder_units=_shape(tensors, "encoder.encoders.0.feed_forward.w_1.weight", 3)[0],
        decoder_layers=_count(tensors, "decoder.decoders.", ".norm1.weight"),
        decoder_units=_shape(tensors, "decoder.decoders.0.feed_forward.w_1.weight", 2)[0],
        prenet_layers=_count(tensors, "decoder.embed.0.0.prenet.", ".0.weight"),
        prenet_units=units,
        prenet_dropout=float(dropout),
        postnet_layers=_count(tensors, "postnet.postnet.", ".0.weight"),
        postnet_channels=postnet_channels,
        postnet_kernel_size=postnet_size,
        reduction_factor=_shape(tensors, "prob_out.weight", 2)[0],
        performers=_rows(tensors, "sid_emb.weight"),
        environments=_rows(tensors, "lid_emb.weight"),
    )


def vocoder_config(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> HifiGanConfig:
    """``tensors``: weight norm not folded; ``settings``: ``vocoder_params`` of the configuration."""
    _check_constants(settings, VOCODER_CONSTANTS)
    released = HifiGanConfig()
    channels, in_channels, kernel_size = _shape(tensors, "input_conv.weight_v", 3)
    stages = _count(tensors, "upsamples.", ".1.weight_v")
    branches = _count(tensors, "blocks.", ".convs1.0.1.weight_v") // max(stages, 1)
    scales = settings.get("upsample_scales", released.upsample_scales)
    dilations = settings.get("resblock_dilations", released.dilations)
    if not _are_numbers(scales, stages, MAX_SCALE):
        raise ValueError(f"has {stages} upsamplings, but upsample_scales = {scales!r}")
    depths = [_count(tensors, f"blocks.{branch}.convs1.", ".1.weight_v") for branch in range(branches)]
    if (
        not isinstance(dilations, list | tuple)
        or len(dilations) != branches
        or not all(map(_are_numbers, dilations, depths, repeat(MAX_DILATION)))
    ):
        raise ValueError(f"has other residual blocks than resblock_dilations = {dilations!r}")
    kernels = tuple(_shape(tensors, f"upsamples.{stage}.1.weight_v", 3)[2] for stage in range(stages))
    if kernels != tuple(2 * scale for scale in scales):
        raise ValueError(f"has upsampling kernels of {kernels}; only twice the scale is supported")
    branch_names = (f"blocks.{branch}.convs1.0.1.weight_v" for branch in range(branches))
    return HifiGanConfig(
        in_channels=in_channels,
        channels=channels,
        kernel_size=kernel_size,
        upsample_scales=tuple(scales),
        upsample_kernel_sizes=kernels,
        kernel_sizes=tuple(_shape(tensors, name, 3)[2] for name in branch_names),
        dilations=tuple(tuple(row) for row in dilations),
    )


def statistics(arrays: Mapping[str, NDArray[Any]]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [bins] of the training spectra from ``feats_stats.npz``, in float32."""
    try:
        count, total, squares = (
            np.asarray(arrays[name]).astype(np.float32) for name in ("count", "sum", "sum_square")
        )
    except KeyError as error:
        raise ValueError(f"lacks {error}") from error
    with np.errstate(all="ignore"):
        mean = total / count
        variance = np.maximum(squares / count - mean * mean, np.float32(1e-20))
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise ValueError("holds numbers that are not finite")
    return torch.from_numpy(mean), torch.from_numpy(np.sqrt(variance))


# --------------------------------------------------------------------------------------------- checks


def _check_constants(settings: Mapping[str, Any], supported: Mapping[str, object]) -> None:
    for name, value in supported.items():
        if settings.get(name, value) != value:
            raise ValueError(f"was trained with {name} = {settings[name]!r}; only {value!r} is supported")


def _shape(tensors: Mapping[str, Tensor], name: str, rank: int) -> tuple[int, ...]:
    if name not in tensors:
        raise ValueError(f"lacks {name}")
    if tensors[name].ndim != rank:
        raise ValueError(f"has {name} as {tuple(tensors[name].shape)}")
    return tuple(tensors[name].shape)


def _rows(tensors: Mapping[str, Tensor], name: str) -> int:
    return _shape(tensors, name, 2)[0] if name in tensors else 0


def _count(tensors: Mapping[str, Tensor], prefix: str, suffix: str) -> int:
    """Tensors whose name is prefix, a number, suffix."""
    return sum(
        name.startswith(prefix)
        and name.endswith(suffix)
        and name.removeprefix(prefix).removesuffix(suffix).isdecimal()
        for name in tensors
    )


def _are_numbers(value: object, length: int, maximum: int) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == length
        and all(isinstance(one, int) and 1 <= one <= maximum for one in value)
    )

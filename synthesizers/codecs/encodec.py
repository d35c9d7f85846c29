"""EnCodec at one bit rate: Défossez et al., "High Fidelity Neural Audio Compression", TMLR 2023.

The 32 kHz mono variant (Copet et al., "Simple and Controllable Music Generation", NeurIPS 2023, appendix) and
Piano-Encodec, which was fine-tuned from it (Tang et al., "MIDI-VALLE", ISMIR 2025). Built on the modules of
the package ``encodec``, whose parameter names are those of audiocraft's checkpoints.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from math import ceil, log2, prod
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from score_to_audio.imports import importable_torchaudio
from synthesizers.codecs.windows import regular_blocks, windowed

BLOCK_FRAMES = 250
"""Frames per block of ``encode_blocks`` and ``decode_blocks``: 5 s at 50 frames per second, about 200 MB."""


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of an EnCodec; names as in audiocraft's ``seanet`` and ``rvq`` sections."""

    sample_rate: int = 32000
    """Hz."""
    channels: int = 1
    dimension: int = 128
    n_filters: int = 64
    ratios: tuple[int, ...] = (8, 5, 4, 4)
    """Upsampling ratios in the decoder's order; their product is the hop length in samples."""
    n_residual_layers: int = 1
    kernel_size: int = 7
    residual_kernel_size: int = 3
    last_kernel_size: int = 7
    dilation_base: int = 2
    compress: int = 2
    lstm: int = 2
    true_skip: bool = True
    pad_mode: Literal["constant", "reflect"] = "constant"
    n_q: int = 4
    """Codebooks."""
    bins: int = 2048
    """Codes per codebook."""

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return prod(self.ratios)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def context(self) -> int:
        """Frames on either side on which a frame's samples depend, without the LSTM and the convolution at
        the latent: the sum over the stages of the reach of their kernels, rounded up."""
        reach, rate = 0.0, 1
        dilations = sum(self.dilation_base**layer for layer in range(self.n_residual_layers))
        for ratio in self.ratios:
            reach += 1 / rate
            rate *= ratio
            reach += dilations * (self.residual_kernel_size // 2) / rate
        return ceil(reach + (max(self.kernel_size, self.last_kernel_size) // 2) / rate)


SEANET_SIZES = (
    "channels", "dimension", "n_filters", "ratios", "n_residual_layers", "kernel_size", "compress",
    "residual_kernel_size", "last_kernel_size", "dilation_base", "lstm", "true_skip", "pad_mode",
)  # fmt: skip
"""Fields of ``CodecConfig`` that are arguments of encoder and decoder."""


class Codec(nn.Module):
    """Sound [B, channels, samples] to codes [B, codebooks, frames] and back."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        modules, quantization = encodec_packages()
        self.config = config
        sizes = {name: getattr(config, name) for name in SEANET_SIZES} | {"ratios": list(config.ratios)}
        sizes |= {"norm": "weight_norm", "causal": False}
        with warnings.catch_warnings():
            # torch.nn.utils.weight_norm is deprecated, but gives the names of the checkpoints.
            warnings.simplefilter("ignore", FutureWarning)
            self.encoder = modules.SEANetEncoder(**sizes)
            self.decoder = modules.SEANetDecoder(**sizes)
        self.quantizer = quantization.ResidualVectorQuantizer(
            dimension=config.dimension, n_q=config.n_q, bins=config.bins
        )
        self.eval()

    @property
    def _channels_innermost(self) -> bool:
        folded = not any(hasattr(layer, "weight_g") for layer in self.decoder.modules())
        return next(self.parameters()).device.type == "cpu" and self.config.pad_mode == "constant" and folded

    @torch.inference_mode()
    def embed(self, sound: Tensor) -> Tensor:
        """Sound [B, channels, samples] -> continuous latent [B, dimension, ceil(samples / hop length)]."""
        with _exact_convolutions():
            latent: Tensor = self.encoder(sound)
        return latent

    @torch.inference_mode()
    def quantize(self, latent: Tensor) -> Tensor:
        """Latent [B, dimension, frames] -> codes [B, codebooks, frames], the nearest codebook rows."""
        codes: Tensor = self.quantizer.vq.encode(latent).transpose(0, 1)
        return codes

    def encode(self, sound: Tensor) -> Tensor:
        """Sound [B, channels, samples] -> codes [B, codebooks, ceil(samples / hop length)]."""
        return self.quantize(self.embed(sound))

    @torch.inference_mode()
    def latent(self, codes: Tensor) -> Tensor:
        """Codes [B, codebooks, frames] -> quantized latent [B, dimension, frames]."""
        latent: Tensor = self.quantizer.vq.decode(codes.transpose(0, 1))
        return latent

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, codebooks, frames] -> sound [B, channels, frames * hop length], may exceed [-1, 1]."""
        with _exact_convolutions():
            sound: Tensor = self.decoder(self.latent(codes))
        return sound

    # In blocks: convolutions get a few frames of context on either side, and the LSTM's state is passed from
    # block to block.

    def encode_blocks(self, blocks: Iterable[Tensor], frames: int = BLOCK_FRAMES) -> Iterator[Tensor]:
        """``encode`` for sound that arrives in blocks of any size, in bounded memory.

        Yields codes [B, codebooks, up to ``frames``]; together they are those of the whole sound.
        """
        config, layers = self.config, self.encoder.model
        hop, lstm = config.hop_length, _lstm_position(layers)
        sound = regular_blocks(blocks, frames * hop)
        features = windowed(sound, _exact(layers[:lstm]), context=config.context, unit_in=hop, unit_out=1)
        states = _recurrent(features, layers[lstm])
        for latent in windowed(states, _exact(layers[lstm + 1 :]), context=config.last_kernel_size // 2):
            yield self.quantize(latent)

    def decode_blocks(self, blocks: Iterable[Tensor], frames: int = BLOCK_FRAMES) -> Iterator[Tensor]:
        """``decode`` for codes that arrive in blocks of any size, in bounded memory.

        Yields sound [B, channels, samples]; together it is that of the whole sequence of codes.
        """
        config, layers = self.config, self.decoder.model
        lstm = _lstm_position(layers)
        latents = (self.latent(codes) for codes in regular_blocks(blocks, frames))
        features = windowed(latents, _exact(layers[:lstm]), context=config.kernel_size // 2)
        states = _recurrent(features, layers[lstm])
        upsampling = layers[lstm + 1 :]
        apply = _channels_innermost(upsampling) if self._channels_innermost else _exact(upsampling)
        yield from windowed(states, apply, context=config.context, unit_out=config.hop_length)


def _exact_convolutions() -> AbstractContextManager[None]:
    """On a GPU: repeatable, and in float32, where the default rounds inputs to 10 bits (TF32)."""
    context: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, deterministic=True, allow_tf32=False
    )
    return context


def _exact(layers: nn.Module) -> Callable[[Tensor], Tensor]:
    def apply(values: Tensor) -> Tensor:
        with _exact_convolutions():
            output: Tensor = layers(values)
        return output

    return apply


def _channels_innermost(layers: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """The same layers on values with the channels innermost, in which a CPU convolves with less copying.

    Zeros as padding.
    """

    def apply(values: Tensor) -> Tensor:
        rows = values[:, :, None].contiguous(memory_format=torch.channels_last)  # [B, channels, 1, length]
        return _through(layers, rows)[:, :, 0]

    return apply


def trainable(coder: nn.Module, config: CodecConfig) -> Callable[[Tensor], Tensor]:
    """The encoder or decoder in the form in which the device trains it fastest."""
    on_cpu = next(coder.parameters()).device.type == "cpu"
    if on_cpu and config.pad_mode == "constant":
        return _channels_innermost(coder.model)  # type: ignore[arg-type]
    return coder


def _through(layer: Any, rows: Tensor) -> Tensor:
    """A layer of SEANet on [B, channels, 1, length]."""
    if isinstance(layer, nn.Sequential):
        for one in layer:
            rows = _through(one, rows)
        return rows
    if hasattr(layer, "block"):
        return _through(layer.shortcut, rows) + _through(layer.block, rows)
    if hasattr(layer, "lstm"):
        with torch.autocast(rows.device.type, enabled=False):
            states: Tensor = layer(rows[:, :, 0].float())
        return states[:, :, None].contiguous(memory_format=torch.channels_last)
    if hasattr(layer, "convtr"):
        return _upsampled(layer.convtr.convtr, rows)
    if hasattr(layer, "conv"):
        return _convolved(layer.conv.conv, rows)
    output: Tensor = layer(rows)
    return output


def _convolved(inner: nn.Conv1d, rows: Tensor) -> Tensor:
    """As many samples as strides, rounded up, with zeros around them."""
    (size,), (stride,), (dilation,) = inner.kernel_size, inner.stride, inner.dilation
    total = (size - 1) * dilation + 1 - stride
    left, right = total - total // 2, total // 2 + -rows.shape[-1] % stride
    if left != right:
        rows = functional.pad(rows, (left, right))
    padding = (0, left if left == right else 0)
    narrow = min(inner.in_channels, inner.out_channels) == 1
    # Sound keeps its precision: bfloat16 would add noise 50 dB below it.
    with torch.autocast(rows.device.type, enabled=torch.is_autocast_enabled(rows.device.type) and not narrow):
        values = rows.float() if narrow else rows
        return functional.conv2d(values, _weight(inner), inner.bias, (1, stride), padding, (1, dilation))


def _upsampled(inner: nn.ConvTranspose1d, rows: Tensor) -> Tensor:
    """A transposed convolution as a plain one, whose channels are the samples between two of its input.

    oneDNN's gradient of a strided transposed convolution with respect to a bfloat16 input is wrong
    (PyTorch 2.13).
    """
    (size,), (stride,) = inner.kernel_size, inner.stride
    taps = -(-size // stride)
    weight = functional.pad(_weight(inner)[:, :, 0], (0, taps * stride - size))
    kernel = weight.unflatten(-1, (taps, stride)).flip(2).permute(3, 1, 0, 2).flatten(0, 1)[:, :, None]
    bias = None if inner.bias is None else inner.bias.repeat(stride)
    found = functional.conv2d(rows, kernel, bias, padding=(0, taps - 1))  # [B, stride * channels, 1, length]
    samples = found.permute(0, 2, 3, 1).reshape(len(rows), 1, -1, inner.out_channels).permute(0, 3, 1, 2)
    right = (size - stride) // 2
    end = (rows.shape[-1] - 1) * stride + size - right
    return samples[..., size - stride - right : end]


def _weight(inner: Any) -> Tensor:
    """[.., .., 1, taps] of a convolution, with its weight norm where it has one."""
    if hasattr(inner, "weight_g"):
        weight: Tensor = torch._weight_norm(inner.weight_v, inner.weight_g, 0)
    else:
        weight = inner.weight
    return weight[:, :, None]


def _lstm_position(layers: nn.Sequential) -> int:
    return next(index for index, layer in enumerate(layers) if hasattr(layer, "lstm"))


def _recurrent(blocks: Iterable[Tensor], layer: nn.Module) -> Iterator[Tensor]:
    """The LSTM with its shortcut over blocks [B, channels, frames]."""
    state = None
    for block in blocks:
        with torch.inference_mode(), _exact_convolutions():
            sequence = block.permute(2, 0, 1)
            output, state = layer.lstm(sequence, state)  # type: ignore[operator]
            yield (output + sequence).permute(1, 2, 0)


def remove_weight_norm(codec: Codec) -> None:
    """Replace every weight by g * v / |v|, in place: the same numbers, computed once."""
    for module in codec.modules():
        if hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)


# ------------------------------------------------------------------------------------- configuration


def config_from_audiocraft(configuration: Mapping[str, Any]) -> CodecConfig:
    """Of audiocraft's (Hydra) configuration, as stored in its checkpoints.

    Raises ``ValueError`` that names a setting which is missing or not supported.
    """
    encodec = _section(configuration, "encodec")
    seanet, rvq = _section(configuration, "seanet"), _section(configuration, "rvq")
    decoder = {**seanet, **(seanet.get("decoder") or {})}
    encoder = {**seanet, **(seanet.get("encoder") or {})}
    required = (
        ("encodec.autoencoder", encodec.get("autoencoder", "seanet"), "seanet"),
        ("encodec.quantizer", encodec.get("quantizer", "rvq"), "rvq"),
        ("encodec.causal", encodec.get("causal", False), False),
        ("encodec.renormalize", encodec.get("renormalize", False), False),
        ("seanet.causal", seanet.get("causal", False), False),
        ("seanet.norm", seanet.get("norm"), "weight_norm"),
        ("seanet.activation", seanet.get("activation"), "ELU"),
        ("seanet.activation_params", seanet.get("activation_params") or {"alpha": 1.0}, {"alpha": 1.0}),
        ("seanet.disable_norm_outer_blocks", seanet.get("disable_norm_outer_blocks", 0), 0),
        ("seanet.decoder.final_activation", decoder.get("final_activation"), None),
    )
    for name, found, supported in required:
        if found != supported:
            raise ValueError(f"{name} is {found!r}; only {supported!r} is supported")
    for name in SEANET_SIZES:
        if encoder.get(name) != decoder.get(name):
            raise ValueError(f"seanet.{name} differs between encoder and decoder, which is not supported")
    return _checked_config(
        {name: seanet.get(name) for name in SEANET_SIZES}
        | {"sample_rate": encodec.get("sample_rate"), "n_q": rvq.get("n_q"), "bins": rvq.get("bins")}
    )


def config_from_transformers(configuration: Mapping[str, Any]) -> CodecConfig:
    """Of the ``config.json`` of a transformers ``EncodecModel``.

    Raises ``ValueError`` that names a setting which is missing or not supported.
    """
    required = {
        "norm_type": "weight_norm", "use_causal_conv": False, "use_conv_shortcut": False, "normalize": False,
        "chunk_length_s": None,
    }  # fmt: skip
    for name, supported in required.items():
        if configuration.get(name, supported) != supported:
            raise ValueError(f"{name} is {configuration[name]!r}; only {supported!r} is supported")
    names = {
        "sample_rate": "sampling_rate",
        "channels": "audio_channels",
        "dimension": "hidden_size",
        "n_filters": "num_filters",
        "ratios": "upsampling_ratios",
        "n_residual_layers": "num_residual_layers",
        "dilation_base": "dilation_growth_rate",
        "lstm": "num_lstm_layers",
        "bins": "codebook_size",
    }
    fields = (*SEANET_SIZES, "sample_rate", "bins")
    values = {name: configuration.get(names.get(name, name)) for name in fields}
    config = _checked_config(values | {"true_skip": True, "n_q": 1})
    bandwidth = max(configuration.get("target_bandwidths") or [0])  # kbit/s
    codebooks = round(1000 * bandwidth / config.frame_rate / log2(config.bins))
    return _checked_config({**vars(config), "n_q": codebooks})


def _section(configuration: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = configuration.get(name)
    if not isinstance(section, Mapping):
        raise ValueError(f"the configuration has no section {name!r}")
    return {key: _resolved(configuration, value) for key, value in section.items()}


def _resolved(configuration: Mapping[str, object], value: object) -> object:
    """The value that an omegaconf reference "${section.key}" stands for; anything else unchanged."""
    for _ in range(8):
        if not (isinstance(value, str) and value.startswith("${") and value.endswith("}")):
            break
        target: object = configuration
        for key in value[2:-1].split("."):
            target = target.get(key) if isinstance(target, Mapping) else None
        value = target
    return value


def _checked_config(values: Mapping[str, Any]) -> CodecConfig:
    """Raises ``ValueError`` that names the first value of the wrong kind."""
    for name, value in values.items():
        if name == "ratios":
            valid = isinstance(value, list | tuple) and bool(value) and all(map(_is_size, value))
        elif name == "true_skip":
            valid = isinstance(value, bool)
        elif name == "pad_mode":
            valid = value in ("constant", "reflect")
        else:
            valid = _is_size(value)
        if not valid:
            raise ValueError(f"{name} is {value!r}, which is missing or not supported")
    return CodecConfig(**{**values, "ratios": tuple(values["ratios"])})


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1_000_000


def name_in_transformers(name: str) -> str:
    """The name in a transformers ``EncodecModel`` of a parameter of ``Codec``."""
    name = name.replace("coder.model.", "coder.layers.").replace("quantizer.vq.layers.", "quantizer.layers.")
    name = name.replace(".conv.conv.", ".conv.").replace(".convtr.convtr.", ".conv.")
    return name.replace("._codebook.", ".codebook.")


# ------------------------------------------------------------------------------------ the package


@cache
def encodec_packages() -> tuple[ModuleType, ModuleType]:
    """``encodec.modules`` and ``encodec.quantization``, which need no torchaudio although ``encodec``
    does."""
    with importable_torchaudio():
        import encodec.modules
        import encodec.quantization

    return encodec.modules, encodec.quantization

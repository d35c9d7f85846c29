"""Neural audio codecs from published checkpoints: Piano-Encodec, and the EnCodec it was fine-tuned from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint
from score_to_audio.types import AudioStream, Waveform
from score_to_audio.wording import reason

if TYPE_CHECKING:
    from torch import Tensor

    from synthesizers.codecs.encodec import Codec, CodecConfig

Codes = NDArray[np.int64]
"""[codebooks, frames]"""

AUDIOCRAFT_PICKLES = ("omegaconf", "typing")
"""Packages whose objects are in a training checkpoint of audiocraft; they are read as data."""
NEW_WEIGHT_NORM = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}
"""Names of torch.nn.utils.parametrizations -> of torch.nn.utils.weight_norm."""
MAX_CODES_FILE = 64 * 2**20
"""Bytes: days of codes."""


def load_codec(checkpoint: Checkpoint, *, device: str = "cpu") -> Codec:
    """The codec in a checkpoint of audiocraft (as Piano-Encodec was published) or of transformers, for
    inference.

    Raises ``InputError`` for a file that is neither, or whose configuration is not supported.
    """
    from synthesizers.codecs.encodec import remove_weight_norm

    codec = load_trainable_codec(checkpoint, device=device)
    remove_weight_norm(codec)
    return codec.requires_grad_(False)


def loaded_codec(checkpoint: Checkpoint, device: str) -> Codec:
    """As ``load_codec``, loaded once per process."""
    return _loaded(checkpoint.sha256, checkpoint.name, tuple(checkpoint.files.items()), device)


@lru_cache(maxsize=2)
def _loaded(sha256: str, name: str, files: tuple[tuple[str, Path], ...], device: str) -> Codec:
    return load_codec(Checkpoint(name, dict(files), sha256), device=device)


def load_trainable_codec(checkpoint: Checkpoint, *, device: str = "cpu") -> Codec:
    """As ``load_codec``, with weight norm.

    Raises ``InputError`` for a file that is neither, or whose configuration is not supported.
    """
    from score_to_audio.weights import load_checkpoint
    from synthesizers.codecs.encodec import name_in_transformers

    path = checkpoint.weights
    if path.suffix == ".safetensors":
        config = _transformers_config(checkpoint)
        return _build(config, lambda: load_checkpoint(path), name_in_transformers, path, device)
    return _build(_audiocraft_config(path), lambda: _audiocraft_tensors(path), str, path, device)


def encode(codec: Codec, sound: Waveform) -> Codes:
    """Codes of a sound, prepared as in training."""
    import torch

    blocks = codec.encode_blocks([torch.from_numpy(prepared(codec, sound))[None, None].to(device_of(codec))])
    return np.asarray(torch.cat(list(blocks), dim=-1)[0].cpu().numpy())


def decode(codec: Codec, codes: Codes) -> Waveform:
    """The sound of codes: as many samples as frames times the hop length; may exceed [-1, 1]."""
    from score_to_audio.formats.audio import collect

    return collect(decode_stream(codec, iter([codes])))


def decode_stream(codec: Codec, blocks: Iterator[Codes]) -> AudioStream:
    """``decode`` for codes that arrive in blocks [codebooks, any number of frames]."""
    import torch

    def sounds() -> Iterator[NDArray[np.float32]]:
        device = device_of(codec)
        codes = (torch.from_numpy(block.astype(np.int64))[None].to(device) for block in blocks)
        for sound in codec.decode_blocks(codes):
            yield sound[0].cpu().numpy()

    return AudioStream(codec.config.sample_rate, codec.config.channels, sounds())


def reconstruct(codec: Codec, sound: Waveform) -> Waveform:
    """A sound encoded and decoded, cut to its length; may exceed [-1, 1]."""
    decoded = decode(codec, encode(codec, sound))
    length = -(-sound.samples.shape[1] * codec.config.sample_rate // sound.sample_rate)
    return Waveform(decoded.samples[:, :length], decoded.sample_rate)


def prepared(codec: Codec, sound: Waveform) -> NDArray[np.float32]:
    """[samples] mono at the codec's sample rate: mean over channels, then windowed-sinc resampling."""
    import torch

    from score_to_audio.formats.resampling import SincFilter, resample

    mono = Waveform(torch.from_numpy(sound.samples).mean(dim=0)[None].numpy(), sound.sample_rate)
    return resample(mono, codec.config.sample_rate, method=SincFilter()).samples[0]


def device_of(codec: Codec) -> str:
    return str(next(codec.parameters()).device)


# ---------------------------------------------------------------------------------------- codes files


def write_codes(codes: Codes, path: Path) -> None:
    """A NumPy file [codebooks, frames]."""
    with path.open("wb") as file:
        np.save(file, codes.astype(np.int16))


def read_codes(path: Path, codec: Codec) -> Codes:
    """Codes for this codec. Raises ``InputError`` for any other file."""
    try:
        if path.stat().st_size > MAX_CODES_FILE:
            raise InputError(f"{path}: larger than {MAX_CODES_FILE >> 20} MB; is it a file of codes?")
        codes = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except ValueError as error:
        raise InputError(f"{path}: not a NumPy file of codes; make one with `codec encode`") from error
    books, bins = codec.config.n_q, codec.config.bins
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or len(codes) != books:
        raise InputError(
            f"{path}: not codes for this codec, which has {books} rows; encode the sound with it"
        )
    if codes.dtype.kind not in "iu" or codes.size == 0 or codes.min() < 0 or codes.max() >= bins:
        raise InputError(f"{path}: has numbers outside the codes 0..{bins - 1}; encode the sound again")
    return codes.astype(np.int64)


# ------------------------------------------------------------------------------------------- loading


def _build(
    config: CodecConfig,
    read: Callable[[], Mapping[str, Tensor]],
    published_name: Callable[[str], str],
    path: Path,
    device: str,
) -> Codec:
    """Fill a codec part by part, so that never more than one part is in memory twice.

    ``read`` maps the file's tensors; they leave the memory with the mapping.
    """
    import torch

    from score_to_audio.weights import shape_differences, shapes_of
    from synthesizers.codecs.encodec import Codec

    with torch.device("meta"):
        codec = Codec(config)

    def tensors() -> dict[str, Tensor]:
        return {_old_weight_norm(name): tensor for name, tensor in read().items()}

    expected = {published_name(name): shape for name, shape in shapes_of(codec.state_dict()).items()}
    if differences := shape_differences(expected, shapes_of(tensors())):
        raise InputError(f"{path}: does not fit its configuration: it {differences}")
    groups: dict[str, list[str]] = {}
    for name in codec.state_dict():
        groups.setdefault(".".join(name.split(".")[:4]), []).append(name)
    for names in groups.values():
        found = tensors()
        part = {name: found[published_name(name)].to(device, torch.float32, copy=True) for name in names}
        codec.load_state_dict(part, strict=False, assign=True)
    return codec


def _audiocraft_content(path: Path) -> dict[str, Any]:
    from score_to_audio.weights import load_checkpoint

    content = load_checkpoint(path, foreign=AUDIOCRAFT_PICKLES)
    if isinstance(content, dict) and "pretrained" in content:
        raise InputError(
            f"{path}: only refers to the model {content['pretrained']!r}; import that one's checkpoint"
        )
    if not isinstance(content, dict) or "best_state" not in content or "xp.cfg" not in content:
        raise InputError(f"{path}: not a compression model of audiocraft (no best_state and xp.cfg)")
    return content


def _audiocraft_tensors(path: Path) -> dict[str, Tensor]:
    import torch

    state = _audiocraft_content(path)["best_state"]
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]  # a training checkpoint that was not exported
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: best_state is not a flat table of tensors")
    return state


def _old_weight_norm(name: str) -> str:
    for new, old in NEW_WEIGHT_NORM.items():
        name = name.replace(new, old)
    return name


def _audiocraft_config(path: Path) -> CodecConfig:
    import yaml  # type: ignore[import-untyped]

    from score_to_audio.weights import config_of
    from synthesizers.codecs.encodec import config_from_audiocraft

    stored = _audiocraft_content(path)["xp.cfg"]
    try:
        settings = yaml.safe_load(stored) if isinstance(stored, str) else config_of(stored)
        if not isinstance(settings, Mapping):
            raise ValueError("it is not a table")
        return config_from_audiocraft(settings)
    except Exception as error:  # PyYAML's own errors, and others for impossible dates and numbers
        raise InputError(f"{path}: its configuration (xp.cfg) cannot be used: {reason(error)}") from error


def _transformers_config(checkpoint: Checkpoint) -> CodecConfig:
    from synthesizers.codecs.encodec import config_from_transformers

    path = checkpoint.files.get("config", checkpoint.weights.with_name("config.json"))
    try:
        settings = json.loads(path.read_text("utf-8"))
        if not isinstance(settings, Mapping):
            raise ValueError("it is not a table")
        return config_from_transformers(settings)
    except OSError as error:
        raise InputError(f"{path}: cannot be read; it belongs to {checkpoint.weights.name}") from error
    except ValueError as error:
        raise InputError(f"{path}: cannot be used: {error}") from error

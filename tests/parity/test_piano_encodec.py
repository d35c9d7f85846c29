"""Piano-Encodec against recordings of the authors' implementation (audiocraft 1.3.0) on filled weights."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from score_to_audio.formats.resampling import SincFilter, resample
from score_to_audio.types import Waveform
from score_to_audio.weights import shapes_of
from synthesizers.codecs.encodec import (
    Codec,
    config_from_audiocraft,
    config_from_transformers,
    name_in_transformers,
    remove_weight_norm,
)
from tests.parity.golden_files import Recording, case_name, fill, load_cases, load_config, salt

MODEL = "piano_encodec"
CONFIG = load_config(MODEL)
TOLERANCE = 1e-5
"""Of embeddings and sound, absolute (the sheet's)."""
CODE_GAP = 1e-4
"""Where the best and second-best codebook rows are closer than this, rounding may choose (the sheet's)."""


def cases_with(array: str) -> list[Any]:
    """The files that hold an array of this name."""
    found = [path for path in load_cases(MODEL, "*.npz") if array in Recording(path)]
    return [pytest.param(path, marks=[pytest.mark.slow] if "full" in path.stem else []) for path in found]


SOUND_CASES, PROMPT_CASES, RESAMPLING_CASES = map(cases_with, ("wav_out", "wav_out_first", "wav"))


def test_every_file_is_compared() -> None:
    cases = [*SOUND_CASES, *PROMPT_CASES, *RESAMPLING_CASES]
    assert sorted(case.values[0] for case in cases) == load_cases(MODEL, "*.npz")
    assert SOUND_CASES
    assert RESAMPLING_CASES


def configuration(size: str, pad_mode: str) -> dict[str, Any]:
    """The audiocraft configuration of a case: "tiny" or "full", padding as the file's name says."""
    sections = dict(CONFIG["full"])
    for name, changes in (CONFIG["tiny_overrides"] if size == "tiny" else {}).items():
        sections[name] = {**sections[name], **changes}
    sections["seanet"] = {**sections["seanet"], "pad_mode": pad_mode}
    return sections


@cache
def filled_codec(size: str, pad_mode: str) -> Codec:
    """As production loads it, weight norm folded."""
    codec = trainable_codec(size, pad_mode)
    remove_weight_norm(codec)
    return codec


def trainable_codec(size: str, pad_mode: str) -> Codec:
    """A new codec with the weights of the recordings, weight norm not folded."""
    codec = Codec(config_from_audiocraft(configuration(size, pad_mode)))
    fill_as_ruled(codec)
    return codec


def fill_as_ruled(module: torch.nn.Module) -> None:
    """As config.json's fill rule says, its steps after the filling included."""
    fill(module, salt(CONFIG))
    for name, tensor in module.state_dict().items():
        if name.endswith(".bias") or name.rsplit(".", 1)[-1].startswith("bias_"):
            tensor.mul_(0.1)
        if name.endswith("weight_g"):
            tensor.copy_(0.75 + 0.5 * tensor.abs())


def codec_of(case: Path) -> Codec:
    words = case.stem.split("_")
    return filled_codec(
        "tiny" if "tiny" in words else "full", "reflect" if "reflect" in words else "constant"
    )


def gaps(codec: Codec, latent: torch.Tensor) -> np.ndarray:
    """Distance of the second-best codebook row minus that of the best, [codebooks, frames]."""
    residual, found = latent[0].T, []
    for layer, codes in zip(codec.quantizer.vq.layers, codec.quantize(latent)[0], strict=True):
        distances = torch.cdist(residual.double(), layer.codebook.double()) ** 2
        best = distances.topk(2, largest=False).values
        found.append((best[:, 1] - best[:, 0]).numpy())
        residual = residual - layer.codebook[codes]
    return np.array(found)


def check_codes(found: np.ndarray, recorded: np.ndarray, gap: np.ndarray) -> None:
    assert found.shape == recorded.shape
    decided = gap > CODE_GAP
    assert np.array_equal(found[decided], recorded[decided])


def check_encoding(codec: Codec, recorded: Recording, sound: torch.Tensor) -> torch.Tensor:
    """The latent of a sound, after comparing its codes and their gaps."""
    latent = codec.embed(sound)
    gap = recorded["code_gap"]
    np.testing.assert_allclose(gaps(codec, latent), gap, atol=1e-3, rtol=1e-4)
    check_codes(codec.encode(sound)[0].numpy(), recorded["codes"], gap)
    return latent


@pytest.mark.parametrize("case", SOUND_CASES, ids=case_name)
def test_every_recorded_array(case: Path) -> None:
    codec, recorded = codec_of(case), Recording(case)
    if "wav_in" in recorded:
        latent = check_encoding(codec, recorded, torch.from_numpy(recorded["wav_in"])[None, None])
        np.testing.assert_allclose(latent[0], recorded["emb"], atol=TOLERANCE, rtol=0)
    codes = torch.from_numpy(recorded["codes"].astype(np.int64))[None]
    np.testing.assert_allclose(codec.latent(codes)[0], recorded["latent"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(codec.decode(codes)[0, 0], recorded["wav_out"], atol=TOLERANCE, rtol=0)
    recorded.check_complete()


@pytest.mark.parametrize("case", SOUND_CASES, ids=case_name)
def test_in_blocks(case: Path) -> None:
    """Bounded memory gives the same codes and the same sound, wherever the cuts fall."""
    codec, recorded = codec_of(case), Recording(case)
    codes = torch.from_numpy(recorded["codes"].astype(np.int64))[None]
    for frames in (7,) if "full" in case.stem else (3, 7, 16):
        sound = torch.cat(list(codec.decode_blocks(codes.split(5, dim=-1), frames)), dim=-1)
        np.testing.assert_allclose(sound[0, 0], recorded["wav_out"], atol=TOLERANCE, rtol=0)
        if "wav_in" in recorded:
            pieces = torch.from_numpy(recorded["wav_in"])[None, None].split(1000, dim=-1)
            encoded = torch.cat(list(codec.encode_blocks(pieces, frames)), dim=-1)
            check_codes(encoded[0].numpy(), recorded["codes"], recorded["code_gap"])


def prompt_recording(case: Path) -> Path:
    return case.with_name(f"{case.stem.split('_wav_')[0]}.wav")


@pytest.mark.parametrize("case", PROMPT_CASES, ids=case_name)
def test_decoded_prompt(case: Path) -> None:
    recorded = Recording(case)
    decoded = codec_of(case).decode(torch.from_numpy(recorded["codes"].astype(np.int64))[None])[0, 0]
    first = recorded["wav_out_first"]
    np.testing.assert_allclose(decoded[: len(first)], first, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", PROMPT_CASES, ids=case_name)
def test_encoded_prompt(case: Path) -> None:
    """The prompt of the official repository, whose sound is not shipped with the recordings."""
    codec, recorded, path = codec_of(case), Recording(case), prompt_recording(case)
    if not path.is_file():
        pytest.skip(f"{path.name} of the official repository is not in {path.parent}: put it there")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == str(recorded["sha256"])
    sound = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None, None]
    latent, first = check_encoding(codec, recorded, sound), recorded["emb_first_frames"]
    np.testing.assert_allclose(latent[0, :, : first.shape[1]], first, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", RESAMPLING_CASES, ids=case_name)
def test_resampling(case: Path) -> None:
    """``stereo_RATE`` -> ``wav``; its first channel, read as another rate -> ``mono_RATE_first_channel``."""
    recorded, rate = Recording(case), config_from_audiocraft(CONFIG["full"]).sample_rate
    (source,), (other,) = recorded.named("stereo_"), recorded.named("mono_")
    stereo = recorded[source]
    for mono, name, old_rate in (
        (stereo.mean(axis=0, keepdims=True), "wav", source.split("_")[1]),
        (stereo[:1], other, other.split("_")[1]),
    ):
        found = resample(Waveform(mono, int(old_rate)), rate, method=SincFilter()).samples[0]
        np.testing.assert_allclose(found, recorded[name], atol=1e-5)
    recorded.check_complete()


def test_parameter_names_and_shapes() -> None:
    contract = {name: tuple(entry["shape"]) for name, entry in load_config(MODEL, "state_dict.json").items()}
    assert shapes_of(Codec(config_from_audiocraft(CONFIG["full"])).state_dict()) == contract


def test_transformers_names() -> None:
    for row in load_config(MODEL, "name_map.json"):
        new_weight_norm = name_in_transformers(row["audiocraft"])
        new_weight_norm = new_weight_norm.replace(".weight_g", ".parametrizations.weight.original0")
        new_weight_norm = new_weight_norm.replace(".weight_v", ".parametrizations.weight.original1")
        assert new_weight_norm == row["transformers"]


def test_transformers_configuration() -> None:
    """The settings that the sheet gives for the transformers model describe the same codec."""
    described = {
        "use_causal_conv": False, "use_conv_shortcut": False, "target_bandwidths": [2.2], "num_filters": 64,
        "codebook_size": 2048, "upsampling_ratios": [8, 5, 4, 4], "pad_mode": "constant", "hidden_size": 128,
        "sampling_rate": 32000, "audio_channels": 1, "num_residual_layers": 1, "kernel_size": 7,
        "residual_kernel_size": 3, "last_kernel_size": 7, "dilation_growth_rate": 2, "compress": 2,
        "num_lstm_layers": 2, "norm_type": "weight_norm", "normalize": False,
    }  # fmt: skip
    assert config_from_transformers(described) == config_from_audiocraft(CONFIG["full"])

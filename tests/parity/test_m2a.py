"""M2A against what was recorded from the authors' code; tolerances of the fact sheet."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapters.m2a import notes_of, vocoder
from score_to_audio.formats.midi import read_performance
from score_to_audio.weights import load_strictly
from synthesizers.m2a import decoding, espnet, joining, piano_roll, spectrum
from synthesizers.m2a.network import AcousticModel
from synthesizers.vocoders.hifigan import Generator, fold_weight_norm
from tests.parity.golden_files import case_name, golden_root, golden_values, load_arrays, load_config, salt

FOLDER = golden_root() / "m2a"
CONFIG = load_config("m2a")
SETTINGS = {"full": CONFIG["tts_conf"], "tiny": load_config("m2a", "config_tiny.json")["tiny"]}
SALT = salt({**SETTINGS["tiny"], **CONFIG})
SIZES = ("tiny", pytest.param("full", marks=pytest.mark.slow))


@cache
def arrays(name: str) -> dict[str, Any]:
    return load_arrays(FOLDER / f"{name}.npz")


def close(found: Any, recorded: NDArray[Any], tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), recorded, rtol=0, atol=tolerance)


# --------------------------------------------------------------------------------------- the networks


@cache
def layout(size: str) -> dict[str, dict[str, Any]]:
    """Names and shapes of a whole checkpoint."""
    name = "state_dict.json" if size == "full" else "state_dict_tiny.json"
    content: dict[str, Any] = json.loads((FOLDER / name).read_text("utf-8"))
    found: dict[str, dict[str, Any]] = content.get("m2a", content)
    return found


@cache
def tensors(size: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(acoustic model, vocoder): what the product takes of a checkpoint, filled from names."""

    def filled(name: str, entry: dict[str, Any]) -> Tensor:
        if "generator." not in name:  # most of a checkpoint, and not filled by the recordings either
            return torch.empty(entry["shape"], device="meta")
        if entry["dtype"] != "float32":
            return torch.zeros(entry["shape"], dtype=getattr(torch, entry["dtype"]))
        return torch.from_numpy(golden_values(name, tuple(entry["shape"]), SALT))

    return espnet.generator_tensors({name: filled(name, entry) for name, entry in layout(size).items()})


@cache
def model(size: str) -> AcousticModel:
    acoustic, _ = tensors(size)
    built = AcousticModel(espnet.acoustic_config(acoustic, SETTINGS[size]["text2mel_params"]))
    load_strictly(built, acoustic, source=size)
    return built.eval().requires_grad_(False)


@cache
def generator(size: str) -> Generator:
    _, found = tensors(size)
    built = Generator(espnet.vocoder_config(found, SETTINGS[size]["vocoder_params"]))
    load_strictly(built, fold_weight_norm(found), source=size)
    return built.eval().requires_grad_(False)


@cache
def stopping_model(size: str) -> AcousticModel:
    """The model with the recordings' own stop bias: the filled one would stop at once."""
    changed = AcousticModel(model(size).config)
    changed.load_state_dict(model(size).state_dict())
    changed.prob_out.bias.data = torch.from_numpy(arrays(size)["ar_prob_out_bias"])
    return changed.eval().requires_grad_(False)


def sounds(size: str) -> list[Callable[[Tensor], Tensor]]:
    """Every way that the product vocodes: the one of the CPU, and the plain one of other devices."""
    plain = generator(size)
    return [vocoder(plain, "cpu"), lambda features: plain(features.t()[None])[0]]


def encoder_input(size: str) -> Tensor:
    if size == "full":
        start, stop, step = arrays(size)["midi_frames_used"]
        cells = arrays("piano_roll")["piece_roll"][start:stop:step]
    else:
        cells = arrays(size)["midi"]
    return torch.from_numpy(piano_roll.encoder_input(cells))


def memory(size: str) -> Tensor:
    ids = [int(arrays(size).get(name, [0])[0]) for name in ("sid", "lid")]
    return model(size).memory(encoder_input(size)[None], *ids)[0]


def recorded_masks(size: str, name: str) -> decoding.Masks:
    """The masks of a recorded decoding, from their packed bits."""
    config, recorded = model(size).config, arrays(size)
    rows = recorded[f"{name}_mask_rows"]
    units, layers = config.prenet_units, config.prenet_layers
    bits = np.unpackbits(recorded[f"{name}_masks"])[: rows.sum() * units]
    calls = np.split(bits, np.cumsum(rows * units)[:-1])
    factors = [
        torch.from_numpy(call.reshape(1, -1, units).astype(np.float32) / (1 - config.prenet_dropout))
        for call in calls
    ]
    return lambda step: factors[(step - 1) * layers : step * layers]


def labelled_masks(size: str, label: str) -> Callable[[int, int], Sequence[Tensor]]:
    """(step, rows) -> the masks that a label stands for."""
    config = model(size).config

    def masks(step: int, rows: int) -> list[Tensor]:
        found = []
        for layer in range(config.prenet_layers):
            seed = zlib.crc32(f"{SALT}:{label}-{step}-{layer}".encode())
            drawn = np.random.Generator(np.random.PCG64(seed)).random((rows, config.prenet_units))
            kept = (drawn >= config.prenet_dropout).astype(np.float32) / (1 - config.prenet_dropout)
            found.append(torch.from_numpy(kept.astype(np.float32))[None])
        return found

    return masks


def decode(
    size: str,
    masks: decoding.Masks,
    limits: decoding.Limits | None = None,
    threshold: float = decoding.STOP_THRESHOLD,
) -> decoding.Decoded:
    inputs, network = memory(size), stopping_model(size)
    limits = limits or decoding.published_limits(len(inputs), network.config)
    return decoding.decode(
        network, [inputs], masks, [limits], redraw="step", threshold=threshold, with_attention=True
    )[0]


# ------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("size", SIZES)
def test_configuration_and_layout(size: str) -> None:
    parameters = {**SETTINGS[size], **SETTINGS[size]["text2mel_params"]}
    config = model(size).config
    for theirs, ours in (
        ("idim", config.roll_bins),
        ("odim", config.feature_bins),
        ("adim", config.width),
        ("aheads", config.heads),
        ("elayers", config.encoder_layers),
        ("eunits", config.encoder_units),
        ("dlayers", config.decoder_layers),
        ("dunits", config.decoder_units),
        ("dprenet_layers", config.prenet_layers),
        ("dprenet_units", config.prenet_units),
        ("dprenet_dropout_rate", config.prenet_dropout),
        ("postnet_layers", config.postnet_layers),
        ("postnet_chans", config.postnet_channels),
        ("postnet_filts", config.postnet_kernel_size),
        ("reduction_factor", config.reduction_factor),
    ):
        assert parameters[theirs] == ours, theirs
    assert config.performers == (parameters.get("spks") or 0)
    assert config.environments == (parameters.get("langs") or 0)
    wanted = SETTINGS[size]["vocoder_params"]
    found = generator(size).config
    assert list(found.upsample_scales) == wanted["upsample_scales"]
    assert list(found.upsample_kernel_sizes) == wanted["upsample_kernel_sizes"]
    assert list(found.kernel_sizes) == wanted["resblock_kernel_sizes"]


@pytest.mark.slow
def test_the_baseline_has_the_tables_of_performers_and_environments() -> None:
    tables = json.loads((FOLDER / "state_dict.json").read_text("utf-8"))["baseline_only"]
    acoustic, _ = tensors("full")
    more, _ = espnet.generator_tensors({name: torch.empty(entry["shape"]) for name, entry in tables.items()})
    config = espnet.acoustic_config({**acoustic, **more}, SETTINGS["full"]["text2mel_params"])
    rows = [entry["shape"][0] for entry in tables.values()]
    assert sorted((config.performers, config.environments)) == sorted(rows)
    plain = model("full").config
    load_strictly(AcousticModel(config), {**acoustic, **more}, source="baseline")
    assert config == replace(plain, performers=config.performers, environments=config.environments)


@pytest.mark.parametrize("size", SIZES)
def test_encoder(size: str) -> None:
    recorded = arrays(size)
    inputs = encoder_input(size)
    rows = recorded["rows"] if "rows" in recorded else np.arange(len(inputs))
    if "encoder_input" in recorded:
        close(inputs, recorded["encoder_input"], 1e-7)
    first, *layers, output = model(size).encoder.stages(inputs[None])
    close(first[0, rows], recorded["encoder_embed"], 1e-4)
    for index, layer in enumerate(layers):
        close(layer[0, rows], recorded[f"encoder_layer_{index}"], 1e-4)
    close(output[0, rows], recorded["encoder_output"], 1e-4)
    if "encoder_output_rms" in recorded:
        close(output[0].square().mean(1).sqrt(), recorded["encoder_output_rms"], 1e-4)
    if "memory" in recorded:
        close(memory(size), recorded["memory"], 1e-4)
    assert sum(name.startswith("encoder_layer_") for name in recorded) == len(layers)


@pytest.mark.parametrize("size", SIZES)
def test_teacher_forcing(size: str) -> None:
    recorded = arrays(size)
    masks = recorded_masks(size, "tf")(1)
    labelled = labelled_masks(size, f"m2a-{size}-prenet-tf")(1, masks[0].shape[1])
    assert all(torch.equal(one, other) for one, other in zip(masks, labelled, strict=True))
    frames = torch.from_numpy(recorded["tf_feats"])[None]
    after, before, logits = decoding.teacher_forced(model(size), memory(size)[None], frames, masks)
    close(after[0], recorded["tf_after"], 1e-4)
    close(before[0], recorded["tf_before"], 1e-4)
    close(logits[0], recorded["tf_logits"], 1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_decoding_and_its_sound(size: str) -> None:
    recorded = arrays(size)
    masks = recorded_masks(size, "ar")
    labelled = labelled_masks(size, str(recorded["ar_mask_label"]))
    for step in range(1, int(recorded["ar_steps"]) + 1):
        assert all(map(torch.equal, masks(step), labelled(step, step)))
    decoded = decode(size, masks)
    config = model(size).config
    assert len(decoded.frames) == int(recorded["ar_steps"]) * config.reduction_factor
    assert decoded.first_stop(config.reduction_factor) in (int(recorded["ar_steps"]), None)
    close(decoded.frames, recorded["ar_feat_gen"], 1e-3)
    close(decoded.stop, recorded["ar_prob"], 1e-3)
    assert decoded.attention is not None
    if "ar_att_w" in recorded:
        close(decoded.attention, recorded["ar_att_w"], 1e-4)
    if "ar_att_w_last_step" in recorded:
        close(decoded.attention[:, :, -1], recorded["ar_att_w_last_step"], 1e-4)
    if "ar_feat_gen_denorm" in recorded:
        every = -(-len(decoded.frames) // len(recorded["ar_feat_gen_denorm"]))
        denormalised = spectrum.denormalised(decoded.frames, *normalisation())
        close(denormalised[::every], recorded["ar_feat_gen_denorm"], 1e-3)
    for vocode in sounds(size):
        close(vocode(decoded.frames)[:, None], recorded["ar_wav"], 1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_vocoder(size: str) -> None:
    recorded = arrays(size)
    for vocode in sounds(size):
        close(vocode(torch.from_numpy(recorded["vocoder_in"]))[:, None], recorded["vocoder_out"], 1e-4)


def test_decoding_ends_at_the_longest_length() -> None:
    """Recorded with threshold 2 and maxlenratio 1.9 (sheet, section 3)."""
    recorded, masks = arrays("tiny"), recorded_masks("tiny", "max")
    r, inputs = model("tiny").config.reduction_factor, len(encoder_input("tiny"))
    steps = int(inputs * 1.9 / r)
    labelled = labelled_masks("tiny", "m2a-tiny-prenet-max")
    for step in range(1, steps + 1):
        assert all(map(torch.equal, masks(step), labelled(step, step)))
    decoded = decode("tiny", masks, decoding.Limits(0, steps), threshold=2.0)
    close(decoded.frames, recorded["max_feat_gen"], 1e-3)
    close(decoded.stop, recorded["max_prob"], 1e-3)


def test_decoding_goes_on_to_the_shortest_length() -> None:
    """Recorded with threshold 0 and minlenratio 1.2."""
    inputs = len(encoder_input("tiny"))
    limits = decoding.published_limits(inputs, model("tiny").config, shortest=1.2)
    masks = labelled_masks("tiny", "m2a-tiny-prenet-min")
    decoded = decode("tiny", lambda step: masks(step, step), limits, threshold=0.0)
    close(decoded.frames, arrays("tiny")["min_feat_gen"], 1e-3)


# ------------------------------------------------------------------------------------ rolls and joins


def instruments(path: Path) -> tuple[list[piano_roll.Notes], float]:
    """The instruments of a MIDI file as pretty_midi has them, and the end of the last event."""
    midi = pretty_midi.PrettyMIDI(str(path))
    found = []
    for one in midi.instruments:
        notes = [] if one.is_drum else one.notes
        pedal = [event for event in one.control_changes if event.number == 64]
        found.append(
            piano_roll.Notes(
                onset=np.array([note.start for note in notes]),
                offset=np.array([note.end for note in notes]),
                pitch=np.array([note.pitch for note in notes], np.int64),
                velocity=np.array([note.velocity for note in notes], np.int64),
                pedal_time=np.array([event.time for event in pedal]),
                pedal_value=np.array([event.value for event in pedal], np.int64),
            )
        )
    return found, midi.get_end_time()


def midi_files() -> list[Path]:
    """The piece is ASAP's: it is not part of the committed golden folder."""
    found = sorted(FOLDER.glob("*.mid"))
    if len(found) < 2 and golden_root().parts[-2:] != ("tests", "golden"):
        raise FileNotFoundError(f"no MIDI file of the piece in {FOLDER}")
    return found


@pytest.mark.parametrize("path", midi_files(), ids=case_name)
def test_piano_roll_of_a_file(path: Path) -> None:
    name = "edge" if path.stem == "edge_cases" else "piece"
    recorded = arrays("piano_roll")[f"{name}_roll"]
    found, end = instruments(path)
    np.testing.assert_array_equal(piano_roll.published_roll(found, end), recorded)
    if len(found) == 1:  # what the product does: all tracks are one performance
        performance = read_performance(path)
        roll = piano_roll.published_roll([notes_of(performance)], performance.end)
        np.testing.assert_array_equal(roll, recorded)


@pytest.mark.parametrize("name", ["piece", "edge"])
def test_segments_of_a_roll(name: str) -> None:
    recorded = arrays("piano_roll")
    roll = recorded[f"{name}_roll"]
    segments = piano_roll.published_segments(roll)
    lengths = recorded[f"{name}_segment_frames"]
    assert len(segments) == len(lengths)
    assert [len(segment) for segment in segments] == [-(-int(frames) // 4) + 1 for frames in lengths]
    inputs = {key: value for key, value in recorded.items() if key.startswith(f"{name}_encoder_input_")}
    assert inputs
    for key, value in inputs.items():
        close(segments[int(key.rsplit("_", 1)[1])], value, 1e-7)


def test_joined_waveforms() -> None:
    recorded = arrays("concat")
    count = sum(name.startswith("segment_") for name in recorded)
    waves = [recorded[f"segment_{index}"] for index in range(count)]
    joined = joining.published_join(waves)
    assert len(joined) == recorded["joined_length"]
    close(joined, recorded["joined"], 1e-6)
    assert len(joining.published_join(waves[:2])) == recorded["joined_first_two_length"]


# ---------------------------------------------------------------------------------------- the spectrum


def normalisation() -> tuple[Tensor, Tensor]:
    recorded = arrays("normalisation")
    return torch.from_numpy(recorded["mean"]), torch.from_numpy(recorded["std"])


def test_spectrum() -> None:
    recorded = arrays("full")
    found = spectrum.log_spectrum(torch.from_numpy(recorded["feature_wave"]))
    assert len(found) == recorded["feature_count"]
    rows = recorded["feature_frames"]
    close(found[rows], recorded["features"], 1e-4)
    close(spectrum.normalised(found, *normalisation())[rows], recorded["features_normalised"], 1e-4)


# ---------------------------------------------------------------------------------------- completeness

COMPARED = {
    "concat": {"joined", "joined_length", "joined_first_two_length", "segment_"},
    "normalisation": {"mean", "std"},
    "piano_roll": {f"{name}_{kind}" for name in ("piece", "edge") for kind in ("roll", "segment_frames")}
    | {"piece_encoder_input_segment_", "edge_encoder_input_segment_"},
    "network": {
        *("encoder_input", "encoder_embed", "encoder_layer_", "encoder_output", "encoder_output_rms"),
        *("memory", "midi", "midi_frames_used", "rows", "sid", "lid"),
        *("tf_after", "tf_before", "tf_logits", "tf_masks", "tf_mask_rows", "tf_feats"),
        *("ar_mask_label", "ar_prob_out_bias", "ar_steps", "ar_feat_gen", "ar_prob", "ar_wav"),
        *("ar_masks", "ar_mask_rows", "ar_att_w", "ar_att_w_last_step", "ar_feat_gen_denorm"),
        *("max_feat_gen", "max_prob", "max_masks", "max_mask_rows", "min_feat_gen"),
        *("vocoder_in", "vocoder_out", "feature_wave", "feature_frames", "features"),
        *("features_normalised", "feature_count"),
    },
}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=case_name)
def test_every_recording_is_compared(path: Path) -> None:
    """A recording of a new kind must not go unnoticed."""
    known = COMPARED["network"] if path.stem in ("tiny", "full") else COMPARED[path.stem]
    for name in load_arrays(path):
        assert name.rstrip("0123456789") in known, f"{path.name}: {name} is compared by no test"

"""M2A against what was recorded from the authors' code; tolerances of the fact sheet."""

from __future__ import annotations

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
from synthesizers.m2a import decoding, espnet, official, piano_roll
from synthesizers.m2a.network import AcousticModel
from synthesizers.m2a.spectrum import log_spectrum
from synthesizers.m2a.training.forward import teacher_forced
from synthesizers.vocoders.hifigan import HifiGan, folded_weight_norm
from tests.parity.golden_files import (
    REPOSITORY,
    Recording,
    folder_salt,
    golden_root,
    golden_values,
    load_arrays,
    load_config,
)
from tests.parity.reference.m2a import encoder_stages, source_attention

FOLDER = golden_root() / "m2a"
SETTINGS = {
    "full": load_config("m2a")["tts_conf"],
    "tiny": load_config("m2a", "config_tiny.json")["tiny"],
}
SALT = folder_salt("m2a")
each_size = pytest.mark.parametrize("size", ["tiny", pytest.param("full", marks=pytest.mark.slow)])


def close(found: Any, recorded: NDArray[Any], tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), recorded, rtol=0, atol=tolerance)


# --------------------------------------------------------------------------------------- the networks


@cache
def tensors(size: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(acoustic model, vocoder) of a whole checkpoint, filled from names."""
    layout = load_config("m2a", "state_dict.json" if size == "full" else "state_dict_tiny.json")
    layout = layout.get("m2a", layout)

    def filled(name: str, entry: dict[str, Any]) -> Tensor:
        if "generator." not in name:  # most of a checkpoint, and not filled by the recordings either
            return torch.empty(entry["shape"], device="meta")
        if entry["dtype"] != "float32":
            return torch.zeros(entry["shape"], dtype=getattr(torch, entry["dtype"]))
        return torch.from_numpy(golden_values(name, tuple(entry["shape"]), SALT))

    return espnet.generator_tensors({name: filled(name, entry) for name, entry in layout.items()})


@cache
def acoustic_model(size: str) -> AcousticModel:
    acoustic, _ = tensors(size)
    model = AcousticModel(espnet.acoustic_config(acoustic, SETTINGS[size]["text2mel_params"]))
    load_strictly(model, acoustic, source=size)
    return model.eval().requires_grad_(False)


@cache
def generator(size: str) -> HifiGan:
    _, found = tensors(size)
    built = HifiGan(espnet.vocoder_config(found, SETTINGS[size]["vocoder_params"]))
    load_strictly(built, folded_weight_norm(found), source=size)
    return built.eval().requires_grad_(False)


def vocoders(size: str) -> list[Callable[[Tensor], Tensor]]:
    """Both that the product uses: that of the CPU, and the plain one of other devices."""
    plain = generator(size)
    return [vocoder(plain, "cpu"), lambda features: plain(features.t()[None])[0]]


@each_size
def test_configuration_and_layout(size: str) -> None:
    parameters = {**SETTINGS[size], **SETTINGS[size]["text2mel_params"]}
    config = acoustic_model(size).config
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
    wanted, found = SETTINGS[size]["vocoder_params"], generator(size).config
    assert list(found.upsample_scales) == wanted["upsample_scales"]
    assert list(found.upsample_kernel_sizes) == wanted["upsample_kernel_sizes"]
    assert list(found.kernel_sizes) == wanted["resblock_kernel_sizes"]


@pytest.mark.slow
def test_the_baseline_has_the_tables_of_performers_and_environments() -> None:
    tables = load_config("m2a", "state_dict.json")["baseline_only"]
    acoustic, _ = tensors("full")
    more, _ = espnet.generator_tensors({name: torch.empty(entry["shape"]) for name, entry in tables.items()})
    config = espnet.acoustic_config({**acoustic, **more}, SETTINGS["full"]["text2mel_params"])
    rows = [entry["shape"][0] for entry in tables.values()]
    assert sorted((config.performers, config.environments)) == sorted(rows)
    load_strictly(AcousticModel(config), {**acoustic, **more}, source="baseline")
    plain = acoustic_model("full").config
    assert config == replace(plain, performers=config.performers, environments=config.environments)


@each_size
def test_every_recorded_array_of_the_networks(size: str) -> None:
    recorded, model = Recording(FOLDER / f"{size}.npz"), acoustic_model(size)
    inputs = encoder_input(recorded)
    ids = [int(recorded[name][0]) for name in ("sid", "lid") if name in recorded]
    memory = model.memory(inputs[None], *ids)[0]
    if "memory" in recorded:
        close(memory, recorded["memory"], 1e-4)
    check_encoder(recorded, inputs, model)
    check_teacher_forcing(recorded, size, memory)
    check_decoding(recorded, size, memory)
    check_step_limits(recorded, size, memory)
    for vocode in vocoders(size):
        close(vocode(torch.from_numpy(recorded["vocoder_in"]))[:, None], recorded["vocoder_out"], 1e-4)
    if "feature_wave" in recorded:
        check_features(recorded)
    recorded.check_complete()


def encoder_input(recorded: Recording) -> Tensor:
    if "midi" in recorded:
        cells = recorded["midi"]
    else:
        start, stop, step = recorded["midi_frames_used"]
        cells = load_arrays(FOLDER / "piano_roll.npz")["piece_roll"][start:stop:step]
    return torch.from_numpy(piano_roll.encoder_input(cells))


def check_encoder(recorded: Recording, inputs: Tensor, model: AcousticModel) -> None:
    rows = recorded["rows"] if "rows" in recorded else np.arange(len(inputs))
    if "encoder_input" in recorded:
        close(inputs, recorded["encoder_input"], 1e-7)
    first, *layers, output = encoder_stages(model.encoder, inputs[None])
    close(first[0, rows], recorded["encoder_embed"], 1e-4)
    assert len(layers) == len(recorded.named("encoder_layer_"))
    for index, layer in enumerate(layers):
        close(layer[0, rows], recorded[f"encoder_layer_{index}"], 1e-4)
    assert torch.equal(output, model.encoder(inputs[None]))
    close(output[0, rows], recorded["encoder_output"], 1e-4)
    if "encoder_output_rms" in recorded:
        close(output[0].square().mean(1).sqrt(), recorded["encoder_output_rms"], 1e-4)


def recorded_masks(recorded: Recording, size: str, name: str) -> list[list[Tensor]]:
    """The masks of a recorded decoding from their packed bits: per step and prenet layer [1, rows, units]."""
    config, rows = acoustic_model(size).config, recorded[f"{name}_mask_rows"]
    units, layers = config.prenet_units, config.prenet_layers
    bits = np.unpackbits(recorded[f"{name}_masks"])[: rows.sum() * units]
    calls = np.split(bits, np.cumsum(rows * units)[:-1])
    factors = [
        torch.from_numpy(call.reshape(1, -1, units).astype(np.float32) / (1 - config.prenet_dropout))
        for call in calls
    ]
    return [factors[first : first + layers] for first in range(0, len(factors), layers)]


def labelled_masks(size: str, label: str, step: int, rows: int) -> list[Tensor]:
    """The masks that a label stands for."""
    config, masks = acoustic_model(size).config, []
    for layer in range(config.prenet_layers):
        seed = zlib.crc32(f"{SALT}:{label}-{step}-{layer}".encode())
        drawn = np.random.Generator(np.random.PCG64(seed)).random((rows, config.prenet_units))
        kept = (drawn >= config.prenet_dropout).astype(np.float32) / (1 - config.prenet_dropout)
        masks.append(torch.from_numpy(kept.astype(np.float32))[None])
    return masks


def check_labels(masks: Sequence[Sequence[Tensor]], size: str, label: str) -> None:
    for step, found in enumerate(masks, 1):
        wanted = labelled_masks(size, label, step, found[0].shape[1])
        assert all(map(torch.equal, found, wanted))


def check_teacher_forcing(recorded: Recording, size: str, memory: Tensor) -> None:
    (masks,) = recorded_masks(recorded, size, "tf")
    check_labels([masks], size, f"m2a-{size}-prenet-tf")
    frames = torch.from_numpy(recorded["tf_feats"])[None]
    before, logits, _ = teacher_forced(acoustic_model(size), memory[None], frames, masks)
    close(acoustic_model(size).postnet(before)[0], recorded["tf_after"], 1e-4)
    close(before[0], recorded["tf_before"], 1e-4)
    close(logits[0], recorded["tf_logits"], 1e-4)


def stopping_model(recorded: Recording, size: str) -> AcousticModel:
    """The model with the recordings' own stop bias: the filled one would stop at once."""
    model = AcousticModel(acoustic_model(size).config)
    model.load_state_dict(acoustic_model(size).state_dict())
    model.prob_out.bias.data = torch.from_numpy(recorded["ar_prob_out_bias"])
    return model.eval().requires_grad_(False)


def check_decoding(recorded: Recording, size: str, memory: Tensor) -> None:
    """The whole loop with its stop rule, its attention, and its sound."""
    model, steps = stopping_model(recorded, size), int(recorded["ar_steps"])
    r, masks = model.config.reduction_factor, recorded_masks(recorded, size, "ar")
    assert len(masks) == steps
    check_labels(masks, size, str(recorded["ar_mask_label"]))
    limits = official.step_limits(len(memory), r)
    with source_attention(model) as weights:
        decoded = decode(model, memory, masks, limits)
    assert len(decoded.frames) == steps * r
    assert decoded.first_stop(r) in (steps, None)
    close(decoded.frames, recorded["ar_feat_gen"], 1e-3)
    close(decoded.stop, recorded["ar_prob"], 1e-3)
    attention = torch.cat(weights).unflatten(0, (steps, -1))[:, :, :, 0].permute(1, 2, 0, 3)
    if "ar_att_w" in recorded:
        close(attention, recorded["ar_att_w"], 1e-4)
    if "ar_att_w_last_step" in recorded:
        close(attention[:, :, -1], recorded["ar_att_w_last_step"], 1e-4)
    if "ar_feat_gen_denorm" in recorded:
        every = -(-len(decoded.frames) // len(recorded["ar_feat_gen_denorm"]))
        mean, deviation = normalisation()
        close((decoded.frames * deviation + mean)[::every], recorded["ar_feat_gen_denorm"], 1e-3)
    for vocode in vocoders(size):
        close(vocode(decoded.frames)[:, None], recorded["ar_wav"], 1e-4)


def decode(
    model: AcousticModel, memory: Tensor, masks: Sequence[Sequence[Tensor]], limits: decoding.StepLimits
) -> decoding.Decoded:
    return decoding.decode(model, [memory], lambda step: masks[step - 1], [limits], redraw="step")[0]


def check_step_limits(recorded: Recording, size: str, memory: Tensor) -> None:
    """Decodings that went on to the longest and to the shortest length, whatever the stop rule said."""
    if not recorded.named("max_"):
        return
    model, masks = stopping_model(recorded, size), recorded_masks(recorded, size, "max")
    check_labels(masks, size, f"m2a-{size}-prenet-max")
    decoded = decode(model, memory, masks, decoding.StepLimits(len(masks), len(masks)))
    close(decoded.frames, recorded["max_feat_gen"], 1e-3)
    close(decoded.stop, recorded["max_prob"], 1e-3)
    steps = len(recorded["min_feat_gen"]) // model.config.reduction_factor
    masks = [labelled_masks(size, f"m2a-{size}-prenet-min", step, step) for step in range(1, steps + 1)]
    decoded = decode(model, memory, masks, decoding.StepLimits(steps, steps))
    close(decoded.frames, recorded["min_feat_gen"], 1e-3)


def check_features(recorded: Recording) -> None:
    features = log_spectrum(torch.from_numpy(recorded["feature_wave"]))
    assert len(features) == recorded["feature_count"]
    rows, (mean, deviation) = recorded["feature_frames"], normalisation()
    close(features[rows], recorded["features"], 1e-4)
    close(((features - mean) / deviation)[rows], recorded["features_normalised"], 1e-4)


def normalisation() -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [128]."""
    recorded = Recording(FOLDER / "normalisation.npz")
    found = torch.from_numpy(recorded["mean"]), torch.from_numpy(recorded["std"])
    recorded.check_complete()
    return found


# ------------------------------------------------------------------------------------ rolls and joins


def instruments(path: Path) -> tuple[list[piano_roll.PedalledNotes], float]:
    """The instruments of a MIDI file as pretty_midi has them, and the end of the last event."""
    midi = pretty_midi.PrettyMIDI(str(path))
    found = []
    for one in midi.instruments:
        notes = [] if one.is_drum else one.notes
        pedal = [event for event in one.control_changes if event.number == 64]
        found.append(
            piano_roll.PedalledNotes(
                onset=np.array([note.start for note in notes]),
                offset=np.array([note.end for note in notes]),
                pitch=np.array([note.pitch for note in notes], np.int64),
                velocity=np.array([note.velocity for note in notes], np.int64),
                pedal_time=np.array([event.time for event in pedal]),
                pedal_value=np.array([event.value for event in pedal], np.int64),
            )
        )
    return found, midi.get_end_time()


def midi_of(name: str) -> Path:
    """The piece is ASAP's: the committed golden folder lacks its file."""
    found = [path for path in FOLDER.glob("*.mid") if path.stem.startswith("edge") == (name == "edge")]
    if not found and golden_root() == REPOSITORY / "tests" / "golden":
        pytest.skip(f"the MIDI file of the {name} is not in tests/golden: it is not ours to copy")
    assert found, f"no MIDI file of the {name} in {FOLDER}"
    return found[0]


ROLLS = [
    name.removesuffix("_roll") for name in load_arrays(FOLDER / "piano_roll.npz") if name.endswith("_roll")
]


@pytest.mark.parametrize("name", ROLLS)
def test_piano_roll_of_a_file(name: str) -> None:
    path, recorded = midi_of(name), load_arrays(FOLDER / "piano_roll.npz")[f"{name}_roll"]
    parts, end = instruments(path)
    roll = np.sum([official.piano_roll(part, end) for part in parts], axis=0)
    np.testing.assert_array_equal(roll, recorded)
    if len(parts) == 1:  # the product plays all tracks as one instrument
        performance = read_performance(path)
        roll = official.piano_roll(notes_of(performance), performance.end)
        np.testing.assert_array_equal(roll, recorded)


def test_segments_of_the_rolls() -> None:
    recorded = Recording(FOLDER / "piano_roll.npz")
    for name in ROLLS:
        segments = official.encoder_inputs(recorded[f"{name}_roll"])
        lengths = recorded[f"{name}_segment_frames"].tolist()
        assert [len(one) for one in segments] == [
            -(-frames // piano_roll.FRAMES_PER_CELL) + 1 for frames in lengths
        ]
        inputs = recorded.named(f"{name}_encoder_input_")
        assert inputs
        for key in inputs:
            close(segments[int(key.rsplit("_", 1)[1])], recorded[key], 1e-7)
    recorded.check_complete()


def test_joined_waveforms() -> None:
    recorded = Recording(FOLDER / "concat.npz")
    waves = [recorded[f"segment_{index}"] for index in range(len(recorded.named("segment_")))]
    joined = official.joined(waves)
    assert len(joined) == recorded["joined_length"]
    close(joined, recorded["joined"], 1e-6)
    assert len(official.joined(waves[:2])) == recorded["joined_first_two_length"]
    recorded.check_complete()


def test_every_file_is_compared() -> None:
    assert {path.stem for path in FOLDER.glob("*.npz")} == {
        *("tiny", "full", "normalisation", "piano_roll", "concat")
    }

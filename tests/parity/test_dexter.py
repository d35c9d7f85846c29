"""DExter against recordings of the authors' code; tolerances of the fact sheet, section 10."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapters.dexter import official_columns
from renderers.dexter import official, performance_codec, sampler, windows
from renderers.dexter.encoding import encode, match, sounding_durations
from renderers.dexter.network import Denoiser, DenoiserConfig, PackedDenoiser, step_table
from score_to_audio import Controls
from score_to_audio.formats.midi import read_performance
from score_to_audio.formats.scores.partitura_bridge import import_partitura
from score_to_audio.formats.scores.reader import ScoreOptions, load_partitura_score, notated, read_score
from score_to_audio.packed_linear import PackedLinear
from tests.parity.golden_files import case_name, fill, golden_root, load_arrays, load_cases, load_config, salt
from tests.parity.reference.dexter import TICKS_PER_BEAT, ddpm_means, midi_events, tie_by_fork_rule

CONFIG = load_config("dexter")


@cache
def network(size: str) -> Denoiser:
    settings = CONFIG[size]
    shape = DenoiserConfig(
        channels=settings["residual_channels"],
        layers=settings["residual_layers"],
        performance_columns=settings["p_codec_rows"],
        score_columns=settings["s_codec_rows"],
        dilation_base=settings["dilation_base"],
        dilation_bound=settings["dilation_bound"],
    )
    built = Denoiser(shape)
    fill(built, salt(CONFIG))
    return built.requires_grad_(False)


def schedule(size: str) -> sampler.Schedule:
    settings = CONFIG[size]
    return sampler.schedule(settings["timesteps"], settings["beta_start"], settings["beta_end"])


def arrays(name: str) -> dict[str, Any]:
    return load_arrays(golden_root() / "dexter" / f"{name}.npz")


def tensor(array: NDArray[Any]) -> Tensor:
    """Recorded networks' arrays have a channel axis of size one in front of the notes."""
    actual = torch.from_numpy(array)
    return actual.squeeze(-3) if actual.ndim >= 4 else actual


def close(actual: Any, recorded: NDArray[Any], tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(recorded), rtol=0, atol=tolerance)


def condition(score_codec: NDArray[Any]) -> Tensor:
    return windows.normalised_condition(torch.from_numpy(score_codec))


def statistics() -> tuple[Tensor, Tensor]:
    full = CONFIG["full"]
    return torch.tensor(full["dataset_means"]), torch.tensor(full["dataset_stds"])


# ------------------------------------------------------------------------------- schedules and steps


@pytest.mark.parametrize("path", load_cases("dexter", "schedule_*.npz"), ids=case_name)
def test_schedule(path: Path) -> None:
    """Vectorized square roots differ by one unit in the last place between processors: 1.2e-7 above 1."""
    built = schedule(path.stem.removeprefix("schedule_"))
    for name, recorded in load_arrays(path).items():
        np.testing.assert_allclose(
            getattr(built, name), recorded, rtol=np.finfo(np.float32).eps, atol=1e-7, err_msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("path", load_cases("dexter", "step_embedding_*.npz"), ids=case_name)
def test_step_embedding(path: Path) -> None:
    recorded = load_arrays(path)
    steps = torch.from_numpy(recorded["t"])
    close(step_table(torch.arange(len(recorded["table"]))), recorded["table"], 1e-6)
    close(step_table(steps), recorded["table_rows"], 1e-6)
    close(10.0 ** (torch.arange(64) * 4.0 / 63.0), recorded["frequencies"], 0)
    embedding = network(path.stem.removeprefix("step_embedding_")).diffusion_embedding
    close(embedding(steps), recorded["embedded"], 1e-5)


# ---------------------------------------------------------------------------------------- the score


def score_pieces() -> list[Path]:
    """Recorded score codecs (not the other recordings of stage 1)."""
    others = {"stage1_encode", "stage1_train_segments", "stage1_c_codec"}
    return [path for path in load_cases("dexter", "stage1_*.npz") if path.stem not in others]


@pytest.mark.parametrize("path", score_pieces(), ids=case_name)
def test_windows_and_conditions(path: Path) -> None:
    recorded = load_arrays(path)
    codec = recorded["s_codec"].astype(np.float32)
    lengths = [int(name.removeprefix("windows_")) for name in recorded if name.startswith("windows_")]
    assert lengths
    for length in lengths:
        starts = windows.window_starts(len(codec), length, CONFIG["full"]["overlap"])
        np.testing.assert_array_equal(starts, recorded[f"window_starts_{length}"])
        cut = windows.cut(codec, length, CONFIG["full"]["overlap"])
        np.testing.assert_array_equal(cut, recorded[f"windows_{length}"])
        close(windows.normalised_condition(cut).transpose(1, 2), recorded[f"cond_norm_{length}"], 1e-6)


def pieces_with_scores() -> list[Path]:
    """The MusicXML files are ASAP's: they are not part of the committed golden folder."""
    actual = [path for path in score_pieces() if score_file(path).is_file()]
    if not actual and golden_root().parts[-2:] != ("tests", "golden"):
        raise FileNotFoundError(f"no scores in {golden_root() / 'dexter' / 'scores'}")
    return actual


def score_file(path: Path) -> Path:
    return golden_root() / "dexter" / "scores" / f"{path.stem.removeprefix('stage1_')}.musicxml"


@pytest.mark.parametrize("path", pieces_with_scores(), ids=case_name)
def test_score_columns(path: Path) -> None:
    """With the ties of the fork every row is equal; partitura's own change the rows of the notes they
    join."""
    recorded = load_arrays(path)
    score = read_score(score_file(path), ScoreOptions(parts="all", repeats=False))
    library = load_partitura_score(score)
    plain = library.note_array()
    tie_by_fork_rule(library.parts, notated(score, as_written=True).findall("part"))
    columns = official.score_columns(library.note_array())
    assert Counter(map(tuple, columns.codec.astype(int).tolist())) == Counter(
        map(tuple, recorded["s_codec"].tolist())
    )
    unisons = np.zeros(len(columns), bool)
    unisons[recorded["unison_index"]] = True
    np.testing.assert_array_equal(columns.codec[~unisons], recorded["s_codec"][~unisons])
    for name in ("onset_beat", "duration_beat"):
        close(getattr(columns, name)[~unisons], recorded[name][~unisons], 1e-6)
        close(np.sort(getattr(columns, name)), np.sort(recorded[name]), 1e-6)
    tied = library.note_array()
    for name in ("onset_quarter", "duration_quarter", "divs_pq"):
        close(np.sort(tied[name]), np.sort(recorded[name]), 1e-6)
    assert set(recorded["ids"]) == {"None"}
    # Both tie rules give the notes of one pitch the same total length.
    own = official_columns(score)
    np.testing.assert_array_equal(own.codec, official.score_columns(plain).codec)
    for pitch in np.unique(own.codec[:, 2]):
        lengths = [codec[codec[:, 2] == pitch, 1].sum() for codec in (own.codec, columns.codec)]
        assert lengths[0] == lengths[1]


# --------------------------------------------------------------------------------------- the network


def record_outputs(packed: PackedDenoiser) -> list[Tensor]:
    """A list that gets the residual and skip of each layer during the next pass."""
    outputs: list[Tensor] = []

    def recording(layer: PackedLinear) -> Callable[[Tensor], Tensor]:
        def call(rows: Tensor) -> Tensor:
            outputs.append(layer(rows))
            return outputs[-1]

        return call

    packed.layers = [replace(layer, output=recording(layer.output)) for layer in packed.layers]
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("path", load_cases("dexter", "stage2_*.npz"), ids=case_name)
def test_denoiser(path: Path) -> None:
    recorded = load_arrays(path)
    denoiser = network(path.stem.removeprefix("stage2_"))
    x, steps, given = tensor(recorded["x_t"]), torch.from_numpy(recorded["t"]), condition(recorded["s_codec"])
    close(given.transpose(1, 2), recorded["cond_norm"], 1e-6)
    packed = denoiser.packed()
    outputs = record_outputs(packed)
    out = packed.denoise(x, denoiser.condition(given), denoiser.step_projections(steps))
    close(out, recorded["out"][:, 0], 2e-5)
    close(denoiser(x, torch.zeros_like(given), steps), recorded["out_zero_condition"][:, 0], 2e-5)
    layers = [name for name in recorded if name.startswith("layer")]
    hidden = packed.input(x)
    for index, output in enumerate(outputs):
        residual, skip = output.chunk(2, dim=-1)
        hidden = (hidden + residual) / math.sqrt(2)
        for kind, state in (("x", hidden), ("skip", skip)):
            if f"layer{index}_{kind}" in recorded:
                close(state.transpose(1, 2), recorded[f"layer{index}_{kind}"], 2e-5)
    assert set(layers) <= {f"layer{i}_{kind}" for i in range(len(outputs)) for kind in ("x", "skip")}
    if "step_embedding" in recorded:
        close(denoiser.diffusion_embedding(steps), recorded["step_embedding"], 1e-5)
    known = {"x_t", "s_codec", "t", "cond_norm", "out", "out_zero_condition", "step_embedding", *layers}
    assert set(recorded) <= known


# -------------------------------------------------------------------------------------- the sampler


def recorded_noise(recorded: dict[str, Any], name: str, steps: list[int]) -> sampler.Noise:
    noise = tensor(recorded[name])
    return lambda step: noise[steps.index(step)]


def test_sampling() -> None:
    recorded = arrays("stage3_tiny")
    s, (means, stds) = schedule("tiny"), statistics()
    steps = sampler.ddpm_steps(s)
    assert steps == recorded["t_order"].tolist()
    predict = sampler.guided(
        network("tiny"), condition(recorded["s_codec"]), weight=CONFIG["tiny"]["w"], steps=steps
    )
    noise = recorded_noise(recorded, "step_noise", steps)
    states = list(sampler.ddpm(tensor(recorded["start_noise"]), predict, s, noise, steps))
    close(states[0], recorded["x_after_first"][:, 0], 1e-4)
    close(states[steps.index(int(recorded["x_mid_t"]))], recorded["x_mid"][:, 0], 1e-4)
    close(states[-1], recorded["x_final"][:, 0], 1e-4)
    close(sampler.denormalise(states[-1], means, stds), recorded["p_codec"][:, 0], 1e-4)


def test_sampling_with_condition_dropout() -> None:
    recorded = arrays("stage3_tiny_train_mode")
    s = schedule("tiny")
    steps = sampler.ddpm_steps(s)
    masks = iter(torch.from_numpy(recorded["dropout_masks"]) > 0)
    given = condition(recorded["s_codec"])
    predict = official.guided_with_dropout(
        network("tiny"), given, masks, weight=CONFIG["tiny"]["w"], steps=steps
    )
    noise = recorded_noise(recorded, "step_noise", steps)
    *_, final = sampler.ddpm(tensor(recorded["start_noise"]), predict, s, noise, steps)
    close(final, recorded["x_final"][:, 0], 1e-4)


@pytest.mark.slow
def test_sampling_at_full_size() -> None:
    recorded = arrays("stage3_full")
    s, (means, stds), weight = schedule("full"), statistics(), CONFIG["full"]["w"]
    given, x = condition(recorded["s_codec"]), tensor(recorded["x"])
    single = [
        int(name.removeprefix("step").removesuffix("_out")) for name in recorded if name.endswith("_out")
    ]
    chain = recorded["chain_t"].tolist()
    predict = sampler.guided(network("full"), given, weight=weight, steps=sorted({*single, *chain}))
    for step in single:
        noise = tensor(recorded[f"step{step}_noise"]) if step else None
        out = sampler.ddpm_step(x, predict(x, step), step, s, noise)
        close(out, recorded[f"step{step}_out"][:, 0], 1e-4)
    *_, final = sampler.ddpm(x, predict, s, recorded_noise(recorded, "chain_noise", chain), chain)
    close(final, recorded["chain_final"][:, 0], 1e-4)
    close(sampler.denormalise(final, means, stds), recorded["chain_p_codec"][:, 0], 1e-4)


def test_transfer_at_inference() -> None:
    recorded = arrays("stage3_transfer_at_inference")
    s, (means, stds) = schedule("tiny"), statistics()
    raw, noise = tensor(recorded["source_p_codec_raw"]), tensor(recorded["noise"])
    close(sampler.normalise(raw, means, stds), recorded["source_p_codec_normalised"], 1e-5)
    start, steps = sampler.transfer_steps(s, CONFIG["tiny_transfer_at_inference"]["sample_steps_frac"])
    assert steps == recorded["t_order"].tolist()
    assert start == recorded["sample_steps"]
    x = sampler.noised(raw, start, s, noise[0])  # the official start: raw values (sheet, section 8)
    close(x, recorded["start"][:, 0], 1e-4)
    predict = sampler.guided(
        network("tiny"), condition(recorded["s_codec"]), weight=CONFIG["tiny"]["w"], steps=steps
    )
    *_, final = sampler.ddpm(x, predict, s, lambda step: noise[1 + steps.index(step)], steps)
    close(final, recorded["x_final"][:, 0], 1e-4)
    close(sampler.denormalise(final, means, stds), recorded["p_codec"][:, 0], 1e-4)
    assert recorded["c_codec_used"].any()  # was given to this network, which ignores it


def test_trained_transfer() -> None:
    recorded = arrays("stage3_transfer_trained")
    s, (means, stds) = schedule("tiny_transfer_trained"), statistics()
    source = tensor(recorded["source_p_codec_raw"])
    close(sampler.normalise(source, means, stds), recorded["source_p_codec_normalised"], 1e-5)
    close(source, recorded["start"][:, 0], 1e-4)
    steps = sampler.ddpm_steps(s)
    assert steps == recorded["t_order"].tolist()
    assert len(steps) == recorded["sample_steps"]
    assert recorded["noise"].shape[0] == len(steps) - 1  # drawn and dropped by the official code
    assert recorded["c_codec_used"].any()  # ignored by this network
    predict = sampler.guided(
        network("tiny"), condition(recorded["s_codec"]), weight=CONFIG["tiny"]["w"], steps=steps
    )
    *_, final = ddpm_means(source, predict, s, steps)
    close(final, recorded["x_final"][:, 0], 1e-4)
    close(sampler.denormalise(final, means, stds), recorded["p_codec"][:, 0], 1e-4)


# ------------------------------------------------------------------------------ joining and decoding


def test_joining() -> None:
    recorded = arrays("stage4_join")
    lengths = [name.removeprefix("pred_") for name in recorded if name.startswith("pred_")]
    for length in lengths:
        joined = windows.join(
            tensor(recorded[f"pred_{length}"]), int(recorded["n_notes"]), CONFIG["full"]["overlap"], "average"
        )
        close(joined, recorded[f"joined_{length}"], 1e-6)


def piece_of(case: str) -> dict[str, Any]:
    """The columns of the score of a decoding case, which is the one with as many notes (sheet, section
    10)."""
    notes = len(arrays(f"stage4_decode_{case}")["p_codec"])
    fitting = [path for path in score_pieces() if len(load_arrays(path)["s_codec"]) == notes]
    assert len(fitting) == 1, f"{len(fitting)} scores have {notes} notes"
    return load_arrays(fitting[0])


def decoded(case: str) -> tuple[performance_codec.DecodedNotes, dict[str, Any]]:
    recorded, piece = arrays(f"stage4_decode_{case}"), piece_of(case)
    onset, _, pitch, _ = piece["s_codec"].T
    notes = performance_codec.decode(
        recorded["p_codec"], piece["onset_beat"], piece["duration_beat"], onset, pitch
    )
    return notes, recorded


@pytest.mark.parametrize("path", load_cases("dexter", "stage4_decode_*.npz"), ids=case_name)
def test_decoding(path: Path) -> None:
    notes, recorded = decoded(path.stem.removeprefix("stage4_decode_"))
    close(notes.onset, recorded["f8_note_on"], 1e-4)
    close(notes.offset, recorded["f8_note_off"], 1e-4)
    close(notes.onset, recorded["f8_pedal_time"], 1e-4)
    for name, column in (("pitch", notes.pitch), ("velocity", notes.velocity), ("pedal_value", notes.pedal)):
        np.testing.assert_array_equal(column, recorded[name])
    if "events" in recorded:
        same_events(midi_events(notes), recorded["events"])
        assert recorded["ticks_per_beat"] == TICKS_PER_BEAT
        assert recorded["midi_type"] == 0
    if "snote_ids" in recorded:
        # The round trip starts from the encoded performance: same rows, ids in score order.
        encoded = arrays("stage1_encode")
        np.testing.assert_array_equal(recorded["snote_ids"], encoded["snote_ids"])
        close(recorded["p_codec"], encoded["p_codec"], 1e-5)
        assert len(set(recorded["ids"])) == len(notes.onset)
    else:
        assert "events" in recorded


def same_events(actual: NDArray[np.int64], recorded: NDArray[np.int64]) -> None:
    close(actual[:, 0], recorded[:, 0], 1)
    np.testing.assert_array_equal(actual[:, 1:], recorded[:, 1:])


@pytest.mark.parametrize("path", sorted((golden_root() / "dexter").glob("decode_*.mid")), ids=case_name)
def test_recorded_midi_files_hold_the_recorded_events(path: Path) -> None:
    notes, _ = decoded(path.stem.removeprefix("decode_"))
    events = midi_events(notes)
    track = mido.MidiFile(path).tracks[0]
    ticks = np.cumsum([message.time for message in track])
    kinds = {"control_change": 2, "note_on": 3, "note_off": 4}
    played = [(tick, message) for tick, message in zip(ticks, track, strict=True) if message.type in kinds]
    ours = events[np.isin(events[:, 1], list(kinds.values()))]
    assert len(played) == len(ours)
    for (tick, message), (our_tick, kind, number, value, channel) in zip(played, ours, strict=True):
        assert abs(tick - our_tick) <= 1
        assert (kinds[message.type], message.channel) == (kind, channel)
        if message.type == "control_change":
            assert (message.control, message.value) == (number, value)
        else:
            assert message.note == number


# ---------------------------------------------------------------------------------------- encoding


def test_encoding() -> None:
    recorded, config_alignment = arrays("stage1_encode"), load_cases("dexter", "alignment_*.json")
    piece = load_arrays(
        golden_root() / "dexter" / f"stage1_{config_alignment[0].stem.removeprefix('alignment_')}.npz"
    )
    np.testing.assert_array_equal(recorded["s_codec"], piece["s_codec"])
    np.testing.assert_array_equal(recorded["m_pitch"], piece["s_codec"][:, 2])
    performed = {name: index for index, name in enumerate(recorded["perf_id"])}
    row = {name: index for index, name in enumerate(recorded["snote_ids"])}
    played = np.full(len(row), -1)
    aligned = zip(recorded["al_label"], recorded["al_score_id"], recorded["al_performance_id"], strict=True)
    for label, score_id, performance_id in aligned:
        if label == "match":
            played[row[score_id]] = performed[performance_id]
    matched = match(
        piece["onset_beat"],
        piece["duration_beat"],
        played,
        recorded["perf_onset"],
        recorded["perf_duration"],
        recorded["perf_velocity"],
    )
    for name, column in (
        ("m_onset", matched.onset),
        ("m_duration", matched.duration),
        ("m_p_onset", matched.performed_onset),
        ("m_p_duration", matched.performed_duration),
        ("m_velocity", matched.velocity),
        ("pad_mask", matched.missing),
    ):
        close(column, recorded[name], 1e-5)
    import_partitura()
    from partitura.musicanalysis.performance_codec import encode_tempo

    with np.errstate(invalid="ignore"):
        tempo = encode_tempo(
            matched.onset, matched.performed_onset, matched.duration, matched.performed_duration
        )
    assert recorded["n_controls"] == len(recorded["f8_control_time"])
    numbers = np.zeros(len(recorded["control_value"]), np.int64)
    controls = Controls(recorded["f8_control_time"], numbers, recorded["control_value"])
    close(encode(matched, tempo, controls), recorded["p_codec"], 1e-5)


def test_training_segments() -> None:
    recorded, whole = arrays("stage1_train_segments"), arrays("stage1_encode")
    length = recorded["p_codec"].shape[1]
    for name in ("p_codec", "s_codec"):
        segments = windows.cut(whole[name].astype(np.float32), length, 0)
        close(segments, recorded[name], 1e-5)
    assert not recorded["c_codec"].any()


def test_perceptual_features_per_note() -> None:
    """The last frame that starts at or before a note's onset, otherwise the last frame (sheet, section 8)."""
    recorded = arrays("stage1_c_codec")
    index = np.searchsorted(recorded["f8_frame_start_time"], recorded["p_onset"], side="right") - 1
    close(recorded["f8_frame_values"][index], recorded["f8_c_codec"], 1e-5)


HUMAN = sorted((golden_root() / "dexter" / "scores").glob("*_human.mid"))


@pytest.mark.parametrize("path", HUMAN, ids=case_name)
def test_performed_notes(path: Path) -> None:
    recorded, played = arrays("stage1_encode"), read_performance(path)
    close(played.onset, recorded["perf_onset"], 1e-5)
    close(sounding_durations(played), recorded["perf_duration"], 1e-5)
    np.testing.assert_array_equal(played.pitch, recorded["perf_pitch"])
    np.testing.assert_array_equal(played.velocity, recorded["perf_velocity"])
    sustain = played.controls.number == 64
    close(played.controls.time[sustain], recorded["pedal_time"], 1e-5)
    np.testing.assert_array_equal(played.controls.value[sustain], recorded["pedal_value"])
    np.testing.assert_array_equal(np.unique(played.controls.number), recorded["all_control_numbers"])


def test_every_recording_is_compared() -> None:
    """Each file is one of the sheet's, or of a kind whose cases the tests above find."""
    by_name = {"stage1_encode", "stage1_train_segments", "stage1_c_codec", "stage4_join"}
    by_name |= {"stage3_tiny", "stage3_tiny_train_mode", "stage3_full"}
    by_name |= {"stage3_transfer_at_inference", "stage3_transfer_trained"}
    by_kind = ("schedule_", "step_embedding_", "stage1_", "stage2_", "stage4_decode_")
    names = {path.stem for path in load_cases("dexter", "*.npz")}
    assert by_name <= names
    assert {name for name in names - by_name if not name.startswith(by_kind)} == set()

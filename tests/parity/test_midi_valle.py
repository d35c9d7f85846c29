"""MIDI-VALLE against recordings of the authors' program on filled weights: tokens, loops, logits, joins."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pretty_midi
import pytest
import torch
from torch import Generator, Tensor

from score_to_audio.types import Controls
from synthesizers.midi_valle import official
from synthesizers.midi_valle.decoding import DecodingRequest, first_codebooks, sampler
from synthesizers.midi_valle.network import MidiValle, MidiValleConfig, config_from_shapes, parameter_shapes
from synthesizers.midi_valle.sampling import Sampling, draw, filtered, probabilities
from synthesizers.midi_valle.tokens import SPECIALS, NoteArray
from tests.parity.golden_files import (
    REPOSITORY,
    case_name,
    golden_root,
    load_arrays,
    load_cases,
    load_config,
    salt,
)
from tests.parity.reference.midi_valle import filled_weights, model_of

MODEL = "midi_valle"
CONFIG = load_config(MODEL)
AR_TOLERANCE, NAR_TOLERANCE, JOIN_TOLERANCE = 1e-4, 1e-3, 1e-6
"""Absolute (the sheet's)."""
DECIDED = 1e-3
"""Gap of the two largest logits below which rounding may choose (the sheet's)."""
MIDI = golden_root() / MODEL / "midi"
PIECES = sorted(path for path in MIDI.iterdir() if path.is_dir())


def cases_with(array: str) -> list[Path]:
    """The files that hold an array of this name."""
    found = [path for path in load_cases(MODEL, "*.npz") if array in load_arrays(path)]
    assert found, f"no recording of {array}"
    return found


RUNS, DRAWS, JOINED = (cases_with(array) for array in ("ar_drawn", "cases", "joined_naive"))


def test_every_file_is_compared() -> None:
    assert sorted([*RUNS, *DRAWS, *JOINED]) == load_cases(MODEL, "*.npz")


# ------------------------------------------------------------------------------------------ the network


def config_of(case: Path) -> MidiValleConfig:
    values = {**CONFIG["full"], **(CONFIG["tiny"] if case.stem.startswith("tiny") else {})}
    return MidiValleConfig(
        width=values["decoder_dim"],
        heads=values["nhead"],
        layers=values["num_decoder_layers"],
        codebooks=values["num_quantizers"],
        codes=values["num_audio_tokens"],
        field_rows=tuple(values["midi_vocab_sizes"]),
        field_widths=tuple(values["midi_embedding_sizes"]),
    )


@cache
def model_for(config: MidiValleConfig, eos_row_factor: float | None) -> MidiValle:
    tensors = filled_weights(config, salt(CONFIG))
    if eos_row_factor is not None:
        tensors["ar_predict_layer.weight"][config.codes] *= eos_row_factor
    return model_of(tensors, config)


def recorded_model(case: Path, recorded: dict[str, Any]) -> MidiValle:
    factor = recorded.get("eos_row_factor")
    return model_for(config_of(case), None if factor is None else float(factor))


def request_of(recorded: dict[str, Any]) -> DecodingRequest:
    """The recorded input, with a generator seeded as the recording was."""
    tokens, prompt = (
        torch.from_numpy(recorded[name].astype(np.int64)) for name in ("midi_tokens", "prompt_codes")
    )
    generator = Generator().manual_seed(int(recorded["seed"]))
    return DecodingRequest(tokens, prompt, generator, 0, official.max_frames(len(tokens)))


def slow_if_full(cases: list[Path]) -> list[Any]:
    return [pytest.param(path, marks=[pytest.mark.slow] if "full" in path.stem else []) for path in cases]


@pytest.mark.parametrize("case", slow_if_full(RUNS), ids=case_name)
def test_every_recorded_array_of_a_run(case: Path) -> None:
    """The whole loop with its cache, fed with the recorded draws."""
    recorded = load_arrays(case)
    model, request = recorded_model(case, recorded), request_of(recorded)
    draws = recorded["ar_drawn"].tolist() + ([model.end] if "forced_stop_after" in recorded else [])
    logits: list[Tensor] = []

    def recorded_draws(rows: Tensor, requests: Sequence[DecodingRequest]) -> list[int]:
        logits.append(rows[0].clone())
        return [draws[len(logits) - 1]]

    ((_, first),) = first_codebooks(model, [request], recorded_draws, batch_size=1)
    assert len(first) == len(recorded["codes"])
    assert len(logits) == len(draws) == len(first) + 1
    if "forced_stop_after" in recorded:
        assert len(first) == recorded["forced_stop_after"]
    found = torch.stack(logits)
    np.testing.assert_allclose(found[recorded["ar_steps"]], recorded["ar_logits"], atol=AR_TOLERANCE, rtol=0)
    lse = found.logsumexp(-1)
    np.testing.assert_allclose(lse, recorded["ar_logsumexp"], atol=AR_TOLERANCE, rtol=0)
    check_choices(found, recorded["ar_argmax"], recorded["ar_top2_gap"], AR_TOLERANCE)

    codes = model.complete(request.tokens, request.prompt, first)
    nar = torch.stack(list(model.stage_logits(request.tokens, request.prompt, first)))
    chosen = nar[:, recorded["nar_frames"]]
    np.testing.assert_allclose(chosen, recorded["nar_logits"], atol=NAR_TOLERANCE, rtol=0)
    recorded_codes = recorded["codes"].astype(np.int64)
    for stage in range(len(nar)):
        gap = recorded["nar_top2_gap"][stage]
        check_choices(nar[stage], recorded_codes[:, stage + 1], gap, NAR_TOLERANCE)
        assert np.array_equal(codes[:, stage + 1][gap > DECIDED], recorded_codes[:, stage + 1][gap > DECIDED])
    assert np.array_equal(codes[:, 0], recorded_codes[:, 0])
    asserted = {
        "midi_tokens", "prompt_codes", "codes", "ar_steps", "ar_logits", "ar_argmax", "ar_logsumexp",
        "ar_top2_gap", "ar_drawn", "nar_frames", "nar_logits", "nar_top2_gap",
    }  # fmt: skip
    settings = {"top_k", "temperature", "seed", "forced_stop_after", "eos_row_factor", "source"}
    assert set(recorded) <= asserted | settings, "an array that nothing checks"


def check_choices(logits: Tensor, choices: np.ndarray, gap: np.ndarray, tolerance: float) -> None:
    """The largest logit and its distance to the second-largest, [steps, V]."""
    best = logits.topk(2, dim=-1)
    np.testing.assert_allclose(best.values[:, 0] - best.values[:, 1], gap, atol=2 * tolerance, rtol=0)
    decided = gap > DECIDED
    assert np.array_equal(best.indices[:, 0][decided], choices[decided])


@pytest.mark.parametrize(
    "case", [path for path in RUNS if "forced_stop_after" not in load_arrays(path)], ids=case_name
)
def test_own_draws_are_the_recorded_ones(case: Path) -> None:
    """The seeded loop: filters, generator and stop rules of the sampler itself."""
    recorded = load_arrays(case)
    model, request = recorded_model(case, recorded), request_of(recorded)
    sampling = Sampling(float(recorded["temperature"]), int(recorded["top_k"]))
    ((_, first),) = first_codebooks(model, [request], sampler(sampling), batch_size=1)
    assert np.array_equal(first, recorded["codes"][:, 0])


def test_parameter_names_and_shapes() -> None:
    contract = {name: tuple(entry["shape"]) for name, entry in load_config(MODEL, "state_dict.json").items()}
    assert parameter_shapes(MidiValleConfig()) == contract
    assert config_from_shapes(contract) == MidiValleConfig()
    assert config_of(Path("full.npz")) == MidiValleConfig()


# --------------------------------------------------------------------------------------- around it


@pytest.mark.parametrize("case", DRAWS, ids=case_name)
def test_filters_and_draws(case: Path) -> None:
    recorded = load_arrays(case)
    logits = torch.from_numpy(recorded.pop("logits"))
    for index, (top_k, top_p, temperature) in enumerate(recorded.pop("cases").tolist()):
        sampling = Sampling(temperature, int(top_k), top_p)
        kept = np.packbits(np.isfinite(filtered(logits, sampling).numpy()), axis=-1)
        assert np.array_equal(kept, recorded.pop(f"keep_{index}"))
        chances = probabilities(logits, sampling)
        largest = chances.max(dim=-1).values
        np.testing.assert_allclose(largest, recorded.pop(f"probs_sum_{index}"), atol=1e-6)
        generator = Generator().manual_seed(1000 + index)
        noise = torch.empty_like(logits).exponential_(generator=generator)
        assert np.array_equal(draw(chances, noise), recorded.pop(f"token_{index}"))
    assert not recorded, "an array that nothing checks"


@pytest.mark.parametrize("case", JOINED, ids=case_name)
def test_joins(case: Path) -> None:
    recorded = load_arrays(case)
    count = sum(name.startswith("segment_") for name in recorded)
    pieces = [recorded.pop(f"segment_{index}") for index in range(count)]
    untouched = [piece.copy() for piece in pieces]
    for mode in [name.removeprefix("joined_") for name in list(recorded)]:
        joined = official.JOINS[mode](pieces)
        np.testing.assert_allclose(joined, recorded.pop(f"joined_{mode}"), atol=JOIN_TOLERANCE, rtol=0)
    assert all(map(np.array_equal, pieces, untouched))
    assert not recorded, "an array that nothing checks"


def test_vocabulary() -> None:
    vocabulary = load_config(MODEL, "vocab.json")
    fields = [field["name"] for field in vocabulary["fields"]]
    assert fields == ["Pitch", "Velocity", "Duration", "IOI", "Position", "Bar"]
    rows = [field.get("model_table_size", field["size"]) for field in vocabulary["fields"]]
    assert tuple(rows) == MidiValleConfig().field_rows
    assert len(vocabulary["special"]) == SPECIALS


# ------------------------------------------------------------------------------- segments and tokens


def track_events(path: Path) -> tuple[official.TrackEvents, int]:
    """The note events of the first track that has notes, and the file's resolution."""
    midi = mido.MidiFile(path)
    for track in midi.tracks:
        tick, found = 0, []
        for message in track:
            tick += message.time
            if message.type in ("note_on", "note_off"):
                velocity = message.velocity if message.type == "note_on" else 0
                found.append((tick, message.note, velocity, message.channel))
        if any(velocity for _, _, velocity, _ in found):
            return official.TrackEvents(*np.array(found).T), midi.ticks_per_beat
    raise AssertionError(f"{path}: no notes")


def read_midi(path: Path) -> tuple[NoteArray, Controls, float]:
    """Notes and controls of all instruments and the end, as pretty_midi reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # tempo events outside the first track
        midi = pretty_midi.PrettyMIDI(str(path))
    notes = [note for instrument in midi.instruments for note in instrument.notes]
    controls = [event for instrument in midi.instruments for event in instrument.control_changes]
    return (
        NoteArray(
            np.array([note.start for note in notes]),
            np.array([note.end for note in notes]),
            np.array([note.pitch for note in notes], dtype=np.int64),
            np.array([note.velocity for note in notes], dtype=np.int64),
        ),
        Controls(
            np.array([event.time for event in controls]),
            np.array([event.number for event in controls], dtype=np.int64),
            np.array([event.value for event in controls], dtype=np.int64),
        ),
        midi.get_end_time(),
    )


SEGMENTS = json.loads((MIDI / "segments.json").read_text("utf-8"))
TOKENS = load_arrays(MIDI / "tokens.npz")


def test_every_midi_file_has_tokens_and_the_other_way_round() -> None:
    files = {str(path.relative_to(MIDI)) for path in MIDI.rglob("*.mid*")}
    assert files == set(TOKENS)
    assert {path.name for path in PIECES} == set(SEGMENTS["pieces"])


@pytest.mark.parametrize("name", sorted(TOKENS))
def test_tokens_of_files(name: str) -> None:
    assert np.array_equal(official.tokens_of_events(*track_events(MIDI / name)), TOKENS[name])


def test_cut_points() -> None:
    first = SEGMENTS["first_61_segment_points"]
    np.testing.assert_allclose(official.cut_points(first[-1] + 1e-9), first, rtol=0, atol=1e-9)
    for name, piece in SEGMENTS["pieces"].items():
        *_, end = read_midi(MIDI / name / "input.mid")
        assert end == pytest.approx(piece["end_time"], abs=1e-9)
        assert piece["segments_written"] == len(piece["segment_points"]) - 1
        if piece["source"] != "synthetic":
            np.testing.assert_allclose(official.cut_points(end), piece["segment_points"], rtol=0, atol=1e-9)


def stored_segments(piece: Path) -> list[Path]:
    return sorted(path for path in piece.glob("segment_*.midi") if "_cat" not in path.stem)


@pytest.mark.parametrize("piece", PIECES, ids=case_name)
def test_segments_from_notes_in_memory(piece: Path) -> None:
    """Cut, with the published losses, and tokens as if written to a file and read again."""
    notes, controls, _ = read_midi(piece / "input.mid")
    points = SEGMENTS["pieces"][piece.name]["segment_points"]
    assert stored_segments(piece)
    for path in stored_segments(piece):
        start, end = points[int(path.stem.split("_")[1]) :][:2]
        segment = official.segment_notes(notes, start, end)
        written, written_controls, _ = read_midi(path)
        assert note_rows(official.as_written(segment)) == note_rows(written)
        kept = (controls.time >= start) & (controls.time < end)
        cut_times, cut_values = controls.time[kept] - start, controls.value[kept]
        ticks = (official.file_ticks(one) for one in (cut_times, written_controls.time))
        assert np.array_equal(*map(np.sort, ticks))
        assert np.array_equal(np.sort(cut_values), np.sort(written_controls.value))
        assert np.array_equal(official.tokens_of_file(segment), TOKENS[f"{piece.name}/{path.name}"])


def note_rows(notes: NoteArray) -> list[tuple[float, ...]]:
    columns = np.stack([notes.onset, notes.offset, notes.pitch, notes.velocity], axis=1).round(6)
    return sorted(map(tuple, columns.tolist()))


@pytest.mark.parametrize("piece", PIECES, ids=case_name)
def test_prompt_joined_to_segments(piece: Path) -> None:
    """Tokens of prompt and segment together, for every such file of the folder."""
    notes, *_ = read_midi(piece / "input.mid")
    points = SEGMENTS["pieces"][piece.name]["segment_points"]
    joined = sorted(piece.glob("segment_*_cat.midi"))
    if not joined and golden_root() == REPOSITORY / "tests" / "golden":
        pytest.skip("tests/golden holds no prompt: it is not ours to copy")
    assert joined
    for path in joined:
        start, end = points[int(path.stem.split("_")[1]) :][:2]
        segment = official.as_written(official.segment_notes(notes, start, end))
        found = [
            official.tokens_of_file(NoteArray.joined(prompt, segment.shifted(prompt_end)))
            for prompt, _, prompt_end in map(read_midi, sorted(MIDI.glob("prompt_*.midi")))
        ]
        assert any(np.array_equal(tokens, TOKENS[f"{piece.name}/{path.name}"]) for tokens in found)

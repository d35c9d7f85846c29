"""M2M against recordings of the authors' code; tolerances of the fact sheet."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapters.m2m import read_checkpoint
from renderers.m2m import official, sampling, tokens
from renderers.m2m.network import (
    FEATURES,
    HEADS,
    M2MNetwork,
    NetworkConfig,
    config_from_tensors,
)
from score_to_audio.weights import load_strictly
from tests.parity.golden_files import (
    case_name,
    fill,
    golden_root,
    golden_values,
    load_arrays,
    load_cases,
    load_config,
    module_outputs,
    salt,
)
from tests.parity.reference import m2m as published

CONFIG = load_config("m2m")
NAMES = load_config("m2m", "state_dict.json")
FOLDER = golden_root() / "m2m"
TOLERANCE = 1e-4
CLEAR = 1e-3
"""Smallest gap between the best and the second logit for which the best is compared."""


@cache
def network(size: str) -> M2MNetwork:
    settings, names = CONFIG[size], NAMES[size]
    built = M2MNetwork(
        NetworkConfig(
            vocabularies=tuple(settings["vocab_size"][name] for name in FEATURES),
            widths=tuple(settings["emb_size"][name] for name in FEATURES),
            hidden=settings["hidden_size"],
            layers=settings["num_hidden_layers"],
            heads=settings["num_attention_heads"],
            feed_forward=settings["intermediate_size"],
            positions=settings["max_position_embeddings"],
            styles=settings["num_of_styles"],
            words=names["bert.bert.embeddings.word_embeddings.weight"]["shape"][0],
            style_width=names["style_proj.weight"]["shape"][0],
        )
    )
    assert {name: list(tensor.shape) for name, tensor in built.state_dict().items()} == {
        name: entry["shape"] for name, entry in names.items()
    }
    fill(built, salt(CONFIG))
    # The table has two names; the value under the shorter one counts (sheet, section 3).
    table = built.style_emb.lut.weight
    table.data = torch.from_numpy(golden_values("style_emb.lut.weight", tuple(table.shape), salt(CONFIG)))
    return built.requires_grad_(False).eval()


def close(actual: Any, recorded: NDArray[Any], tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(recorded), rtol=0, atol=tolerance)


def ids(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))


# --------------------------------------------------------------------------------------- the network


def test_forward_tiny() -> None:
    recorded = load_arrays(FOLDER / "forward_tiny.npz")
    heads, states = traced(
        network("tiny"), ids(recorded["tokens"]), torch.from_numpy(recorded["mask"]), ids(recorded["style"])
    )
    compared = {"tokens", "mask", "style"}
    for name, logits in zip(HEADS, heads, strict=True):
        close(logits, recorded[f"logits_{name}"])
        compared.add(f"logits_{name}")
    for name, state in states.items():
        close(state, recorded[name])
        compared.add(name)
    assert compared == set(recorded)


def traced(module: M2MNetwork, *inputs: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Tensor]]:
    """Logits, hidden states "hidden_0" (of the embeddings) on, and attentions "attention_0" on."""
    bert = module.bert.bert
    layers = {str(index): layer for index, layer in enumerate(bert.encoder.layer)}
    with module_outputs({"embeddings": bert.embeddings, **layers}) as outputs:
        logits = module(*inputs)
    states = {"hidden_0": outputs.pop("embeddings")}
    for index, (hidden, attention) in outputs.items():
        states |= {f"hidden_{int(index) + 1}": hidden, f"attention_{index}": attention}
    return logits, states


@cache
def full_run() -> tuple[tuple[Tensor, Tensor, Tensor], list[Tensor]]:
    """Logits and hidden states of the merged piece's segments, all in one batch."""
    recorded, segments = load_arrays(FOLDER / "forward_full.npz"), merged_segments()
    logits, states = traced(
        network("full"), *segments, torch.full((len(segments[0]),), int(recorded["style"]))
    )
    return logits, [states[f"hidden_{index}"] for index in range(CONFIG["full"]["num_hidden_layers"] + 1)]


def merged_segments() -> tuple[Tensor, Tensor]:
    recorded = load_arrays(FOLDER / "tokens_from_midi.npz")
    return ids(recorded["merged_segments"]), ids(recorded["merged_mask"])


def test_forward_full() -> None:
    recorded = load_arrays(FOLDER / "forward_full.npz")
    heads, hidden_states = full_run()
    compared = {"style"}
    for segment in range(len(heads[0])):
        rows = recorded[f"rows_segment_{segment}"]
        close(hidden_states[-1][segment], recorded[f"last_hidden_segment_{segment}"])
        compared |= {f"rows_segment_{segment}", f"last_hidden_segment_{segment}"}
        for index, hidden in enumerate(hidden_states):
            close(hidden[segment, rows], recorded[f"hidden_{index}_segment_{segment}"])
            compared.add(f"hidden_{index}_segment_{segment}")
        for name, logits in zip(HEADS, heads, strict=True):
            end = f"{name}_segment_{segment}"
            close(logits[segment, rows], recorded[f"logits_{end}"])
            close(logits[segment].logsumexp(-1), recorded[f"logsumexp_{end}"])
            best, second = logits[segment].topk(2).values.T
            close(best - second, recorded[f"argmax_gap_{end}"])
            clear = recorded[f"argmax_gap_{end}"] > CLEAR
            np.testing.assert_array_equal(
                logits[segment].argmax(-1).numpy()[clear], recorded[f"argmax_{end}"][clear]
            )
            compared |= {f"{kind}_{end}" for kind in ("logits", "logsumexp", "argmax_gap", "argmax")}
    assert compared == set(recorded)


# ---------------------------------------------------------------------------------------- sampling


def noise(head: str, which: Any, k: int, shape: tuple[int, int]) -> Tensor:
    seed = zlib.crc32(f"{salt(CONFIG)}:m2m-noise-{head}-{which}-{k}".encode())
    drawn = np.random.Generator(np.random.PCG64(seed)).standard_exponential(shape)
    return torch.from_numpy(drawn.astype(np.float32))


def test_sampling() -> None:
    recorded = load_arrays(FOLDER / "sampling.npz")
    heads, _ = full_run()
    compared = {"nucleus_p", "nucleus_t", "min_log_margin"}
    assert recorded["min_log_margin"] > CLEAR  # so that rounding decides no draw
    for name, logits in zip(HEADS, heads, strict=True):
        for segment, own in enumerate(logits):
            end = f"{name}_segment_{segment}"
            exponential = noise(name, segment, int(recorded[f"noise_k_{end}"]), tuple(own.shape))
            close(exponential[0, :8], recorded[f"noise_first8_{end}"], 0)
            drawn = sampling.draw(own.softmax(-1), exponential)
            np.testing.assert_array_equal(drawn, recorded[end])
            compared |= {end, f"noise_k_{end}", f"noise_first8_{end}"}
        exponential = noise(name, "nucleus", int(recorded[f"noise_k_nucleus_{name}"]), tuple(logits[0].shape))
        drawn = published.nucleus(
            logits[0],
            exponential,
            temperature=float(recorded["nucleus_t"]),
            top_p=float(recorded["nucleus_p"]),
        )
        np.testing.assert_array_equal(drawn, recorded[f"nucleus_{name}_segment_0"])
        compared |= {f"noise_k_nucleus_{name}", f"nucleus_{name}_segment_0"}
    assert compared == set(recorded)


# ------------------------------------------------------------------------------------------ tokens


def rows(notes: tokens.TickNotes) -> NDArray[np.int64]:
    return np.stack([notes.onset, notes.duration, notes.pitch, notes.velocity], axis=1)


def midi_file(case: str) -> Path | None:
    """The input of a case, by the ending of its name; ASAP's are not part of the committed folder."""
    endings = {"two_track": "*_midi_score.mid", "merged": "*_merged.mid"}
    return next(iter(sorted(FOLDER.glob(endings.get(case, f"{case}.mid")))), None)


MIDI_CASES = sorted(
    name.removesuffix("_segments")
    for name in load_arrays(FOLDER / "tokens_from_midi.npz")
    if name.endswith("_segments")
)


@pytest.mark.parametrize("case", [case for case in MIDI_CASES if midi_file(case)])
def test_tokens_from_midi(case: str) -> None:
    recorded = load_arrays(FOLDER / "tokens_from_midi.npz")
    path = midi_file(case)
    assert path
    tracks, ticks_per_quarter = official.midi_tracks(path.read_bytes())
    notes = official.notes_of_track(tracks[0], ticks_per_quarter)
    np.testing.assert_array_equal(rows(notes), recorded[f"{case}_notes_96tpq_first_track"])


@pytest.mark.parametrize("case", MIDI_CASES)
def test_segments_from_notes(case: str) -> None:
    recorded = load_arrays(FOLDER / "tokens_from_midi.npz")
    onset, duration, pitch, velocity = recorded[f"{case}_notes_96tpq_first_track"].astype(np.int64).T
    encoded = tokens.encode(tokens.TickNotes(onset, duration, pitch, velocity))
    length = recorded[f"{case}_segments"].shape[1]
    actual, mask = official.segments(encoded, length)
    np.testing.assert_array_equal(actual, recorded[f"{case}_segments"])
    np.testing.assert_array_equal(mask, recorded[f"{case}_mask"])


ALIGNMENTS = sorted(FOLDER.glob("*_corresp.txt"))


def alignment_case(path: Path) -> str:
    """The case of that name; the alignment of the folder's piece, which is named after it, is the case
    "piece"."""
    name = path.stem.removesuffix("_corresp")
    return name if f"{name}_ids" in load_arrays(FOLDER / "tokens_from_alignment.npz") else "piece"


@pytest.mark.parametrize("path", ALIGNMENTS, ids=case_name)
def test_tokens_from_alignment(path: Path) -> None:
    recorded = load_arrays(FOLDER / "tokens_from_alignment.npz")
    case = alignment_case(path)
    table = [line.split() for line in path.read_text().splitlines()[1:]]
    both = [row for row in table if row[0] != "*" and row[6] != "*"]

    def column(index: int, kind: type) -> NDArray[Any]:
        return np.array([kind(row[index]) for row in both])

    aligned = published.AlignedNotes(
        performed_on=column(1, float),
        performed_off=column(2, float),
        velocity=column(5, int),
        pitch=column(4, int),
        score_id=column(6, int),
        score_on=column(7, float),
        score_off=column(8, float),
    )
    actual = published.aligned_tokens(published.without_outliers(aligned))
    np.testing.assert_array_equal(actual, recorded[f"{case}_ids"])
    segments, mask = official.segments(actual, recorded[f"{case}_score_segments"].shape[1])
    np.testing.assert_array_equal(segments[..., [0, 6, 7, 8, 9, 10]], recorded[f"{case}_score_segments"])
    np.testing.assert_array_equal(segments[..., :6], recorded[f"{case}_perf_segments"])
    np.testing.assert_array_equal(mask, recorded[f"{case}_mask"])


def test_every_case_has_its_input() -> None:
    """Only inputs from ASAP may be missing, and only in the committed folder."""
    recorded = load_arrays(FOLDER / "tokens_from_alignment.npz")
    cases = {name.removesuffix("_ids") for name in recorded if name.endswith("_ids")}
    missing = cases - {alignment_case(path) for path in ALIGNMENTS}
    missing |= {case for case in MIDI_CASES if not midi_file(case)}
    is_committed = FOLDER.parts[-3:-1] == ("tests", "golden")
    assert missing <= ({"piece", "two_track", "merged"} if is_committed else set())


CASES = sorted(
    name.removesuffix("_tokens")
    for name in load_arrays(FOLDER / "tokens_to_midi.npz")
    if name.endswith("_tokens")
)


@pytest.mark.parametrize("case", CASES)
def test_tokens_to_notes(case: str) -> None:
    recorded = load_arrays(FOLDER / "tokens_to_midi.npz")
    drawn = recorded[f"{case}_tokens"].astype(np.int64)
    performed, written = official.performed_notes(drawn), published.written_notes(drawn)
    np.testing.assert_array_equal(rows(performed), recorded[f"{case}_performance_notes"])
    np.testing.assert_array_equal(rows(written), recorded[f"{case}_score_notes"])
    for kind, notes in (("performance", performed), ("score", written)):
        name = f"{case}_{kind}_notes_in_file"
        if name in recorded:
            np.testing.assert_array_equal(as_read_back(notes), recorded[name])


def as_read_back(notes: tokens.TickNotes) -> NDArray[np.int64]:
    """The notes of a MIDI file: offs before ons at a tick, keys paired first in, first out, sorted by (onset,
    pitch, duration)."""
    ends = [(onset + duration, 0, pitch, 0) for onset, duration, pitch, _ in rows(notes)]
    starts = [(onset, 1, pitch, velocity) for onset, _, pitch, velocity in rows(notes)]
    waiting: dict[int, list[tuple[int, int]]] = {}
    read = []
    for tick, on, pitch, velocity in sorted(ends + starts, key=lambda event: event[:2]):
        if on:
            waiting.setdefault(pitch, []).append((tick, velocity))
        else:
            start, struck = waiting[pitch].pop(0)
            read.append((start, tick - start, pitch, struck))
    return np.array(sorted(read, key=lambda note: (note[0], note[2], note[1])))


@pytest.mark.parametrize(
    "path", sorted([*FOLDER.glob("aligned_*.mid"), *FOLDER.glob("sampled_*.mid")]), ids=case_name
)
def test_recorded_midi_files_hold_the_recorded_notes(path: Path) -> None:
    case, kind = path.stem.split("_")
    recorded = load_arrays(FOLDER / "tokens_to_midi.npz")[f"{case}_{kind}_notes_in_file"]
    tracks, ticks_per_quarter = official.midi_tracks(path.read_bytes())
    assert mido.MidiFile(path).type == 1
    assert ticks_per_quarter == official.TICKS_PER_QUARTER
    actual = sorted((note.onset, note.pitch, note.duration, note.velocity) for note in tracks[0])
    expected = sorted((onset, pitch, duration, velocity) for onset, duration, pitch, velocity in recorded)
    assert actual == expected


# ------------------------------------------------------------------------------------- measures, files


@pytest.mark.parametrize("head", HEADS)
def test_measures(head: str) -> None:
    recorded = load_arrays(FOLDER / "metrics.npz")
    reference, prediction = recorded[f"{head}_reference"], recorded[f"{head}_prediction"]
    columns = {"velocity": (1, 7), "ioi": (3, 9), "duration": (2, 8)}
    relative = {"rtol": 1e-9, "atol": 0}
    np.testing.assert_allclose(
        published.correlation(reference, prediction), recorded[f"{head}_corr"], **relative
    )
    np.testing.assert_allclose(
        published.dtw_distance(reference, prediction), recorded[f"{head}_dtwd"], **relative
    )
    common = len(prediction)
    divergence = published.kl_divergence(reference[:common] + 1, prediction + 1)
    np.testing.assert_allclose(divergence, recorded[f"{head}_kld"], **relative)
    real = load_arrays(FOLDER / "tokens_to_midi.npz")
    column = columns[head][0]
    distance = published.dtw_distance(
        real["aligned_tokens"][:200, column] / 3, real["sampled_tokens"][:150, column] / 3
    )
    np.testing.assert_allclose(distance, recorded[f"{head}_dtwd_real"], **relative)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ckpt")), ids=case_name)
def test_published_checkpoint_layout(path: Path) -> None:
    tensors = read_checkpoint(path)
    config = config_from_tensors(tensors)
    built = M2MNetwork(config)
    load_strictly(built, tensors, source=path.name)
    for name, tensor in tensors.items():
        if "word_embeddings" in name:
            assert not tensor.any()
        elif name != "bert.style_emb.lut.weight":  # under its other name, see `network`
            close(tensor, golden_values(name, tuple(tensor.shape), salt(CONFIG)), 1e-7)
    assert config.heads == CONFIG["tiny"]["num_attention_heads"]


COMPARED = {
    "tokens_from_midi": ("segments", "mask", "notes_96tpq_first_track"),
    "tokens_from_alignment": ("ids", "score_segments", "perf_segments", "mask"),
    "tokens_to_midi": (
        *("tokens", "performance_notes", "score_notes"),
        *("performance_notes_in_file", "score_notes_in_file"),
    ),
    "metrics": ("reference", "prediction", "corr", "dtwd", "kld", "dtwd_real"),
}
"""File -> kinds of its arrays, each of which a test above compares for every case (or head)."""


def test_every_recording_is_compared() -> None:
    names = {path.stem for path in load_cases("m2m", "*.npz")}
    assert names == COMPARED.keys() | {"forward_tiny", "forward_full", "sampling"}
    for name, kinds in COMPARED.items():
        arrays = load_arrays(FOLDER / f"{name}.npz")
        assert [array for array in arrays if not array.endswith(tuple(f"_{kind}" for kind in kinds))] == []

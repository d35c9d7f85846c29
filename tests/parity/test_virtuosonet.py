"""VirtuosoNet against recordings of the published code: every array of the golden folder, every stage.

Stages: notes and features (1, 2), network (3), post-processing (4), end to end, the style encoder, and the
column sums of a whole corpus. Tolerances are those of the fact sheet, or tighter."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lxml import etree
from numpy.typing import NDArray

from adapters.virtuosonet import OFFICIAL_STYLES, read_checkpoint
from renderers.virtuosonet import vocabulary
from renderers.virtuosonet.decoding import decode, scaled_velocities
from renderers.virtuosonet.features import (
    BEAT_TEMPO,
    OUTPUT_KEYS,
    WIDTHS,
    NoteFeatures,
    beat_importance,
    note_features,
    time_signature_vector,
)
from renderers.virtuosonet.generation import residual_info
from renderers.virtuosonet.inference import FrozenModel, group_indices
from renderers.virtuosonet.meter import without_gaps
from renderers.virtuosonet.network import GroupIndices, NetworkSizes, VirtuosoNetwork
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.performance import control_changes, midi_notes
from renderers.virtuosonet.score import NoteScore, read_note_score
from renderers.virtuosonet.tempo_curve import TempoCurve, tempo_curve
from renderers.virtuosonet.words import dynamic_vector, tempo_vector
from tests.parity.golden_files import (
    case_name,
    fill,
    golden_root,
    load_arrays,
    load_config,
    module_outputs,
    salt,
)
from tests.parity.reference.virtuosonet import (
    clock_times,
    column_names,
    locations,
    official_midi,
    section_positions,
    spanned,
)
from tests.paths import SHARED

MODEL = "virtuosonet"
NETWORK_TOLERANCE = 1e-5
SECONDS_TOLERANCE = 1e-9
"""The sheet allows 1e-6 s."""


# ------------------------------------------------------------------------------------------- material


def folder() -> Path:
    return golden_root() / MODEL


def cases(pattern: str) -> list[Path]:
    return sorted(folder().glob(pattern))


STAGES = (
    "features_*.npz",
    "network_tiny_*.npz",
    "network_full_*.npz",
    "style_encoder_*.npz",
    "post_*.npz",
    "post_*.mid",
    "e2e_*.mid",
)


@pytest.mark.parametrize("pattern", STAGES)
def test_every_stage_is_recorded(pattern: str) -> None:
    assert cases(pattern), f"no golden file {pattern} in {folder()}"


def statistics() -> Statistics:
    return Statistics.from_checkpoint(load_config(MODEL, "stats_synthetic.json"))


@cache
def score(name: str) -> NoteScore:
    tree = etree.parse(folder() / "scores" / f"{name}.musicxml")
    return read_note_score(tree.getroot(), name=name, compatibility="official")


def features(name: str, qpm: float | None = None) -> NoteFeatures:
    return note_features(score(name), composer=composer_of(name), qpm=qpm)


def composer_of(name: str) -> str:
    """The composer of the recorded composer vector; "" for its slot of unknown composers."""
    recorded = load_arrays(folder() / f"features_{name}.npz")
    slots = [i for i, column in enumerate(recorded["columns"]) if column.startswith("composer_vec")]
    slot = int(recorded["raw"][0, slots].argmax())
    return (*vocabulary.COMPOSERS, "")[slot]


@cache
def network(size: str) -> VirtuosoNetwork:
    config = load_config(MODEL, f"config_{size}.json")
    shapes = load_config(MODEL, f"state_dict_{size}.json")
    inputs = shapes["note_embedder.fc.weight"]["shape"][1]
    module = VirtuosoNetwork(NetworkSizes.from_config(config, inputs=inputs)).eval()
    assert {name: list(tensor.shape) for name, tensor in module.state_dict().items()} == {
        name: entry["shape"] for name, entry in shapes.items()
    }
    fill(module, salt(config))
    return module.requires_grad_(False)


@cache
def model(size: str) -> FrozenModel:
    return FrozenModel(network(size), statistics())


def recorded_inputs(name: str) -> tuple[torch.Tensor, GroupIndices]:
    """The recorded inputs of the network."""
    recorded = load_arrays(folder() / f"features_{name}.npz")
    beat, measure, voice = (
        torch.from_numpy(recorded[f"location_{key}"].astype(np.int64)) for key in ("beat", "measure", "voice")
    )
    return torch.from_numpy(recorded["normalised"]), GroupIndices(beat - beat[0], measure - measure[0], voice)


def split_name(path: Path, prefix: str) -> tuple[str, str]:
    """(size, score) of ``PREFIX_SIZE_SCORE``."""
    size, name = path.stem.removeprefix(f"{prefix}_").split("_", 1)
    return size, name


def assert_equal(actual: Any, expected: NDArray[Any], what: str) -> None:
    np.testing.assert_array_equal(np.asarray(actual), expected, err_msg=what)


def assert_close(actual: Any, expected: NDArray[Any], tolerance: float, what: str) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=tolerance, err_msg=what)


def all_used(recorded: dict[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """The recorded arrays; fails unless all are popped."""
    remaining = dict(recorded)
    yield remaining
    assert not remaining, f"recorded, but not compared: {sorted(remaining)}"


# ------------------------------------------------------------------------------- notes and features

NOTE_COLUMNS = {
    "pitch": "pitch",
    "xml_position": "position",
    "duration": "duration",
    "divisions": "divisions",
    "voice": "voice",
    "staff": "staff",
    "measure_number": "measure_number",
    "chord_index": "chord_index",
    "is_grace": "is_grace",
    "grace_order": "grace_order",
    "num_grace": "num_grace",
    "preceded_by_grace": "preceded_by_grace",
    "is_overlapped": "is_overlapped",
    "following_rest_duration": "following_rest_duration",
    "followed_by_fermata_rest": "followed_by_fermata_rest",
}
NOTE_TIMES = {"qpm": "qpm", "time_position": "time_position", "seconds": "seconds"}
MARKS = {
    "dynamic_absolute": "dynamic",
    "dynamic_absolute_position": "dynamic_position",
    "tempo_absolute": "tempo",
    "tempo_recently_changed_position": "tempo_changed_position",
    "dynamic_words": "dynamic_words",
    "tempo_words": "tempo_words",
}


@pytest.mark.parametrize("path", cases("features_*.npz"), ids=case_name)
def test_features(path: Path) -> None:
    for recorded in all_used(load_arrays(path)):
        if match := re.fullmatch(r"features_(.+)_qpm(\d+)", path.stem):
            _compare_tempo_columns(recorded, match[1], int(match[2]))
        else:
            _compare_notes(recorded, path.stem.removeprefix("features_"))


def _compare_tempo_columns(recorded: dict[str, NDArray[Any]], name: str, qpm: int) -> None:
    raw = features(name, qpm=qpm)
    inputs = statistics().inputs(raw)
    for key in ("qpm_primo", "section_tempo"):
        column = statistics().columns(key).start
        np.testing.assert_allclose(raw.columns[key][:, 0], recorded.pop(f"raw_{key}"), rtol=1e-12)
        assert_close(inputs[:, column], recorded.pop(f"normalised_{key}"), 1e-6, key)


def _compare_notes(recorded: dict[str, NDArray[Any]], name: str) -> None:
    own = score(name)
    stats = statistics()
    raw = features(name)
    assert column_names(stats.input_keys) == recorded.pop("columns").tolist()
    np.testing.assert_allclose(raw.matrix(stats.input_keys), recorded.pop("raw"), rtol=1e-12, atol=0)
    assert_close(stats.inputs(raw), recorded.pop("normalised"), 1e-6, "normalised")
    for key, indices in locations(own).items():
        assert_equal(indices, recorded.pop(f"location_{key}"), key)
    for key, attribute in NOTE_COLUMNS.items():
        assert_equal(own.column(attribute), recorded.pop(f"note_{key}"), key)
    for key, attribute in NOTE_TIMES.items():
        np.testing.assert_allclose(
            own.column(attribute), recorded.pop(f"note_{key}"), rtol=1e-12, atol=1e-12, err_msg=key
        )
    for key, attribute in MARKS.items():
        assert_equal([getattr(entry, attribute) for entry in own.marks], recorded.pop(f"note_{key}"), key)
    signatures = [own.meter.time_signature_at(note.position) for note in own.notes]
    assert_equal([each.numerator for each in signatures], recorded.pop("note_time_numerator"), "numerator")
    assert_equal(
        [each.denominator for each in signatures], recorded.pop("note_time_denominator"), "denominator"
    )
    assert_equal(own.meter.beats, recorded.pop("beat_positions"), "beats")
    assert_equal(own.meter.measures, recorded.pop("measure_positions"), "measures")
    assert_close(section_positions(own), recorded.pop("section_positions"), 1e-9, "sections")


def test_units() -> None:
    units = load_config(MODEL, "units.json")
    checked = {
        "tempo_embedding": [(tempo_vector(text), tuple(vector)) for text, vector in units["tempo_embedding"]],
        "dynamic_embedding": [
            (dynamic_vector(text), tuple(vector)) for text, vector in units["dynamic_embedding"]
        ],
        "beat_importance": [
            (beat_importance(beat / parts, numerator), weight)
            for beat, parts, numerator, weight in units["beat_importance"]
        ],
        "time_signature_vec": [
            (time_signature_vector(numerator, denominator), tuple(vector))
            for numerator, denominator, vector in units["time_signature_vec"]
        ],
        "make_index_continuous": [
            (without_gaps(indices), compact) for indices, compact in units["make_index_continuous"]
        ],
    }
    assert checked.keys() == units.keys()
    for name, pairs in checked.items():
        assert pairs
        for actual, expected in pairs:
            assert actual == expected, name


def test_vocabulary() -> None:
    for name, recorded in load_config(MODEL, "direction_tables.json").items():
        own = getattr(vocabulary, name.upper().removesuffix("_TABLE"))
        assert [list(entry) if isinstance(entry, tuple) else entry for entry in own] == recorded, name


def test_column_order() -> None:
    recorded = load_config(MODEL, "stats_synthetic.json")
    stats = statistics()
    assert list(OUTPUT_KEYS) == recorded["output_keys"]
    for key, span in recorded["key_to_dim"]["input"].items():
        if key in WIDTHS:
            assert [stats.columns(key).start, stats.columns(key).stop] == span, key


# -------------------------------------------------------------------------------------------- network


@pytest.mark.parametrize("path", cases("network_*.npz"), ids=case_name)
@torch.inference_mode()
def test_network(path: Path) -> None:
    size, name = split_name(path, "network")
    inputs, groups = recorded_inputs(name)
    module = network(size)
    inner = {
        "embedded": module.note_embedder,
        "beat_nodes": module.score_encoder.beat_attention,
        "measure_nodes": module.score_encoder.measure_attention,
    }
    with module_outputs(inner) as outputs_of:
        encoded = model(size).encode(inputs, groups)
    for recorded in all_used(load_arrays(path)):
        own = {
            **outputs_of,
            "note_rnn": encoded.note_rnn,
            "voice_rnn": encoded.voice_rnn,
            "beat": encoded.beat,
            "measure": encoded.measure,
            "beat_spanned": spanned(encoded.beat, groups.beat),
            "measure_spanned": spanned(encoded.measure, groups.measure),
        }
        rows = {key: recorded.pop(f"{key}_sampled_idx", None) for key in ("beat", "measure")}
        sampled_notes = recorded.pop("sampled_notes", None)
        for key, values in own.items():
            if key in recorded:
                assert_close(values, recorded.pop(key), NETWORK_TOLERANCE, key)
            if f"{key}_sampled" in recorded:
                chosen = rows[key] if rows.get(key) is not None else sampled_notes
                assert_close(values[chosen], recorded.pop(f"{key}_sampled"), NETWORK_TOLERANCE, key)
        residuals = residual_info(inputs, statistics(), groups.measures)
        assert_close(residuals, recorded.pop("residual_info"), 1e-6, "residuals")
        outputs = [model(size).generate(inputs, encoded, torch.from_numpy(z)) for z in recorded.pop("z")]
        assert_close(outputs[0].style, recorded.pop("style_expanded"), NETWORK_TOLERANCE, "style")
        measures = recorded.pop("measure_tempo_velocity")
        assert_close(outputs[0].measures, measures, NETWORK_TOLERANCE, "measures")
        notes = np.stack([output.notes for output in outputs])
        assert_close(notes, recorded.pop("output"), NETWORK_TOLERANCE, "output")


@pytest.mark.parametrize("path", cases("style_encoder_*.npz"), ids=case_name)
@torch.inference_mode()
def test_style_encoder(path: Path) -> None:
    size, name = split_name(path, "style_encoder")
    inputs, groups = recorded_inputs(name)
    encoded = model(size).encode(inputs, groups)
    beat, measure = spanned(encoded.beat, groups.beat), spanned(encoded.measure, groups.measure)
    for recorded in all_used(load_arrays(path)):
        for case in sorted({key.removeprefix("y") for key in recorded if key == "y" or key.startswith("y_")}):
            performance = torch.from_numpy(recorded.pop(f"y{case}"))
            mean, log_variance = network(size).performance_encoder(encoded, beat, measure, performance)
            z = mean + torch.from_numpy(recorded.pop(f"eps{case}")) * torch.exp(log_variance / 2)
            assert_close(mean[None], recorded.pop(f"mu{case}"), NETWORK_TOLERANCE, "mean")
            assert_close(log_variance[None], recorded.pop(f"logvar{case}"), NETWORK_TOLERANCE, "logvar")
            assert_close(z, recorded.pop(f"z{case}"), NETWORK_TOLERANCE, "z")
            output = model(size).generate(inputs, encoded, z[0]).notes
            assert_close(output, recorded.pop(f"output{case}"), NETWORK_TOLERANCE, "output")


# ------------------------------------------------------------------------------------ post-processing


@pytest.mark.parametrize("path", cases("post_*.npz"), ids=case_name)
def test_post_processing(path: Path) -> None:
    name = path.stem.removeprefix("post_").rsplit("_", 1)[0]
    own = score(name)
    for recorded in all_used(load_arrays(path)):
        features = recorded.pop("features")
        decoded = decode(own, features, "official")
        curve = curve_of(own, features)
        table = np.stack(
            [
                curve.position,
                curve.qpm,
                curve.time,
                np.append(curve.position[1:], 0),
                np.append(curve.time[1:], 0),
            ],
            axis=1,
        )
        assert_close(table, recorded.pop("tempo_table"), SECONDS_TOLERANCE, "tempo table")
        assert_equal(decoded.note, recorded.pop("sorted_note_index"), "order")
        assert_close(decoded.start, recorded.pop("sorted_note_start"), SECONDS_TOLERANCE, "start")
        assert_close(decoded.seconds, recorded.pop("sorted_note_seconds"), SECONDS_TOLERANCE, "seconds")
        assert_equal(decoded.velocity.astype(np.float32), recorded.pop("sorted_note_velocity"), "velocity")
        notes = np.array(
            [(n.start, n.end, n.pitch, n.velocity, n.index) for n in midi_notes(own, decoded)], dtype=float
        )
        expected = recorded.pop("midi_notes")
        assert_close(notes[:, :2], expected[:, :2], SECONDS_TOLERANCE, "note times")
        assert_equal(notes[:, 2:], expected[:, 2:], "notes")
        changes = np.array(control_changes(decoded), dtype=float)
        expected = recorded.pop("control_changes")
        assert_equal(changes[:, :2], expected[:, :2], "controllers")
        assert_close(changes[:, 2], expected[:, 2], SECONDS_TOLERANCE, "controller times")


def curve_of(own: NoteScore, features: NDArray[np.float32]) -> TempoCurve:
    return tempo_curve(own, features[:, BEAT_TEMPO].astype(np.float64))


@pytest.mark.parametrize("path", cases("post_*.mid"), ids=case_name)
def test_post_processing_file(path: Path) -> None:
    stem = path.stem.removesuffix("_boolpedal")
    recorded = load_arrays(path.with_name(f"{stem}.npz"))
    own = score(stem.removeprefix("post_").rsplit("_", 1)[0])
    decoded = decode(own, recorded["features"], "official")
    midi = official_midi(own, decoded, bool_pedal=path.stem.endswith("_boolpedal"))
    assert midi_bytes(midi) == path.read_bytes()


def midi_bytes(midi: Any) -> bytes:
    buffer = io.BytesIO()
    midi.write(buffer)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------ end to end


@pytest.mark.parametrize("path", cases("e2e_*.mid"), ids=case_name)
@torch.inference_mode()
def test_end_to_end(path: Path) -> None:
    """From the score to the bytes of the MIDI file, with the options that the file's name stands for."""
    size, name = split_name(path, "e2e")
    qpm, multiplier, clock = None, 1.0, None
    if match := re.fullmatch(r"(.+)_qpm(\d+)", name):
        name, qpm = match[1], float(match[2])
    has_options = name.endswith("_options")
    if has_options:
        name = name.removesuffix("_options")
        qpm, multiplier = options_of_sheet()
    own = score(name)
    inputs = model(size).inputs(features(name, qpm=qpm))
    z = load_arrays(folder() / f"network_{size}_{name}.npz")["z"][0]
    outputs = model(size).perform(inputs, group_indices(own), torch.from_numpy(z))
    if multiplier != 1:
        outputs = scaled_velocities(outputs, multiplier)
    decoded = decode(own, outputs, "official")
    if has_options:
        clock = clock_times(own, curve_of(own, outputs))
        expected = json.loads(path.with_name(f"{path.stem}_clock.json").read_text("utf-8"))
        assert_close(clock, np.array(expected.pop("beat_times_3_decimals")), 5.1e-4, "clock")
        assert not expected
    midi = official_midi(own, decoded, bool_pedal=has_options, clock=clock)
    assert_same_file(midi_bytes(midi), path.read_bytes())


def options_of_sheet() -> tuple[float, float]:
    """(quarter notes per minute, velocity multiplier) of ``*_options`` files, as in the folder's fact
    sheet."""
    sheets = [folder() / "README.md", SHARED / "golden" / MODEL / "README.md"]
    text = next((sheet.read_text("utf-8") for sheet in sheets if sheet.is_file()), "")
    match = re.search(r"`\*_options`: qpm_primo ([\d.]+), velocity_multiplier ([\d.]+)", text)
    assert match, f"the options of *_options files are in none of {sheets}"
    return float(match[1]), float(match[2])


ROUNDED_AWAY = 0.01
"""Share of events that may lie on the neighbouring tick (2.27 ms): network outputs within the tolerance
differ by 1e-7, which moves the end of a piece of five minutes by some 1e-5 s across a few ticks' borders."""


def assert_same_file(actual: bytes, expected: bytes) -> None:
    """The same bytes, or the same events with a few of them moved by one tick."""
    if actual == expected:
        return
    own, recorded = events(actual), events(expected)
    assert own.keys() == recorded.keys()
    moved = np.concatenate([np.abs(np.subtract(ticks, recorded[key])) for key, ticks in own.items()])
    assert moved.max() <= 1
    assert moved.mean() <= ROUNDED_AWAY


def events(content: bytes) -> dict[tuple[int, str, int, int], list[int]]:
    """(track, kind, pitch or controller, velocity or value) -> ticks, ascending."""
    import mido

    found: dict[tuple[int, str, int, int], list[int]] = {}
    for index, track in enumerate(mido.MidiFile(file=io.BytesIO(content)).tracks):
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on":
                key = (index, "note", message.note, message.velocity)
            elif message.type == "control_change":
                key = (index, "control", message.control, message.value)
            else:
                continue
            found.setdefault(key, []).append(tick)
    return found


@pytest.mark.parametrize("path", cases("network_full_*.npz"), ids=case_name)
def test_official_style(path: Path) -> None:
    """The constant for the style that the published command line calls zero."""
    inputs = network("full").sizes.inputs
    assert_equal(np.array(OFFICIAL_STYLES[inputs], np.float32), load_arrays(path)["z"][0], "z")


# ----------------------------------------------------------------------------------------- checkpoint


@pytest.mark.parametrize("path", cases("*checkpoint*.pt"), ids=case_name)
def test_checkpoint(path: Path) -> None:
    """A file written by the published class: same weights as the fill, same statistics."""
    loaded, stats = read_checkpoint(path)
    expected = network("tiny").state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert stats == statistics()


def test_checkpoint_layout() -> None:
    layout = load_config(MODEL, "checkpoint_layout.json")
    assert {"state_dict", "stats", "network_params"} <= layout["top_level"].keys()
    assert {"stats", "input_keys", "output_keys"} <= layout["top_level"]["stats"].keys()


# --------------------------------------------------------------------------------------------- corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``asap`` of the corpus: unpacked already, or its scores unpacked now."""
    root = Path(os.environ.get("SCORE_TO_AUDIO_CORPUS") or SHARED / "data")
    for place in (root, root / "asap", Path.home() / ".cache" / "score-to-audio-data" / "asap"):
        if next(place.glob("*/**/xml_score.musicxml"), None):
            return place
    archive = next((place for place in root.glob("**/corpus.tar.xz")), None)
    if archive is None:
        pytest.skip(f"no corpus in {root}: set SCORE_TO_AUDIO_CORPUS to its folder")
    target = tmp_path_factory.mktemp("corpus")
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.name.endswith("/xml_score.musicxml"):
                opened.extract(member, target, filter="data")
    return target / "asap"


@pytest.mark.slow
@pytest.mark.parametrize("path", cases("corpus_features.npz"), ids=case_name)
def test_corpus(path: Path, corpus: Path) -> None:
    """Sums over every column of every score of the corpus, sensitive to each value and to the order."""
    recorded = load_arrays(path)
    differing = {
        str(recorded["folder"][row]): found
        for row in range(len(recorded["folder"]))
        if (found := _corpus_differences(recorded, row, corpus))
    }
    assert not differing


def _corpus_differences(recorded: dict[str, NDArray[Any]], row: int, corpus: Path) -> list[str]:
    content = (corpus / recorded["folder"][row] / "xml_score.musicxml").read_bytes()
    assert hashlib.sha256(content).hexdigest() == recorded["xml_sha256"][row]
    assert not recorded["failure"][row]
    own = read_note_score(etree.fromstring(content), name=recorded["folder"][row], compatibility="official")
    raw = note_features(own, composer=str(recorded["composer"][row])).matrix(statistics().input_keys)
    assert column_names(statistics().input_keys) == recorded["columns"].tolist()
    at = locations(own)
    indices = np.stack(list(at.values()), axis=1).astype(np.float64)
    counts = {
        "notes": len(own.notes),
        "beats": len(own.meter.beats),
        "measures": len(own.meter.measures),
        "sections": len(section_positions(own)),
        "beats_with_notes": at["beat"].max() - at["beat"][0] + 1,
        "measures_with_notes": at["measure"].max() - at["measure"][0] + 1,
        "voices": len(set(at["voice"].tolist())),
    }
    expected = dict(zip(recorded["count_names"].tolist(), recorded["counts"][row].tolist(), strict=True))
    differences = [name for name, count in expected.items() if counts[name] != count]
    tolerance = float(recorded["relative_tolerance"])
    for kind, values, names, relative in (
        ("feature", raw, recorded["columns"], tolerance),
        ("index", indices, recorded["index_names"], 0.0),
    ):
        weights = (np.arange(len(values)) % 97 + 1)[:, None]
        sums = {
            "sum": (values.sum(0), "sum_abs"),
            "sum_squares": ((values**2).sum(0), "sum_squares"),
            "sum_weighted": ((values * weights).sum(0), "sum_abs_weighted"),
            "sum_abs": (np.abs(values).sum(0), "sum_abs"),
            "sum_abs_weighted": ((np.abs(values) * weights).sum(0), "sum_abs_weighted"),
        }
        for suffix, (total, scale) in sums.items():
            distance = np.abs(total - recorded[f"{kind}_{suffix}"][row])
            beyond = distance > relative * recorded[f"{kind}_{scale}"][row]
            differences += [f"{name} ({suffix})" for name in names[beyond]]
    return differences

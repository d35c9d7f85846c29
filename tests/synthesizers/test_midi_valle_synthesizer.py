"""The synthesizer as a whole, on a small checkpoint with arbitrary weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.midi_valle import MidiValleParameters, MidiValleSynthesizer, default_prompt, load_model
from score_to_audio import progress, testing
from score_to_audio.errors import InputError
from score_to_audio.packed_linear import PackedLinear
from score_to_audio.plugins import Checkpoint, Prompt
from score_to_audio.types import Performance, Waveform
from synthesizers.midi_valle.decoding import DecodingRequest
from synthesizers.midi_valle.network import MidiValle, MidiValleConfig, parameter_shapes
from tests.parity.reference.midi_valle import model_of
from tests.synthesizers.midi_valle_checkpoints import (
    TINY,
    random_codec,
    random_tensors,
    write_codec,
    write_model,
)


@cache
def checkpoints(folder: Path) -> dict[str, Checkpoint]:
    return {"checkpoint": write_model(folder / "model.pt"), "codec": write_codec(folder / "codec.bin")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def make(folder: Path) -> Callable[..., MidiValleSynthesizer]:
    def synthesizer(**options: Any) -> MidiValleSynthesizer:
        parameters = MidiValleParameters(**{"precision": "float32", "segment_length": 4.0, **options})
        return MidiValleSynthesizer(parameters, checkpoints=checkpoints(folder), device="cpu")

    return synthesizer


def piece(seconds: float = 12.0) -> Performance:
    onset = np.arange(0.2, seconds - 1, 0.4)
    count = len(onset)
    return Performance(onset, onset + 0.35, 50 + np.arange(count) % 30, np.full(count, 64))


def codes_of(
    synthesizer: MidiValleSynthesizer, performance: Performance, seed: int = 0
) -> list[np.ndarray[Any, Any]]:
    """[frames, codebooks] of every segment: what an interrupted run leaves behind."""
    parts: dict[str, Any] = {}

    def keep(name: str, make_arrays: Callable[[], progress.Arrays]) -> progress.Arrays:
        if name not in parts:
            parts[name] = make_arrays()
        return parts[name]

    with progress.part_cache(keep):
        synthesizer.synthesize(performance, prompt=None, seed=seed)
    return [parts[f"segment {index}"]["codes"] for index in range(len(parts))]


def test_the_sound_does_not_depend_on_the_batch(make: Callable[..., MidiValleSynthesizer]) -> None:
    alone, together = (codes_of(make(batch_size=size), piece()) for size in (1, 8))
    assert len(alone) == len(together) > 2
    assert all(map(np.array_equal, alone, together))


def test_another_seed_plays_otherwise(make: Callable[..., MidiValleSynthesizer]) -> None:
    assert not np.array_equal(codes_of(make(), piece(), 0)[0], codes_of(make(), piece(), 1)[0])


def test_segments_sound_as_one_sequence(
    make: Callable[..., MidiValleSynthesizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each begins at its frame, without a seam."""
    monkeypatch.setattr("synthesizers.limiter.CEILING", 1e9)
    synthesizer, performance = make(), piece()
    sound = synthesizer.synthesize(performance, prompt=None, seed=0).samples
    codes = np.concatenate(codes_of(synthesizer, performance))
    whole = random_codec().decode(torch.from_numpy(codes.T.astype(np.int64))[None])[0].numpy()
    assert sound.shape == whole.shape
    fade = round(0.02 * 32_000)
    np.testing.assert_allclose(sound[:, :-fade], whole[:, :-fade], atol=1e-5)
    assert sound[0, -1] == 0.0


def test_rests_are_silent_and_keep_their_length(make: Callable[..., MidiValleSynthesizer]) -> None:
    onset = np.array([0.5, 40.0])
    performance = Performance(onset, onset + 0.5, np.array([60, 62]), np.array([80, 80]))
    sound = make().synthesize(performance, prompt=None, seed=0).samples[0]
    assert np.abs(sound[10 * 32_000 : 35 * 32_000]).max() == 0.0
    assert np.abs(sound[: 2 * 32_000]).max() > 0.01
    assert np.abs(sound[round(39.9 * 32_000) :]).max() > 0.01


def test_an_interrupted_run_goes_on_where_it_was(make: Callable[..., MidiValleSynthesizer]) -> None:
    synthesizer, performance = make(batch_size=1), piece()
    whole = synthesizer.synthesize(performance, prompt=None, seed=0).samples
    kept: dict[str, Any] = {}
    made: list[str] = []

    def cached_part(name: str, make_arrays: Callable[[], Any]) -> Any:
        if name not in kept:
            kept[name] = make_arrays()
            made.append(name)
            if len(made) == 2:
                raise KeyboardInterrupt
        return kept[name]

    with progress.part_cache(cached_part), pytest.raises(KeyboardInterrupt):
        synthesizer.synthesize(performance, prompt=None, seed=0)
    assert made == ["segment 0", "segment 1"]
    with progress.part_cache(cached_part):
        resumed = synthesizer.synthesize(performance, prompt=None, seed=0).samples
    assert np.array_equal(resumed, whole)
    assert made[:3] == ["segment 0", "segment 1", "segment 2"], "finished segments are not generated again"
    assert len(made) == len(set(made))


def test_progress_reaches_its_end(make: Callable[..., MidiValleSynthesizer]) -> None:
    reports: list[tuple[float, float, str]] = []
    default_prompt.cache_clear()  # playing it is no progress
    with progress.listening(lambda *report: reports.append(report)):
        make(batch_size=2).synthesize(piece(), prompt=None, seed=0)
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert reports[-1][0] == reports[-1][1]
    assert "segments done" in reports[-1][2]


def test_continuations_read_what_came_before(make: Callable[..., MidiValleSynthesizer]) -> None:
    plain, continued = (codes_of(make(continuation=value), piece()) for value in (False, True))
    assert [len(part) for part in plain] == [len(part) for part in continued]
    assert np.array_equal(plain[0], continued[0])
    assert not np.array_equal(plain[1], continued[1])


@pytest.mark.parametrize("joining", ["naive", "crossfade", "fade", "concat"])
def test_published_joins(make: Callable[..., MidiValleSynthesizer], joining: str) -> None:
    performance = piece()
    sound = make(joining=joining).synthesize(performance, prompt=None, seed=0)
    continuous = make().synthesize(performance, prompt=None, seed=0)
    assert np.abs(sound.samples).max() > 0.01
    if joining == "naive":
        assert sound.samples.shape == continuous.samples.shape
    else:
        assert sound.samples.shape[1] < continuous.samples.shape[1]


def test_official_compatibility_plays_what_the_published_program_plays(
    make: Callable[..., MidiValleSynthesizer],
) -> None:
    synthesizer = make(compatibility="official", top_k=1)
    sound = synthesizer.synthesize(piece(18.5), prompt=None, seed=0)
    frames = sound.samples.shape[1] / 640
    assert frames == int(frames)
    assert make(compatibility="official").synthesize(piece(10), prompt=None, seed=0).samples.shape == (1, 0)


def test_a_segment_that_ends_at_once_is_silent(folder: Path) -> None:
    """Only possible with the published stop rule; the published program fails there."""
    weights = {name: torch.zeros_like(tensor) for name, tensor in random_tensors().items()}
    weights["ar_predict_layer.weight"][-1] = 1.0
    weights["ar_decoder.norm.bias"] += 1.0
    torch.save(weights, folder / "silent.pt")
    both = {**checkpoints(folder), "checkpoint": Checkpoint("silent", {"weights": folder / "silent.pt"}, "")}
    parameters = MidiValleParameters(compatibility="official", precision="float32")
    synthesizer = MidiValleSynthesizer(parameters, checkpoints=both, device="cpu")
    assert synthesizer.synthesize(piece(20), prompt=None, seed=0).samples.shape == (1, 0)


def test_official_segments_have_no_place_in_time(make: Callable[..., MidiValleSynthesizer]) -> None:
    with pytest.raises(ValueError, match="joining=continuous is not possible"):
        make(compatibility="official", joining="continuous")


def test_a_prompt_without_notes_is_transcribed(
    make: Callable[..., MidiValleSynthesizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By transkun, which is not loaded here."""
    given = default_prompt()
    monkeypatch.setattr("adapters.transcription.transcribe", lambda waveform: given.performance)
    transcribed, written = (
        make().synthesize(piece(3), prompt=prompt, seed=0).samples
        for prompt in (Prompt(given.audio, None, ""), given)
    )
    assert np.array_equal(transcribed, written)


def test_a_prompt_whose_notes_cannot_be_found_is_refused(
    make: Callable[..., MidiValleSynthesizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(waveform: Waveform) -> Performance:
        raise InputError("transcription needs transkun")

    bare = Prompt(default_prompt().audio, None, "")
    for transcribe, message in (
        (missing, r"beside the recording .*transkun"),
        (lambda waveform: testing.no_performance(), "no piano notes"),
    ):
        monkeypatch.setattr("adapters.transcription.transcribe", transcribe)
        with pytest.raises(InputError, match=message):
            make().synthesize(piece(), prompt=bare, seed=0)


def test_a_prompt_that_does_not_agree_is_reported(
    make: Callable[..., MidiValleSynthesizer], caplog: pytest.LogCaptureFixture
) -> None:
    given = default_prompt()
    notes = given.performance
    assert notes is not None
    moved = Performance(notes.onset + 0.15, notes.offset + 0.15, notes.pitch, notes.velocity)
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 96_000)).astype(np.float32)
    for prompt, message in (
        (given, ""),
        (Prompt(given.audio, moved, ""), "ms after its MIDI"),
        (Prompt(Waveform(noise, 32_000), notes, ""), "of the prompt's notes agree with its sound"),
    ):
        caplog.clear()
        make().synthesize(piece(3), prompt=prompt, seed=0)
        prompt_messages = [text for text in caplog.messages if "prompt" in text]
        assert len(prompt_messages) == bool(message)
        assert message in caplog.text


def test_a_long_prompt_leaves_room(
    make: Callable[..., MidiValleSynthesizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, lengths = default_prompt(), []

    def recorded(model: MidiValle, requests: list[DecodingRequest], *_: Any, **options: Any) -> list[Any]:
        lengths.extend(len(request.prompt) for request in requests)
        raise KeyboardInterrupt

    monkeypatch.setattr("synthesizers.midi_valle.decoding.first_codebooks", recorded)
    sound = Waveform(np.tile(given.audio.samples, (1, 10)), given.audio.sample_rate)
    with pytest.raises(KeyboardInterrupt):
        make().synthesize(piece(3), prompt=Prompt(sound, given.performance, ""), seed=0)
    assert 75 <= lengths[0] <= 300


# ------------------------------------------------------------------------------------------- loading


def test_checkpoints_under_model_and_with_module_names(tmp_path: Path) -> None:
    tensors = random_tensors()
    torch.save({"model": {f"module.{name}": tensor for name, tensor in tensors.items()}}, tmp_path / "a.pt")
    torch.save(tensors, tmp_path / "b.pt")
    tokens, prompt = torch.full((5, 6), 5), torch.arange(20)
    one, other = (load_model(tmp_path / name, "float32", "cpu") for name in ("a.pt", "b.pt"))
    assert torch.equal(one.start(tokens, prompt), other.start(tokens, prompt))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.pop("ar_decoder.norm.bias"), "lacks ar_decoder.norm.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "unknown extra"),
        (
            lambda tensors: tensors.update({"ar_text_position.alpha": torch.zeros(2)}),
            r"alpha as \(2,\), not \(1,\)",
        ),
        (lambda tensors: tensors.pop("ar_predict_layer.weight"), "ar_predict_layer"),
        (lambda tensors: tensors.update(step=3), "not a table of tensors"),
    ],
)
def test_other_checkpoints_are_refused(tmp_path: Path, change: Callable[[Any], Any], says: str) -> None:
    tensors: dict[str, Any] = random_tensors()
    change(tensors)
    torch.save(tensors, tmp_path / "model.pt")
    with pytest.raises(InputError, match=says):
        load_model(tmp_path / "model.pt", "float32", "cpu")


def test_a_codec_of_another_size_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.pt", MidiValleConfig(width=64, heads=1, layers=1, codes=100))
    codec = write_codec(tmp_path / "c.bin")
    with pytest.raises(InputError, match="codebooks"):
        MidiValleSynthesizer(
            MidiValleParameters(), checkpoints={"checkpoint": model, "codec": codec}, device="cpu"
        )


def test_tied_tensors_are_read_once() -> None:
    """Audio embeddings 2 and 3 are the predict layers 0 and 1, whichever name the file's values differ in."""
    tensors = random_tensors()
    tensors["nar_audio_embeddings.2.word_embeddings.weight"] = torch.full((2048, 64), torch.nan)
    model = model_of(tensors, TINY)
    codes = model.complete(torch.full((5, 6), 5), torch.zeros(4, 4, dtype=torch.long), torch.arange(6))
    assert codes.shape == (6, 4)
    assert set(parameter_shapes(TINY)) == set(tensors)


def test_dense_layers_are_linear_layers() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias, rows = (torch.randn(*shape, generator=generator) for shape in ((24, 16), (24,), (8, 16)))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        expected = torch.nn.functional.linear(rows, weight, bias)
        plain, rectified = (
            PackedLinear(weight, bias, dtype, "cpu", relu=relu)(rows) for relu in (False, True)
        )
        torch.testing.assert_close(plain.float(), expected, atol=tolerance, rtol=0)
        torch.testing.assert_close(rectified.float(), expected.relu(), atol=tolerance, rtol=0)


# --------------------------------------------------------------------------------------- conformance


CHECKS = testing.synthesizer_checks("midi-valle", trained=False)


@pytest.mark.parametrize("number", range(len(CHECKS)), ids=lambda number: CHECKS[number].__name__)
def test_conformance(number: int, folder: Path) -> None:
    options = {role: str(one.weights) for role, one in checkpoints(folder).items()}
    testing.synthesizer_checks("midi-valle", options | {"precision": "float32"}, trained=False)[number]()

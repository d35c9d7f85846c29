"""The synthesizer ``ddsp-piano`` as a whole, with arbitrary weights, and with the published ones where they
are on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from adapters.ddsp_piano import DdspPianoParameters, DdspPianoSynthesizer, read_model
from score_to_audio import checkpoints, progress, registry, testing
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint
from score_to_audio.types import Controls, Performance
from score_to_audio.weights import load_checkpoint
from synthesizers.ddsp_piano import playing
from tests.synthesizers.ddsp_piano_checkpoints import DATA, INDEX, filled_model, published_weights, write

RATE = 16000
PUBLISHED = published_weights()
needs_published = pytest.mark.skipif(
    PUBLISHED is None,
    reason="the published weights are not here: score-to-audio models pull ddsp-piano",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write(tmp_path_factory.mktemp("ddsp-piano"))


def made(checkpoint: Checkpoint, **options: Any) -> DdspPianoSynthesizer:
    parameters = DdspPianoParameters(**options)
    return DdspPianoSynthesizer(parameters, checkpoints={"checkpoint": checkpoint}, device="cpu")


def published(**options: Any) -> DdspPianoSynthesizer:
    return made(checkpoints.find(str(PUBLISHED)), **options)


def piece(seconds: float) -> Performance:
    onset = np.arange(0.2, seconds - 1, 0.31)
    count = len(onset)
    return Performance(onset, onset + 0.25, 40 + np.arange(count) * 7 % 40, 30 + np.arange(count) % 80)


def note(onset: float, pitch: int, velocity: int = 80, seconds: float = 0.5) -> Performance:
    return Performance(*(np.array([x]) for x in (onset, onset + seconds, pitch, velocity)))


def sound(synthesizer: DdspPianoSynthesizer, performance: Performance, seed: int = 0) -> np.ndarray[Any, Any]:
    return synthesizer.synthesize(performance, prompt=None, seed=seed).samples


def level(samples: np.ndarray[Any, Any]) -> float:
    return float(10 * np.log10((samples.astype(float) ** 2).mean() + 1e-20))


# ------------------------------------------------------------------------------------------ conformance

NAMES = [check.__name__ for check in testing.synthesizer_checks("ddsp-piano")]
LIGHT = "that_loading_is_light"
"""Asks the entry point in a process of its own."""


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (LIGHT, "onset", "loudness")])
def test_conformance(name: str, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, {"checkpoint": str(checkpoint.weights)}, monkeypatch)


@needs_published
@pytest.mark.parametrize("options", [{}, {"piano": "2004", "background": "learnt"}], ids=["default", "other"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != LIGHT])
def test_conformance_of_the_published_model(
    name: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(name, {"checkpoint": str(PUBLISHED), **options}, monkeypatch)


def check(name: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (registry, testing):
        monkeypatch.setattr(module, "plugin", lambda kind, name: DdspPianoSynthesizer)
    checks = {one.__name__: one for one in testing.synthesizer_checks("ddsp-piano", options)}
    checks[name]()


# -------------------------------------------------------------------------------------------- the length


def test_nothing_is_cut_off_at_the_end(checkpoint: Checkpoint) -> None:
    """A second of release, then the room's 1.5 s, then a fade to zero."""
    performance = note(0.3, 60)
    samples = sound(made(checkpoint), performance)[0]
    assert performance.end + 2.5 <= len(samples) / RATE < performance.end + 2.51
    echo = samples[int((0.3 + 1.0) * RATE) :]
    assert np.abs(echo).max() > 1e-3
    assert samples[-1] == 0
    assert np.abs(np.diff(samples[-RATE // 2 :])).max() < 0.02


def test_the_published_length_is_whole_seconds(checkpoint: Checkpoint) -> None:
    official = made(checkpoint, compatibility="official")
    for end in (0.8, 1.0, 1.2):
        assert sound(official, note(0.3, 60, seconds=end - 0.3)).shape[1] == np.ceil(end) * RATE


def test_a_pedal_holds_notes(checkpoint: Checkpoint) -> None:
    short = note(0.1, 60, seconds=0.1)
    pedal = replace(short, controls=Controls(np.array([0.0, 4.0]), np.array([64, 64]), np.array([127, 0])))
    assert sound(made(checkpoint), pedal).shape[1] - sound(made(checkpoint), short).shape[1] == 3.8 * RATE


def test_no_notes_are_silence(checkpoint: Checkpoint) -> None:
    pedal = Controls(np.array([3.0]), np.array([64]), np.array([127]))
    for performance in (testing.no_performance(), replace(testing.no_performance(), controls=pedal)):
        for options in ({}, {"compatibility": "official"}):
            samples = sound(made(checkpoint, **options), performance)
            assert samples.shape == (1, int(performance.end * RATE))
            assert not samples.any()


def test_hours_are_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match=r"277\.8 hours; ddsp-piano takes up to 2"):
        made(checkpoint).stream(note(1e6, 60), prompt=None, seed=0)


# ---------------------------------------------------------------------------------- blocks, memory, seeds


@pytest.mark.parametrize("background", ["muted", "learnt"])
def test_what_is_kept_and_how_blocks_are_cut_leaves_no_trace(
    background: str, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every note of a chord of 24 has a voice, more than the 16 that are always there."""
    parts = zip(columns(chord_of(24)), columns(piece(12.0)), strict=True)
    chord = Performance(*(np.concatenate(pair) for pair in parts))
    synthesizer = made(checkpoint, background=background)
    whole = sound(synthesizer, chord)
    monkeypatch.setattr(playing, "MOST_KEPT", 0)
    np.testing.assert_allclose(sound(synthesizer, chord), whole, atol=1e-5)
    if background == "muted":  # the noise belongs to the blocks
        monkeypatch.setattr(playing, "MOST_KEPT", 2**21)
        np.testing.assert_allclose(sound(synthesizer, chord), whole, atol=1e-5)


def columns(performance: Performance) -> tuple[np.ndarray[Any, Any], ...]:
    return performance.onset, performance.offset, performance.pitch, performance.velocity


def chord_of(count: int, velocity: int = 80) -> Performance:
    onset = np.full(count, 0.1)
    return Performance(onset, onset + 1, 30 + 2 * np.arange(count), np.full(count, velocity))


def test_the_networks_do_not_hear_the_blocks(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whichever size; white noise has a generator per block, hence none here."""

    def no_noise(_first: int, frame: torch.Tensor, _voice: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(frame), 64)

    monkeypatch.setattr("synthesizers.ddsp_piano.noise.white_noise", lambda seed: no_noise)
    whole = sound(made(checkpoint), piece(8.0))
    monkeypatch.setattr(playing, "BLOCK", 70)
    np.testing.assert_allclose(sound(made(checkpoint), piece(8.0)), whole, atol=2e-5)


def test_another_seed_gives_other_noise(checkpoint: Checkpoint) -> None:
    first, again, other = (sound(made(checkpoint), piece(3.0), seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_progress_grows_to_the_end(checkpoint: Checkpoint) -> None:
    reports: list[tuple[float, float]] = []
    with progress.listening(lambda done, total, unit: reports.append((done, total))):
        samples = sound(made(checkpoint), piece(8.0))
    shares = [done / total for done, total in reports]
    assert shares == sorted(shares)
    assert len(shares) > 8
    assert shares[-1] == pytest.approx(1)
    assert reports[0][1] == samples.shape[1] / RATE


# ------------------------------------------------------------------------------------- the published model


@needs_published
def test_the_ten_pianos_differ() -> None:
    sounds = [sound(published(piano=year), piece(3.0)) for year in (2004, "2009", "2018")]
    for one in sounds:
        assert -60 < level(one) < -15
    assert np.abs(sounds[0] - sounds[1]).max() > 1e-2 < np.abs(sounds[1] - sounds[2]).max()
    with pytest.raises(ValueError, match="2018"):
        DdspPianoParameters(piano="2005")


@needs_published
def test_every_note_of_a_large_chord_is_heard() -> None:
    """The published scripts drop the lowest: bass notes."""

    def bass(synthesizer: DdspPianoSynthesizer) -> float:
        samples = sound(synthesizer, chord_of(26))[0, int(0.2 * RATE) : int(0.9 * RATE)]
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * RATE))
        frequency = 440 * 2 ** ((np.array([30, 34, 38]) - 69) / 12)
        peaks = [spectrum[int(8 * f * 0.99) : int(8 * f * 1.01) + 2].max() for f in frequency]
        return float(20 * np.log10(max(peaks)))

    assert bass(published()) > bass(published(compatibility="official")) + 15


@needs_published
def test_a_muted_background_is_silent_before_the_music() -> None:
    late = note(3.0, 60, velocity=30)
    muted, learnt = (
        sound(published(background=kind, piano=2018), late)[0, : 2 * RATE] for kind in ("muted", "learnt")
    )
    assert np.abs(muted).max() < 1e-8
    assert -60 < level(learnt) < -40


@needs_published
def test_a_note_is_in_tune_and_decays() -> None:
    samples = sound(published(), note(0.5, 69, seconds=3.0))[0]
    part = samples[RATE : 2 * RATE]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 16 * RATE))
    peak = int(spectrum[16 * 400 : 16 * 480].argmax()) / 16 + 400
    assert abs(1200 * np.log2(peak / 440)) < 6  # cents
    assert level(samples[RATE : RATE * 3 // 2]) > level(samples[3 * RATE : RATE * 7 // 2]) + 6


# ------------------------------------------------------------------------------------------ the checkpoint


@needs_published
def test_the_published_checkpoint_is_the_one_of_the_table() -> None:
    assert PUBLISHED
    entry = checkpoints.published("ddsp-piano")
    for role, name in entry.files.items():
        content = PUBLISHED.with_name(name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry.sha256[role]
    tensors = load_checkpoint(PUBLISHED)
    assert len(tensors) == 32
    assert sum(tensor.numel() for tensor in tensors.values()) == 521_507


def test_a_checkpoint_in_either_form_gives_the_same_model(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = filled_model().state_dict()
    save_file(state, tmp_path / "ours.safetensors")
    for path in (checkpoint.weights, tmp_path / "ours.safetensors"):
        found = read_model(path).state_dict()
        assert set(found) == set(state)
        assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    state = filled_model().state_dict()
    for changes, message in (
        ({"mono.dense_in.kernel": torch.zeros(35, 64)}, r"has mono\.dense_in\.kernel as \(35, 64\)"),
        ({"model/film": torch.zeros(3)}, "has an unknown model/film"),
        ({"detuner.bias": torch.tensor([1, torch.nan])}, "holds weights that are not numbers"),
        ({"note_release.seconds": torch.tensor([0.3331])}, r"releases notes within 0\.3331 s"),
        ({"note_release.seconds": torch.tensor([1e9])}, "releases notes within 1e"),
    ):
        save_file({**state, **changes}, path)
        with pytest.raises(InputError, match=message):
            read_model(path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"list\.pt .*lacks context\.dense_in\.kernel"):
        read_model(tmp_path / "list.pt")


@pytest.fixture
def server(checkpoint: Checkpoint) -> Iterator[str]:
    """What stands in for the publisher: the address of a folder, on the loopback interface."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(checkpoint.weights.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


@pytest.fixture
def table(
    server: str, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> checkpoints.Published:
    """The entry of the table, with the server's address and its files' hashes."""
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path / "checkpoints"))
    files = {role: checkpoint.weights.with_name(name) for role, name in (("weights", DATA), ("index", INDEX))}
    entry = replace(
        checkpoints.published("ddsp-piano"),
        url={role: f"{server}/{path.name}" for role, path in files.items()},
        sha256={role: hashlib.sha256(path.read_bytes()).hexdigest() for role, path in files.items()},
    )
    monkeypatch.setattr(checkpoints, "table", lambda: {"ddsp-piano": entry})
    return entry


def test_pull_and_play(table: checkpoints.Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "plugin", lambda kind, name: DdspPianoSynthesizer)
    with pytest.raises(InputError, match="models pull ddsp-piano"):
        registry.resolve("synthesizer", "ddsp-piano")
    found = checkpoints.pull("ddsp-piano")
    assert sorted(path.name for path in found.files.values()) == [DATA, INDEX]
    synthesizer = registry.build(registry.resolve("synthesizer", "ddsp-piano", device="cpu"))
    assert sound(synthesizer, note(0.1, 60)).any()


def test_files_that_are_not_the_published_ones_are_refused(
    table: checkpoints.Published, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = replace(table, sha256={**table.sha256, "weights": "0" * 64})
    monkeypatch.setattr(checkpoints, "table", lambda: {"ddsp-piano": other})
    with pytest.raises(InputError, match="not the file that was expected"):
        checkpoints.pull("ddsp-piano")


def test_import(table: checkpoints.Published, checkpoint: Checkpoint, tmp_path: Path) -> None:
    files = [checkpoint.weights, checkpoint.weights.with_name(INDEX)]
    with pytest.raises(InputError, match=r"lacks ckpt-0\.index"):
        checkpoints.import_files("ddsp-piano", files[:1])
    assert checkpoints.import_files("ddsp-piano", files) == checkpoints.find("ddsp-piano")
    damaged = tmp_path / DATA
    damaged.write_bytes(bytes(10) + checkpoint.weights.read_bytes()[10:])
    with pytest.raises(InputError, match=r"has changed \(sha256"):
        checkpoints.import_files("ddsp-piano", [damaged, files[1]])

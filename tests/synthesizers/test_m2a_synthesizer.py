"""The synthesizer ``m2a`` as a whole, on a small checkpoint with arbitrary weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adapters import m2a as adapter
from adapters.m2a import M2A, M2AParameters
from score_to_audio import progress, testing
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint
from score_to_audio.types import Controls, Performance
from synthesizers.m2a import decoding
from synthesizers.m2a.network import AcousticModel
from tests.synthesizers.m2a_checkpoints import ACOUSTIC, write

CELL = 1152
"""Samples of a cell of the piano roll."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("m2a")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return write(folder)


@pytest.fixture(scope="module")
def make(checkpoint: Checkpoint) -> Callable[..., M2A]:
    def synthesizer(**options: Any) -> M2A:
        return M2A(M2AParameters(**options), checkpoints={"checkpoint": checkpoint}, device="cpu")

    return synthesizer


def piece(seconds: float) -> Performance:
    onset = np.arange(0.2, seconds - 1, 0.31)
    count = len(onset)
    return Performance(onset, onset + 0.25, 40 + np.arange(count) * 7 % 40, 30 + np.arange(count) % 80)


def sound(synthesizer: M2A, performance: Performance, seed: int = 0) -> np.ndarray[Any, Any]:
    return synthesizer.synthesize(performance, prompt=None, seed=seed).samples


# --------------------------------------------------------------------------------------- conformance

CHECKS = testing.synthesizer_checks("m2a", trained=False)


@pytest.mark.parametrize("number", range(len(CHECKS)), ids=lambda number: CHECKS[number].__name__)
def test_conformance(number: int, checkpoint: Checkpoint) -> None:
    options = {"checkpoint": str(checkpoint.weights)}
    testing.synthesizer_checks("m2a", options, trained=False)[number]()


# ---------------------------------------------------------------------------------------------- time


def test_the_sound_lasts_as_long_as_the_music_and_a_tail(make: Callable[..., M2A]) -> None:
    for seconds in (1.5, 9.6, 12.0):
        performance = piece(seconds)
        samples = sound(make(), performance)
        assert samples.shape[1] % CELL == 0
        assert 0 <= samples.shape[1] / 24000 - (performance.end + adapter.TAIL) < CELL / 24000
        assert not samples[0, -1]


def test_every_note_is_at_its_place_to_a_sample(
    make: Callable[..., M2A], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With networks that write each cell's velocities into its own four frames, across several segments."""

    def cells_as_frames(
        model: AcousticModel, memories: list[Tensor], *_: Any, **options: Any
    ) -> list[decoding.Decoded]:
        frames = [memory.repeat_interleave(4, dim=0) for memory in memories]
        return [decoding.Decoded(one, torch.zeros(len(one))) for one in frames]

    def frames_as_samples(spectrum: Tensor) -> Tensor:
        samples = torch.zeros(len(spectrum) * 288)
        samples[::288] = spectrum.amax(dim=1) / 4
        return samples

    monkeypatch.setattr(decoding, "decode", cells_as_frames)
    monkeypatch.setattr(AcousticModel, "memory", lambda model, roll, *_: roll)
    monkeypatch.setattr(adapter, "vocoder", lambda generator, device: frames_as_samples)
    onset = np.array([0.0, 3.1, 8.2, 9.6, 17.0, 30.0])
    performance = Performance(onset, onset + 0.01, np.full(6, 60), np.full(6, 127))
    sounding = np.flatnonzero(sound(make(), performance)[0] > 0.2)
    cells = np.ceil(np.floor(onset * 1000 / 12 + 1e-9) / 4).astype(int)
    np.testing.assert_array_equal(sounding, (cells[:, None] * CELL + np.arange(4) * 288).ravel())


def test_blocks_of_the_vocoder_leave_no_trace(
    make: Callable[..., M2A], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sound(make(), piece(12.0))
    monkeypatch.setattr(adapter, "BLOCK_FRAMES", 100)
    np.testing.assert_allclose(sound(make(), piece(12.0)), whole, atol=1e-5)


# ---------------------------------------------------------------------------------------- seeds, batches


@pytest.mark.parametrize("options", [{}, {"dropout": "step"}])
def test_the_sound_does_not_depend_on_the_batch(
    options: dict[str, Any], make: Callable[..., M2A], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = sound(make(**options), piece(12.0))
    monkeypatch.setattr(adapter, "BATCH_SIZE", 1)
    np.testing.assert_allclose(sound(make(**options), piece(12.0)), together, atol=1e-4)


def test_another_seed_plays_otherwise(make: Callable[..., M2A]) -> None:
    first, again, other = (sound(make(), piece(3.0), seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


# ----------------------------------------------------------------------------------------- the edges


def test_no_notes_are_silence(make: Callable[..., M2A]) -> None:
    pedal = Controls(np.array([3.0]), np.array([64]), np.array([127]))
    for performance in (testing.no_performance(), replace(testing.no_performance(), controls=pedal)):
        for options in ({}, {"compatibility": "official"}):
            assert not sound(make(**options), performance).any()


def test_hours_are_refused(make: Callable[..., M2A]) -> None:
    performance = Performance(np.array([1e6]), np.array([1e6 + 1]), np.array([60]), np.array([64]))
    with pytest.raises(InputError, match=r"277\.8 hours; m2a takes up to 4"):
        make().stream(performance, prompt=None, seed=0)


def test_what_the_roll_loses_is_reported(make: Callable[..., M2A], caplog: pytest.LogCaptureFixture) -> None:
    onset = np.array([0.012, 0.5, 0.56])
    performance = Performance(onset, onset + 0.02, np.array([60, 64, 64]), np.full(3, 64))
    with caplog.at_level(logging.WARNING):
        sound(make(), performance)
    assert "of 3 notes 0 vanish between the piano roll's cells of 48 ms and 1 merge" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        sound(make(compatibility="official"), performance)
    assert "of 3 notes 3 vanish" in caplog.text


def test_the_roll_bounds_a_stop_rule_that_fails(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    bias = "tts.generator.text2mel.prob_out.bias"
    for value, message in (
        (-100.0, "in 1 of 1 segments the stop rule never fired"),
        (100.0, "in 1 it fired early"),
    ):
        checkpoint = write(folder / str(value), **{bias: torch.full((4,), value)})
        synthesizer = M2A(M2AParameters(), checkpoints={"checkpoint": checkpoint}, device="cpu")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            samples = sound(synthesizer, piece(2.0))
        assert message in caplog.text
        assert samples.shape[1] / 24000 > 2.0


# ------------------------------------------------------------------------------------------- official


def test_official_behaviour(folder: Path) -> None:
    # A stop rule that fires at once: nothing corrects it, and later segments of 48 ms are left out.
    checkpoint = write(folder / "soon", **{"tts.generator.text2mel.prob_out.bias": torch.full((4,), 100.0)})
    options = M2AParameters(compatibility="official")
    early = M2A(options, checkpoints={"checkpoint": checkpoint}, device="cpu")
    samples = sound(early, piece(12.0))
    assert samples.shape[1] == CELL
    # One that never fires: ten frames of sound per frame of roll, as published.
    checkpoint = write(folder / "never", **{"tts.generator.text2mel.prob_out.bias": torch.full((4,), -100.0)})
    late = M2A(options, checkpoints={"checkpoint": checkpoint}, device="cpu")
    samples = sound(late, piece(3.0))
    cells = -(-int(piece(3.0).end * 1000 / 12) // 4)
    assert samples.shape[1] == (cells + 1) * 10 // 4 * CELL
    np.testing.assert_array_equal(samples * 32768, np.rint(samples * 32768))


# --------------------------------------------------------------------------- performers, environments


def test_performers_and_environments(folder: Path, checkpoint: Checkpoint) -> None:
    tables = write(folder / "tables", replace(ACOUSTIC, performers=3, environments=4))

    def made(found: Checkpoint, **options: int) -> M2A:
        return M2A(M2AParameters(**options), checkpoints={"checkpoint": found}, device="cpu")

    plain = sound(made(tables), piece(2.0))
    for options in ({"performer": 2}, {"environment": 3}):
        assert np.abs(sound(made(tables, **options), piece(2.0)) - plain).max() > 1e-4
    with pytest.raises(InputError, match=r"synthesizer\.performer: .* knows 0 to 2 \(got 3\)"):
        made(tables, performer=3)
    with pytest.raises(InputError, match=r"synthesizer\.environment: .* knows no environments; leave it 0"):
        made(checkpoint, environment=1)


# ------------------------------------------------------------------------------- progress, parts kept


def _not_again(*arguments: Any) -> Any:
    raise AssertionError("a part that was kept is made again")


@pytest.mark.parametrize("options", [{}, {"compatibility": "official"}])
def test_progress_and_parts_that_are_kept(
    options: dict[str, Any], make: Callable[..., M2A], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[tuple[float, float]] = []
    kept: dict[str, Any] = {}

    def keeper(name: str, made: Callable[[], progress.Arrays]) -> progress.Arrays:
        if name not in kept:
            kept[name] = {key: np.array(value) for key, value in made().items()}
        return dict(kept[name])

    with (
        progress.listening(lambda done, total, unit: reports.append((done, total))),
        progress.part_cache(keeper),
    ):
        first = sound(make(**options), piece(12.0))
    shares = [done / total for done, total in reports]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    monkeypatch.setattr(decoding, "decode", _not_again)
    monkeypatch.setattr(adapter, "vocoder", lambda generator, device: _not_again)
    with progress.part_cache(keeper):
        assert np.array_equal(sound(make(**options), piece(12.0)), first)

"""Training M2A from recordings on disk to a checkpoint that the synthesizer plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from adapters.m2a import M2A, M2AParameters, read_model
from adapters.m2a_training import (
    M2ATrainingConfig,
    pairs,
    train,
)
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import read_performance, write_performance
from score_to_audio.plugins import Checkpoint
from score_to_audio.store import Store
from score_to_audio.training.folder import BEST, CURVE, LAST
from score_to_audio.types import Controls, Performance
from synthesizers.m2a.training.checkpoint import own_tensors
from synthesizers.m2a.training.mel import log_mel
from synthesizers.m2a.training.task import TrainingSettings, rate
from tests.parity.golden_files import load_config

torch.set_num_threads(1)
RATE = 24_000
SIZES = {
    "width": 32, "heads": 2, "layers": 1, "units": 32, "prenet_units": 16, "prenet_dropout": 0.1,
    "postnet_channels": 16, "vocoder_channels": 32, "kernel_sizes": (3,), "scale_channels": 16,
    "period_channels": 2, "discriminator_channels": 16,
}  # fmt: skip
QUICK = {"joint_epochs": 2, "batch_segments": 2, "window": 16, "learning_rate": 1e-3}
BY_HEART = {
    **QUICK, "acoustic_epochs": 5, "vocoder_epochs": 5, "joint_epochs": 1, "epoch_batches": 50,
    "acoustic_rate": 3e-3, "warm_up": 20, "vocoder_rate": 2e-3, "learning_rate": 2e-5,
    "adversarial": False, "dropout": 0.0, "postnet_dropout": 0.0,
}  # fmt: skip


def played(seed: int) -> Performance:
    """Eight notes within two seconds."""
    random = np.random.default_rng(seed)
    onset = np.arange(8) / 4
    return Performance(
        onset=onset,
        offset=onset + 0.2,
        pitch=random.integers(48, 84, 8),
        velocity=random.integers(40, 110, 8),
        controls=Controls.none(),
    )


def sounding(performance: Performance, seconds: float) -> np.ndarray:
    """A sine per note, and the noise of a room."""
    noise = 1e-3 * np.random.default_rng(0).standard_normal(int(seconds * RATE))
    time = np.arange(int(seconds * RATE)) / RATE
    notes = zip(performance.onset, performance.offset, performance.pitch, performance.velocity, strict=True)
    return noise + sum(
        velocity / 400 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) * np.exp(-4 * (time - on))
        * ((time >= on) & (time < off))
        for on, off, pitch, velocity in notes
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recordings")
    for seed, name in enumerate(("first", "second")):
        write_performance(played(seed), place / f"{name}.mid")
        soundfile.write(place / f"{name}.wav", sounding(played(seed), 2.6), RATE)
    soundfile.write(place / "without.wav", np.zeros(RATE), RATE)
    return place


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def config(start: str = "", **training: Any) -> M2ATrainingConfig:
    content = {"start": start, "segment_cells": 50, "validation": 0.0, "network": SIZES}
    return M2ATrainingConfig.model_validate({**content, "training": {**QUICK, **training}})


def test_two_pieces_are_learnt_by_heart(folder: Path, store: Store, tmp_path: Path) -> None:
    """Stage by stage, the decoder reading its own frames, then as the synthesizer plays them.

    Untrained: spectrum .9, mel 1.5. A decoder that learns to copy the true frames (prenet dropout .1) plays a
    spectrum of .56, and high rates of the joint stage undo the first one.
    """
    sizes = {"width": 64, "units": 64, "prenet_dropout": 0.5, "vocoder_channels": 64}
    content = {"segment_cells": 50, "validation": 0.0, "network": {**SIZES, **sizes}, "training": BY_HEART}
    list(train(folder, M2ATrainingConfig.model_validate(content), tmp_path, store))
    curve = np.genfromtxt(tmp_path / CURVE, delimiter=",", names=True)
    acoustic, joint = curve["valid_spectrum"][4], curve["valid_spectrum"][-1]
    assert acoustic < 0.45
    assert joint < acoustic + 0.03
    assert curve["valid_mel"][-1] < 0.6
    difference = differences_of_sound(tmp_path / LAST, folder)
    others = min(difference[0, 1], difference[1, 0])
    assert (difference.diagonal() < 0.95 * others).all(), difference


def differences_of_sound(weights: Path, folder: Path) -> np.ndarray:
    """[2, 2] mean difference of log mel spectra: each piece as synthesized from each recording."""
    found = {"checkpoint": Checkpoint("test", {"weights": weights}, "0" * 64)}
    synthesizer = M2A(M2AParameters(), checkpoints=found, device="cpu")
    names, count = ("first", "second"), 2 * RATE
    sounds = [
        synthesizer.synthesize(read_performance(folder / f"{name}.mid"), prompt=None, seed=0).samples[0]
        for name in names
    ]
    recordings = [soundfile.read(folder / f"{name}.wav", dtype="float32")[0] for name in names]
    made, wanted = (
        log_mel(torch.from_numpy(np.stack([one[:count] for one in some]))) for some in (sounds, recordings)
    )
    return (made[:, None] - wanted[None]).abs().mean(dim=(2, 3)).numpy()


def test_each_stage_has_its_learning_rate() -> None:
    settings = TrainingSettings(
        acoustic_epochs=2, vocoder_epochs=2, acoustic_rate=1e-3, warm_up=100, vocoder_rate=2e-4, decay=0.5
    )
    assert [rate(settings, 0, batches - 1) for batches in (25, 100, 400)] == [2.5e-4, 1e-3, 5e-4]
    assert [rate(settings, epoch, 0) for epoch in (2, 3, 4, 5)] == [2e-4, 1e-4, 1.25e-5, 6.25e-6]


def test_an_interrupted_training_ends_where_an_undisturbed_one_does(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    stages = config(acoustic_epochs=1, vocoder_epochs=1, joint_epochs=1)
    list(train(folder, stages, tmp_path / "undisturbed", store))
    lines = train(folder, stages, tmp_path / "interrupted", store)
    assert next(line for line in lines if line.startswith("epoch"))
    lines.close()  # type: ignore[attr-defined]
    assert "going on after epoch 1" in list(train(folder, stages, tmp_path / "interrupted", store))
    for name in (LAST, BEST, CURVE):
        whole, resumed = (tmp_path / one / name for one in ("undisturbed", "interrupted"))
        assert whole.read_bytes() == resumed.read_bytes(), name


@pytest.fixture(scope="module")
def trained(folder: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    list(train(folder, config(), output, store))
    return output


def test_a_checkpoint_is_played(folder: Path, trained: Path) -> None:
    found = {"checkpoint": Checkpoint("test", {"weights": trained / BEST}, "0" * 64)}
    synthesizer = M2A(M2AParameters(), checkpoints=found, device="cpu")
    sound = synthesizer.synthesize(read_performance(folder / "first.mid"), prompt=None, seed=0)
    assert np.abs(sound.samples).max() > 0
    assert sound.samples.shape[1] > 2 * RATE


def test_a_checkpoint_has_the_published_layout(trained: Path) -> None:
    """With the names of the recorded training, which has as many layers in places as ours."""
    ours = torch.load(trained / BEST, weights_only=True)
    published = load_config("m2a", "state_dict.json")["m2a"]
    assert set(ours) <= set(published)
    assert {name for name in published if "text2mel" not in name and "vocoder" not in name} <= set(ours)


def test_fine_tuning_changes_the_chosen_part_only(
    folder: Path, store: Store, trained: Path, tmp_path: Path
) -> None:
    tuned = config(start=str(trained / LAST), acoustic_epochs=1, joint_epochs=0)
    list(train(folder, tuned, tmp_path, store))
    before, after = (torch.load(path / LAST, weights_only=True) for path in (trained, tmp_path))
    names = [name for name in after if isinstance(after[name], torch.Tensor)]
    changed = {name for name in names if not torch.equal(after[name], before[name])}
    acoustic = {name for name in names if ".text2mel." in name and "criterion" not in name}
    assert changed <= acoustic
    assert len(changed) > 0.8 * len(acoustic)
    read_model({"weights": tmp_path / LAST})
    assert set(own_tensors({name: after[name] for name in names}))


def test_recordings_without_notes_are_named(folder: Path) -> None:
    found, left_out = pairs(folder)
    assert [one.path.stem for one in found] == ["first", "second"]
    assert len(left_out) == 1
    assert "without.wav" in left_out[0]


def test_a_folder_without_pairs_is_refused(tmp_path: Path, store: Store) -> None:
    soundfile.write(tmp_path / "alone.wav", np.zeros(RATE), RATE)
    with pytest.raises(InputError, match="MIDI file of the same name"):
        list(train(tmp_path, config(), tmp_path / "out", store))


def test_recordings_that_are_too_short_are_refused(folder: Path, store: Store, tmp_path: Path) -> None:
    long = config().model_copy(update={"segment_cells": 200})
    with pytest.raises(InputError, match=r"9\.7 s long"):
        list(train(folder, long, tmp_path, store))

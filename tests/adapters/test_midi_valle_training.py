"""Training MIDI-VALLE from recordings to a checkpoint that the synthesizer plays."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from adapters.codec import load_codec
from adapters.midi_valle import checkpoint_tensors, load_model, trained_segment_length
from adapters.midi_valle_corpus import Preparation, prepare
from adapters.midi_valle_training import MidiValleTrainingConfig, export, train
from score_to_audio.cli.train import app
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import write_performance
from score_to_audio.plugins import Checkpoint
from score_to_audio.seeding import numpy_generator
from score_to_audio.store import Store
from score_to_audio.training.folder import BEST, CURVE, LAST
from score_to_audio.training.recordings import find_recordings, split
from score_to_audio.types import Performance
from synthesizers.midi_valle.network import MidiValleConfig
from synthesizers.midi_valle.tokens import NoteArray, notes_of_tokens, tokens_of_notes
from synthesizers.midi_valle.training.losses import alignment_loss
from synthesizers.midi_valle.training.network import FIXED
from synthesizers.midi_valle.training.segments import (
    SHORTEST,
    TrainingSegment,
    batches,
    collate,
    cuts,
    official_cuts,
    prompted,
)
from tests.synthesizers.midi_valle_checkpoints import TINY, write_codec, write_model

RATE = 32000
SECONDS = 3.2
QUICK = {"epochs": 2, "accumulation": 1, "validation": 0.3}
BY_HEART = {"epochs": 160, "optimizer": "adamw", "learning_rate": 1e-2, "dropout": 0.0, "accumulation": 1,
            "validation": 0.3, "warm_up": 1, "save_every": 0}  # fmt: skip


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write_codec(tmp_path_factory.mktemp("codec") / "codec.bin")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of a few struck notes, with their MIDI files."""
    folder = tmp_path_factory.mktemp("audio")
    for index in range(3):
        random = np.random.default_rng(index)
        onset = np.arange(0.1, SECONDS - 0.3, 0.4)
        pitch = random.integers(48, 80, len(onset))
        played = Performance(
            onset=onset,
            offset=onset + 0.35,
            pitch=pitch,
            velocity=random.integers(40, 100, len(onset)),
        )
        write_performance(played, folder / f"{index}.mid")
        time = np.arange(round(SECONDS * RATE)) / RATE
        sound = np.zeros(len(time))
        for start, one in zip(onset, pitch, strict=True):
            after = np.maximum(time - start, 0)
            frequency = 440 * 2 ** ((one - 69) / 12)
            sound += 0.2 * np.sin(2 * np.pi * frequency * after) * np.exp(-4 * after) * (time >= start)
        soundfile.write(folder / f"{index}.wav", sound, RATE)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def config(**training: Any) -> MidiValleTrainingConfig:
    network = {"width": 64, "layers": 1}
    return MidiValleTrainingConfig.model_validate({"network": network, "training": {**QUICK, **training}})


@pytest.fixture
def run(audio: Path, store: Store, codec: Checkpoint) -> Any:
    def start(output: Path, settings: MidiValleTrainingConfig, weights: Path | None = None) -> Iterator[str]:
        files = {"codec": str(codec.weights), "start": str(weights or "")}
        return train(audio, settings.model_copy(update=files), output, store)

    return start


def segments(audio: Path, store: Store, codec: Checkpoint, share: float) -> list[TrainingSegment]:
    """Those that are trained on."""
    from score_to_audio.files import sha256_of

    preparation = Preparation(load_codec(codec), sha256_of(codec.weights), "", store)
    trained, _ = split(find_recordings(audio)[0], share, 0)
    return prepare(trained, preparation, pytest.fail)


def curve(folder: Path, name: str) -> list[float]:
    """A figure of each epoch."""
    with (folder / CURVE).open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_two_recordings_are_learnt_by_heart(
    run: Any, audio: Path, store: Store, codec: Checkpoint, tmp_path: Path
) -> None:
    """The synthesizer's networks know each next frame, and complete the first codebook.

    An update trains one of the other codebooks: 80 updates are 27 for each of them, which is too few.
    """
    list(run(tmp_path, config(**BY_HEART)))
    model = load_model(tmp_path / LAST, "float32", "cpu")
    learnt = segments(audio, store, codec, 0.3)
    assert len(learnt) == 2
    for one in learnt:
        tokens, codes = torch.from_numpy(one.tokens), torch.from_numpy(one.codes)
        places = range(40, len(codes), 5)
        hits = [int(model.start(tokens, codes[:place, 0]).argmax() == codes[place, 0]) for place in places]
        assert np.mean(hits) > 0.8
        completed = model.complete(tokens, codes[:40], codes[40:, 0])
        assert (completed == codes[40:]).float().mean() > 0.8


def test_the_attention_is_shown_the_notes_struck_last() -> None:
    """Of two notes, at 0 and 1 s, in 100 frames: heads that look at the last one are right, others wrong."""
    notes = NoteArray(np.array([0.0, 1.0]), np.array([0.5, 1.5]), np.array([60, 64]), np.array([64, 64]))
    batch = collate([TrainingSegment(tokens_of_notes(notes), np.zeros((100, 4), np.int64))], "cpu")
    right = torch.zeros(1, 2, 100, 4)  # the rows of BOS, two notes, EOS
    right[:, :, :49, 1] = right[:, :, 49:, 2] = 20.0  # a frame predicts the next one
    wrong = right[:, :, :, [0, 2, 1, 3]]
    assert alignment_loss(batch, right, 50.0, 1) < 5 < alignment_loss(batch, wrong, 50.0, 1)
    sharp = alignment_loss(batch, right[:, :1], 50.0, 1)
    assert sharp < 0.5
    assert alignment_loss(batch, right[:, :1].roll(10, dims=2), 50.0, 1) > sharp + 1


def test_guided_attention_learns(run: Any, tmp_path: Path) -> None:
    list(run(tmp_path, config(**{**BY_HEART, "epochs": 30, "alignment": 1.0})))
    found = curve(tmp_path, "alignment")
    assert found[-1] < found[0] - 0.3


def test_an_interrupted_training_ends_with_the_same_bytes(run: Any, tmp_path: Path) -> None:
    settings = config(accumulation=3, save_every=1, batch_seconds=4)
    list(run(tmp_path / "undisturbed", settings))
    lines = run(tmp_path / "interrupted", settings)
    assert next(line for line in lines if line.startswith("epoch"))
    lines.close()
    assert "going on after epoch 1, batch 0" in list(run(tmp_path / "interrupted", settings))
    for name in (LAST, BEST, CURVE):
        undisturbed, interrupted = (tmp_path / one / name for one in ("undisturbed", "interrupted"))
        assert undisturbed.read_bytes() == interrupted.read_bytes(), name


@pytest.mark.parametrize("part", ["both", "first", "others"])
def test_fine_tuning_changes_only_what_it_should(run: Any, tmp_path: Path, part: str) -> None:
    start = write_model(tmp_path / "start.pt").weights
    list(run(tmp_path / "tuned", config(part=part, epochs=4, batch_seconds=4), start))
    before, after = checkpoint_tensors(start), checkpoint_tensors(tmp_path / "tuned" / LAST)
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    prefix = {"both": "", "first": "ar_", "others": "nar_"}[part]
    allowed = {name for name in before if name.startswith(prefix) and name not in FIXED}
    assert changed <= allowed
    # A step without a draw of a codebook leaves what belongs to it alone.
    assert {name for name in allowed - changed if not name.startswith("nar_")} == set()
    load_model(tmp_path / "tuned" / BEST, "float32", "cpu")


def test_an_exported_checkpoint_is_the_same_model_in_half_precision(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "whole.pt").weights
    arguments = ["export", str(whole), "-o", str(tmp_path / "half.safetensors"), "--model", "midi-valle"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    before, after = checkpoint_tensors(whole), checkpoint_tensors(tmp_path / "half.safetensors")
    assert set(before) == set(after)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name].float(), tensor, rtol=1e-3, atol=1e-3)
    load_model(tmp_path / "half.safetensors", "float32", "cpu")


def test_a_checkpoint_knows_the_segments_that_suit_it(run: Any, tmp_path: Path) -> None:
    assert trained_segment_length(write_model(tmp_path / "published.pt").weights) == 16
    list(run(tmp_path, config(epochs=1, excerpt=5.0)))
    export(tmp_path / BEST, tmp_path / "half.safetensors")
    for name in (LAST, BEST, "half.safetensors"):
        assert trained_segment_length(tmp_path / name) == 4
    list(run(tmp_path / "whole", config(epochs=1)))
    assert trained_segment_length(tmp_path / "whole" / BEST) == 16


def test_from_nothing_has_the_sizes_asked_for(run: Any, tmp_path: Path) -> None:
    list(run(tmp_path, config(epochs=1)))
    assert load_model(tmp_path / BEST, "float32", "cpu").config == MidiValleConfig(
        width=64, heads=1, layers=1, codebooks=4, codes=2048
    )
    names = (tmp_path / CURVE).read_text().splitlines()[0].split(",")
    assert {"loss", "accuracy_first", "accuracy_others", "validation_loss"} <= set(names)


# ---------------------------------------------------------------------------------------------- data


def test_crossing_notes_are_cut_by_default_and_lost_officially() -> None:
    onset = np.arange(0.0, 40.0, 0.5)
    notes = NoteArray(onset, onset + 2.0, np.full(len(onset), 60), np.full(len(onset), 64))
    length = 42 * RATE
    ours, official = cuts(notes, 41.5, length, RATE), official_cuts(notes, 41.5, length, RATE)
    assert [one.samples for one in ours[:2]] == [one.samples for one in official[:2]]
    assert len(ours) == len(official) + 1  # the end of the piece
    for one, other in zip(ours, official, strict=False):
        assert len(one.tokens) >= len(other.tokens) + 3
    assert sum(len(one.samples) for one in ours) == length


def test_segments_need_notes_and_sound() -> None:
    notes = NoteArray(np.array([1.0]), np.array([2.0]), np.array([60]), np.array([64]))
    assert [one.samples for one in cuts(notes, 2.0, 10 * RATE, RATE)] == [range(5 * RATE)]  # it rings on
    assert cuts(notes, 8.0, 2 * RATE, RATE) == []
    empty = notes.where(np.array([False]))
    assert cuts(empty, 8.0, 10 * RATE, RATE) == []


def test_an_excerpt_with_its_prompt_plays_what_its_codes_hold() -> None:
    """A note every half second from 0 on for a quarter; codes are the numbers of the frames."""
    onset = np.arange(0.0, 16.0, 0.5)
    notes = NoteArray(onset, onset + 0.25, 40 + np.arange(len(onset)), np.full(len(onset), 64))
    frames = np.arange(800)[:, None] + np.zeros((1, 4), np.int64)
    segment = TrainingSegment(tokens_of_notes(notes), frames)
    for seed in range(20):
        made = prompted(segment, 50.0, 6.0, numpy_generator(seed))
        assert 150 + 150 <= len(made.codes) <= 150 + 300
        breaks = np.flatnonzero(np.diff(made.codes[:, 0]) != 1)
        assert set(breaks) <= {149}
        found = notes_of_tokens(made.tokens)
        struck = found.where(found.offset - found.onset > 0.24)  # others are cut at an end
        for time, pitch in zip(struck.onset, struck.pitch, strict=True):
            frame = made.codes[int(time * 50 + 0.01), 0]
            assert abs(frame / 50 - 0.5 * (pitch - 40)) < 0.03
    assert len(prompted(segment, 50.0, 40.0, numpy_generator(0)).codes) == 150 + 800


def test_training_on_excerpts_learns(run: Any, tmp_path: Path) -> None:
    list(run(tmp_path, config(**{**BY_HEART, "epochs": 30, "excerpt": 1.0})))
    found = curve(tmp_path, "validation_loss")
    assert found[-1] < found[0] - 1


def test_batches_hold_all_segments_once() -> None:
    durations = np.random.default_rng(0).uniform(SHORTEST, 20, 300).tolist()
    made = batches(durations, 200.0, numpy_generator(0))
    assert sorted(index for batch in made for index in batch) == list(range(300))
    for batch in made:
        assert sum(durations[index] + durations[index] ** 2 / 10 for index in batch) <= 200
    spread = [np.ptp([durations[index] for index in batch]) for batch in made]
    assert max(spread) < 3  # of 17 seconds
    assert made != batches(durations, 200.0, numpy_generator(1))
    assert batches([5.0, 250.0, 5.0, 5.0], 200.0) == [[0], [1], [2, 3]]


def test_a_recording_that_cannot_be_used_is_named(
    audio: Path, store: Store, codec: Checkpoint, tmp_path: Path
) -> None:
    for suffix in ("wav", "mid"):
        for index in range(2):
            (tmp_path / f"{index}.{suffix}").write_bytes((audio / f"{index}.{suffix}").read_bytes())
    (tmp_path / "1.mid").write_bytes(b"no MIDI")
    lines: list[str] = []
    training = train(
        tmp_path, config().model_copy(update={"codec": str(codec.weights)}), tmp_path / "out", store
    )
    with pytest.raises(InputError, match="too few recordings"):
        lines.extend(training)
    assert any(line.startswith("left out") and "1.mid" in line for line in lines)


def test_another_codec_is_refused(run: Any, tmp_path: Path) -> None:
    other = MidiValleConfig(width=64, heads=1, layers=1, codes=1024)
    start = write_model(tmp_path / "start.pt", other).weights
    with pytest.raises(InputError, match="take the codec"):
        list(run(tmp_path / "out", config(), start))
    assert TINY.codes == 2048


def test_the_command_trains(audio: Path, codec: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    training = "".join(f"{key} = {value}\n" for key, value in {**QUICK, "epochs": 1}.items())
    file.write_text(f'codec = "{codec.weights}"\n[network]\nwidth = 64\nlayers = 1\n[training]\n{training}')
    arguments = ["midi-valle", "--audio", str(audio), "--config", str(file), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "epoch 1" in result.output
    assert (tmp_path / "out" / BEST).is_file()

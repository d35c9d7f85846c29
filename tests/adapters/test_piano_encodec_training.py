"""Training Piano-Encodec from a folder of recordings to a checkpoint that the codec is loaded from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from adapters.codec import load_codec, load_trainable_codec, reconstruct
from adapters.piano_encodec_training import (
    CodecTrainingConfig,
    draw_segments,
    export,
    read_segment,
    train,
)
from score_to_audio.cli.train import app
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import read_audio
from score_to_audio.plugins import Checkpoint
from score_to_audio.seeding import numpy_generator
from score_to_audio.store import default_store
from score_to_audio.training.folder import BEST, CURVE, LAST
from score_to_audio.training.recordings import Recording, find_recordings, split
from synthesizers.codecs.encodec import CodecConfig
from synthesizers.codecs.training import codebooks
from synthesizers.codecs.training.losses import spectral_loss
from tests.synthesizers.midi_valle_checkpoints import TINY_CODEC_CONFIG, write_codec

RATE = 8000
SMALL = {"sample_rate": RATE, "dimension": 16, "n_filters": 4, "ratios": [4, 4, 2], "n_q": 2, "bins": 32}
QUICK: dict[str, Any] = {
    "epochs": 2,
    "epoch_batches": 2,
    "batch_segments": 2,
    "segment": 0.3,
    "validation_segments": 3,
    "discriminator_channels": 2,
    "save_every": 1,
    "validation": 0.3,
}


BY_HEART: dict[str, Any] = {
    "epochs": 1,
    "epoch_batches": 80,
    "learning_rate": 5e-3,
    "average": 0.8,
    "save_every": 0,
    "weights": {"adversarial": 0, "feature": 0, "l1": 1},
}


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three struck notes, a second each."""
    folder = tmp_path_factory.mktemp("audio")
    time = np.arange(RATE) / RATE
    for name, pitch in (("a", 330.0), ("b", 440.0), ("c", 392.0)):
        partials = sum(np.sin(2 * np.pi * pitch * n * time) / n for n in (1, 2, 3))
        soundfile.write(folder / f"{name}.wav", 0.2 * partials * np.exp(-3 * time), RATE)
    return folder


def config(start: str = "", **training: Any) -> CodecTrainingConfig:
    return CodecTrainingConfig.model_validate(
        {"start": start, "network": SMALL, "training": {**QUICK, **training}}
    )


def checkpoint(path: Path) -> Checkpoint:
    return Checkpoint("test", {"weights": path}, "")


def run(audio: Path, output: Path, settings: CodecTrainingConfig) -> list[str]:
    return list(train(audio, settings, output, default_store()))


def test_two_sounds_are_learnt_by_heart(audio: Path, tmp_path: Path) -> None:
    run(audio, tmp_path, config(**BY_HEART))
    codec = load_codec(checkpoint(tmp_path / BEST))
    learnt, _ = split(find_recordings(audio)[0], QUICK["validation"], 0)
    assert len(learnt) == 2
    for path in (one.path for one in learnt):
        sound = read_audio(path)
        made = reconstruct(codec, sound).samples
        found, wanted = (torch.from_numpy(one[None, :, :RATE]) for one in (made, sound.samples))
        # Measured: 0.26 after 60 batches, 0.7 after 20, 1.1 without training.
        assert spectral_loss(found, wanted, RATE) < 0.45, path.name


def test_an_interrupted_training_ends_with_the_same_bytes(audio: Path, tmp_path: Path) -> None:
    """Codebooks, balancer and both optimizers continue."""
    run(audio, tmp_path / "undisturbed", config())
    lines = train(audio, config(), tmp_path / "interrupted", default_store())
    assert next(line for line in lines if line.startswith("epoch"))
    lines.close()  # type: ignore[attr-defined]
    again = run(audio, tmp_path / "interrupted", config())
    assert "going on after epoch 1, batch 0" in again
    for name in (LAST, BEST, CURVE):
        undisturbed, interrupted = (tmp_path / one / name for one in ("undisturbed", "interrupted"))
        assert undisturbed.read_bytes() == interrupted.read_bytes(), name


def test_a_published_checkpoint_is_fine_tuned(audio: Path, tmp_path: Path) -> None:
    """Every weight changes and every codebook; sizes and padding stay."""
    start = write_codec(tmp_path / "start.bin")
    run(audio, tmp_path / "tuned", config(str(start.weights), epochs=1))
    before, after = load_trainable_codec(start), load_trainable_codec(checkpoint(tmp_path / "tuned" / BEST))
    assert after.config == before.config == TINY_CODEC_CONFIG
    published, tuned = (
        torch.load(path, weights_only=True) for path in (start.weights, tmp_path / "tuned" / BEST)
    )
    assert set(tuned) == set(published)
    assert list(tuned["best_state"]) == list(published["best_state"])
    old, new = before.state_dict(), after.state_dict()
    kept = {name for name in old if torch.equal(old[name], new[name])}
    assert all(name.endswith("inited") for name in kept), kept


def test_from_nothing_has_the_sizes_asked_for(audio: Path, tmp_path: Path) -> None:
    run(audio, tmp_path, config(epochs=1))
    wanted = {**SMALL, "ratios": (4, 4, 2)}
    assert load_codec(checkpoint(tmp_path / BEST)).config == CodecConfig(**wanted)
    curve = (tmp_path / CURVE).read_text().splitlines()
    assert len(curve) == 2
    assert {"loss", "discriminator", "spectral_distance", "codes_in_use"} <= set(curve[0].split(","))


def test_an_exported_checkpoint_is_the_same_codec_in_half_precision(tmp_path: Path) -> None:
    whole = write_codec(tmp_path / "whole.bin")
    export(whole.weights, tmp_path / "half.bin")
    assert (tmp_path / "half.bin").stat().st_size < 0.6 * whole.weights.stat().st_size
    before, after = load_codec(whole), load_codec(checkpoint(tmp_path / "half.bin"))
    assert after.config == before.config
    for one, other in zip(before.state_dict().values(), after.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3)


def test_bfloat16_on_a_cpu_needs_wide_layers(audio: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="on a CPU bfloat16 needs n_filters"):
        run(audio, tmp_path, config(precision="bfloat16"))


def test_the_decoder_can_be_trained_alone(audio: Path, tmp_path: Path) -> None:
    """Encoder and codebooks stay, so that codes stay; the decoder changes."""
    start = write_codec(tmp_path / "start.bin")
    run(audio, tmp_path / "tuned", config(str(start.weights), epochs=1, part="decoder"))
    old = load_trainable_codec(start).state_dict()
    new = load_trainable_codec(checkpoint(tmp_path / "tuned" / BEST)).state_dict()
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"decoder"}


def test_dead_codes_come_back() -> None:
    """Half of the codes are far from all vectors: revived ones are used, official ones never."""
    random = torch.Generator().manual_seed(0)
    used = {}
    for dead_codes in ("revived", "official"):
        rows = torch.cat([torch.randn(8, 4, generator=random), 1000 + torch.randn(8, 4, generator=random)])
        table = Codebook(rows)
        for _ in range(400):
            vectors = torch.randn(64, 4, generator=random)
            index, _ = codebooks.quantize(table, vectors, random, dead_codes)  # type: ignore[arg-type]
        used[dead_codes] = len(index.unique())
    assert used["official"] <= 8
    assert used["revived"] > 12


class Codebook:
    def __init__(self, rows: torch.Tensor) -> None:
        self.inited = torch.ones(1)
        self.embed, self.cluster_size = rows.clone(), torch.full((len(rows),), 4.0)
        self.embed_avg = rows * self.cluster_size[:, None]


# ---------------------------------------------------------------------------------------------- data


def test_segments_are_drawn_by_duration() -> None:
    recordings = [Recording(Path("a"), 1.0, None), Recording(Path("b"), 9.0, None)]
    drawn = draw_segments(recordings, 2000, 1.0, numpy_generator(0))
    assert 0.85 < np.mean([index for index, _ in drawn]) < 0.95
    assert all(0 <= start <= recordings[index].seconds - 0.5 for index, start in drawn)
    assert max(start for index, start in drawn if index) > 8


def test_a_segment_ends_in_silence_after_the_recording(audio: Path) -> None:
    codec = load_codec_of_rate(RATE)
    read = read_segment(audio / "a.wav", 0.8, 0.5, codec)
    assert len(read) == RATE // 2
    assert np.abs(read[: RATE // 10]).max() > 0
    assert not read[round(0.2 * RATE) + 2 :].any()


def load_codec_of_rate(rate: int) -> Any:
    from synthesizers.codecs.encodec import Codec

    return Codec(CodecConfig(sample_rate=rate, n_filters=2, dimension=4, bins=8))


def test_recordings_are_found_with_their_midi(audio: Path, tmp_path: Path) -> None:
    for name in ("x.wav", "y.wav"):
        (tmp_path / name).write_bytes((audio / "a.wav").read_bytes())
    (tmp_path / "x.mid").write_bytes(b"")
    (tmp_path / "broken.flac").write_bytes(b"no audio")
    (tmp_path / "notes.txt").write_text("no recording")
    found, left_out = find_recordings(tmp_path)
    assert [(one.path.name, one.seconds, one.midi is not None) for one in found] == [
        ("x.wav", 1.0, True),
        ("y.wav", 1.0, False),
    ]
    assert len(left_out) == 1
    assert "broken.flac" in left_out[0]
    trained, validated = split(found, 0.1, 0)
    assert len(trained) == len(validated) == 1
    assert trained != validated
    assert split(found[:1], 0.1, 0) == (found[:1], found[:1])


def test_what_cannot_be_trained_is_said(audio: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recordings"):
        run(tmp_path, tmp_path / "out", config())
    with pytest.raises(InputError, match="longest window"):
        run(audio, tmp_path / "out", config(segment=0.1))
    with pytest.raises(InputError, match="no such folder"):
        run(tmp_path / "missing", tmp_path / "out", config())


def test_the_command_trains(audio: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    file = tmp_path / "config.toml"
    network = "".join(f"{key} = {value}\n" for key, value in SMALL.items())
    training = "".join(f"{key} = {value}\n" for key, value in {**QUICK, "epochs": 1}.items())
    file.write_text(f'start = ""\n[network]\n{network}[training]\n{training}')
    arguments = ["piano-encodec", "--audio", str(audio), "--config", str(file), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "epoch 1" in result.output
    assert (tmp_path / "out" / BEST).is_file()

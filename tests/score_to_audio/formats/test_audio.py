"""Audio files: what is written comes back, bytes repeat, bad input gives one sentence."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from score_to_audio.errors import InputError
from score_to_audio.formats.audio import (
    BLOCK,
    ENCODINGS,
    AudioFormat,
    Tags,
    collect,
    read_audio,
    stream_audio,
    stream_of,
    write_audio,
)
from score_to_audio.types import AudioStream, Waveform

FORMATS = get_args(AudioFormat)


def tone(seconds: float = 2.0, rate: int = 48000, channels: int = 2) -> Waveform:
    time = np.arange(int(seconds * rate)) / rate
    rows = [0.5 * np.sin(2 * np.pi * 440 * (1 + row) * time) for row in range(channels)]
    return Waveform(np.array(rows, np.float32), rate)


def blocks_that_fail() -> Iterator[NDArray[np.float32]]:
    yield np.zeros((2, 1000), np.float32)
    raise RuntimeError("the model broke")


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_lossless_files_keep_24_bits(tmp_path: Path, format: AudioFormat) -> None:
    sound = tone()
    write_audio(stream_of(sound), tmp_path / "x", format=format)
    back = read_audio(tmp_path / "x")
    assert back.sample_rate == 48000
    assert back.samples.shape == sound.samples.shape
    assert np.abs(back.samples - sound.samples).max() <= 2.0**-23


@pytest.mark.parametrize("format", ["mp3", "ogg"])
def test_lossy_files_keep_the_sound(tmp_path: Path, format: AudioFormat) -> None:
    sound = tone()
    write_audio(stream_of(sound), tmp_path / "x", format=format)
    back = read_audio(tmp_path / "x").samples
    length = sound.samples.shape[1]
    assert abs(back.shape[1] - length) <= 2400
    middle = slice(length // 4, 3 * length // 4)
    assert np.abs(back[:, middle] - sound.samples[:, middle]).max() < 0.01


@pytest.mark.parametrize("format", FORMATS)
def test_same_samples_give_same_bytes(tmp_path: Path, format: AudioFormat) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_audio(stream_of(tone()), first, format=format)
    time.sleep(1.1)  # libsndfile seeds its stream numbers, and dates its chunks, by the second
    write_audio(stream_of(tone()), second, format=format)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_block_sizes_do_not_matter(tmp_path: Path, format: AudioFormat) -> None:
    sound = tone()
    cuts = np.split(sound.samples, [1, 500, 777, 50000], axis=1)
    write_audio(stream_of(sound), tmp_path / "whole", format=format)
    write_audio(AudioStream(48000, 2, iter(cuts)), tmp_path / "cut", format=format)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "cut").read_bytes()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (44100, 2)])
def test_other_rates_and_mono(tmp_path: Path, format: AudioFormat, rate: int, channels: int) -> None:
    write_audio(stream_of(tone(1, rate, channels)), tmp_path / "x", format=format)
    back = read_audio(tmp_path / "x")
    assert (back.sample_rate, back.samples.shape[0]) == (rate, channels)


def test_the_checksums_of_ogg_pages_are_those_of_libogg(tmp_path: Path) -> None:
    """libsndfile wrote them; putting its own stream number back has to give its own bytes."""
    from score_to_audio.formats import audio

    path = tmp_path / "x.ogg"
    soundfile.write(path, tone().samples.T, 48000, format="OGG", subtype="VORBIS")
    theirs = path.read_bytes()
    audio.fix_ogg_serial(path)
    assert path.read_bytes() != theirs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "OGG_SERIAL", int.from_bytes(theirs[14:18], "little"))
        audio.fix_ogg_serial(path)
    assert path.read_bytes() == theirs


def test_samples_beyond_full_scale_are_clipped_not_wrapped(tmp_path: Path) -> None:
    loud = Waveform(np.full((1, 100), 1.5, np.float32), 48000)
    write_audio(stream_of(loud), tmp_path / "x", format="wav")
    assert read_audio(tmp_path / "x").samples.min() > 0.999


def test_a_long_stream_needs_little_memory(tmp_path: Path) -> None:
    """20 minutes (230 MB of samples) in blocks of a second."""
    silence = np.zeros((2, 24000), np.float32)
    stream = AudioStream(24000, 2, (silence for _ in range(1200)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_audio(stream, tmp_path / "x", format="wav")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert soundfile.info(tmp_path / "x").frames == 1200 * 24000


def test_a_failing_stream_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broke"):
        write_audio(AudioStream(48000, 2, blocks_that_fail()), tmp_path / "x", format="ogg")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"x\.wav"):
            write_audio(stream_of(tone(5)), tmp_path / "x.wav", format="wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_audio(stream_of(tone()), tmp_path / "no" / "x.wav", format="wav")


def test_mp3_refuses_rates_that_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="96000 Hz"):
        write_audio(stream_of(tone(1, 96000)), tmp_path / "x", format="mp3")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a readable audio file"), (b"MThd" + bytes(100), "not a readable audio file")],
)
def test_unreadable_files_give_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_audio(path)
    assert str(path) in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_audio(tmp_path / "none.wav")


def test_file_without_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros((0, 1)), 48000)
    with pytest.raises(InputError, match="holds no sound"):
        read_audio(tmp_path / "x.wav")


def test_file_that_is_not_finite(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.array([0, np.nan]), 48000, subtype="FLOAT")
    with pytest.raises(InputError, match="not numbers"):
        read_audio(tmp_path / "x.wav")


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("score_to_audio.formats.audio.MAX_SAMPLES", 1000)
    write_audio(stream_of(tone()), tmp_path / "x.flac", format="flac")
    with pytest.raises(InputError, match="give a shorter recording"):
        read_audio(tmp_path / "x.flac")


def test_stream_and_collect_are_inverse() -> None:
    sound = Waveform(np.random.default_rng(0).normal(size=(2, 3 * BLOCK + 5)).astype(np.float32), 44100)
    stream = stream_of(sound)
    back = collect(stream)
    np.testing.assert_array_equal(back.samples, sound.samples)
    assert back.sample_rate == 44100


def test_an_empty_stream_is_an_empty_sound() -> None:
    assert collect(AudioStream(48000, 2, iter(()))).samples.shape == (2, 0)


def test_every_format_has_an_encoding() -> None:
    assert set(ENCODINGS) == set(FORMATS)


def test_a_stream_from_a_file_holds_the_samples_of_the_file(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 150_000)).astype(np.float32)
    write_audio(stream_of(Waveform(samples, 32000)), tmp_path / "x.wav", format="wav")
    streamed = collect(stream_audio(tmp_path / "x.wav"))
    read = read_audio(tmp_path / "x.wav")
    assert streamed.sample_rate == read.sample_rate
    np.testing.assert_array_equal(streamed.samples, read.samples)


TAGS = Tags(
    "Études – Nr. 1, a title of more than thirty characters", "Frédéric Chopin", "rendered by kth-rules"
)


@pytest.mark.parametrize("format", ["flac", "mp3", "ogg"])
def test_tags_are_read_back_and_repeat(tmp_path: Path, format: AudioFormat) -> None:
    for name in ("x", "y"):
        write_audio(stream_of(tone()), tmp_path / name, format=format, tags=TAGS)
    with soundfile.SoundFile(tmp_path / "x") as file:
        shown = file.copy_metadata()
        assert {name: shown[name] for name in TAGS._fields} == TAGS._asdict()
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    write_audio(stream_of(tone()), tmp_path / "plain", format=format)
    np.testing.assert_array_equal(read_audio(tmp_path / "x").samples, read_audio(tmp_path / "plain").samples)


def test_a_wav_file_has_no_tags(tmp_path: Path) -> None:
    for name, tags in (("x", TAGS), ("y", Tags())):
        write_audio(stream_of(tone()), tmp_path / name, format="wav", tags=tags)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()

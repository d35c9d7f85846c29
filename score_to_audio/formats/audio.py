"""Audio files in and out, on soundfile; streams of samples."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from score_to_audio.errors import InputError
from score_to_audio.types import AudioStream, Waveform

if TYPE_CHECKING:
    from soundfile import SoundFile

AudioFormat = Literal["wav", "flac", "mp3", "ogg"]

ENCODINGS: dict[AudioFormat, tuple[str, str]] = {
    "wav": ("WAV", "PCM_24"),
    "flac": ("FLAC", "PCM_24"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
}
"""libsndfile's container and encoding, of the same integers in WAV and FLAC. The rounding noise of 24 bits
(-146 dB) is below that of float32 samples at any audible level, and unlike float files these have no time
stamp (PEAK chunk). FLAC stores 16-bit sound in 24 bits without taking more room."""
LOSSLESS: tuple[AudioFormat, ...] = ("wav", "flac")
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Hz; ISO/IEC 11172-3 and 13818-3, and the MPEG-2.5 extension."""
MAX_WAV_SIZE = 2**32 - 2**16
"""Bytes; RIFF has 32-bit sizes (4.1 hours at 48 kHz stereo)."""
TOO_LONG_FOR_WAV = "longer than a WAV file can be (4 GB); choose flac"
MAX_FILE_SIZE = 2**30
"""Bytes of an input file."""
MAX_SAMPLES = 2**28
"""Samples of an input file, over all channels: 1 GiB as float32, 46 minutes of stereo at 48 kHz."""
LOSSY: dict[AudioFormat, dict[str, Any]] = {
    "ogg": {"compression_level": 0.2},
    "mp3": {"compression_level": 0.2, "bitrate_mode": "CONSTANT"},
}
"""libsndfile's compression scale, 0 best, 1 smallest: for piano about 160 kbit/s Vorbis, and 256 kbit/s MP3
(128 below 32 kHz). The bit rate is constant because browsers seek by it: Chromium missed the place by up to
0.25 s in five minutes of variable MP3, by at most one frame (0.03 s) in constant MP3."""
BLOCK = 1 << 16
"""Samples per channel and call of an encoder: libsndfile's Vorbis encoder depends on the size of its blocks
(and overruns its stack on millions of samples)."""
OGG_SERIAL = 0x73324121
"""Replaces libsndfile's random stream number, so that the same samples give the same bytes."""


class Tags(NamedTuple):
    """What players show of a FLAC, MP3 or OGG file; "" for none."""

    title: str = ""
    artist: str = ""
    """The composer: players show no other field, and libsndfile writes none."""
    comment: str = ""


TAGGED: tuple[AudioFormat, ...] = ("flac", "mp3", "ogg")


def read_audio(path: Path, *, start: float = 0.0, seconds: float | None = None) -> Waveform:
    """The sound in a WAV, FLAC, OGG, MP3 or other file that libsndfile reads, at its own rate.

    ``start``, ``seconds``: the part to read (None: to the end). Samples beyond [-1, 1] are clipped. Raises
    ``InputError`` for a file that is missing, not audio, too long (``MAX_SAMPLES``), empty or not finite.
    """
    import soundfile

    try:
        if path.stat().st_size > MAX_FILE_SIZE:
            raise InputError(f"{path}: larger than {MAX_FILE_SIZE >> 20} MB; give a shorter recording")
        with soundfile.SoundFile(path) as file:
            first = min(round(start * file.samplerate), file.frames)
            frames = file.frames - first
            if seconds is not None:
                frames = min(frames, round(seconds * file.samplerate))
            if frames * file.channels > MAX_SAMPLES:
                minutes = MAX_SAMPLES / file.channels / file.samplerate / 60
                raise InputError(f"{path}: longer than {minutes:.0f} minutes; give a shorter recording")
            if first:
                file.seek(first)
            samples = file.read(frames, dtype="float32", always_2d=True)
            rate = file.samplerate
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except soundfile.SoundFileError as error:
        raise InputError(
            f"{path}: not a readable audio file ({_reason(error)}); convert it to WAV"
        ) from error
    if not len(samples):
        place = f" from {start:.2f} s on" if start else ""
        raise InputError(f"{path}: holds no sound{place}; give a recording")
    if not np.isfinite(samples).all():
        raise InputError(f"{path}: holds samples that are not numbers; export it again")
    return Waveform(np.ascontiguousarray(np.clip(samples, -1, 1).T), rate)


def stream_audio(path: Path) -> AudioStream:
    """The sound of a file that ``write_audio`` wrote, block by block; unchecked."""
    import soundfile

    info = soundfile.info(path)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for block in soundfile.blocks(path, BLOCK, dtype="float32", always_2d=True):
            yield np.ascontiguousarray(block.T)

    return AudioStream(info.samplerate, info.channels, blocks())


def write_audio(
    stream: AudioStream,
    path: Path,
    *,
    format: AudioFormat,
    tags: Tags = Tags(),  # noqa: B008 (immutable)
) -> None:
    """Write the stream block by block; the same samples and tags give the same bytes. WAV takes no tags.

    Raises ``InputError`` for a rate or length that the format does not support, ``OSError`` where the file
    cannot be written; after any error, that of the stream included, no file is left.
    """
    if format == "mp3" and stream.sample_rate not in MP3_RATES:
        raise InputError(f"{path}: MP3 does not support {stream.sample_rate} Hz; choose wav, flac or ogg")
    with _new_file(path, stream.sample_rate, stream.channels, format, tags) as file:
        _write_blocks(stream, file, path, format)


@contextmanager
def _new_file(path: Path, rate: int, channels: int, format: AudioFormat, tags: Tags) -> Iterator[SoundFile]:
    """An empty file to write to; deleted after any error in the block."""
    import soundfile

    container, encoding = ENCODINGS[format]
    with path.open("wb"):  # a clear OSError where libsndfile would say "System error"
        pass
    try:
        lossy = LOSSY.get(format, {})
        with soundfile.SoundFile(
            path, "w", rate, channels, format=container, subtype=encoding, **lossy
        ) as file:
            if format in ("flac", "ogg"):
                for name, text in tags._asdict().items():
                    if text:
                        setattr(file, name, text)
            yield file
        if format == "ogg":
            fix_ogg_serial(path)
        if format == "mp3" and any(tags):
            path.write_bytes(id3_tag(tags) + path.read_bytes())
    except soundfile.SoundFileError as error:
        path.unlink(missing_ok=True)
        raise OSError(f"{path}: cannot be written ({_reason(error)})") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_blocks(stream: AudioStream, file: SoundFile, path: Path, format: AudioFormat) -> None:
    written = 0
    for block in _equal_blocks(stream):
        written += block.size
        if format == "wav" and written * 3 > MAX_WAV_SIZE:
            raise InputError(f"{path}: {TOO_LONG_FOR_WAV}")
        _write(file, _as_integers(block) if format in LOSSLESS else block, path)


def _write(file: SoundFile, block: NDArray[Any], path: Path) -> None:
    try:
        file.write(block.T)
    except AssertionError as error:  # soundfile's error for a short write
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def _as_integers(block: NDArray[np.float32]) -> NDArray[np.int32]:
    """Full scale 2**31, of which libsndfile keeps the upper 24 bits. It rounds floats in another way for FLAC
    than for WAV."""
    scaled = np.rint(block.astype(np.float64) * 2.0**31)
    return np.clip(scaled, -(2.0**31), 2.0**31 - 1).astype(np.int32)


def _equal_blocks(stream: AudioStream) -> Iterator[NDArray[np.float32]]:
    """The stream cut into blocks of ``BLOCK`` samples; the last is shorter."""
    pending = np.zeros((stream.channels, 0), np.float32)
    for block in stream.blocks:
        pending = np.concatenate([pending, block], axis=1)
        whole = pending.shape[1] // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            yield pending[:, start : start + BLOCK]
        pending = pending[:, whole:]
    if pending.shape[1]:
        yield pending


# -------------------------------------------------------------------------------------- lossless copies


def copy_lossless(source: Path, destination: Path, *, format: AudioFormat) -> None:
    """Write the integer samples of a WAV or FLAC file that ``write_audio`` wrote in the other format.

    Raises ``InputError`` for a sound too long for WAV, ``OSError`` where the file cannot be written.
    """
    import soundfile

    info = soundfile.info(source)
    if format == "wav" and info.frames * info.channels * 3 > MAX_WAV_SIZE:
        raise InputError(f"{destination}: {TOO_LONG_FOR_WAV}")
    with _new_file(destination, info.samplerate, info.channels, format, Tags()) as file:
        for block in soundfile.blocks(source, BLOCK, dtype="int32", always_2d=True):
            _write(file, block.T, destination)


def same_samples(one: Path, other: Path) -> bool:
    """Whether two audio files have the same rate, length and integer samples."""
    import soundfile

    try:
        if not same_shape(one, other):
            return False
        pairs = zip(*(soundfile.blocks(path, BLOCK, dtype="int32") for path in (one, other)), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)
    except soundfile.SoundFileError:
        return False


def same_shape(one: Path, other: Path) -> bool:
    """Whether two audio files have the same rate, channels, depth and length, by their headers."""
    import soundfile

    try:
        a, b = ((i.samplerate, i.channels, i.subtype, i.frames) for i in map(soundfile.info, (one, other)))
    except soundfile.SoundFileError:
        return False
    return a == b


def _reason(error: Exception) -> str:
    return str(error).rsplit(": ", 1)[-1].rstrip(".")


def stream_of(waveform: Waveform) -> AudioStream:
    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, waveform.samples.shape[1], BLOCK):
            yield waveform.samples[:, start : start + BLOCK]

    return AudioStream(waveform.sample_rate, waveform.samples.shape[0], blocks())


def collect(stream: AudioStream) -> Waveform:
    blocks = [np.zeros((stream.channels, 0), np.float32), *stream.blocks]
    return Waveform(np.concatenate(blocks, axis=1), stream.sample_rate)


# ------------------------------------------------------------------------------------------ MP3 tags


def id3_tag(tags: Tags) -> bytes:
    """The tags for the start of an MP3 file (ID3v2.3.0): libsndfile writes 30 characters of each at most."""
    frames = b"".join(
        _id3_frame(name, prefix + b"\xff\xfe" + text.encode("utf-16-le"))
        for name, prefix, text in (
            (b"TIT2", b"\x01", tags.title),
            (b"TPE1", b"\x01", tags.artist),
            (b"TCOM", b"\x01", tags.artist),
            (b"COMM", b"\x01eng\xff\xfe\x00\x00", tags.comment),  # UTF-16, English, no short description
        )
        if text
    )
    size = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frames


def _id3_frame(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4) + bytes(2) + content


# ------------------------------------------------------------------------------------- repeatable OGG

OGG_HEADER = 27
"""Bytes of an Ogg page before its segment table (RFC 3533, section 6)."""
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def fix_ogg_serial(path: Path) -> None:
    """Set the stream number of every page to ``OGG_SERIAL``, and its checksum to match."""
    with path.open("r+b") as file:
        while page := _next_page(file):
            page[14:18] = OGG_SERIAL.to_bytes(4, "little")
            page[22:26] = bytes(4)
            page[22:26] = _ogg_checksum(bytes(page)).to_bytes(4, "little")
            file.seek(-len(page), 1)
            file.write(page)


def _next_page(file: BinaryIO) -> bytearray:
    header = file.read(OGG_HEADER)
    if not header:
        return bytearray()
    segments = file.read(header[26])
    return bytearray(header + segments + file.read(sum(segments)))


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with zlib's polynomial, but with the bits in reverse order and without inversion."""
    mirrored = zlib.crc32(page.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)

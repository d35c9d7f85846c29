"""Recordings as training segments of MIDI-VALLE: tokens of what is played, codes of how it sounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from adapters.codec import device_of, prepared
from adapters.midi_valle import notes_of
from score_to_audio.errors import InputError
from score_to_audio.files import replacing, sha256_of, writing
from score_to_audio.formats.audio import read_audio
from score_to_audio.formats.midi import read_performance
from score_to_audio.training.recordings import Recording
from score_to_audio.types import Performance, Waveform

if TYPE_CHECKING:
    from synthesizers.codecs.encodec import Codec
    from synthesizers.midi_valle.training.segments import TrainingSegment

FORMAT = 1
"""Version of the cached segments; a change makes them anew."""
Compatibility = Literal["", "official"]


@dataclass(frozen=True)
class Preparation:
    """How recordings become segments, once for each recording."""

    codec: Codec
    codec_hash: str
    compatibility: Compatibility
    cache: Path


def prepare(
    recordings: Sequence[Recording], preparation: Preparation, say: Callable[[str], None]
) -> list[TrainingSegment]:
    """The segments of all recordings, in order; ``say`` gets one sentence for each that is left out."""
    found: list[TrainingSegment] = []
    for recording in recordings:
        try:
            segments = list(_cached(recording, preparation))
        except InputError as error:
            say(f"left out: {error}")
            continue
        if not segments:
            say(f"left out: {recording.path}: no segment of at least three seconds with notes")
        found += segments
    return found


def _cached(recording: Recording, preparation: Preparation) -> Iterator[TrainingSegment]:
    """The segments, from the cache where they are."""
    from synthesizers.midi_valle.training.segments import TrainingSegment

    parts = (
        FORMAT,
        sha256_of(recording.path),
        sha256_of(recording.midi) if recording.midi else "transcribed",
        preparation.codec_hash,
        preparation.compatibility,
    )
    name = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    file = preparation.cache / "midi-valle" / f"{name}.npz"
    if not file.is_file():
        made = segments_of(recording, preparation)
        arrays = {f"tokens_{index}": one.tokens.astype(np.int16) for index, one in enumerate(made)}
        arrays |= {f"codes_{index}": one.codes.astype(np.int16) for index, one in enumerate(made)}
        with writing(file), replacing(file) as unfinished, unfinished.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
    with np.load(file, allow_pickle=False) as archive:
        for index in range(len(archive.files) // 2):
            yield TrainingSegment(
                archive[f"tokens_{index}"].astype(np.int64), archive[f"codes_{index}"].astype(np.int64)
            )


def segments_of(recording: Recording, preparation: Preparation) -> list[TrainingSegment]:
    """Raises ``InputError`` for files that cannot be read, and where transcription is not installed."""
    import torch

    from synthesizers.midi_valle.training.segments import TrainingSegment, cuts, official_cuts

    codec = preparation.codec
    audio = read_audio(recording.path)
    performance = _performance(recording, audio)
    sound = prepared(codec, audio)
    cut = official_cuts if preparation.compatibility == "official" else cuts
    rate = codec.config.sample_rate
    made = []
    for one in cut(notes_of(performance), performance.end, len(sound), rate):
        samples = torch.from_numpy(sound[one.samples.start : one.samples.stop])[None, None]
        codes = codec.encode(samples.to(device_of(codec)))[0].T.cpu().numpy()
        made.append(TrainingSegment(one.tokens, codes))
    return made


def _performance(recording: Recording, audio: Waveform) -> Performance:
    if recording.midi is not None:
        return read_performance(recording.midi)
    from adapters.transcription import transcribe

    try:
        return transcribe(audio)
    except InputError as error:
        raise InputError(f"{recording.path}: no MIDI file of the same name beside it ({error})") from error

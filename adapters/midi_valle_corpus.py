"""Recordings as training segments of MIDI-VALLE: tokens of what is played, codes of how it sounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from adapters.codec import device_of, prepared
from adapters.midi_valle import notes_of
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import read_audio
from score_to_audio.formats.midi import read_performance
from score_to_audio.store import ArtifactStore
from score_to_audio.training.prepared import Arrays
from score_to_audio.training.prepared import prepared as prepared_arrays
from score_to_audio.training.recordings import Recording
from score_to_audio.types import Performance, Waveform

if TYPE_CHECKING:
    from synthesizers.codecs.encodec import Codec
    from synthesizers.midi_valle.training.segments import TrainingSegment

SEGMENTS = "midi-valle 1"
"""Version of the prepared segments; a change makes them anew."""
Compatibility = Literal["", "official"]


@dataclass(frozen=True)
class Preparation:
    """How recordings become segments, once for each recording."""

    codec: Codec
    codec_hash: str
    compatibility: Compatibility
    store: ArtifactStore


def prepare(
    recordings: Sequence[Recording], preparation: Preparation, say: Callable[[str], None]
) -> list[TrainingSegment]:
    """The segments of all recordings, in order; ``say`` gets one sentence for each that is left out."""
    found: list[TrainingSegment] = []
    for recording in recordings:
        try:
            segments = stored_segments(recording, preparation)
        except InputError as error:
            say(f"left out: {error}")
            continue
        for problem in problems_of(recording, segments):
            say(f"left out: {problem}")
        found += segments
    return found


def problems_of(recording: Recording, segments: Sequence[TrainingSegment]) -> list[str]:
    """Why a recording gives no segments."""
    return [] if segments else [f"{recording.path}: no segment of at least three seconds with notes"]


def stored_segments(recording: Recording, preparation: Preparation) -> list[TrainingSegment]:
    """The segments, from the store where it has them. Raises ``InputError``; see ``segments_of``."""
    from synthesizers.midi_valle.training.segments import TrainingSegment

    def make() -> tuple[Arrays, list[str]]:
        made = segments_of(recording, preparation)
        arrays = {f"tokens_{index}": one.tokens.astype(np.int16) for index, one in enumerate(made)}
        return arrays | {f"codes_{index}": one.codes.astype(np.int16) for index, one in enumerate(made)}, []

    arrays, _ = prepared_arrays(
        [recording.path, *([recording.midi] if recording.midi else [])],
        SEGMENTS,
        preparation.store,
        make,
        checkpoints={"codec": preparation.codec_hash},
        compatibility=preparation.compatibility,
    )
    return [
        TrainingSegment(arrays[f"tokens_{index}"].astype(np.int64), arrays[f"codes_{index}"].astype(np.int64))
        for index in range(len(arrays) // 2)
    ]


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

"""Files that a comparison derives from its inputs, made once through the store: performances aligned with
their scores, cuts of performances and recordings, reconstructions by a codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from score_to_audio.adjustments import cut_notes
from score_to_audio.artifacts import request
from score_to_audio.errors import InputError
from score_to_audio.files import sha256_of
from score_to_audio.formats.audio import MP3_RATES, read_audio, stream_audio, stream_of, write_audio
from score_to_audio.formats.matches import read_match
from score_to_audio.formats.midi import read_performance, write_performance
from score_to_audio.formats.resampling import resample
from score_to_audio.stages import encode
from score_to_audio.store import ArtifactStore
from score_to_audio.types import (
    Artifact,
    Performance,
    Provenance,
    Score,
    Waveform,
)

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions
    from score_to_audio.plugins import Checkpoint

VERSION = "1"
"""Part of every key here; raise it when the same input gives another result."""
MATCH_SUFFIX = ".match"
MP3_RATE = 44_100
"""Hz: recordings at rates that MP3 does not have are resampled to this one."""


@dataclass(frozen=True)
class TracedFile:
    """A file and how it was made."""

    path: Path
    history: tuple[Mapping[str, Any], ...]
    """One plain JSON object per stage, in order: of the given file its name and hash, then the fields of
    ``Provenance``."""
    artifact: Artifact | None = None
    """Where it is one of the store's."""

    @property
    def key(self) -> str | None:
        return self.artifact.key if self.artifact else None

    @property
    def sha256(self) -> str:
        return self.artifact.sha256 if self.artifact else sha256_of(self.path)


def input_file(path: Path, kind: str) -> TracedFile:
    """A file of the user's. Raises ``InputError`` where it is missing; ``kind`` is the word for it there."""
    if not path.is_file():
        raise InputError(f"{path}: no such {kind}; check the path")
    return TracedFile(path, ({"stage": "given", "input_name": path.name, "input": sha256_of(path)},))


def stored_file(artifact: Artifact, source: TracedFile | None, store: ArtifactStore) -> TracedFile:
    """An artifact that was made from ``source``."""
    before = source.history if source else ()
    return TracedFile(store.path(artifact), (*before, asdict(store.provenance(artifact))), artifact)


def derive(
    source: TracedFile,
    store: ArtifactStore,
    make: Callable[[Path], None],
    name: str,
    stage: Literal["align", "cut", "reconstruct", "measure", "encode"],
    model: str,
    *,
    version: str = VERSION,
    codec: Checkpoint | None = None,
    device: str = "cpu",
    **parameters: Any,
) -> TracedFile:
    """The file called ``name`` that ``make`` writes, from the store where it is there already.

    ``codec`` and ``parameters``: everything beside the source that determines the content.
    """
    provenance = Provenance(
        stage=stage,
        model=model,
        implementation=version,
        checkpoints={"codec": codec.sha256} if codec else {},
        input=source.sha256,
        input_name=source.path.name,
        parameters=parameters,
        seed=0,
        device_class=device,
        parent=source.key,
    )
    return stored_file(request(provenance, name).get_or_make(store, make).artifact, source, store)


def cached_score(path: Path, options: ScoreOptions) -> Score:
    """As ``read_score``, parsed once per process. Raises ``InputError``."""
    return _score(path, sha256_of(path) if path.is_file() else "", options)


@lru_cache(maxsize=64)
def _score(path: Path, _content: str, options: ScoreOptions) -> Score:
    from score_to_audio.formats.scores.reader import read_score

    return read_score(path, options)


# ------------------------------------------------------------------------------------ performances


def as_midi(performance: TracedFile, store: ArtifactStore) -> TracedFile:
    """The same performance; a match file becomes a MIDI file that names the score's notes."""
    if performance.path.suffix.lower() != MATCH_SUFFIX:
        return performance

    def make(path: Path) -> None:
        write_performance(read_match(performance.path), path)

    return derive(performance, store, make, "performance.mid", "align", "match file")


def aligned(performance: TracedFile, score: Score, store: ArtifactStore) -> TracedFile:
    """The same performance with the score's notes named, by parangonar where it does not name them itself.

    Raises ``InputError`` for unreadable files, or where the extra ``align`` is not installed.
    """
    if read_performance(performance.path).score_ids is not None:
        return performance

    def make(path: Path) -> None:
        write_performance(_with_ids(read_performance(performance.path), score), path)

    return derive(
        performance,
        store,
        make,
        "performance.mid",
        "align",
        "parangonar",
        score=score.sha256,
        options=score.options,
    )


def _with_ids(performance: Performance, score: Score) -> Performance:
    from adapters.alignment import align

    notes = score.parsed.notes
    index = align(onset=notes.onset, duration=notes.duration, pitch=notes.pitch, performance=performance)
    ids = [""] * len(performance)
    for note, place in zip(notes.id, index.tolist(), strict=True):
        if place >= 0:
            ids[place] = note
    return replace(performance, score_ids=tuple(ids))


def cut_performance(performance: TracedFile, start: float, end: float, store: ArtifactStore) -> TracedFile:
    """The part between two times (seconds), as a MIDI file whose time 0 is ``start``."""

    def make(path: Path) -> None:
        write_performance(cut_notes(read_performance(performance.path), start, end), path)

    return derive(performance, store, make, "performance.mid", "cut", "performance", start=start, end=end)


def passage(performance: Performance, score: Score) -> tuple[float, float] | None:
    """First and last score onset (quarter notes) that a performance plays; None where it names no notes."""
    played = _score_onsets(performance, score)
    return (float(np.nanmin(played)), float(np.nanmax(played))) if np.isfinite(played).any() else None


def cut_to_passage(
    performance: TracedFile, first: float, last: float, score: Score, store: ArtifactStore
) -> TracedFile:
    """The part of a performance that plays the score's onsets ``first`` to ``last`` (quarter notes), up to
    the next onset; the whole where it names no notes."""
    whole = read_performance(performance.path)
    places = _score_onsets(whole, score)
    inside = (places >= first) & (places <= last)
    if not inside.any():
        return performance
    later = whole.onset[(places > last) & (whole.onset > whole.onset[inside].max())]
    end = float(later.min()) if len(later) else whole.end + 1e-3
    return cut_performance(performance, float(whole.onset[inside].min()), end, store)


def _score_onsets(performance: Performance, score: Score) -> np.ndarray:
    """[N] quarter notes at which the score has each note, nan for those that it does not have; empty where
    the performance names no notes."""
    notes = score.parsed.notes
    onset_of = dict(zip(notes.id, notes.onset.tolist(), strict=True))
    return np.array([onset_of.get(name, np.nan) for name in performance.score_ids or ()])


# ---------------------------------------------------------------------------------------- recordings


def cut_recording(recording: TracedFile, start: float, end: float, store: ArtifactStore) -> TracedFile:
    """The part between two times (seconds) as a FLAC file."""

    def make(path: Path) -> None:
        _write(read_audio(recording.path, start=start, seconds=end - start), path)

    return derive(recording, store, make, "audio.flac", "cut", "recording", start=start, end=end)


def reconstructed(
    recording: TracedFile, checkpoint: Checkpoint, device: str, store: ArtifactStore
) -> TracedFile:
    """The recording through a codec and back, as a FLAC file; peaks limited as those of every synthesizer."""

    def make(path: Path) -> None:
        from adapters.codec import loaded_codec, reconstruct
        from synthesizers.limiter import limit_peaks

        sound = reconstruct(loaded_codec(checkpoint, device), read_audio(recording.path))
        write_audio(limit_peaks(stream_of(sound)), path, format="flac")

    return derive(
        recording, store, make, "audio.flac", "reconstruct", checkpoint.name, codec=checkpoint, device=device
    )


def compressed(audio: TracedFile, store: ArtifactStore, gain: float = 0.0) -> TracedFile:
    """The sound as MP3, which every browser plays, ``gain`` dB louder; an MP3 file without gain as it is."""
    if not gain and audio.artifact is not None:
        return stored_file(encode(audio.artifact, "mp3", store, loudness=None).artifact, audio, store)
    if not gain and audio.path.suffix.lower() == ".mp3":
        return audio

    def make(path: Path) -> None:
        stream = stream_audio(audio.path)
        if stream.sample_rate not in MP3_RATES:
            stream = stream_of(resample(read_audio(audio.path), MP3_RATE))
        factor = np.float32(10 ** (gain / 20))
        write_audio(replace(stream, blocks=(factor * block for block in stream.blocks)), path, format="mp3")

    return derive(audio, store, make, "audio.mp3", "encode", "mp3", gain=gain)


def at_rate(audio: TracedFile, rate: int, length: int, store: ArtifactStore) -> TracedFile:
    """The sound as a FLAC file of ``rate`` Hz and ``length`` samples, cut or filled up with silence."""

    def make(path: Path) -> None:
        samples = resample(read_audio(audio.path), rate).samples[:, :length]
        padded = np.pad(samples, ((0, 0), (0, length - samples.shape[1])))
        _write(Waveform(padded, rate), path)

    return derive(audio, store, make, "audio.flac", "encode", "wav", rate=rate, length=length)


def _write(sound: Waveform, path: Path) -> None:
    write_audio(stream_of(sound), path, format="flac")

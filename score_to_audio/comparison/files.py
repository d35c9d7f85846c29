"""Files that a comparison derives from what it was given, made once through the store: performances aligned
with their scores, cuts of performances and recordings, reconstructions by a codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from score_to_audio.artifacts import request
from score_to_audio.errors import InputError
from score_to_audio.files import sha256_of
from score_to_audio.stages import encode
from score_to_audio.store import ArtifactStore
from score_to_audio.types import (
    SOFT,
    SUSTAIN,
    Artifact,
    Controls,
    Performance,
    Provenance,
    Score,
    Waveform,
)

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions
    from score_to_audio.plugins import Checkpoint

VERSION = "1"
"""Of everything here; raise it when something else is made of the same input."""
MATCH_SUFFIX = ".match"
PEDALS = (SUSTAIN, 66, SOFT)
"""Controllers whose state is carried into a cut."""

MP3_RATE = 44_100
"""Hz that a recording is brought to where MP3 does not know its rate."""

Step = Mapping[str, Any]
"""A stage's ``Provenance``, or what is known of a file that was given, as plain JSON."""


@dataclass(frozen=True)
class File:
    """A file and how it came to be."""

    path: Path
    history: tuple[Step, ...]
    """In the order of the stages; the first one describes what was given."""
    artifact: Artifact | None = None
    """Where it is one of the store's."""

    @property
    def key(self) -> str | None:
        return self.artifact.key if self.artifact else None


def given(path: Path, what: str) -> File:
    """A file of the user's. Raises ``InputError`` where it is not there."""
    if not path.is_file():
        raise InputError(f"{path}: no such {what}; check the path")
    return File(path, ({"stage": "given", "input_name": path.name, "input": sha256_of(path)},))


def made(artifact: Artifact, source: File | None, store: ArtifactStore) -> File:
    """An artifact of the store that was made from ``source``."""
    before = source.history if source else ()
    return File(store.path(artifact), (*before, asdict(store.provenance(artifact))), artifact)


def derived(
    source: File,
    store: ArtifactStore,
    *,
    stage: Literal["align", "cut", "reconstruct", "measure", "encode"],
    model: str,
    name: str,
    make: Callable[[Path], None],
    version: str = VERSION,
    parameters: Mapping[str, Any] | None = None,
    checkpoints: Mapping[str, str] | None = None,
    device: str = "cpu",
) -> File:
    """What ``make`` writes, kept under everything that is given here; ``parameters`` has to tell all else
    that the content depends on."""
    provenance = Provenance(
        stage=stage,
        model=model,
        implementation=version,
        checkpoints=dict(checkpoints or {}),
        input=sha256_of(source.path),
        input_name=source.path.name,
        parameters=dict(parameters or {}),
        seed=0,
        device_class=device,
        parent=source.key,
    )
    return made(request(provenance, name).get_or_make(store, make).artifact, source, store)


# ------------------------------------------------------------------------------------------ scores


def read_score_once(path: Path, options: ScoreOptions) -> Score:
    """As ``read_score``, parsed once per process. Raises ``InputError``."""
    return _score(path, sha256_of(path) if path.is_file() else "", options)


@lru_cache(maxsize=64)
def _score(path: Path, _content: str, options: ScoreOptions) -> Score:
    from score_to_audio.formats.scores.reader import read_score

    return read_score(path, options)


# ------------------------------------------------------------------------------------ performances


def as_midi(performance: File, store: ArtifactStore) -> File:
    """The same; a match file as a MIDI file that names the score's notes."""
    from score_to_audio.formats.matches import read_match
    from score_to_audio.formats.midi import write_performance

    if performance.path.suffix.lower() != MATCH_SUFFIX:
        return performance
    return derived(
        performance,
        store,
        stage="align",
        model="match file",
        name="performance.mid",
        make=lambda path: write_performance(read_match(performance.path), path),
    )


def aligned(performance: File, score: Path, options: ScoreOptions, store: ArtifactStore) -> File:
    """The same performance with the score's notes named: its own names where it has some, else parangonar's.

    Raises ``InputError`` for unreadable files, or where the extra ``align`` is not installed.
    """
    from score_to_audio.formats.midi import read_performance, write_performance

    if read_performance(performance.path).score_ids is not None:
        return performance
    parsed = read_score_once(score, options)

    def make(path: Path) -> None:
        write_performance(_with_ids(read_performance(performance.path), parsed), path)

    return derived(
        performance,
        store,
        stage="align",
        model="parangonar",
        name="performance.mid",
        parameters={"score": parsed.sha256, "options": options.model_dump(mode="json")},
        make=make,
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


def cut_performance(performance: File, start: float, end: float, store: ArtifactStore) -> File:
    """The part between two times (seconds), as a MIDI file whose time 0 is ``start``."""
    from score_to_audio.formats.midi import read_performance, write_performance

    return derived(
        performance,
        store,
        stage="cut",
        model="performance",
        name="performance.mid",
        parameters={"start": start, "end": end},
        make=lambda path: write_performance(cut_notes(read_performance(performance.path), start, end), path),
    )


def cut_notes(performance: Performance, start: float, end: float) -> Performance:
    """The notes struck in [start, end) seconds, held no longer than to the end, and the pedals from ``start``
    on as they stand there. Raises ``InputError`` where no note is struck."""
    inside = (performance.onset >= start) & (performance.onset < end)
    if not inside.any():
        raise InputError(f"no note is struck between {start:.2f} and {end:.2f} s; choose another part")
    ids = performance.score_ids
    return Performance(
        onset=performance.onset[inside] - start,
        offset=np.maximum(np.minimum(performance.offset[inside], end), performance.onset[inside] + 1e-3)
        - start,
        pitch=performance.pitch[inside],
        velocity=performance.velocity[inside],
        controls=_cut_controls(performance.controls, start, end),
        score_ids=tuple(name for name, kept in zip(ids, inside, strict=True) if kept) if ids else None,
    )


def _cut_controls(controls: Controls, start: float, end: float) -> Controls:
    before = controls.time < start
    held = [np.flatnonzero(before & (controls.number == pedal))[-1:] for pedal in PEDALS]
    inside = np.flatnonzero(~before & (controls.time < end))
    kept = np.concatenate([*held, inside]).astype(np.int64)
    return Controls(np.maximum(controls.time[kept] - start, 0.0), controls.number[kept], controls.value[kept])


def passage(performance: Performance, score: Score) -> tuple[float, float] | None:
    """The least and the greatest score onset (quarter notes) that a performance plays; None if unknown."""
    notes = score.parsed.notes
    onset_of = dict(zip(notes.id, notes.onset.tolist(), strict=True))
    played = [onset_of[name] for name in performance.score_ids or () if name in onset_of]
    return (min(played), max(played)) if played else None


def cut_to_passage(performance: File, first: float, last: float, score: Score, store: ArtifactStore) -> File:
    """The part of a performance that plays the score's onsets ``first`` to ``last`` (quarter notes), up to
    the next onset; the whole where its notes have no names."""
    from score_to_audio.formats.midi import read_performance

    whole = read_performance(performance.path)
    notes = score.parsed.notes
    onset_of = dict(zip(notes.id, notes.onset.tolist(), strict=True))
    places = np.array([onset_of.get(name, np.nan) for name in whole.score_ids or ()])
    inside = (places >= first) & (places <= last)
    if not len(places) or not inside.any():
        return performance
    start = float(whole.onset[inside].min())
    later = whole.onset[(places > last) & (whole.onset > whole.onset[inside].max())]
    end = float(later.min()) if len(later) else whole.end + 1e-3
    return cut_performance(performance, start, end, store)


# ---------------------------------------------------------------------------------------- recordings


def cut_recording(recording: File, start: float, end: float, store: ArtifactStore) -> File:
    """The part between two times (seconds) as a WAV file."""

    def make(path: Path) -> None:
        from score_to_audio.formats.audio import read_audio, stream_of, write_audio

        sound = read_audio(recording.path, start=start, seconds=end - start)
        write_audio(stream_of(sound), path, format="wav")

    return derived(
        recording,
        store,
        stage="cut",
        model="recording",
        name="audio.wav",
        parameters={"start": start, "end": end},
        make=make,
    )


def reconstructed(recording: File, codec: Checkpoint, device: str, store: ArtifactStore) -> File:
    """The recording through a codec and back, as a WAV file; peaks limited as those of every synthesizer."""

    def make(path: Path) -> None:
        from adapters.codec import reconstruct
        from score_to_audio.formats.audio import read_audio, stream_of, write_audio
        from synthesizers.limiter import limit_peaks

        sound = reconstruct(codec_of(codec, device), read_audio(recording.path))
        write_audio(limit_peaks(stream_of(sound)), path, format="wav")

    return derived(
        recording,
        store,
        stage="reconstruct",
        model=codec.name,
        name="audio.wav",
        checkpoints={"codec": codec.sha256},
        device=device,
        make=make,
    )


def compressed(audio: File, store: ArtifactStore) -> File:
    """The sound as MP3, which is what every browser plays; an MP3 file as it is."""
    if audio.artifact is not None:
        return made(encode(audio.artifact, "mp3", store).artifact, audio, store)
    if audio.path.suffix.lower() == ".mp3":
        return audio

    def make(path: Path) -> None:
        from score_to_audio.formats.audio import MP3_RATES, read_audio, stream_of, write_audio
        from score_to_audio.formats.resampling import resample

        sound = read_audio(audio.path)
        if sound.sample_rate not in MP3_RATES:
            sound = resample(sound, MP3_RATE)
        write_audio(stream_of(sound), path, format="mp3")

    return derived(audio, store, stage="encode", model="mp3", name="audio.mp3", make=make)


def at_rate(audio: File, rate: int, length: int, store: ArtifactStore) -> File:
    """The sound as a WAV file of ``rate`` Hz and ``length`` samples, silent after its end."""

    def make(path: Path) -> None:
        from score_to_audio.formats.audio import read_audio, stream_of, write_audio
        from score_to_audio.formats.resampling import resample

        samples = resample(read_audio(audio.path), rate).samples[:, :length]
        padded = np.pad(samples, ((0, 0), (0, length - samples.shape[1])))
        write_audio(stream_of(Waveform(padded, rate)), path, format="wav")

    return derived(
        audio,
        store,
        stage="encode",
        model="wav",
        name="audio.wav",
        parameters={"rate": rate, "length": length},
        make=make,
    )


def codec_of(checkpoint: Checkpoint, device: str) -> Any:
    """The codec, loaded once per process."""
    return _codec(checkpoint.sha256, checkpoint.name, tuple(checkpoint.files.items()), device)


@lru_cache(maxsize=2)
def _codec(sha256: str, name: str, files: tuple[tuple[str, Path], ...], device: str) -> Any:
    from adapters.codec import load_codec
    from score_to_audio.plugins import Checkpoint

    return load_codec(Checkpoint(name, dict(files), sha256), device=device)

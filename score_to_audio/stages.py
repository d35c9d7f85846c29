"""The two stages and what surrounds them: each takes a file and gives an artifact in the store.

The command line and the Prefect flows call the same functions, so they share every artifact.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from score_to_audio import progress
from score_to_audio.artifacts import ArtifactRequest, StageResult, request
from score_to_audio.errors import InputError, StageError
from score_to_audio.files import replacing, sha256_of, writing
from score_to_audio.plugins import Prompt, input_files
from score_to_audio.registry import ResolvedPlugin, build, prepare, validated
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Artifact, AudioStream, Performance, Provenance, Score
from score_to_audio.wording import brief

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions

AudioFormat = Literal["wav", "flac", "mp3", "ogg"]
AUDIO_FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)

FORMAT_VERSIONS = {"render": 1, "synthesize": 1, "encode": 2}
"""Part of every key: raise one when its stage makes something else of the same input."""

_device = {"cpu": Lock(), "cuda": Lock()}
"""Held while a model runs: threads that compute on one device at once cost memory and gain no speed."""

SILENCE = 1e-4
"""Full scale (-80 dBFS): a performance with notes that stays below has not been synthesized."""


MAX_REASON = 500
"""Characters of an error's text that are passed on: the record keeps them, and people read them."""


@dataclass(frozen=True)
class Pipeline:
    """A renderer, a synthesizer and everything that they need: checked, ready to run on any score."""

    renderer: ResolvedPlugin
    synthesizer: ResolvedPlugin
    score_options: ScoreOptions
    prompt: Prompt | None = None
    formats: tuple[AudioFormat, ...] = ("wav",)


def prepare_pipeline(
    *,
    renderer: str,
    synthesizer: str,
    renderer_options: Mapping[str, Any] | None = None,
    synthesizer_options: Mapping[str, Any] | None = None,
    score_options: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    seed: int = 0,
    formats: Sequence[str] = ("wav",),
    device: str = "auto",
) -> Pipeline:
    """Check all choices before any work starts. Raises ``InputError``."""
    return Pipeline(
        renderer=prepare("renderer", renderer, renderer_options, seed=seed, device=device),
        synthesizer=prepare("synthesizer", synthesizer, synthesizer_options, seed=seed, device=device),
        score_options=read_score_options(score_options or {}),
        prompt=read_prompt(prompt) if prompt else None,
        formats=tuple(audio_format(name) for name in formats),
    )


def read_score_options(options: Mapping[str, Any]) -> ScoreOptions:
    from score_to_audio.formats.scores.reader import ScoreOptions

    values = validated(ScoreOptions, options, prefix="score", owner="the score reader")
    assert isinstance(values, ScoreOptions)
    return values


def read_prompt(name: str) -> Prompt:
    from score_to_audio.prompts import find_prompt

    return find_prompt(name)


def audio_format(name: str) -> AudioFormat:
    """Raises ``InputError`` that lists the known formats."""
    for known in AUDIO_FORMATS:
        if name == known:
            return known
    raise InputError(f"unknown audio format {name!r}; known: {', '.join(AUDIO_FORMATS)}")


# ------------------------------------------------------------------------------------------ stage 1


def render(
    path: Path, prepared: ResolvedPlugin, store: ArtifactStore, *, score_options: ScoreOptions
) -> StageResult:
    """Score file -> performance MIDI in the store.

    Raises ``InputError`` for a score that cannot be read or played, ``StageError`` if the model fails.
    """
    from score_to_audio.formats.midi import performance_to_midi

    score, wanted = _performance(path, prepared, score_options)

    def make(destination: Path) -> None:
        with _running(prepared, path, store, wanted):
            performance = _performed(build(prepared).render(score, seed=prepared.seed), prepared, path)
        destination.write_bytes(performance_to_midi(performance))

    return wanted.get_or_make(store, make)


def _performed(performance: object, prepared: ResolvedPlugin, path: Path) -> Performance:
    """The same performance; raises ``StageError`` for what is none, or has no notes."""
    if not isinstance(performance, Performance):
        kind = type(performance).__name__
        raise StageError(f"{prepared.name} gave an object of type {kind}, no performance, for {path}")
    if not len(performance):
        raise StageError(f"{prepared.name} gave no notes for {path}")
    return performance


def find_performance(
    path: Path, prepared: ResolvedPlugin, store: ArtifactStore, *, score_options: ScoreOptions
) -> StageResult | None:
    """What ``render`` would find in the store; None where it would have to render."""
    return _performance(path, prepared, score_options)[1].find(store)


def _performance(
    path: Path, prepared: ResolvedPlugin, score_options: ScoreOptions
) -> tuple[Score, ArtifactRequest]:
    from score_to_audio.formats.scores.reader import read_score

    score = read_score(path, score_options)
    provenance = _provenance("render", prepared, input_hash=score.sha256, input_name=path.name)
    options = score_options.model_dump(mode="json")
    return score, _request(
        provenance, "performance.mid", input_files(prepared.spec.parameters), score=options
    )


# ------------------------------------------------------------------------------------------ stage 2


def synthesize(
    midi: Path,
    prepared: ResolvedPlugin,
    store: ArtifactStore,
    *,
    prompt: Prompt | None = None,
    name: str | None = None,
    parent: str | None = None,
) -> StageResult:
    """Performance MIDI file -> WAV in the store.

    ``name``: what the provenance calls the input; ``parent``: key of the artifact that it is, if it is one.
    """
    from score_to_audio.formats.audio import write_audio
    from score_to_audio.formats.midi import read_performance

    if not midi.is_file():
        raise InputError(f"{midi}: no such MIDI file")
    name = name or midi.name
    used_prompt = prompt if prepared.spec.uses_prompt else None
    wanted = _sound(sha256_of(midi), prepared, used_prompt, name, parent)

    def make(destination: Path) -> None:
        performance = read_performance(midi)
        with _running(prepared, Path(name) if parent else midi, store, wanted):
            stream = _stream(prepared, performance, used_prompt)
            write_audio(_checked(stream, prepared, name), destination, format="wav")

    return wanted.get_or_make(store, make)


def find_audio(
    performance: Artifact, prepared: ResolvedPlugin, store: ArtifactStore, *, prompt: Prompt | None, name: str
) -> StageResult | None:
    """What ``synthesize`` would find in the store for a performance; None where it would have to work."""
    used_prompt = prompt if prepared.spec.uses_prompt else None
    return _sound(performance.sha256, prepared, used_prompt, name, performance.key).find(store)


def _sound(
    input_hash: str, prepared: ResolvedPlugin, prompt: Prompt | None, name: str, parent: str | None
) -> ArtifactRequest:
    provenance = _provenance("synthesize", prepared, input_hash=input_hash, input_name=name, parent=parent)
    prompt_hash = prompt.sha256 if prompt else None
    return _request(provenance, "audio.wav", input_files(prepared.spec.parameters), prompt=prompt_hash)


def _stream(prepared: ResolvedPlugin, performance: Performance, prompt: Prompt | None) -> AudioStream:
    synthesizer = build(prepared)
    if hasattr(synthesizer, "stream"):
        streamed: AudioStream = synthesizer.stream(performance, prompt=prompt, seed=prepared.seed)
        return streamed
    from score_to_audio.formats.audio import stream_of

    return stream_of(synthesizer.synthesize(performance, prompt=prompt, seed=prepared.seed))


def _checked(stream: AudioStream, prepared: ResolvedPlugin, source: str) -> AudioStream:
    """The same stream; raises ``StageError`` for what is no sound: not finite, or silent throughout."""

    def blocks() -> Iterator[Any]:
        peak = 0.0
        for block in stream.blocks:
            if not np.isfinite(block).all():
                raise StageError(f"{prepared.name} gave samples that are not numbers for {source}")
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            yield block
        if peak < SILENCE:
            raise StageError(f"{prepared.name} gave nothing but silence for {source}")

    return replace(stream, blocks=blocks())


def encode(audio: Artifact, wanted: AudioFormat, store: ArtifactStore) -> StageResult:
    """The WAV of an earlier stage in another format; the WAV itself for "wav"."""
    from score_to_audio.formats.audio import stream_audio, write_audio

    if wanted == "wav":
        return StageResult(audio, True, 0.0)
    return _encoding(audio, wanted).get_or_make(
        store, lambda destination: write_audio(stream_audio(store.path(audio)), destination, format=wanted)
    )


def find_encoding(audio: Artifact, wanted: AudioFormat, store: ArtifactStore) -> StageResult | None:
    """What ``encode`` would find in the store; None where it would have to encode."""
    return StageResult(audio, True, 0.0) if wanted == "wav" else _encoding(audio, wanted).find(store)


def _encoding(audio: Artifact, wanted: AudioFormat) -> ArtifactRequest:
    provenance = Provenance(
        stage="encode",
        model=wanted,
        implementation="1",
        checkpoints={},
        input=audio.sha256,
        input_name=Path(audio.path).name,
        parameters={},
        seed=0,
        device_class="cpu",
        parent=audio.key,
    )
    return _request(provenance, f"audio.{wanted}")


# ----------------------------------------------------------------------------------------- together


@contextmanager
def _running(
    prepared: ResolvedPlugin, path: Path, store: ArtifactStore, wanted: ArtifactRequest
) -> Iterator[None]:
    """A block in which a model runs on the input ``path``."""

    def cached_part(name: str, make: Callable[[], progress.Arrays]) -> progress.Arrays:
        return store.cached_part(wanted.key, name, make)

    with _device[prepared.device], _named_failures(prepared, path), progress.part_cache(cached_part):
        yield


def _provenance(
    stage: Literal["render", "synthesize"],
    prepared: ResolvedPlugin,
    *,
    input_hash: str,
    input_name: str,
    parent: str | None = None,
) -> Provenance:
    return Provenance(
        stage=stage,
        model=prepared.name,
        implementation=prepared.spec.version,
        checkpoints={role: checkpoint.sha256 for role, checkpoint in prepared.checkpoints.items()},
        input=input_hash,
        input_name=input_name,
        parameters=prepared.parameters.model_dump(mode="json"),
        seed=prepared.seed,
        device_class=prepared.device,
        parent=parent,
    )


def _request(
    provenance: Provenance, name: str, file_options: Sequence[str] = (), **more: Any
) -> ArtifactRequest:
    """The key depends on the content of the files that options name, never on where they are."""
    parameters = {
        option: _content(value) if option in file_options else value
        for option, value in provenance.parameters.items()
        if option not in provenance.checkpoints
    }
    return request(provenance, name, parameters=parameters, format=FORMAT_VERSIONS[provenance.stage], **more)


def _content(value: Any) -> Any:
    """The hash of the file that an option names; the value itself where there is no such file."""
    if isinstance(value, str) and value and Path(value).expanduser().is_file():
        return f"sha256:{sha256_of(Path(value).expanduser())}"
    return value


@contextmanager
def _named_failures(prepared: ResolvedPlugin, path: Path) -> Iterator[None]:
    """Turns whatever a model raises into one sentence that names the model and the input."""
    try:
        yield
    except (InputError, StageError, OSError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # a model that calls sys.exit must not end a batch
        reason = brief(error, MAX_REASON) or "no message"
        raise StageError(f"{prepared.name} failed on {path} ({type(error).__name__}: {reason})") from error


def deliver(artifact: Artifact, destination: Path, store: ArtifactStore) -> None:
    """Copy an artifact out of the store; a copy that is already there and untouched is left alone.

    Raises ``OutputError`` where it cannot be written.
    """
    source = store.path(artifact)
    status = source.stat()
    source.open("rb").close()  # what cannot be read is not the destination's fault
    with writing(destination):
        if destination.is_file():
            there = destination.stat()
            if (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
                return
        with replacing(destination) as temporary:
            shutil.copy2(source, temporary)

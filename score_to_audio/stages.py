"""The two stages and what surrounds them: each takes a file and gives an artifact in the store.

The command line and the Prefect flows call the same functions, so they share every artifact.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from score_to_audio import progress
from score_to_audio.files import replace_atomically, sha256_of
from score_to_audio.plugins import Prompt, input_files
from score_to_audio.registry import Prepared, build, prepare, validated
from score_to_audio.store import Store, artifact_key
from score_to_audio.types import Artifact, AudioStream, InputError, Performance, Provenance

if TYPE_CHECKING:
    from adapters.musicxml import ScoreOptions

AudioFormat = Literal["wav", "flac", "mp3", "ogg"]
AUDIO_FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
MEDIA_TYPES = {
    "mid": "audio/midi",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
}

FORMAT_VERSIONS = {"render": 1, "synthesize": 1, "encode": 2}
"""Part of every key: raise one when its stage makes something else of the same input."""

SILENCE = 1e-4
"""Full scale (-80 dBFS): a performance with notes that stays below has not been synthesized."""


class StageError(RuntimeError):
    """A model failed on an input that it should have coped with: one sentence."""


@dataclass(frozen=True)
class Made:
    """An artifact and how it came: found in the store or made now, in how many seconds."""

    artifact: Artifact
    cached: bool
    seconds: float


@dataclass(frozen=True)
class Pipeline:
    """A renderer, a synthesizer and everything that they need: checked, ready to run on any score."""

    renderer: Prepared
    synthesizer: Prepared
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
    from adapters.musicxml import ScoreOptions

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


def render(path: Path, prepared: Prepared, store: Store, *, score_options: ScoreOptions) -> Made:
    """Score file -> performance MIDI in the store.

    Raises ``InputError`` for a score that cannot be read or played, ``StageError`` if the model fails.
    """
    from adapters.midi import performance_to_midi
    from adapters.musicxml import read_score

    started = time.perf_counter()
    score = read_score(path, score_options)
    provenance = _provenance("render", prepared, input_hash=score.sha256, input_name=path.name)
    key = _key(provenance, input_files(prepared.spec.parameters), score=score_options.model_dump(mode="json"))

    def make(destination: Path) -> None:
        with _named_failures(prepared, path), progress.keeping(_keeper(store, key)):
            performance = build(prepared).render(score, seed=prepared.seed)
        destination.write_bytes(performance_to_midi(performance))

    artifact, cached = store.get_or_make(
        key, name="performance.mid", media_type=MEDIA_TYPES["mid"], provenance=provenance, make=make
    )
    return Made(artifact, cached, time.perf_counter() - started)


# ------------------------------------------------------------------------------------------ stage 2


def synthesize(
    midi: Path,
    prepared: Prepared,
    store: Store,
    *,
    prompt: Prompt | None = None,
    name: str | None = None,
    parent: str | None = None,
) -> Made:
    """Performance MIDI file -> WAV in the store.

    ``name``: what the provenance calls the input; ``parent``: key of the artifact that it is, if it is one.
    """
    from adapters.audio import write_audio
    from adapters.midi import read_performance

    started = time.perf_counter()
    if not midi.is_file():
        raise InputError(f"{midi}: no such MIDI file")
    provenance = _provenance(
        "synthesize", prepared, input_hash=sha256_of(midi), input_name=name or midi.name, parent=parent
    )
    used_prompt = prompt if prepared.spec.uses_prompt else None
    key = _key(
        provenance,
        input_files(prepared.spec.parameters),
        prompt=used_prompt.sha256 if used_prompt else None,
    )

    def make(destination: Path) -> None:
        performance = read_performance(midi)
        with _named_failures(prepared, midi), progress.keeping(_keeper(store, key)):
            stream = _stream(prepared, performance, used_prompt)
            write_audio(_checked(stream, prepared, name or midi.name), destination, format="wav")

    artifact, cached = store.get_or_make(
        key, name="audio.wav", media_type=MEDIA_TYPES["wav"], provenance=provenance, make=make
    )
    return Made(artifact, cached, time.perf_counter() - started)


def _stream(prepared: Prepared, performance: Performance, prompt: Prompt | None) -> AudioStream:
    synthesizer = build(prepared)
    if hasattr(synthesizer, "stream"):
        streamed: AudioStream = synthesizer.stream(performance, prompt=prompt, seed=prepared.seed)
        return streamed
    from adapters.audio import stream_of

    return stream_of(synthesizer.synthesize(performance, prompt=prompt, seed=prepared.seed))


def _checked(stream: AudioStream, prepared: Prepared, source: str) -> AudioStream:
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


def encode(audio: Artifact, wanted: AudioFormat, store: Store) -> Made:
    """The WAV of an earlier stage in another format; the WAV itself for "wav"."""
    from adapters.audio import stream_audio, write_audio

    started = time.perf_counter()
    if wanted == "wav":
        return Made(audio, True, 0.0)
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
    artifact, cached = store.get_or_make(
        _key(provenance),
        name=f"audio.{wanted}",
        media_type=MEDIA_TYPES[wanted],
        provenance=provenance,
        make=lambda destination: write_audio(stream_audio(store.path(audio)), destination, format=wanted),
    )
    return Made(artifact, cached, time.perf_counter() - started)


# ----------------------------------------------------------------------------------------- together


def _provenance(
    stage: Literal["render", "synthesize"],
    prepared: Prepared,
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


def _key(provenance: Provenance, file_options: Sequence[str] = (), **more: Any) -> str:
    """Of everything that determines the content: names and places of files do not, their hashes do."""
    description = asdict(provenance) | more | {"format": FORMAT_VERSIONS[provenance.stage]}
    del description["input_name"], description["parent"]
    description["parameters"] = {
        name: _content(value) if name in file_options else value
        for name, value in provenance.parameters.items()
        if name not in provenance.checkpoints
    }
    return artifact_key(description)


def _content(value: Any) -> Any:
    """The hash of the file that an option names; the value itself where there is no such file."""
    if isinstance(value, str) and value and Path(value).expanduser().is_file():
        return f"sha256:{sha256_of(Path(value).expanduser())}"
    return value


def _keeper(store: Store, key: str) -> progress.Keep:
    return lambda name, make: store.keep(key, name, make)


@contextmanager
def _named_failures(prepared: Prepared, path: Path) -> Iterator[None]:
    """Turns whatever a model raises into one sentence that names the model and the input."""
    try:
        yield
    except (InputError, StageError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or "no message"
        raise StageError(f"{prepared.name} failed on {path} ({type(error).__name__}: {reason})") from error


def deliver(artifact: Artifact, destination: Path, store: Store) -> None:
    """Copy an artifact out of the store; a copy that is already there and untouched is left alone."""
    source = store.path(artifact)
    status = source.stat()
    if destination.is_file():
        there = destination.stat()
        if (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
            return
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=destination.parent, prefix=".", delete=False) as temporary:
        path = Path(temporary.name)
    try:
        shutil.copy2(source, path)
        path.chmod(0o644)
        replace_atomically(path, destination)
    except BaseException:
        path.unlink(missing_ok=True)
        raise

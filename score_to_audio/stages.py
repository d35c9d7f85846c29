"""The stages: score to performance, performance to audio, audio to a file format.

Each takes a file and gives an artifact in the store; command line, flows and comparisons share them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from score_to_audio import progress
from score_to_audio.adjustments import Adjustments, adjusted
from score_to_audio.artifacts import ArtifactRequest, StageResult, request
from score_to_audio.errors import EXPECTED_ERRORS, InputError, StageError
from score_to_audio.files import copy_file, copy_time, replacing, sha256_of, writing
from score_to_audio.formats.audio import LOSSLESS, Tags, copy_lossless, same_samples, same_shape
from score_to_audio.parameters import input_files
from score_to_audio.plugins import NoticingRenderer, Prompt, Renderer, Synthesizer
from score_to_audio.registry import ResolvedPlugin, build
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Artifact, AudioStream, Performance, Provenance, Score
from score_to_audio.wording import brief

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions
    from score_to_audio.settings import AudioFormat

FORMAT_VERSIONS = {"render": 1, "adjust": 1, "synthesize": 1, "encode": 4}
"""Part of every key: raise one when its stage writes other samples for the same input."""
AS_RENDERED = Adjustments()
NO_TAGS = Tags()
SILENCE = 1e-4
"""Full scale (-80 dBFS): below it, a performance with notes counts as not synthesized."""
MAX_REASON = 500
"""Characters of a model's error message that end up in ours."""

_device_locks = {"cpu": Lock(), "cuda": Lock()}
"""Held while a model runs: threads that compute on one device at once cost memory and gain no speed."""


# ------------------------------------------------------------------------------------------ stage 1


def render(
    path: Path,
    renderer: ResolvedPlugin[Renderer],
    store: ArtifactStore,
    *,
    score_options: ScoreOptions,
    adjustments: Adjustments = AS_RENDERED,
) -> StageResult:
    """Score file -> performance MIDI in the store, with a lead-in and the user's adjustments.

    What the renderer plays is kept too, so that other adjustments need not render again.

    Raises ``InputError`` for a score that cannot be read or played, ``StageError`` if the model fails.
    """
    from score_to_audio.formats.midi import performance_to_midi, read_performance, write_performance

    score, wanted = _performance_request(path, renderer, score_options)

    def make(destination: Path) -> tuple[str, ...]:
        with _running(renderer, path, store, wanted):
            model = build(renderer)
            performance = model.render(score, seed=renderer.seed)
            _check_performance(performance, renderer.name, path)
        destination.write_bytes(performance_to_midi(performance))
        own = model.notices(score) if isinstance(model, NoticingRenderer) else ()
        return (*score.parsed.notices, *own)

    def adjust(destination: Path) -> tuple[str, ...]:
        try:
            changed = adjusted(read_performance(store.path(played.artifact)), score.parsed, adjustments)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        write_performance(changed, destination)
        return played.artifact.notices

    played = wanted.get_or_make(store, make)
    result = _adjusted_request(wanted.provenance, played.artifact, adjustments).get_or_make(store, adjust)
    return replace(result, cached=played.cached and result.cached, seconds=played.seconds + result.seconds)


def _check_performance(performance: object, renderer: str, path: Path) -> None:
    if not isinstance(performance, Performance):
        kind = type(performance).__name__
        raise StageError(f"{renderer} gave an object of type {kind}, no performance, for {path}")
    if not len(performance):
        raise StageError(f"{renderer} gave no notes for {path}")


def find_performance(
    path: Path,
    renderer: ResolvedPlugin[Renderer],
    store: ArtifactStore,
    *,
    score_options: ScoreOptions,
    adjustments: Adjustments = AS_RENDERED,
) -> StageResult | None:
    """The result of ``render`` if the store has it."""
    wanted = _performance_request(path, renderer, score_options)[1]
    played = wanted.find(store)
    return played and _adjusted_request(wanted.provenance, played.artifact, adjustments).find(store)


def _adjusted_request(rendered: Provenance, played: Artifact, adjustments: Adjustments) -> ArtifactRequest:
    changes = adjustments.model_dump(mode="json", exclude_defaults=True)
    parameters = {**rendered.parameters, "adjustments": changes} if changes else rendered.parameters
    provenance = replace(rendered, parameters=parameters)
    return request(provenance, "performance.mid", rendered=played.sha256, format=FORMAT_VERSIONS["adjust"])


def _performance_request(
    path: Path, renderer: ResolvedPlugin[Renderer], score_options: ScoreOptions
) -> tuple[Score, ArtifactRequest]:
    from score_to_audio.formats.scores.reader import read_score

    score = read_score(path, score_options)
    provenance = _provenance("render", renderer, score.sha256, path.name)
    options = score_options.model_dump(mode="json")
    return score, _request(
        provenance, "performance.mid", input_files(renderer.spec.parameters), score=options
    )


# ------------------------------------------------------------------------------------------ stage 2


def synthesize(
    midi: Path,
    synthesizer: ResolvedPlugin[Synthesizer],
    store: ArtifactStore,
    *,
    prompt: Prompt | None = None,
    name: str | None = None,
    parent: str | None = None,
) -> StageResult:
    """Performance MIDI file -> sound in the store, as FLAC; WAV if an earlier version made it.

    ``name``: what the provenance calls the input; ``parent``: key of the artifact that it is, if it is one.
    """
    from score_to_audio.formats.audio import write_audio
    from score_to_audio.formats.midi import read_performance

    if not midi.is_file():
        raise InputError(f"{midi}: no such MIDI file")
    name = name or midi.name
    wanted = _audio_request(sha256_of(midi), synthesizer, prompt, name, parent)

    def make(destination: Path) -> None:
        performance = read_performance(midi)
        with _running(synthesizer, Path(name) if parent else midi, store, wanted):
            stream = _stream(synthesizer, performance, prompt)
            write_audio(_checked(stream, synthesizer.name, name), destination, format="flac")

    return wanted.get_or_make(store, make)


def find_audio(
    performance: Artifact,
    synthesizer: ResolvedPlugin[Synthesizer],
    store: ArtifactStore,
    *,
    prompt: Prompt | None,
    name: str,
) -> StageResult | None:
    """The result of ``synthesize`` for a performance of the store, if the store has it."""
    return _audio_request(performance.sha256, synthesizer, prompt, name, performance.key).find(store)


def _audio_request(
    input_hash: str,
    synthesizer: ResolvedPlugin[Synthesizer],
    prompt: Prompt | None,
    name: str,
    parent: str | None,
) -> ArtifactRequest:
    provenance = _provenance("synthesize", synthesizer, input_hash, name, parent)
    prompt_hash = prompt.sha256 if prompt and synthesizer.spec.uses_prompt else None
    return _request(provenance, "audio.flac", input_files(synthesizer.spec.parameters), prompt=prompt_hash)


def _stream(
    resolved: ResolvedPlugin[Synthesizer], performance: Performance, prompt: Prompt | None
) -> AudioStream:
    from score_to_audio.formats.audio import stream_of

    synthesizer: Any = build(resolved)
    arguments: Any = {"prompt": prompt if resolved.spec.uses_prompt else None, "seed": resolved.seed}
    if hasattr(synthesizer, "stream"):
        stream: AudioStream = synthesizer.stream(performance, **arguments)
        return stream
    return stream_of(synthesizer.synthesize(performance, **arguments))


def _checked(stream: AudioStream, synthesizer: str, source: str) -> AudioStream:
    """The same stream; raises ``StageError`` for samples that are not finite, and for silence throughout."""

    def blocks() -> Iterator[NDArray[np.float32]]:
        peak = 0.0
        for block in stream.blocks:
            if not np.isfinite(block).all():
                raise StageError(f"{synthesizer} gave samples that are not numbers for {source}")
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            yield block
        if peak < SILENCE:
            raise StageError(f"{synthesizer} gave nothing but silence for {source}")

    return replace(stream, blocks=blocks())


def encode(
    audio: Artifact,
    format: AudioFormat,
    store: ArtifactStore,
    *,
    loudness: float | None,
    tags: Tags = NO_TAGS,
) -> StageResult:
    """The sound of an earlier stage in a format, mastered to a loudness in LUFS if one is given (see
    ``mastering.mastered``); for lossless formats FLAC, and without a loudness the sound itself."""
    from score_to_audio.formats.audio import stream_audio, write_audio
    from score_to_audio.mastering import mastered

    def read() -> AudioStream:
        return stream_audio(store.path(audio))

    def make(destination: Path) -> None:
        stream = read() if loudness is None else mastered(read, loudness)
        reported = _reported(stream, audio, kept, store)
        write_audio(replace(stream, blocks=reported), destination, format=kept, tags=shown)

    kept, shown = _kept_as(format, tags)
    if _is_kept(kept, loudness, shown):
        return StageResult(audio, True, 0.0)
    return _encoding_request(audio, kept, loudness, shown).get_or_make(store, make)


def _kept_as(format: AudioFormat, tags: Tags) -> tuple[AudioFormat, Tags]:
    """Format and tags in the store. WAV has no tags, and is written from FLAC, which takes half the space."""
    return ("flac", NO_TAGS) if format == "wav" else (format, tags)


def _is_kept(format: AudioFormat, loudness: float | None, tags: Tags) -> bool:
    """Whether the sound of the stage before is the result."""
    return format == "flac" and loudness is None and not any(tags)


def _reported(
    stream: AudioStream, audio: Artifact, format: AudioFormat, store: ArtifactStore
) -> Iterator[NDArray[np.float32]]:
    """The blocks, with reports of progress in seconds of sound."""
    import soundfile

    done, total = 0.0, soundfile.info(store.path(audio)).duration
    for block in stream.blocks:
        yield block
        done += block.shape[-1] / stream.sample_rate
        progress.report(done, total, f"s of {format}")


def find_encoding(
    audio: Artifact,
    format: AudioFormat,
    store: ArtifactStore,
    *,
    loudness: float | None,
    tags: Tags = NO_TAGS,
) -> StageResult | None:
    """The result of ``encode`` if the store has it."""
    kept, shown = _kept_as(format, tags)
    if _is_kept(kept, loudness, shown):
        return StageResult(audio, True, 0.0)
    return _encoding_request(audio, kept, loudness, shown).find(store)


def _encoding_request(
    audio: Artifact, format: AudioFormat, loudness: float | None, tags: Tags
) -> ArtifactRequest:
    shown = {"tags": tags._asdict()} if any(tags) else {}
    provenance = Provenance(
        stage="encode",
        model=format,
        implementation="1",
        checkpoints={},
        input=audio.sha256,
        input_name=Path(audio.path).name,
        parameters={"loudness": loudness, **shown},
        seed=0,
        device_class="cpu",
        parent=audio.key,
    )
    return _request(provenance, f"audio.{format}")


def deliver(artifact: Artifact, destination: Path, store: ArtifactStore) -> None:
    """Copy an artifact out of the store, unless an unchanged copy is already there; between WAV and FLAC by
    the suffix of ``destination``, with the same samples.

    Raises ``OutputError`` where it cannot be written.
    """
    source = store.path(artifact)
    source.open("rb").close()  # an unreadable source is not an error of the destination
    with writing(destination):
        if destination.is_file() and _is_unchanged(destination, source):
            return
        with replacing(destination) as temporary:
            if converted := _converted(source, destination):
                copy_lossless(source, temporary, format=converted)
                copy_time(source, temporary)
            else:
                copy_file(source, temporary)


def _converted(source: Path, destination: Path) -> AudioFormat | None:
    """The lossless format of a copy; None where it is a copy of the bytes."""
    for format in LOSSLESS:
        if destination.suffix == f".{format}" != source.suffix:
            return format
    return None


def _is_unchanged(copy: Path, source: Path) -> bool:
    """By size and modification time."""
    ours, theirs = source.stat(), copy.stat()
    if ours.st_mtime_ns != theirs.st_mtime_ns:
        return False
    return same_shape(source, copy) if _converted(source, copy) else ours.st_size == theirs.st_size


def is_copy(file: Path, artifact: Artifact, store: ArtifactStore) -> bool:
    """Whether ``deliver`` may have written the file: it has the content of the artifact."""
    if _converted(source := store.path(artifact), file):
        return same_samples(source, file)
    return sha256_of(file) == artifact.sha256


# ------------------------------------------------------------------------------------ shared by both


@contextmanager
def _running(
    resolved: ResolvedPlugin[Any], path: Path, store: ArtifactStore, wanted: ArtifactRequest
) -> Iterator[None]:
    """A block in which a model runs: on its own on its device, its finished parts kept in the store.

    Whatever it raises becomes a ``StageError`` that names the model and the input.
    """

    def cached_part(name: str, make: progress.MakeArrays) -> progress.Arrays:
        return store.cached_part(wanted.key, name, make)

    try:
        with _device_locks[resolved.device], progress.part_cache(cached_part):
            yield
    except EXPECTED_ERRORS:
        raise
    except (Exception, SystemExit) as error:  # a model that calls sys.exit must not end a batch
        reason = brief(error, MAX_REASON) or "no message"
        raise StageError(f"{resolved.name} failed on {path} ({type(error).__name__}: {reason})") from error


def _provenance(
    stage: Literal["render", "synthesize"],
    resolved: ResolvedPlugin[Any],
    input_hash: str,
    input_name: str,
    parent: str | None = None,
) -> Provenance:
    return Provenance(
        stage=stage,
        model=resolved.name,
        implementation=resolved.spec.version,
        checkpoints={role: checkpoint.sha256 for role, checkpoint in resolved.checkpoints.items()},
        input=input_hash,
        input_name=input_name,
        parameters=resolved.parameters.model_dump(mode="json"),
        seed=resolved.seed,
        device_class=resolved.device,
        parent=parent,
    )


def _request(
    provenance: Provenance, name: str, file_options: tuple[str, ...] = (), **more: Any
) -> ArtifactRequest:
    """The key depends on the content of the files that options name, never on their paths."""
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

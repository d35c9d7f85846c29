"""Jobs: which scores a list of paths means, the names of their results, running one, and recording it."""

from __future__ import annotations

import glob
import itertools
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from score_to_audio import manifest
from score_to_audio.artifacts import StageResult
from score_to_audio.errors import EXPECTED_ERRORS, InputError, ScoreToAudioError, StoreError, sentence
from score_to_audio.exports import find_exports, make_exports, suffixes
from score_to_audio.files import check_output_folder, sha256_of, sweep
from score_to_audio.formats.audio import TAGGED, Tags
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.manifest import MANIFEST, read_manifest
from score_to_audio.outputs import check_output_files
from score_to_audio.settings import Pipeline
from score_to_audio.stages import (
    NO_TAGS,
    deliver,
    encode,
    find_audio,
    find_encoding,
    find_performance,
    is_copy,
    render,
    synthesize,
)
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Artifact
from score_to_audio.wording import brief

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One score and the name of its results."""

    score: Path
    name: str
    """Path below the output folder, without suffix; unique within a plan."""

    def __post_init__(self) -> None:
        if Path(self.name).is_absolute() or ".." in Path(self.name).parts:
            raise InputError(f"{self.score}: its results would lie outside the output folder ({self.name!r})")


def plan(paths: Sequence[str | Path]) -> list[Job]:
    """One job per score in ``paths`` (files, folders, glob patterns), in the order given.

    A folder contributes its scores at any depth, sorted; the names of their results keep the structure of the
    folder, or of the part of a pattern that has wildcards. Raises ``InputError`` for a path without scores
    and for file names that are not UTF-8.
    """
    found: dict[Path, str] = {}
    for path in paths:
        try:
            for score, name in _expand(Path(path).expanduser()):
                found.setdefault(score, name)
        except OSError as error:
            raise InputError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    _check_names_are_utf8(found)
    return _with_unique_names(found)


def _check_names_are_utf8(scores: Iterable[Path]) -> None:
    """Old archives hold names in other encodings; neither JSON nor the Prefect server accepts them."""
    wrong = [score for score in scores if not _is_utf8(str(score))]
    if wrong:
        name = os.fsencode(wrong[0]).decode("utf-8", "backslashreplace")
        more = f" (nor are {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InputError(
            f"{name}: the name is not in UTF-8{more}; rename it, for instance with "
            "`convmv -r -f latin1 -t utf8 --notest FOLDER`"
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _expand(path: Path) -> Iterator[tuple[Path, str]]:
    if path.is_dir():
        scores = _scores_in(path)
        if not scores:
            raise InputError(f"{path}: no scores in this folder (looked for {' '.join(_suffixes())})")
        yield from ((file, str(file.relative_to(path).with_suffix(""))) for file in scores)
    elif not path.exists() and not path.suffix and not glob.has_magic(str(path)):
        raise InputError(f"{path}: there is no such folder; check the path")
    elif path.exists() or not glob.has_magic(str(path)):
        yield path, path.stem
    else:
        matches = (Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute too)
        files = sorted(match for match in matches if match.is_file())
        if not files:
            raise InputError(f"{path}: the pattern matches no file")
        fixed = _fixed_part(path)
        yield from ((file, str(_below(fixed, file).with_suffix(""))) for file in files)


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def _below(folder: Path, file: Path) -> Path:
    inner = file.relative_to(folder)
    return Path(file.name) if ".." in inner.parts else inner


def _suffixes() -> list[str]:
    from score_to_audio.formats.scores.reader import SUFFIXES

    return sorted(SUFFIXES)


def _scores_in(folder: Path) -> list[Path]:
    """All scores below a folder, except the MIDI files that an earlier run wrote there."""
    suffixes = _suffixes()
    files = [file for file in sorted(_files_below(folder)) if _is_present(file, suffixes)]
    ours = {
        file.parent / name for file in files if file.name == MANIFEST for name in _results_in(file.parent)
    }
    return [file for file in files if file.suffix.lower() in suffixes and file not in ours]


def _is_present(file: Path, suffixes: Iterable[str]) -> bool:
    """Whether it is a file; logs a warning for a link of a score's name that leads nowhere."""
    if file.is_file():
        return True
    if file.is_symlink() and file.suffix.lower() in suffixes:
        log.warning("%s: left out, since the link leads nowhere", file)
    return False


def _files_below(folder: Path) -> Iterator[Path]:
    """Raises ``OSError`` for an unreadable folder; logs a warning for an unreadable one inside it."""

    def leave_out(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        log.warning("%s: left out, since this folder cannot be read (%s)", error.filename, error.strerror)

    for parent, folders, names in os.walk(folder, onerror=leave_out):
        for link in filter(Path.is_symlink, (Path(parent, name) for name in folders)):
            log.warning("%s: left out, since it is a link to a folder; name it too to include it", link)
        yield from (Path(parent, name) for name in names)


def _results_in(folder: Path) -> set[str]:
    """The files that an earlier run wrote there; none if manifest.jsonl is not ours."""
    try:
        return {name for entry in read_manifest(folder) for name in entry["files"]}
    except InputError:
        return set()


def _with_unique_names(found: dict[Path, str]) -> list[Job]:
    """Names that collide get the suffix of the score, then the name of its folder, then a number."""
    names = dict(found)
    for finer in (lambda score: score.name, lambda score: f"{score.absolute().parent.name}-{score.name}"):
        counts = Counter(map(_as_file, names.values()))
        names = {score: finer(score) if counts[_as_file(name)] > 1 else name for score, name in names.items()}
    jobs: list[Job] = []
    taken: set[str] = set()
    for score, name in names.items():
        number, unique = 2, name
        while _as_file(unique) in taken:
            number, unique = number + 1, f"{name}-{number}"
        taken.add(_as_file(unique))
        jobs.append(Job(score, unique))
    return jobs


def _as_file(name: str) -> str:
    """Equal for names that are one file on macOS or Windows, which ignore case and Unicode normalisation."""
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True)
class Outcome:
    """The result of a job, or why it failed."""

    job: Job
    performance: StageResult | None = None
    audio: StageResult | None = None
    files: tuple[Path, ...] = ()
    error: str | None = None
    exit_code: int = 0
    """Of the error; 2 for bad input."""
    further_seconds: float = 0.0
    """Of the formats and other files that the store did not have."""

    @property
    def cached(self) -> bool:
        """Whether the store had both stages and the files."""
        made = self.performance and self.audio and self.performance.cached and self.audio.cached
        return bool(made) and not self.further_seconds

    @property
    def notices(self) -> tuple[str, ...]:
        """What the reader decided on its own, a sentence each."""
        return self.performance.artifact.notices if self.performance else ()

    @property
    def seconds(self) -> float:
        """Of both stages and the files."""
        return self.further_seconds + sum(stage.seconds for stage in (self.performance, self.audio) if stage)


def failed(job: Job, error: BaseException) -> Outcome:
    """The outcome of a job that raised ``error``."""
    code = error.exit_code if isinstance(error, ScoreToAudioError) else 1
    return Outcome(job, error=sentence(error), exit_code=code)


@dataclass(frozen=True)
class Results:
    """What the stages make of a score, in the store."""

    performance: StageResult
    audio: StageResult
    files: Mapping[str, StageResult]
    """Suffix -> what is delivered: "mid", the formats, and what else the settings ask for."""


def make(job: Job, pipeline: Pipeline, store: ArtifactStore) -> Results:
    """Both stages for one score, and its files. Raises what the stages raise."""
    performance = _render(job, pipeline, store)
    audio = synthesize(
        store.path(performance.artifact),
        pipeline.synthesizer,
        store,
        prompt=pipeline.prompt,
        name=job.name,
        parent=performance.artifact.key,
    )
    return finish(job, pipeline, performance, audio, store)


def finish(
    job: Job, pipeline: Pipeline, performance: StageResult, audio: StageResult, store: ArtifactStore
) -> Results:
    """The results of a job whose stages have run."""
    files, shown = {"mid": performance}, tags(job.score, pipeline)
    for format in pipeline.formats:
        files[format] = encode(audio.artifact, format, store, loudness=pipeline.loudness, tags=shown)
    files |= make_exports(job.score, job.name, pipeline, performance, store)
    return Results(performance, audio, files)


def tags(score: Path, pipeline: Pipeline) -> Tags:
    """What players show; nothing where no format takes tags, since the score need not be parsed then."""
    if not set(pipeline.formats) & set(TAGGED):
        return NO_TAGS
    parsed = read_score(score, pipeline.score_options).parsed
    settings = pipeline.settings
    return Tags(
        title=brief(parsed.title),
        artist=brief(parsed.composer),
        comment=f"rendered by {settings.renderer}, synthesized by {settings.synthesizer} (score-to-audio)",
    )


def _render(job: Job, pipeline: Pipeline, store: ArtifactStore) -> StageResult:
    return render(
        job.score,
        pipeline.renderer,
        store,
        score_options=pipeline.score_options,
        adjustments=pipeline.adjustments,
    )


def render_ahead(job: Job, pipeline: Pipeline, store: ArtifactStore) -> None:
    """Put the performance into the store, where ``run`` finds it; errors are left to ``run``."""
    with suppress(Exception), store.releasing():
        _render(job, pipeline, store)


def find(job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path) -> Outcome | None:
    """The outcome of ``run`` if the store has everything; None where there is work to do."""
    with store.releasing():
        found = find_results(job, pipeline, store)
        if not {"performance", "audio", *file_suffixes(pipeline)} <= set(found):
            return None
        files = {suffix: found[suffix] for suffix in file_suffixes(pipeline)}
        return deliver_results(job, Results(found["performance"], found["audio"], files), store, output)


def find_results(job: Job, pipeline: Pipeline, store: ArtifactStore) -> dict[str, StageResult]:
    """Those that the store has of "performance", "audio", and each suffix of a file."""
    performance = find_performance(
        job.score,
        pipeline.renderer,
        store,
        score_options=pipeline.score_options,
        adjustments=pipeline.adjustments,
    )
    if performance is None:
        return {}
    found: dict[str, StageResult | None] = {"performance": performance}
    audio = find_audio(
        performance.artifact, pipeline.synthesizer, store, prompt=pipeline.prompt, name=job.name
    )
    if pipeline.settings.midi_tempo == "constant":
        found["mid"] = performance
    if audio:
        found["audio"], shown = audio, tags(job.score, pipeline)
        for format in pipeline.formats:
            found[format] = find_encoding(
                audio.artifact, format, store, loudness=pipeline.loudness, tags=shown
            )
    found |= find_exports(job.score, job.name, pipeline, performance, store)
    return {name: result for name, result in found.items() if result}


def run(job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path) -> Outcome:
    """Both stages for one score; the results in ``output``. Raises what the stages raise."""
    with store.releasing():
        return deliver_results(job, make(job, pipeline, store), store, output)


def deliver_results(job: Job, results: Results, store: ArtifactStore, output: Path) -> Outcome:
    """Copy the files of a job into ``output``."""
    files = {suffix: result_file(job, suffix, output) for suffix in results.files}
    for suffix, file in files.items():
        deliver(results.files[suffix].artifact, file, store)
    further = [result for result in results.files.values() if result is not results.performance]
    return Outcome(
        job,
        results.performance,
        results.audio,
        tuple(files.values()),
        further_seconds=sum(result.seconds for result in further if not result.cached),
    )


# ----------------------------------------------------------------------------------- output folders


def select(
    paths: Sequence[str | Path],
    pipeline: Pipeline,
    store: ArtifactStore,
    output: Path,
    *,
    retry_failed: bool = False,
) -> list[Job]:
    """The jobs of a run whose results go to ``output``: all of ``plan``, or those that failed last time.

    Prepares the output folder. Raises ``InputError``, also where a result would replace an input or a file
    that is not ours.
    """
    jobs = plan(paths)
    prepare_output(jobs, output)
    if retry_failed:
        names = failed_names(output)
        jobs = [job for job in jobs if job.name in names]
    job_of = {file: job for job in jobs for file in result_files(job, pipeline, output)}
    listed = {output / name for name in _results_in(output)} if job_of else set()

    def is_ours(file: Path) -> bool:
        return file in listed or _is_result(file, job_of[file], pipeline, store)

    check_output_files(job_of, [job.score for job in jobs], is_ours)
    return jobs


def result_files(job: Job, pipeline: Pipeline, output: Path) -> list[Path]:
    """The performance, then the audio in each requested format, then what else the settings ask for."""
    return [result_file(job, suffix, output) for suffix in file_suffixes(pipeline)]


def result_file(job: Job, suffix: str, output: Path) -> Path:
    return output / f"{job.name}.{suffix}"


def file_suffixes(pipeline: Pipeline) -> tuple[str, ...]:
    """ "mid", the formats, and those of ``exports``."""
    return "mid", *pipeline.formats, *suffixes(pipeline.settings)


def _is_result(file: Path, job: Job, pipeline: Pipeline, store: ArtifactStore) -> bool:
    """Whether the file is a result that the store has: a killed run delivers some that no manifest lists."""
    try:
        found = find_results(job, pipeline, store)
        return any(is_copy(file, result.artifact, store) for result in found.values())
    except EXPECTED_ERRORS:
        return False


def failed_names(output: Path) -> set[str]:
    """The results that the manifest records as failed. Raises ``InputError`` where there is no manifest."""
    if not (output / MANIFEST).exists():
        raise InputError(f"{output / MANIFEST}: no manifest of an earlier run; omit --retry-failed")
    return {entry["name"] for entry in read_manifest(output) if entry.get("error")}


def prepare_output(jobs: Sequence[Job], output: Path) -> None:
    """Check that results can be written, and delete temporary files that killed processes left there.

    Raises ``InputError`` for a folder that is not writable and for a damaged manifest.
    """
    check_output_folder(output)
    try:
        manifest.check(output)
    except OSError as error:
        raise InputError(f"{error.filename or output}: cannot be read ({error.strerror})") from error
    sweep({output, *((output / job.name).parent for job in jobs)})


# ----------------------------------------------------------------------------------------- manifest


class Recorder:
    """Appends outcomes to the manifest; as a context manager it tidies the manifest at the end."""

    def __init__(self, pipeline: Pipeline, store: ArtifactStore, output: Path, *, run: str = "") -> None:
        """``run``: identifies the run in the entries."""
        self._pipeline, self._store, self._output, self._run = pipeline, store, output, run

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        manifest.tidy(self._output)

    def add(self, outcome: Outcome) -> dict[str, Any]:
        _log(outcome)
        entry = self._entry(outcome)
        manifest.append(self._output, [entry])
        return entry

    def _entry(self, outcome: Outcome) -> dict[str, Any]:
        made = zip(manifest.STAGES, (outcome.performance, outcome.audio), strict=True)
        return {
            "name": outcome.job.name,
            "run": self._run,
            "score": str(outcome.job.score),
            "input": _hash(outcome.job.score),
            "renderer": self._pipeline.renderer.name,
            "synthesizer": self._pipeline.synthesizer.name,
            "files": [str(file.relative_to(self._output)) for file in outcome.files],
            "sound_seconds": sound_seconds(outcome),
            "notices": list(outcome.notices),
            "error": outcome.error,
            **{
                stage: {
                    "artifact": asdict(result.artifact),
                    "provenance": self._provenance(result.artifact),
                    "cached": result.cached,
                    "seconds": round(result.seconds, 3),
                }
                for stage, result in made
                if result
            },
        }

    def _provenance(self, artifact: Artifact) -> dict[str, Any] | None:
        try:
            return asdict(self._store.provenance(artifact))
        except StoreError:  # the store was pruned meanwhile; the results are still there
            return None


def _log(outcome: Outcome) -> None:
    about = {"score": str(outcome.job.score), "result": outcome.job.name}
    if outcome.error:
        log.info("failed", extra=about | {"error": outcome.error})
        return
    log.info(
        "from the store" if outcome.cached else "made",
        extra=about | {"seconds": round(outcome.seconds, 3), "files": [str(file) for file in outcome.files]},
    )


def _hash(score: Path) -> str | None:
    try:
        return sha256_of(score) if score.is_file() else None  # a pipe or /dev/zero would never end
    except OSError:
        return None


def sound_seconds(outcome: Outcome) -> float | None:
    """Length of the sound that was made."""
    import soundfile

    sounds = [file for file in outcome.files if file.suffix != ".mid"]
    return round(soundfile.info(sounds[0]).duration, 3) if sounds else None

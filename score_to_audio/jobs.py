"""Many scores: which files are meant, what their results are called, and the record of what was made."""

from __future__ import annotations

import glob
import itertools
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from score_to_audio import manifest
from score_to_audio.errors import InputError, StoreError
from score_to_audio.files import check_output_folder, sha256_of, sweep
from score_to_audio.manifest import MANIFEST, read_manifest
from score_to_audio.stages import (
    Pipeline,
    StageResult,
    deliver,
    encode,
    find_audio,
    find_encoding,
    find_performance,
    render,
    synthesize,
)
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Artifact

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One score and the name of its results."""

    score: Path
    name: str
    """Path below the output folder, without suffix; unique within a plan."""

    def __post_init__(self) -> None:
        if Path(self.name).is_absolute() or ".." in Path(self.name).parts:
            raise InputError(
                f"{self.score}: its results would be {self.name!r}, outside of the output folder"
            )


def plan(paths: Sequence[str | Path]) -> list[Job]:
    """The scores that ``paths`` (files, folders, glob patterns) mean, each once, in the order given.

    A folder contributes its scores at any depth, sorted, and keeps its inner structure in the names; so does
    a pattern, below its part without wildcards. Raises ``InputError`` for a path that leads to no score, and
    for names that are not in UTF-8.
    """
    found: dict[Path, str] = {}
    for path in paths:
        try:
            for score, name in _expand(Path(path).expanduser()):
                found.setdefault(score, name)
        except OSError as error:
            raise InputError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    _refuse_what_is_no_text(found)
    return _with_unique_names(found)


def _refuse_what_is_no_text(scores: Iterable[Path]) -> None:
    """Names of old archives may be bytes in some other encoding: no JSON and no server takes these."""
    wrong = [score for score in scores if not _is_text(str(score))]
    if wrong:
        name = os.fsencode(wrong[0]).decode("utf-8", "backslashreplace")
        more = f" (nor are {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InputError(
            f"{name}: the name is not in UTF-8{more}; rename it, for instance with "
            "`convmv -r -f latin1 -t utf8 --notest FOLDER`"
        )


def _is_text(name: str) -> bool:
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
    """The folder below which a pattern looks."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def _below(folder: Path, file: Path) -> Path:
    inner = file.relative_to(folder)
    return Path(file.name) if ".." in inner.parts else inner


def _suffixes() -> list[str]:
    from score_to_audio.formats.scores.reader import SUFFIXES

    return sorted(SUFFIXES)


def _scores_in(folder: Path) -> list[Path]:
    """All scores below a folder, except MIDI files that an earlier run wrote there."""
    suffixes = _suffixes()
    files = sorted(file for file in _files_below(folder) if file.is_file())
    ours = {
        file.parent / name for file in files if file.name == MANIFEST for name in _results_in(file.parent)
    }
    return [file for file in files if file.suffix.lower() in suffixes and file not in ours]


def _files_below(folder: Path) -> Iterator[Path]:
    """Raises ``OSError`` where the folder itself cannot be read; says which below it cannot be."""

    def leave_out(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        log.warning("%s: left out, since this folder cannot be read (%s)", error.filename, error.strerror)

    for parent, _, names in os.walk(folder, onerror=leave_out):
        yield from (Path(parent, name) for name in names)


def _results_in(folder: Path) -> set[str]:
    """The files that a run wrote there; none where manifest.jsonl is somebody else's."""
    try:
        return {name for entry in read_manifest(folder) for name in entry["files"]}
    except InputError:
        return set()


def _with_unique_names(found: dict[Path, str]) -> list[Job]:
    """Where names collide, a score keeps its suffix too, then its folder's name, then gets a number."""
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
    """The same for names that some file systems take for one: those of macOS and Windows ignore case, and how
    accents are written."""
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    performance: StageResult | None = None
    audio: StageResult | None = None
    files: tuple[Path, ...] = ()
    error: str | None = None

    @property
    def cached(self) -> bool:
        """Both stages were found in the store."""
        return bool(self.performance and self.audio and self.performance.cached and self.audio.cached)


def run(job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path) -> Outcome:
    """Both stages for one score; the results in ``output``. Raises what the stages raise."""
    performance = render(job.score, pipeline.renderer, store, score_options=pipeline.score_options)
    audio = synthesize(
        store.path(performance.artifact),
        pipeline.synthesizer,
        store,
        prompt=pipeline.prompt,
        name=job.name,
        parent=performance.artifact.key,
    )
    return finish(job, pipeline, performance, audio, store, output)


def find(job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path) -> Outcome | None:
    """What ``run`` gives where everything is in the store already; None where there is work to do."""
    performance = find_performance(job.score, pipeline.renderer, store, score_options=pipeline.score_options)
    if performance is None:
        return None
    audio = find_audio(
        performance.artifact, pipeline.synthesizer, store, prompt=pipeline.prompt, name=job.name
    )
    if audio is None or not all(find_encoding(audio.artifact, name, store) for name in pipeline.formats):
        return None
    return finish(job, pipeline, performance, audio, store, output)


def failed_names(output: Path) -> set[str]:
    """What the manifest of ``output`` records as failed. Raises ``InputError`` where there is none."""
    if not (output / MANIFEST).exists():
        raise InputError(f"{output / MANIFEST}: no record of an earlier run; do without --retry-failed")
    return {entry["name"] for entry in read_manifest(output) if entry.get("error")}


def prepare_output(jobs: Sequence[Job], output: Path) -> None:
    """Delete what killed processes left unfinished among the results of these jobs.

    Raises ``InputError`` where results could not be written, or the record is damaged.
    """
    check_output_folder(output)
    try:
        manifest.check(output)
    except OSError as error:
        raise InputError(f"{error.filename or output}: cannot be read ({error.strerror})") from error
    sweep({output, *((output / job.name).parent for job in jobs)})


def finish(
    job: Job,
    pipeline: Pipeline,
    performance: StageResult,
    audio: StageResult,
    store: ArtifactStore,
    output: Path,
) -> Outcome:
    """Put the results of a job into ``output``, in all formats that were asked for."""
    wanted = [("mid", performance.artifact)]
    wanted += [(name, encode(audio.artifact, name, store).artifact) for name in pipeline.formats]
    files = []
    for suffix, artifact in wanted:
        files.append(output / f"{job.name}.{suffix}")
        deliver(artifact, files[-1], store)
    return Outcome(job, performance, audio, tuple(files))


# ----------------------------------------------------------------------------------------- manifest


class Recorder:
    """Enters outcomes into the manifest as they come; as a context manager it tidies it at the end."""

    def __init__(self, pipeline: Pipeline, store: ArtifactStore, output: Path, *, run: str = "") -> None:
        """``run``: what the entries say about the run that made them."""
        self._pipeline, self._store, self._output, self._run = pipeline, store, output, run

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        manifest.tidy(self._output)

    def add(self, outcome: Outcome) -> dict[str, Any]:
        """The entry."""
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
        except StoreError:  # somebody emptied the store; the results are there nevertheless
            return None


def _log(outcome: Outcome) -> None:
    about = {"score": str(outcome.job.score), "result": outcome.job.name}
    if outcome.error:
        log.info("failed", extra=about | {"error": outcome.error})
        return
    seconds = sum(made.seconds for made in (outcome.performance, outcome.audio) if made)
    log.info(
        "from the store" if outcome.cached else "made",
        extra=about | {"seconds": round(seconds, 3), "files": [str(file) for file in outcome.files]},
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

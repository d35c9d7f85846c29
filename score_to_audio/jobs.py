"""Many scores: which files are meant, what their results are called, and the record of what was made."""

from __future__ import annotations

import fcntl
import glob
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from score_to_audio.files import replace_atomically
from score_to_audio.stages import Made, Pipeline, deliver, encode, render, synthesize
from score_to_audio.store import ArtifactStore
from score_to_audio.types import InputError

MANIFEST = "manifest.jsonl"
BETWEEN_RECORDS = 5.0
"""Seconds."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One score and the name of its results."""

    score: Path
    name: str
    """Path below the output folder, without suffix; unique within a plan."""


def plan(paths: Sequence[str | Path]) -> list[Job]:
    """The scores that ``paths`` (files, folders, glob patterns) mean, each once, in the order given.

    A folder contributes its scores at any depth, sorted, and keeps its inner structure in the names.
    Raises ``InputError`` for a path that leads to no score.
    """
    found: dict[Path, str] = {}
    for path in paths:
        for score, name in _expand(Path(path).expanduser()):
            found.setdefault(score, name)
    return _with_unique_names(found)


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
        yield from ((file, file.stem) for file in files)


def _suffixes() -> list[str]:
    from adapters.musicxml import SUFFIXES

    return sorted(SUFFIXES)


def _scores_in(folder: Path) -> list[Path]:
    """All scores below a folder, except MIDI files that an earlier run wrote there."""
    suffixes = _suffixes()
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    ours = {
        file.parent / name
        for file in files
        if file.name == MANIFEST
        for entry in read_manifest(file.parent)
        for name in entry["files"]
    }
    return [file for file in files if file.suffix.lower() in suffixes and file not in ours]


def _with_unique_names(found: dict[Path, str]) -> list[Job]:
    """Where names collide, a score keeps its suffix too, then its folder's name, then gets a number."""
    names = dict(found)
    for finer in (lambda score: score.name, lambda score: f"{score.absolute().parent.name}-{score.name}"):
        counts = Counter(names.values())
        names = {score: finer(score) if counts[name] > 1 else name for score, name in names.items()}
    jobs: list[Job] = []
    taken: set[str] = set()
    for score, name in names.items():
        number, unique = 2, name
        while unique in taken:
            number, unique = number + 1, f"{name}-{number}"
        taken.add(unique)
        jobs.append(Job(score, unique))
    return jobs


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    performance: Made | None = None
    audio: Made | None = None
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


def finish(
    job: Job, pipeline: Pipeline, performance: Made, audio: Made, store: ArtifactStore, output: Path
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
    """Enters outcomes into the manifest as they come: every few seconds and at the end, since each writing
    costs as much as the manifest is long."""

    def __init__(self, pipeline: Pipeline, store: ArtifactStore, output: Path) -> None:
        self._target = pipeline, store, output
        self._unwritten: list[Outcome] = []
        self._last_time = time.monotonic()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.write()

    def add(self, outcome: Outcome) -> bool:
        """True where this was the moment to write."""
        _log(outcome)
        self._unwritten.append(outcome)
        if time.monotonic() - self._last_time < BETWEEN_RECORDS:
            return False
        self.write()
        return True

    def write(self) -> None:
        if self._unwritten:
            record(self._unwritten, *self._target)
        self._unwritten = []
        self._last_time = time.monotonic()


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


def record(outcomes: Iterable[Outcome], pipeline: Pipeline, store: ArtifactStore, output: Path) -> Path:
    """Enter outcomes into the output folder's manifest, one JSON object a line, one line a result.

    A line of an earlier run for the same result is replaced. Safe beside other processes.
    """
    new = [_entry(outcome, pipeline, store, output) for outcome in outcomes]
    output.mkdir(parents=True, exist_ok=True)
    with _locked(output):
        entries = {entry["name"]: entry for entry in [*read_manifest(output), *new]}
        with tempfile.NamedTemporaryFile(
            "w", dir=output, prefix=".", delete=False, encoding="utf-8"
        ) as temporary:
            for name in sorted(entries):
                temporary.write(json.dumps(entries[name], ensure_ascii=False, sort_keys=True) + "\n")
        Path(temporary.name).chmod(0o644)
        replace_atomically(Path(temporary.name), output / MANIFEST)
    return output / MANIFEST


def read_manifest(output: Path) -> list[dict[str, Any]]:
    """The entries of an output folder's manifest; none where there is no manifest."""
    path = output / MANIFEST
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    except ValueError as error:
        raise InputError(f"{path}: not a manifest ({error}); move it away and run again") from error


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    with (output / f".{MANIFEST}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the kernel if the process dies
        yield


def _entry(outcome: Outcome, pipeline: Pipeline, store: ArtifactStore, output: Path) -> dict[str, Any]:
    made = {"performance": outcome.performance, "audio": outcome.audio}
    return {
        "name": outcome.job.name,
        "score": str(outcome.job.score),
        "renderer": pipeline.renderer.name,
        "synthesizer": pipeline.synthesizer.name,
        "files": [str(file.relative_to(output)) for file in outcome.files],
        "error": outcome.error,
        **{
            stage: {
                "artifact": asdict(result.artifact),
                "provenance": asdict(store.provenance(result.artifact)),
                "cached": result.cached,
                "seconds": round(result.seconds, 3),
            }
            for stage, result in made.items()
            if result
        },
    }

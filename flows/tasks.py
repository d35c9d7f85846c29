"""The tasks, each a thin cover over a function of ``stages`` or ``jobs``: one per score and stage, or one per
score for long lists.

Prefect's own cache stays off: the store knows what is there, and its manifests are the record. A hit is a
state named Cached.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed, Failed

from flows.server import is_away
from score_to_audio import jobs, progress, stages, workers
from score_to_audio.errors import InputError, OutputError, StageError, StoreError
from score_to_audio.jobs import Job, Outcome
from score_to_audio.stages import Pipeline, StageResult
from score_to_audio.store import open_store
from score_to_audio.wording import brief
from score_to_audio.workers import Isolation

FORESEEN = (InputError, StageError, OSError, MemoryError)
RETRY_DELAYS = [2.0, 20.0]
"""Seconds before the second and the third attempt: another process may have left the memory by then."""
QUIET = 5.0
"""Seconds before a stage shows its progress: an artifact costs more than a short stage."""
BETWEEN_STAGE_UPDATES = 2.0
"""Seconds between updates of a stage's progress artifact."""

_outage = Event()
"""Set from the first update that could not be shown to the next that could: an outage is said once."""


def may_pass_next_time(error: object) -> bool:
    """Whether an attempt failed for want of memory or a fault of the file system, and not for its input."""
    while isinstance(error, BaseException):
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
            return True
        if isinstance(error, OSError):
            return not isinstance(error, StoreError | OutputError)  # what is full or read-only stays so
        error = error.__cause__
    return False


def _is_worth_a_retry(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return may_pass_next_time(state.result(raise_on_failure=False))


HOW: Any = {
    "cache_policy": NO_CACHE,
    "retries": len(RETRY_DELAYS),
    "retry_delay_seconds": RETRY_DELAYS,
    "retry_condition_fn": _is_worth_a_retry,
}
"""Every task carries out its function like this."""


def _as_state(made: StageResult) -> State[StageResult]:
    if made.cached:
        return Completed(name="Cached", message="found in the store", data=made)
    return Completed(message=f"made in {made.seconds:.1f} s", data=made)


def as_failure(error: Exception) -> State[Any]:
    """One sentence instead of a traceback, for what is nobody's defect."""
    return Failed(message=str(error) or type(error).__name__, data=error)


@task(task_run_name="render {job.name}", **HOW)
def render(job: Job, pipeline: Pipeline, store: str) -> State[StageResult]:
    """Score to performance MIDI in the store at ``store``."""
    try:
        with progress.listening(_Progress(f"render {job.name}")):
            made = stages.render(
                job.score, pipeline.renderer, open_store(store), score_options=pipeline.score_options
            )
    except FORESEEN as error:
        return as_failure(error)
    return _as_state(made)


@task(task_run_name="synthesize {job.name}", **HOW)
def synthesize(job: Job, performance: StageResult, pipeline: Pipeline, store: str) -> State[StageResult]:
    """Performance MIDI to WAV, both in the store at ``store``."""
    artifact, shelf = performance.artifact, open_store(store)
    try:
        with progress.listening(_Progress(f"synthesize {job.name}")):
            made = stages.synthesize(
                shelf.path(artifact),
                pipeline.synthesizer,
                shelf,
                prompt=pipeline.prompt,
                name=job.name,
                parent=artifact.key,
            )
    except FORESEEN as error:
        return as_failure(error)
    return _as_state(made)


class Whole:
    """A pipeline that no task runner searches for futures, as they do with dataclasses.

    Prefect's own ``quote`` does not survive the way to the processes of Ray and Dask.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline


@task(task_run_name="{job.name}", **HOW)
def make(job: Job, whole: Whole, store: str, output: Path, isolation: Isolation | None) -> State[Outcome]:
    """Both stages of one score; the results in ``output``."""
    pipeline = whole.pipeline
    try:
        with progress.listening(_Progress(job.name)):
            if isolation:
                outcome = workers.run(job, pipeline, open_store(store), output, isolation)
            else:
                outcome = jobs.run(job, pipeline, open_store(store), output)
    except FORESEEN as error:
        return as_failure(error)
    if outcome.cached:
        return Completed(name="Cached", message="found in the store", data=outcome)
    return Completed(message="made", data=outcome)


class _Progress:
    """Shows the reports of a stage that takes its time as a progress artifact of its task run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.artifact: UUID | None = None
        self.next_report = time.monotonic() + QUIET

    def __call__(self, done: float, total: float, unit: str) -> None:
        now = time.monotonic()
        if now < self.next_report:
            return
        self.next_report = now + BETWEEN_STAGE_UPDATES
        self.artifact = show_progress(
            self.artifact, done / max(total, 1e-9), f"{self.name}: {done:.0f} of {total:.0f} {unit}"
        )


def show_progress(artifact: UUID | None, share: float, description: str) -> UUID | None:
    """Make or update a progress artifact; ``share`` in 0..1."""
    percent = round(100 * min(max(share, 0.0), 1.0), 1)
    with even_if_unreachable():
        if artifact is None:
            made = create_progress_artifact(progress=percent, description=description)
            assert isinstance(made, UUID)
            return made
        update_progress_artifact(artifact_id=artifact, progress=percent, description=description)
    return artifact


@contextmanager
def even_if_unreachable() -> Iterator[None]:
    """Artifacts are for people to look at: no run ends because the server or its database is away."""
    try:
        yield
    except Exception as error:
        if not is_away(error):
            raise
        if not _outage.is_set():
            _outage.set()
            get_run_logger().warning("nothing is shown while the Prefect server is away (%s)", brief(error))
    else:
        _outage.clear()

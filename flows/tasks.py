"""The tasks: one per score and stage, or one per score in long lists.

Prefect's own cache stays off, since the store already holds every artifact. A task that finds its artifact
in the store ends in a state named Cached.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

from prefect import Task, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed

from flows.server import ignore_server_outage, is_server_unavailable
from score_to_audio import jobs, progress, stages
from score_to_audio.artifacts import StageResult
from score_to_audio.errors import EXPECTED_ERRORS, is_retryable, sentence
from score_to_audio.jobs import Job, Outcome
from score_to_audio.settings import ExecutionSettings, Pipeline, PipelineSettings
from score_to_audio.store import open_store
from score_to_audio.wording import brief
from score_to_audio.workers import shared_pool

FlowState: TypeAlias = State[None]
"""What flows return. Made in the module that every worker imports: pickle finds a generic class of
pydantic in the module that made it first."""
RETRY_DELAYS = [2.0, 20.0]
"""Seconds before the second and the third attempt: by then another process may have freed memory."""
PROGRESS_DELAY = 5.0
"""Seconds before a task shows its progress: an artifact costs more than a short stage."""
PROGRESS_INTERVAL = 2.0
"""Seconds between updates of a task's progress artifact."""


def _is_worth_a_retry(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return is_retryable(state.result(raise_on_failure=False))


TASK_OPTIONS: Any = {
    "cache_policy": NO_CACHE,
    "retries": len(RETRY_DELAYS),
    "retry_delay_seconds": RETRY_DELAYS,
    "retry_condition_fn": _is_worth_a_retry,
}
"""Options shared by all tasks: retry out-of-memory and I/O errors."""


@lru_cache(maxsize=4)
def resolved(settings_json: str) -> Pipeline:
    """The pipeline of these settings, resolved once per process. Raises ``InputError``."""
    return PipelineSettings.model_validate_json(settings_json).resolve()


@task(task_run_name="render {job.name}", **TASK_OPTIONS)
def render(job: Job, settings: str, store: str) -> State[StageResult]:
    """Score to performance MIDI in the store at ``store``. ``settings``: ``PipelineSettings`` as JSON."""
    try:
        pipeline = resolved(settings)
        with progress.listening(ProgressArtifact(f"render {job.name}")):
            return _stage_state(
                stages.render(
                    job.score,
                    pipeline.renderer,
                    open_store(store),
                    score_options=pipeline.score_options,
                    adjustments=pipeline.adjustments,
                )
            )
    except EXPECTED_ERRORS as error:
        return failed_state(error)


@task(task_run_name="synthesize {job.name}", **TASK_OPTIONS)
def synthesize(
    job: Job, performance: StageResult | BaseException, settings: str, store: str
) -> State[StageResult]:
    """Performance MIDI to WAV, both in the store at ``store``; skipped where there is no performance."""
    if not isinstance(performance, StageResult):
        return Cancelled(name="Skipped", message=f"there is no performance: {sentence(performance)}")
    try:
        pipeline, opened = resolved(settings), open_store(store)
        with progress.listening(ProgressArtifact(f"synthesize {job.name}")):
            return _stage_state(
                stages.synthesize(
                    opened.path(performance.artifact),
                    pipeline.synthesizer,
                    opened,
                    prompt=pipeline.prompt,
                    name=job.name,
                    parent=performance.artifact.key,
                )
            )
    except EXPECTED_ERRORS as error:
        return failed_state(error)


@task(task_run_name="{job.name}", **TASK_OPTIONS)
def perform(
    job: Job, settings: str, store: str, output: Path, limits: ExecutionSettings | None
) -> State[Outcome]:
    """Both stages of one score; the results in ``output``. ``limits``: of the worker process to run in."""
    try:
        pipeline = resolved(settings)
        with progress.listening(ProgressArtifact(job.name)):
            if limits:
                outcome = shared_pool(limits).run(job, pipeline.settings, store, output)
            else:
                outcome = jobs.run(job, pipeline, open_store(store), output)
    except EXPECTED_ERRORS as error:
        return failed_state(error)
    if outcome.cached:
        return Completed(name="Cached", message="found in the store", data=outcome)
    return Completed(message="made", data=outcome)


def _stage_state(result: StageResult) -> State[StageResult]:
    if result.cached:
        return Completed(name="Cached", message="found in the store", data=result)
    return Completed(message=f"made in {result.seconds:.1f} s", data=result)


def failed_state(error: BaseException) -> State[Any]:
    """A failed state with one sentence instead of a traceback."""
    return Failed(message=sentence(error), data=error)


def final_state(future: PrefectFuture[Any]) -> State[Any]:
    """The state that a task ends in; failed if the server is away."""
    try:
        future.wait()  # before that, ``state`` is what the server knows so far
        return future.state
    except Exception as error:
        if not is_server_unavailable(error):  # Prefect asks the server about upstream tasks
            raise
        return Failed(message=f"the Prefect server did not answer ({brief(error)}); run it again")


def reason(state: State[Any]) -> str:
    return state.message or state.name or "no reason was given"


def artifact_key(name: str) -> str:
    """ "render op. 28/4" -> "render-op-28-4": Prefect takes small letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "progress"


class ProgressArtifact:
    """A listener that shows the progress of a long task as a progress artifact of its task run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.artifact: UUID | None = None
        self.next_update = time.monotonic() + PROGRESS_DELAY

    def __call__(self, done: float, total: float, unit: str) -> None:
        now = time.monotonic()
        if now < self.next_update:
            return
        self.next_update = now + PROGRESS_INTERVAL
        self.artifact = show_progress(
            self.artifact,
            self.name,
            done / max(total, 1e-9),
            f"{self.name}: {done:.0f} of {total:.0f} {unit}",
        )


def show_progress(artifact: UUID | None, name: str, share: float, description: str) -> UUID | None:
    """Create a progress artifact called ``name``, or update it; ``share`` in 0..1."""
    percent = round(100 * min(max(share, 0.0), 1.0), 1)
    with ignore_server_outage():
        if artifact is None:
            created = create_progress_artifact(percent, key=artifact_key(name), description=description)
            assert isinstance(created, UUID)
            return created
        update_progress_artifact(artifact_id=artifact, progress=percent, description=description)
    return artifact

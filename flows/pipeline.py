"""The flow ``score-to-audio``: many scores, both stages, one task per score and stage."""

# No `from __future__ import annotations` here: `serve` sends flows to other processes without the names that
# only annotations use, so the annotations have to be objects.

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import allow_failure

from flows.report import Report
from flows.tasks import FlowState, failed_state, final_state, reason, render, synthesize
from score_to_audio import jobs, logs, manifest
from score_to_audio.artifacts import StageResult
from score_to_audio.errors import EXPECTED_ERRORS, InputError, OutputError
from score_to_audio.jobs import Job, Outcome
from score_to_audio.settings import Pipeline, PipelineSettings, flatten_parameters
from score_to_audio.store import ArtifactStore, default_store

RUNNER: Any = ThreadPoolTaskRunner(max_workers=4)
"""Two scores at a time, each with a task that runs and one that waits for it."""

Stage = PrefectFuture[State[StageResult]]
"""A task of one score."""


def with_parameters(**models: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``flatten_parameters``, and the fields' descriptions in the docstring, where Prefect reads them."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        fields = [item for model in models.values() for item in model.model_fields.items()]
        lines = [f"        {name}: {field.description}" for name, field in fields]
        flat = flatten_parameters(**models)(function)
        flat.__doc__ = (function.__doc__ or "").rstrip() + "\n" + "\n".join(lines) + "\n"
        return flat

    return decorate


def run_name() -> str:
    """ "minuet and 3 more, score + sampled-piano"."""
    parameters = flow_run.parameters
    scores = [Path(score).stem or str(score) for score in parameters["scores"]]
    first = scores[0] if scores else "nothing"
    more = f" and {len(scores) - 1} more" if len(scores) > 1 else ""
    return f"{first}{more}, {parameters['renderer']} + {parameters['synthesizer']}"


@flow(name="score-to-audio", flow_run_name=run_name, task_runner=RUNNER)
@with_parameters(settings=PipelineSettings)
def score_to_audio(
    scores: list[Path], output: Path = Path("output"), *, settings: PipelineSettings
) -> FlowState:
    """Turn scores into performance MIDI and audio.

    A score that fails does not stop the others; the run then ends as failed, and says which and why. What the
    store already has is not made again.

    Args:
        scores: Score files, folders or glob patterns.
        output: Folder for the results and their manifest.jsonl.
    """
    try:
        logs.configure_flow_logging()
        pipeline = settings.resolve()
        plan = jobs.select(scores, pipeline, default_store(), output)
        return _perform_all(plan, pipeline, output)
    except (InputError, OutputError) as error:
        return failed_state(error)


def _perform_all(plan: Sequence[Job], pipeline: Pipeline, output: Path) -> FlowState:
    """Both stages of every job; the results go to ``output``, failures to the manifest."""
    store, settings = default_store(), pipeline.settings.model_dump_json()
    submitted: dict[Stage, tuple[Job, Stage]] = {}
    for job in plan:
        performance = render.submit(job, settings, store.location)
        given = cast(StageResult, allow_failure(performance))
        audio = synthesize.submit(job, given, settings, store.location)
        submitted[audio] = job, performance
    with Report(len(plan), jobs.Recorder(pipeline, store, output), output) as report:
        for audio in as_completed(list(submitted)):
            job, performance = submitted.pop(audio)
            report.add(_outcome(job, performance, audio, pipeline, store, output))
    manifest.tidy(output)
    return report.totals.final_state(output)


def _outcome(
    job: Job, performance: Stage, audio: Stage, pipeline: Pipeline, store: ArtifactStore, output: Path
) -> Outcome:
    render_state, synthesis_state = final_state(performance), final_state(audio)
    if not render_state.is_completed():
        return Outcome(job, error=reason(render_state))
    rendered: StageResult = render_state.result()
    if not synthesis_state.is_completed():
        return Outcome(job, rendered, error=reason(synthesis_state))
    try:
        results = jobs.finish(job, pipeline, rendered, synthesis_state.result(), store)
        return jobs.deliver_results(job, results, store, output)
    except EXPECTED_ERRORS as error:
        return jobs.failed(job, error)

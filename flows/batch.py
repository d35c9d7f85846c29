"""The flow ``batch``: ``score-to-audio`` for long lists of scores; and ``batch-shard``, a part of one."""

# Annotations are objects here for the same reason as in pipeline.py.

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import as_completed
from prefect.runtime import flow_run

from flows import shards
from flows.pipeline import run_name, with_parameters
from flows.report import Report, Totals
from flows.runners import task_runners
from flows.tasks import FlowState, failed_state, final_state, perform, reason
from score_to_audio import jobs, logs, manifest
from score_to_audio.errors import EXPECTED_ERRORS, InputError, OutputError
from score_to_audio.files import check_output_folder
from score_to_audio.jobs import Job, Outcome
from score_to_audio.settings import ExecutionSettings, Pipeline, PipelineSettings, SubmissionSettings
from score_to_audio.store import ArtifactStore, default_store
from score_to_audio.workers import process_count


@flow(name="batch", flow_run_name=run_name)
@with_parameters(settings=PipelineSettings, execution=ExecutionSettings, submission=SubmissionSettings)
def batch(
    scores: list[Path],
    output: Path = Path("output"),
    *,
    settings: PipelineSettings,
    execution: ExecutionSettings,
    submission: SubmissionSettings,
) -> FlowState:
    """Turn any number of scores into performance MIDI and audio.

    A score that fails does not stop the others. Run it again to resume, and to retry what failed: what the
    store already has is not made again.

    Args:
        scores: Score files, folders or glob patterns.
        output: Folder for the results, manifest.jsonl and summary.csv.
    """
    output = output.absolute()
    run = str(flow_run.id)
    try:
        logs.configure_flow_logging()
        pipeline = settings.resolve()
        paths = [path.expanduser().absolute() for path in scores]
        store = default_store()
        manifest.check_summary(output)
        plan = jobs.select(paths, pipeline, store, output, retry_failed=execution.retry_failed)
        parts = [plan[start : start + submission.shard] for start in range(0, len(plan), submission.shard)]
        recorder = jobs.Recorder(pipeline, store, output, run=run)
        if submission.deployment:
            lost = shards.run_shards(
                parts, submission.deployment, output, run, (settings, execution, submission.runner)
            )
            totals = _collected(lost, recorder, output, run)
        else:
            if submission.runner == "thread":  # a cluster, or the workers of a deployment, share the cores
                count = process_count(execution, pipeline, len(plan))
                execution = execution.model_copy(update={"processes": count})
            with Report(len(plan), recorder, output) as report:
                _run_tasks(parts, pipeline, store, output, execution, submission.runner, report)
            totals = report.totals
        manifest.tidy(output)
        manifest.summarize(output)
    except (InputError, OutputError) as error:
        return failed_state(error)
    return totals.final_state(output)


def _collected(lost: Sequence[tuple[Job, str]], recorder: jobs.Recorder, output: Path, run: str) -> Totals:
    """What the shards recorded, and the jobs of lost shards."""
    recorded = {entry["name"] for entry in manifest.latest(output, run)}
    for job, error in lost:
        if job.name not in recorded:
            recorder.add(Outcome(job, error=error))
    totals = Totals()
    for entry in manifest.latest(output, run):
        totals.add(entry)
    return totals


@flow(name="batch-shard")
def batch_shard(
    plan: list[Job],
    output: Path,
    run: str,
    settings: PipelineSettings,
    execution: ExecutionSettings,
    runner: str = "thread",
) -> FlowState:
    """One shard of a batch, submitted by the flow `batch`, which then reads the manifest.

    Args:
        plan: Scores and the names of their results.
        output: Folder for the results and manifest.jsonl.
        run: Identifies the batch in the manifest.
        settings: Renderer, synthesizer and options, as of the flow `batch`.
        execution: Processes and limits, as of the flow `batch`.
        runner: Task runner.
    """
    try:
        check_output_folder(output)
        with shards.heartbeat(output, str(flow_run.id)):
            logs.configure_flow_logging()
            pipeline, store = settings.resolve(), default_store()
            recorder = jobs.Recorder(pipeline, store, output, run=run)
            with Report(len(plan), recorder, output) as report:
                _run_tasks([plan], pipeline, store, output, execution, runner, report)
            return report.totals.final_state(output)
    except (InputError, OutputError) as error:
        return failed_state(error)


def _run_tasks(
    parts: Sequence[Sequence[Job]],
    pipeline: Pipeline,
    store: ArtifactStore,
    output: Path,
    execution: ExecutionSettings,
    runner: str,
    report: Report,
) -> None:
    """Run all parts in this flow run, one after the other: a task for each job that the store cannot answer.

    A look-up takes a millisecond; a task some three, and more on the server. Raises ``InputError`` where the
    runner's library is missing.
    """
    settings = pipeline.settings.model_dump_json()
    processes = execution.processes if isinstance(execution.processes, int) else 0
    limits = _limits(execution, processes, runner)
    with task_runners(runner, processes) as new_runner:
        for part in parts:
            missing = [job for job in part if not _is_found(job, pipeline, store, output, report)]
            if not missing:
                continue
            with new_runner() as task_runner:
                submitted = {}
                for job in missing:
                    parameters = {"job": job, "settings": settings, "store": store.location}
                    parameters |= {"output": output, "limits": limits}
                    submitted[task_runner.submit(perform, parameters)] = job
                for future in as_completed(list(submitted)):
                    report.add(_outcome(submitted.pop(future), final_state(future)))
            _forget_task_states()


def _limits(execution: ExecutionSettings, processes: int, runner: str) -> ExecutionSettings | None:
    """Those of a worker pool per process; None where jobs run in the process of their task."""
    if not (execution.deadline or execution.memory_limit or (processes and runner == "thread")):
        return None
    processes = max(processes, 1) if runner == "thread" else 1  # a cluster has its own processes
    return execution.model_copy(update={"processes": processes, "retry_failed": False})


def _forget_task_states() -> None:
    """Prefect keeps the state of every task for later tasks that depend on it; here none does."""
    context = FlowRunContext.get()
    assert context
    context.run_results.clear()


def _is_found(job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path, report: Report) -> bool:
    try:
        found = jobs.find(job, pipeline, store, output)
    except EXPECTED_ERRORS:  # the task meets the same error, retries it where that may help, and reports it
        return False
    if found:
        report.add(found)
    return found is not None


def _outcome(job: Job, state: State[Any]) -> Outcome:
    if not state.is_completed():
        return Outcome(job, error=reason(state))
    outcome = state.result()
    assert isinstance(outcome, Outcome)
    return outcome

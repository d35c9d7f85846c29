"""The flow ``batch``: what ``score-to-audio`` does, for long lists of scores; and ``batch-shard``, a part."""

# Annotations are objects here for the same reason as in pipeline.py.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import as_completed
from prefect.runtime import flow_run
from prefect.states import Failed
from pydantic import Field

from flows import shards
from flows.pipeline import final_state, reason, run_name
from flows.report import Report, Tally
from flows.runners import RunnerName, task_runners
from flows.tasks import FORESEEN, Whole, make
from score_to_audio import defaults, jobs, logs, manifest
from score_to_audio.errors import InputError, OutputError
from score_to_audio.files import check_output_folder
from score_to_audio.jobs import Job, Outcome
from score_to_audio.stages import AudioFormat, Pipeline, prepare_pipeline
from score_to_audio.store import ArtifactStore, default_store
from score_to_audio.workers import Isolation


@dataclass(frozen=True)
class Means:
    """How a shard is carried out; no matter for its results."""

    runner: RunnerName = "thread"
    processes: int = 0
    deadline: float | None = None
    memory_limit: int | None = None

    def isolation(self) -> Isolation | None:
        """None where scores are carried out in the task's own process."""
        if not (self.deadline or self.memory_limit or (self.processes and self.runner == "thread")):
            return None
        children = max(self.processes, 1) if self.runner == "thread" else 1  # per process of a cluster
        return Isolation(children, self.deadline, self.memory_limit)


@flow(name="batch", flow_run_name=run_name)
def batch(
    scores: list[Path],
    output: Path = Path("output"),
    renderer: str = defaults.RENDERER,
    synthesizer: str = defaults.SYNTHESIZER,
    renderer_options: dict[str, Any] | None = None,
    synthesizer_options: dict[str, Any] | None = None,
    score_options: dict[str, Any] | None = None,
    prompt: str | None = None,
    seed: Annotated[int, Field(ge=0)] = 0,
    format: AudioFormat | list[AudioFormat] = "wav",
    device: str = "auto",
    retry_failed: bool = False,
    shard: Annotated[int, Field(ge=1, le=1000)] = defaults.SHARD,
    runner: RunnerName = "thread",
    processes: Annotated[int, Field(ge=0, le=256)] = 0,
    deadline: Annotated[float, Field(gt=0)] | None = None,
    memory_limit: Annotated[int, Field(gt=0)] | None = None,
    deployment: str | None = None,
) -> State[None]:
    """Turn any number of scores into performance MIDI and audio.

    A score that fails does not stop the others. To resume, or to try failed scores again, run it again: what
    is in the store already is not made again.

    Args:
        scores: Score files, folders or glob patterns.
        output: Folder for the results and their record, manifest.jsonl and summary.csv.
        renderer: Stage 1; `score-to-audio models list` shows the names.
        synthesizer: Stage 2; `score-to-audio models list` shows the names.
        renderer_options: Options of the renderer; `score-to-audio models show NAME` lists them.
        synthesizer_options: Options of the synthesizer.
        score_options: Options of the score reader.
        prompt: A prompt of the library, or an audio file with its .mid beside, where a synthesizer takes one.
        seed: For models that draw; the same seed gives the same bytes.
        format: Audio format or formats of the results.
        device: auto, cpu or cuda.
        retry_failed: Only the scores that the manifest in the output folder records as failed.
        shard: Scores that are submitted at once, or per flow run where there is a deployment.
        runner: thread, ray or dask: where the tasks run.
        processes: Scores at a time, each in a process of its own; 0 for this process.
        deadline: Seconds that one score may take, in a process that is then killed.
        memory_limit: Bytes that a process may hold, models included.
        deployment: Deployment of the flow batch-shard that carries out the shards, FLOW/DEPLOYMENT; without
            one this process does.
    """
    output = output.absolute()
    choices: dict[str, Any] = {
        "renderer": renderer,
        "synthesizer": synthesizer,
        "renderer_options": renderer_options,
        "synthesizer_options": synthesizer_options,
        "score_options": score_options,
        "prompt": prompt,
        "seed": seed,
        "formats": [format] if isinstance(format, str) else format,
        "device": device,
    }
    try:
        logs.configure_flow_logging()
        pipeline = prepare_pipeline(**choices)
        plan = jobs.plan([path.expanduser().absolute() for path in scores])
        if retry_failed:
            failed = jobs.failed_names(output)
            plan = [job for job in plan if job.name in failed]
        jobs.prepare_output(plan, output)
    except InputError as error:
        return Failed(message=str(error), data=error)
    means, store, run = Means(runner, processes, deadline, memory_limit), default_store(), str(flow_run.id)
    cut = [plan[start : start + shard] for start in range(0, len(plan), shard)]
    recorder = jobs.Recorder(pipeline, store, output, run=run)
    try:
        if deployment:
            lost = shards.carry_out(cut, deployment, output, run, choices, means)
            tally = _collect(lost, recorder, output, run)
        else:
            with Report(len(plan), recorder, output) as report:
                carry_out(cut, pipeline, store, output, means, report)
            tally = report.tally
        manifest.tidy(output)
        manifest.summarize(output)
    except (InputError, OutputError) as error:
        return Failed(message=str(error), data=error)
    return tally.conclude(output)


def _collect(lost: Sequence[tuple[Job, str]], recorder: jobs.Recorder, output: Path, run: str) -> Tally:
    """What the shards recorded, and what they could not."""
    recorded = {entry["name"] for entry in manifest.latest(output, run)}
    for job, error in lost:
        if job.name not in recorded:
            recorder.add(Outcome(job, error=error))
    tally = Tally()
    for entry in manifest.latest(output, run):
        tally.add(entry, output)
    return tally


@flow(name="batch-shard")
def batch_shard(
    plan: list[Job], output: Path, run: str, choices: dict[str, Any], means: Means
) -> State[None]:
    """One shard of a batch, submitted by the flow `batch`, which then reads the manifest.

    Args:
        plan: Scores and the names of their results.
        output: Folder for the results and their record, manifest.jsonl.
        run: What the record says about the run.
        choices: Models and options, as the flow `batch` takes them.
        means: Runner, processes and limits.
    """
    try:
        check_output_folder(output)
        with shards.beating(output, str(flow_run.id)):
            logs.configure_flow_logging()
            pipeline = prepare_pipeline(**choices)
            store = default_store()
            recorder = jobs.Recorder(pipeline, store, output, run=run)
            with Report(len(plan), recorder, output) as report:
                carry_out([plan], pipeline, store, output, means, report)
            return report.tally.conclude(output)
    except (InputError, OutputError) as error:
        return Failed(message=str(error), data=error)


def carry_out(
    cut: Sequence[Sequence[Job]],
    pipeline: Pipeline,
    store: ArtifactStore,
    output: Path,
    means: Means,
    report: Report,
) -> None:
    """Everything in this flow run, shard after shard: what the store has at once, the rest as tasks.

    A lookup costs a millisecond, a task some three, and the server that records it more: so no tasks for what
    is there. Raises ``InputError`` where the runner's library is missing.
    """
    isolation, whole = means.isolation(), Whole(pipeline)
    with task_runners(means.runner, means.processes) as new_runner:
        for shard in cut:
            missing = [job for job in shard if not _was_found(job, pipeline, store, output, report)]
            if not missing:
                continue
            with new_runner() as runner:
                submitted = {}
                for job in missing:
                    parameters = {"job": job, "whole": whole, "store": store.location, "output": output}
                    submitted[runner.submit(make, parameters | {"isolation": isolation})] = job
                for future in as_completed(list(submitted)):
                    report.add(_outcome(submitted.pop(future), final_state(future)))
            _forget_results()


def _forget_results() -> None:
    """Prefect keeps the state of every task, to know which later task depends on it: here none does."""
    context = FlowRunContext.get()
    assert context
    context.run_results.clear()


def _was_found(job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path, report: Report) -> bool:
    try:
        found = jobs.find(job, pipeline, store, output)
    except FORESEEN:  # the task will meet it too, try again where that may help, and say so
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

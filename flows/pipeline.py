"""The flow ``score-to-audio``: many scores, both stages, one task per score and stage."""

# No `from __future__ import annotations` here: `serve` sends flows to other processes without the names that
# occur in annotations only, so the annotations have to be objects, not text.

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import quote
from pydantic import Field

from flows.report import Report
from flows.server import is_away
from flows.tasks import FORESEEN, render, synthesize
from score_to_audio import defaults, jobs, logs, manifest
from score_to_audio.errors import InputError, OutputError
from score_to_audio.jobs import Job, Outcome
from score_to_audio.stages import AudioFormat, Pipeline, StageResult, prepare_pipeline
from score_to_audio.store import ArtifactStore, default_store
from score_to_audio.wording import brief

WORKERS = 4
"""Threads: two scores under way, each with a task that runs and one that waits for it."""
RUNNER: Any = ThreadPoolTaskRunner(max_workers=WORKERS)

Stage = PrefectFuture[State[StageResult]]
"""A task of one score: under way or done."""


def run_name() -> str:
    """ "minuet and 3 more, score + sampled-piano"."""
    parameters = flow_run.parameters
    scores = [Path(score).stem or str(score) for score in parameters["scores"]]
    first = scores[0] if scores else "nothing"
    more = f" and {len(scores) - 1} more" if len(scores) > 1 else ""
    return f"{first}{more}, {parameters['renderer']} + {parameters['synthesizer']}"


@flow(
    name="score-to-audio",
    flow_run_name=run_name,
    task_runner=RUNNER,
)
def score_to_audio(
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
) -> State[None]:
    """Turn scores into performance MIDI and audio.

    A score that fails does not stop the others; the run then ends as failed, and says which and why. What is
    in the store already is not made again.

    Args:
        scores: Score files, folders or glob patterns.
        output: Folder for the results and their record, manifest.jsonl.
        renderer: Stage 1; `score-to-audio models list` shows the names.
        synthesizer: Stage 2; `score-to-audio models list` shows the names.
        renderer_options: Options of the renderer; `score-to-audio models show NAME` lists them.
        synthesizer_options: Options of the synthesizer.
        score_options: Options of the score reader.
        prompt: A prompt of the library, or an audio file with its .mid beside, where a synthesizer takes one.
        seed: For models that draw; the same seed gives the same bytes.
        format: Audio format or formats of the results.
        device: auto, cpu or cuda.
    """
    try:
        logs.configure_flow_logging()
        pipeline = prepare_pipeline(
            renderer=renderer,
            synthesizer=synthesizer,
            renderer_options=renderer_options,
            synthesizer_options=synthesizer_options,
            score_options=score_options,
            prompt=prompt,
            seed=seed,
            formats=[format] if isinstance(format, str) else format,
            device=device,
        )
        plan = jobs.plan(scores)
        jobs.prepare_output(plan, output)
        return _make_all(plan, pipeline, output)
    except (InputError, OutputError) as error:
        return Failed(message=str(error), data=error)


def _make_all(plan: Sequence[Job], pipeline: Pipeline, output: Path) -> State[None]:
    """Both stages for every job, results into ``output``; whatever fails is recorded with its error."""
    store = default_store()
    submitted: dict[Stage, tuple[Job, Stage]] = {}
    whole = cast(Pipeline, quote(pipeline))  # Prefect need not search it for futures, and unwraps it
    for job in plan:
        performance = render.submit(job, whole, store.location)
        audio = synthesize.submit(job, cast(StageResult, performance), whole, store.location)
        submitted[audio] = job, performance
    with Report(len(plan), jobs.Recorder(pipeline, store, output), output) as report:
        for audio in as_completed(list(submitted)):
            job, performance = submitted.pop(audio)
            report.add(_outcome(job, performance, audio, pipeline, store, output))
    manifest.tidy(output)
    return report.tally.conclude(output)


def _outcome(
    job: Job,
    performance: Stage,
    audio: Stage,
    pipeline: Pipeline,
    store: ArtifactStore,
    output: Path,
) -> Outcome:
    render_state, synthesis_state = final_state(performance), final_state(audio)
    if not render_state.is_completed():
        return Outcome(job, error=reason(render_state))
    rendered: StageResult = render_state.result()
    if not synthesis_state.is_completed():
        return Outcome(job, rendered, error=reason(synthesis_state))
    synthesized: StageResult = synthesis_state.result()
    try:
        return jobs.finish(job, pipeline, rendered, synthesized, store, output)
    except FORESEEN as error:
        return Outcome(job, rendered, synthesized, error=str(error))


def final_state(future: PrefectFuture[Any]) -> State[Any]:
    try:
        future.wait()  # until then Prefect answers with what the server knows so far
        return future.state
    except Exception as error:
        if not is_away(error):  # Prefect asks it about tasks that a task waits for
            raise
        return Failed(message=f"the Prefect server did not answer ({brief(error)}); run it again")


def reason(state: State[Any]) -> str:
    return state.message or state.name or "no reason was given"

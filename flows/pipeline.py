"""The flow ``score-to-audio``: many scores, both stages, one task per score and stage."""

# No `from __future__ import annotations` here: `serve` sends flows to other processes without the names that
# occur in annotations only, so the annotations have to be objects, not text.

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self, cast
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import quote
from pydantic import Field

from flows.tasks import FORESEEN, render, show_progress, synthesize
from score_to_audio import defaults, jobs, logs
from score_to_audio.jobs import Job, Outcome
from score_to_audio.stages import AudioFormat, Made, Pipeline, prepare_pipeline
from score_to_audio.store import ArtifactStore, default_store
from score_to_audio.types import InputError

WORKERS = 4
"""Threads: two scores under way, each with a task that runs and one that waits for it."""
RUNNER: Any = ThreadPoolTaskRunner(max_workers=WORKERS)
MAX_ROWS = 300
"""Of a table artifact; it is a row of Prefect's database. The manifest has them all."""

Stage = PrefectFuture[State[Made]]
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
    return carry_out(
        scores,
        output,
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


def carry_out(
    scores: Sequence[Path], output: Path, *, shard: int = sys.maxsize, **choices: Any
) -> State[None]:
    """Check the choices (see ``prepare_pipeline``), make everything, and say how it ended.

    ``shard``: scores that are submitted at once; the next ones follow when these are done and recorded.
    """
    try:
        pipeline, plan = prepare_pipeline(**choices), jobs.plan(scores)
    except InputError as error:
        return Failed(message=str(error))
    if logs.wanted() == "json":
        logs.use_json_lines()
    store = default_store()
    outcomes: list[Outcome] = []
    for start in range(0, len(plan), shard):
        outcomes += make_all(plan[start : start + shard], pipeline, store, output)
    return conclude(outcomes, pipeline, output)


def make_all(plan: Sequence[Job], pipeline: Pipeline, store: ArtifactStore, output: Path) -> list[Outcome]:
    """Both stages for every job, results into ``output``; in the order of the plan.

    Whatever fails is an outcome with an error. Within a flow only.
    """
    submitted: dict[Stage, tuple[Job, Stage]] = {}
    whole = cast(Pipeline, quote(pipeline))  # Prefect need not search it for futures, and unwraps it
    for job in plan:
        performance = render.submit(job, whole, store.location)
        audio = synthesize.submit(job, cast(Made, performance), whole, store.location)
        submitted[audio] = job, performance
    outcomes: dict[Job, Outcome] = {}
    with _Record(len(plan), pipeline, store, output) as record:
        for audio in as_completed(list(submitted)):
            job, performance = submitted.pop(audio)
            outcomes[job] = _outcome(job, performance, audio, pipeline, store, output)
            record.add(outcomes[job])
    return [outcomes[job] for job in plan]


def _outcome(
    job: Job,
    performance: Stage,
    audio: Stage,
    pipeline: Pipeline,
    store: ArtifactStore,
    output: Path,
) -> Outcome:
    render_state, synthesis_state = _final_state(performance), _final_state(audio)
    if not render_state.is_completed():
        return Outcome(job, error=_reason(render_state))
    rendered: Made = render_state.result()
    if not synthesis_state.is_completed():
        return Outcome(job, rendered, error=_reason(synthesis_state))
    synthesized: Made = synthesis_state.result()
    try:
        return jobs.finish(job, pipeline, rendered, synthesized, store, output)
    except FORESEEN as error:
        return Outcome(job, rendered, synthesized, error=str(error))


def _final_state(stage: Stage) -> State[Any]:
    stage.wait()  # until then Prefect answers with what the server knows so far
    return stage.state


def _reason(state: State[Any]) -> str:
    return state.message or state.name or "no reason was given"


class _Record:
    """Tells about outcomes as they come: log, manifest in the output folder, progress artifact."""

    def __init__(self, total: int, pipeline: Pipeline, store: ArtifactStore, output: Path) -> None:
        self.total = total
        self.done = 0
        self.recorder = jobs.Recorder(pipeline, store, output)
        self.logger = get_run_logger()
        self.progress: UUID | None = None

    def __enter__(self) -> Self:
        return self

    def add(self, outcome: Outcome) -> None:
        self.done += 1
        if outcome.error:
            self.logger.error("%s: %s", outcome.job.name, outcome.error)
        else:
            self.logger.info("%s: %s", outcome.job.name, "from the store" if outcome.cached else "made")
        if self.recorder.add(outcome):
            self.show()

    def show(self) -> None:
        self.progress = show_progress(
            self.progress, self.done / max(self.total, 1), f"{self.done} of {self.total} scores"
        )

    def __exit__(self, *_: object) -> None:
        self.recorder.write()
        self.show()


def conclude(outcomes: Sequence[Outcome], pipeline: Pipeline, output: Path) -> State[None]:
    """The table of what became of the scores, and the state that the run ends in.

    The state carries no outcomes: whoever wants them reads the manifest (``jobs.read_manifest``).
    """
    failed = [outcome for outcome in outcomes if outcome.error]
    done = [outcome for outcome in outcomes if not outcome.error]
    cached = sum(outcome.cached for outcome in done)
    scores = "score" if len(outcomes) == 1 else "scores"
    summary = (
        f"{len(outcomes)} {scores}: {len(done) - cached} made, {cached} from the store, {len(failed)} failed"
    )
    rest = len(outcomes) - MAX_ROWS
    cut = f"; {rest} more in the manifest" if rest > 0 else ""
    create_table_artifact(
        key="score-to-audio",
        table=[_row(outcome, pipeline) for outcome in (*failed, *done)][:MAX_ROWS],
        description=f"{summary}; results and manifest.jsonl in {output.absolute()}{cut}",
    )
    if failed:
        first = "; ".join(f"{outcome.job.name}: {outcome.error}" for outcome in failed[:3])
        return Failed(message=f"{summary} ({first}{'; ...' if len(failed) > 3 else ''})")
    return Completed(message=summary)


def _row(outcome: Outcome, pipeline: Pipeline) -> dict[str, str]:
    return {
        "score": str(outcome.job.score),
        "renderer": pipeline.renderer.name,
        "synthesizer": pipeline.synthesizer.name,
        "duration": _duration(outcome),
        "result": "failed" if outcome.error else "cached" if outcome.cached else "made",
        "link": outcome.error
        or " ".join(f"[{file.suffix[1:]}]({file.absolute().as_uri()})" for file in outcome.files),
    }


def _duration(outcome: Outcome) -> str:
    """Of the sound, in minutes and seconds."""
    import soundfile

    sounds = [file for file in outcome.files if file.suffix != ".mid"]
    if not sounds:
        return ""
    seconds = round(soundfile.info(sounds[0]).duration)
    return f"{seconds // 60}:{seconds % 60:02}"

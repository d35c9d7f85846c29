"""Both stages, or one of them, on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from score_to_audio.cli.display import Display
from score_to_audio.cli.options import (
    EXIT_FAILED,
    Json,
    execution_settings,
    performance_settings,
    pipeline_settings,
    synthesizer_settings,
)
from score_to_audio.errors import InputError
from score_to_audio.settings import (
    ExecutionSettings,
    Pipeline,
    PipelineSettings,
    audio_format,
    flatten_parameters,
)

if TYPE_CHECKING:
    from score_to_audio.artifacts import StageResult
    from score_to_audio.jobs import Job, Outcome

MIDI_SUFFIXES = (".mid", ".midi")
Scores = Annotated[list[str], typer.Argument(help="Score files, folders or glob patterns.")]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]


@flatten_parameters(settings=pipeline_settings, execution=execution_settings)
def run(
    scores: Scores,
    output: OutputFolder,
    settings: PipelineSettings,
    execution: ExecutionSettings,
    open_result: Annotated[
        bool, typer.Option("--open", help="Open the sound, or the folder of several, when it is there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Scores to performance MIDI and audio.

    Run the same command again to resume, and to retry what failed.
    """
    from score_to_audio import jobs

    pipeline = settings.resolve()
    selected = select(scores, pipeline, output, execution)
    if not selected:
        print_nothing_to_retry(as_json)
        return
    run_here(selected, pipeline, output, execution, as_json)
    if open_result:
        _, *sounds = jobs.result_files(selected[0], pipeline, output)
        typer.launch(str((sounds[0] if len(selected) == 1 else output).absolute()))


def select(
    scores: Sequence[str], pipeline: Pipeline, output: Path, execution: ExecutionSettings
) -> list[Job]:
    """The jobs of this run; names on stderr what ``--retry-failed`` does not find. Raises ``InputError``."""
    from score_to_audio import jobs
    from score_to_audio.store import default_store

    selected = jobs.select(scores, pipeline, default_store(), output, retry_failed=execution.retry_failed)
    missing = (
        sorted(jobs.failed_names(output) - {job.name for job in selected}) if execution.retry_failed else []
    )
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        print(f"{missing[0]}{more} failed before, but not among the scores given now", file=sys.stderr)
    return selected


def print_nothing_to_retry(as_json: bool) -> None:
    message = "nothing to retry: none of these scores is recorded as failed"
    print(json.dumps({"failed": False, "message": message}) if as_json else message)


def run_here(
    selected: Sequence[Job], pipeline: Pipeline, output: Path, execution: ExecutionSettings, as_json: bool
) -> None:
    """Process the jobs on this machine. Raises ``typer.Exit`` where some fail."""
    from score_to_audio import jobs
    from score_to_audio.store import default_store
    from score_to_audio.workers import run_jobs

    store = default_store()
    exit_codes = []
    with (
        Display(total=len(selected), quiet=as_json) as display,
        jobs.Recorder(pipeline, store, output) as recorder,
    ):
        outcomes = run_jobs(selected, pipeline, store, output, execution, around=display.item)
        for done, outcome in enumerate(outcomes, start=1):
            exit_codes.append(outcome.exit_code)
            if outcome.error is None or len(selected) > 1:
                recorder.add(outcome)
            if as_json:
                print(json.dumps(_outcome_json(outcome)), flush=True)
            else:
                display.line(_outcome_line(outcome))
            display.overall(done, len(selected), "scores")
    if any(exit_codes):
        raise typer.Exit(max(exit_codes) if all(exit_codes) else EXIT_FAILED)


def _outcome_line(outcome: Outcome) -> str:
    if outcome.error:
        return f"error: {outcome.error}"
    notices = "".join(f"\n  {notice}" for notice in outcome.notices)
    took = "from the store" if outcome.cached else f"{outcome.seconds:.1f} s"
    return f"{'  '.join(str(file) for file in outcome.files)}  ({took}){notices}"


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "score": str(outcome.job.score),
        "name": outcome.job.name,
        "files": [str(file) for file in outcome.files],
        "cached": outcome.cached,
        "notices": list(outcome.notices),
        "error": outcome.error,
    }


@flatten_parameters(settings=performance_settings)
def render(
    score: Annotated[Path, typer.Argument(help="Score file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="MIDI file to write.")],
    settings: PipelineSettings,
    as_json: Json = False,
) -> None:
    """Score to performance MIDI: stage 1."""
    from score_to_audio import exports, stages
    from score_to_audio.outputs import check_output_file, record_delivery
    from score_to_audio.store import default_store

    if output.suffix.lower() not in MIDI_SUFFIXES:
        raise InputError(f"{output}: `render` writes MIDI; name a .mid file, or use `run` for audio")
    pipeline, store = settings.resolve(), default_store()
    files = {"mid": output} | {
        suffix: output.with_suffix(f".{suffix}") for suffix in exports.suffixes(settings)
    }
    for file in files.values():
        check_output_file(file, [score], store)
    with Display(total=1, quiet=as_json) as display, display.item(str(score)):
        result = stages.render(
            score,
            pipeline.renderer,
            store,
            score_options=pipeline.score_options,
            adjustments=pipeline.adjustments,
        )
        made = {"mid": result} | exports.make_exports(score, score.stem, pipeline, result, store)
    for suffix, file in files.items():
        stages.deliver(made[suffix].artifact, file, store)
        record_delivery(file, store)
    _print_result(result, output, as_json)


@flatten_parameters(settings=synthesizer_settings)
def synthesize(
    performance: Annotated[Path, typer.Argument(help="Performance MIDI file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Audio file to write; its suffix decides.")],
    settings: PipelineSettings,
    as_json: Json = False,
) -> None:
    """Performance MIDI to audio: stage 2."""
    from score_to_audio import stages
    from score_to_audio.formats.audio import Tags
    from score_to_audio.outputs import check_output_file, record_delivery
    from score_to_audio.store import default_store

    _refuse_score(performance)
    format = audio_format(output.suffix.removeprefix("."))
    pipeline, store = settings.resolve(), default_store()
    check_output_file(output, [performance], store)
    with Display(total=1, quiet=as_json) as display, display.item(str(performance)):
        result = stages.synthesize(performance, pipeline.synthesizer, store, prompt=pipeline.prompt)
        tags = Tags(performance.stem, comment=f"synthesized by {settings.synthesizer} (score-to-audio)")
        sound = stages.encode(result.artifact, format, store, loudness=pipeline.loudness, tags=tags)
    stages.deliver(sound.artifact, output, store)
    record_delivery(output, store)
    seconds = result.seconds + (0.0 if sound.cached else sound.seconds)
    _print_result(replace(result, cached=result.cached and sound.cached, seconds=seconds), output, as_json)


def _refuse_score(performance: Path) -> None:
    from score_to_audio.formats.scores.reader import SUFFIXES

    suffix = performance.suffix.lower()
    if suffix in SUFFIXES and suffix not in MIDI_SUFFIXES:
        raise InputError(
            f"{performance} is a score; `score-to-audio run {performance} -o FOLDER` makes its sound"
        )


def _print_result(result: StageResult, output: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"file": str(output), "cached": result.cached, "artifact": asdict(result.artifact)}))
    else:
        print(f"{output}  ({'from the store' if result.cached else f'{result.seconds:.1f} s'})")
        for notice in result.artifact.notices:
            print(f"  {notice}")

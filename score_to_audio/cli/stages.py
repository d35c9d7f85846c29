"""Scores to performances to audio, and a picture of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from score_to_audio import defaults
from score_to_audio.cli.display import Display
from score_to_audio.cli.errors import exit_code, is_foreseen
from score_to_audio.cli.options import (
    EXIT_FAILED,
    Device,
    Formats,
    Json,
    Options,
    PromptName,
    Renderer,
    Seed,
    Synthesizer,
    split_options,
)

if TYPE_CHECKING:
    from score_to_audio.jobs import Outcome
    from score_to_audio.stages import StageResult


def run(
    scores: Annotated[list[str], typer.Argument(help="Score files, folders or glob patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    renderer: Renderer = defaults.RENDERER,
    synthesizer: Synthesizer = defaults.SYNTHESIZER,
    options: Options = None,
    prompt: PromptName = None,
    seed: Seed = 0,
    formats: Formats = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Scores to performance MIDI and audio: both stages."""
    from score_to_audio import jobs
    from score_to_audio.stages import prepare_pipeline
    from score_to_audio.store import default_store

    chosen = split_options(options)
    pipeline = prepare_pipeline(
        renderer=renderer,
        synthesizer=synthesizer,
        renderer_options=chosen["renderer"],
        synthesizer_options=chosen["synthesizer"],
        score_options=chosen["score"],
        prompt=prompt,
        seed=seed,
        formats=formats or ("wav",),
        device=device,
    )
    plan = jobs.plan(scores)
    store = default_store()
    jobs.prepare_output(plan, output)
    failures: list[Exception] = []
    with (
        Display(total=len(plan), quiet=as_json) as display,
        jobs.Recorder(pipeline, store, output) as record,
    ):
        for job in plan:
            try:
                with display.item(str(job.score)):
                    outcome = jobs.run(job, pipeline, store, output)
            except Exception as error:
                if not is_foreseen(error):
                    raise
                failures.append(error)
                outcome = jobs.Outcome(job, error=str(error))
            if outcome.error is None or len(plan) > 1:
                record.add(outcome)
            if as_json:
                print(json.dumps(_outcome_json(outcome)))
            else:
                display.line(_outcome_line(outcome))
    if failures and len(failures) == len(plan):
        raise typer.Exit(max(exit_code(error) for error in failures))
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _outcome_line(outcome: Outcome) -> str:
    if outcome.error:
        return f"error: {outcome.error}"
    assert outcome.performance
    assert outcome.audio
    took = (
        "from the store" if outcome.cached else f"{outcome.performance.seconds + outcome.audio.seconds:.1f} s"
    )
    return f"{'  '.join(str(file) for file in outcome.files)}  ({took})"


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "score": str(outcome.job.score),
        "name": outcome.job.name,
        "files": [str(file) for file in outcome.files],
        "cached": outcome.cached,
        "error": outcome.error,
    }


def render(
    score: Annotated[Path, typer.Argument(help="Score file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="MIDI file to write.")],
    renderer: Renderer = defaults.RENDERER,
    options: Options = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score to performance MIDI: stage 1."""
    from score_to_audio import stages
    from score_to_audio.registry import prepare
    from score_to_audio.store import default_store

    chosen = split_options(options)
    prepared = prepare("renderer", renderer, chosen["renderer"], seed=seed, device=device)
    store = default_store()
    with Display(total=1, quiet=as_json) as display, display.item(str(score)):
        made = stages.render(score, prepared, store, score_options=stages.read_score_options(chosen["score"]))
    stages.deliver(made.artifact, output, store)
    _say_made(made, output, as_json)


def synthesize(
    performance: Annotated[Path, typer.Argument(help="Performance MIDI file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Audio file to write; its suffix decides.")],
    synthesizer: Synthesizer = defaults.SYNTHESIZER,
    options: Options = None,
    prompt: PromptName = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Performance MIDI to audio: stage 2."""
    from score_to_audio import stages
    from score_to_audio.registry import prepare
    from score_to_audio.store import default_store

    audio_format = stages.audio_format(output.suffix.removeprefix("."))
    chosen = split_options(options)
    prepared = prepare("synthesizer", synthesizer, chosen["synthesizer"], seed=seed, device=device)
    store = default_store()
    with Display(total=1, quiet=as_json) as display, display.item(str(performance)):
        made = stages.synthesize(
            performance, prepared, store, prompt=stages.read_prompt(prompt) if prompt else None
        )
    stages.deliver(stages.encode(made.artifact, audio_format, store).artifact, output, store)
    _say_made(made, output, as_json)


def _say_made(made: StageResult, output: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"file": str(output), "cached": made.cached, "artifact": asdict(made.artifact)}))
    else:
        print(f"{output}  ({'from the store' if made.cached else f'{made.seconds:.1f} s'})")

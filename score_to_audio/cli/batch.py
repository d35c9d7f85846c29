"""Long lists of scores."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from score_to_audio import defaults
from score_to_audio.cli.display import Display
from score_to_audio.cli.errors import exit_code
from score_to_audio.cli.options import (
    INTERRUPTED,
    Device,
    Formats,
    Json,
    Options,
    PromptName,
    Renderer,
    Seed,
    Synthesizer,
    number_of_bytes,
    split_options,
)
from score_to_audio.cli.server import keep_prefect_quiet

if TYPE_CHECKING:
    from score_to_audio.jobs import Job


def batch(
    scores: Annotated[list[str], typer.Argument(help="Score files, folders or glob patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    renderer: Renderer = defaults.RENDERER,
    synthesizer: Synthesizer = defaults.SYNTHESIZER,
    options: Options = None,
    prompt: PromptName = None,
    seed: Seed = 0,
    formats: Formats = None,
    device: Device = "auto",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Only the scores that the last run recorded as failed.")
    ] = False,
    shard: Annotated[
        int, typer.Option(help="Scores submitted at once, or per flow run of a deployment.", min=1, max=1000)
    ] = defaults.SHARD,
    runner: Annotated[str, typer.Option(help="thread, ray or dask.")] = "thread",
    processes: Annotated[
        int, typer.Option(help="Scores at a time, each in a process of its own.", min=0, max=256)
    ] = 0,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds that one score may take; its process is then killed.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="Memory that one process may hold, for instance 8GB.")
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option(help="Prefect deployment that carries out the shards, for instance batch-shard/gpu."),
    ] = None,
    as_json: Json = False,
) -> None:
    """The same as `run` for long lists of scores, as a Prefect flow (its server starts first, some 10 s).

    Run it again to resume, and to try again what failed. Results, manifest.jsonl and summary.csv are in the
    output folder.
    """
    from score_to_audio import jobs
    from score_to_audio.stages import prepare_pipeline

    chosen = split_options(options)
    models: dict[str, Any] = {
        "renderer": renderer,
        "synthesizer": synthesizer,
        "renderer_options": chosen["renderer"],
        "synthesizer_options": chosen["synthesizer"],
        "score_options": chosen["score"],
        "prompt": prompt,
        "seed": seed,
        "device": device,
    }
    means = {
        "retry_failed": retry_failed,
        "shard": shard,
        "runner": _runner(runner),
        "processes": processes,
        "deadline": _positive(deadline),
        "memory_limit": number_of_bytes(memory_limit) if memory_limit else None,
        "deployment": deployment,
    }
    prepare_pipeline(**models, formats=formats or ("wav",))  # wrong choices end here, before Prefect starts
    plan = jobs.plan(scores)
    jobs.prepare_output(plan, output)
    if retry_failed:
        failed = jobs.failed_names(output)
        _name_missing(plan, failed)
        plan = [job for job in plan if job.name in failed]
        if not plan:
            _say("nothing to try again: none of these scores is recorded as failed", as_json)
            return
    with Display(total=len(plan), quiet=as_json) as display:
        state = _run_flow(display, scores, output, format=formats or ["wav"], **models, **means)
    _conclude(state, as_json)


def _name_missing(plan: Sequence[Job], failed: set[str]) -> None:
    missing = sorted(failed - {job.name for job in plan})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        print(f"{missing[0]}{more} failed before, but not among the scores given now", file=sys.stderr)


def _runner(name: str) -> str:
    from score_to_audio.errors import InputError

    known = ("thread", "ray", "dask")
    if name not in known:
        raise InputError(f"unknown runner {name!r}; known: {', '.join(known)}")
    if name != "thread" and importlib.util.find_spec(f"prefect_{name}") is None:
        raise InputError(
            f"the runner {name!r} needs the extra `{name}`: pip install 'score-to-audio[{name}]'"
        )
    return name


def _positive(seconds: float | None) -> float | None:
    from score_to_audio.errors import InputError

    if seconds is not None and not 0 < seconds < float("inf"):
        raise InputError(f"--deadline {seconds:g}: a number of seconds above 0 is needed")
    return seconds


def _run_flow(display: Display, scores: list[str], output: Path, **choices: Any) -> Any:
    keep_prefect_quiet()
    from flows.batch import batch as flow
    from flows.server import answering
    from score_to_audio import progress

    logging.getLogger("prefect.task_runs").setLevel(logging.CRITICAL)  # the flow says once what failed
    end = "ending the shards" if choices["deployment"] else "stopping when the scores under way are done"
    signal.signal(signal.SIGINT, lambda *_: _stop(display, end))
    # during the flow, Prefect first lets the scores under way end
    signal.signal(signal.SIGTERM, lambda number, _: _stop_now(display, number))
    with answering(), progress.listening(display.overall):
        return flow([Path(score) for score in scores], output=output.absolute(), **choices, return_state=True)


def _stop(display: Display, end: str) -> None:
    """The first Ctrl-C lets the scores under way come to their end, since models cannot be interrupted; the
    second does not."""
    display.close()
    logging.disable()  # Prefect is about to say the same at length
    print(f"{end}; Ctrl-C again stops at once", file=sys.stderr)
    signal.signal(signal.SIGINT, lambda number, _: _stop_now(display, number))
    raise KeyboardInterrupt


def _stop_now(display: Display, number: int) -> None:
    try:
        display.close()
        print(f"\n{INTERRUPTED}", file=sys.stderr, flush=True)
    finally:
        os._exit(128 + number)  # as shells have it


def _say(message: str, as_json: bool, *, failed: bool = False) -> None:
    print(json.dumps({"failed": failed, "message": message}) if as_json else message)


def _conclude(state: Any, as_json: bool) -> None:
    if as_json or state.is_completed():
        _say(state.message, as_json, failed=not state.is_completed())
    else:
        print(f"error: {state.message}", file=sys.stderr)
    if not state.is_completed():
        reason = state.result(raise_on_failure=False)
        raise typer.Exit(exit_code(reason))

"""Long lists of scores: through the configured Prefect API, otherwise on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from score_to_audio.cli.display import Display
from score_to_audio.cli.options import EXIT_FAILED, Json, execution_settings, option, pipeline_settings
from score_to_audio.cli.run import OutputFolder, Scores, print_nothing_to_retry, run_here, select
from score_to_audio.errors import InputError, ScoreToAudioError
from score_to_audio.parameters import validated
from score_to_audio.settings import (
    ExecutionSettings,
    PipelineSettings,
    SubmissionSettings,
    flatten_parameters,
)

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def submission_settings(
    shard: Annotated[int, option(SubmissionSettings, "shard", min=1, max=1000)] = 100,
    runner: Annotated[str, option(SubmissionSettings, "runner")] = "thread",
    deployment: Annotated[str | None, option(SubmissionSettings, "deployment")] = None,
) -> SubmissionSettings:
    """What the command's options ask for. Raises ``InputError``."""
    return validated(SubmissionSettings, {"shard": shard, "runner": runner, "deployment": deployment})


@flatten_parameters(settings=pipeline_settings, execution=execution_settings, submission=submission_settings)
def batch(
    scores: Scores,
    output: OutputFolder,
    settings: PipelineSettings,
    execution: ExecutionSettings,
    submission: SubmissionSettings,
    as_json: Json = False,
) -> None:
    """Long lists of scores through the configured Prefect API; without one, the same as `run`.

    Run the same command again to resume, and to retry what failed. Results, manifest.jsonl and summary.csv
    are in the output folder.
    """
    from score_to_audio import manifest

    pipeline = settings.resolve()  # wrong options fail before Prefect is imported
    manifest.check_summary(output)
    selected = select(scores, pipeline, output, execution)
    if not selected:
        print_nothing_to_retry(as_json)
        return
    if not _api_is_configured(submission):
        try:
            run_here(selected, pipeline, output, execution, as_json)
        finally:
            manifest.summarize(output)
        return
    with Display(total=1, quiet=as_json) as display:
        state = _run_flow(display, scores, output, settings, execution, submission)
    _conclude(state, as_json)


def _api_is_configured(submission: SubmissionSettings) -> bool:
    """Raises ``InputError`` for options that need the Prefect API where none is configured."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    from flows.server import api_is_configured

    configured = api_is_configured()
    if not configured and (submission.deployment or submission.runner != "thread"):
        wanted = "--deployment" if submission.deployment else f"--runner {submission.runner}"
        raise InputError(
            f"{wanted} needs a Prefect server: start one (`prefect server start`) and set PREFECT_API_URL"
        )
    return configured


def _run_flow(
    display: Display,
    scores: Sequence[str],
    output: Path,
    settings: PipelineSettings,
    execution: ExecutionSettings,
    submission: SubmissionSettings,
) -> State[None]:
    import logging

    from flows.batch import batch as flow
    from flows.server import explained_outage
    from score_to_audio import progress

    logging.getLogger("prefect.task_runs").setLevel(logging.CRITICAL)  # the flow reports failures once
    parameters: dict[str, Any] = dict(settings) | dict(execution) | dict(submission)
    with explained_outage(), progress.listening(display.overall):
        paths = [Path(score) for score in scores]
        return cast(Any, flow)(paths, output=output.absolute(), **parameters, return_state=True)


def _conclude(state: State[None], as_json: bool) -> None:
    failed = not state.is_completed()
    if as_json:
        print(json.dumps({"failed": failed, "message": state.message}))
    else:
        print(
            f"error: {state.message}" if failed else state.message, file=sys.stderr if failed else sys.stdout
        )
    if failed:
        reason = state.result(raise_on_failure=False)
        raise typer.Exit(reason.exit_code if isinstance(reason, ScoreToAudioError) else EXIT_FAILED)

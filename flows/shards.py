"""Shards of a batch as flow runs of a deployment: submitted, watched, submitted again when lost.

A process that is killed together with its worker leaves a flow run in the state Running. So a shard touches a
heartbeat file every few seconds, and a shard whose file does not change is lost. The watcher measures with
its own clock, since the clocks of two machines differ. docs/measurements.md compares this with the heartbeats
and automations of Prefect.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Crashed

from flows.report import report_progress
from flows.server import is_server_unavailable
from score_to_audio import manifest
from score_to_audio.errors import InputError
from score_to_audio.jobs import Job
from score_to_audio.settings import ExecutionSettings, PipelineSettings

HEARTBEAT_FOLDER = ".shards"
"""In the output folder: one file per running shard."""
HEARTBEAT_SECONDS = 2.0
LOST_AFTER = 120.0
"""Seconds without a heartbeat; network file systems show a change up to a minute late."""
START_TIME = 600.0
"""Seconds that a claimed flow run may take to begin: a new machine may install everything first."""
ATTEMPTS = 3
"""Flow runs per shard, lost ones included."""
POLL_INTERVAL = 2.0
"""Seconds."""
MANIFEST_INTERVAL = 10.0
"""Seconds between reads of the manifest, which may be long."""
OUTAGE_LIMIT = 600.0
"""Seconds that the server may be away before the batch fails."""
RUNS_PER_REQUEST = 100
"""The server answers with at most 200."""
NO_WORKER_AFTER = 60.0
"""Seconds; a free worker claims a run within some 15."""
WORKER_LOST = "the process that ran this shard is gone"
NO_WORKER = (
    "no shard has begun for %.0f s: no worker of the work pool %r is free; start one (a batch that a worker "
    "itself runs occupies that worker, so its shards need another one)"
)


@dataclass
class Shard:
    """A part of a batch and the flow run that processes it."""

    first: int
    """Index of its first score in the batch."""
    plan: Sequence[Job]
    run: UUID | None = None
    attempts: int = 0
    signs: tuple[Any, ...] = ()
    """State and heartbeat of the flow run when they last changed."""
    last_change: float = 0.0
    """By ``time.monotonic``."""


@dataclass(frozen=True)
class End:
    """How the flow run of a shard ended."""

    error: str | None = None
    lost: bool = False
    """Another attempt may succeed."""


def run_shards(
    parts: Sequence[Sequence[Job]],
    deployment: str,
    output: Path,
    run: str,
    settings: tuple[PipelineSettings, ExecutionSettings, str],
) -> list[tuple[Job, str]]:
    """Run each part as a flow run of ``deployment``; the shards record their outcomes under ``run``.

    Returns the jobs of shards that failed, and why. Raises ``InputError`` for an unknown deployment. If this
    is interrupted or cancelled, it cancels the shards.
    """
    pool = work_pool_of(deployment)
    waiting = [Shard(number * len(parts[0]), plan) for number, plan in enumerate(parts)]

    def submit(shard: Shard) -> None:
        _submit(shard, deployment, output, run, settings)

    try:
        return _watch(waiting, pool, output, run, submit)
    except BaseException:
        _cancel(run)
        raise


def _watch(
    waiting: list[Shard], pool: str | None, output: Path, run: str, submit: Callable[[Shard], None]
) -> list[tuple[Job, str]]:
    """Submit the shards, again when they are lost, until each has ended."""
    total = sum(len(shard.plan) for shard in waiting)
    failed: list[tuple[Job, str]] = []
    last_answer = last_report = idle_since = time.monotonic()
    while waiting:
        try:
            for shard in waiting:
                if shard.run is None:
                    submit(shard)
            ends = _poll(waiting, output)
            last_answer = time.monotonic()
        except Exception as error:
            if not is_server_unavailable(error) or time.monotonic() - last_answer > OUTAGE_LIMIT:
                raise
            get_run_logger().warning("the Prefect server does not answer (%s); trying again", error)
            ends, idle_since = {}, time.monotonic()
        for shard in [shard for shard in waiting if shard.first in ends]:
            end = ends[shard.first]
            if end.lost and shard.attempts < ATTEMPTS:
                get_run_logger().warning("shard from %d: %s; submitted again", shard.first, end.error)
                shard.run = None
            else:
                waiting.remove(shard)
                failed += [(job, end.error) for job in shard.plan if end.error]
        if ends or any(shard.signs for shard in waiting):
            idle_since = math.inf
        elif time.monotonic() - idle_since > NO_WORKER_AFTER:
            get_run_logger().warning(NO_WORKER, NO_WORKER_AFTER, pool)
            idle_since = math.inf  # warn once
        if ends or time.monotonic() - last_report > MANIFEST_INTERVAL:
            _report(output, run, total)
            last_report = time.monotonic()
        if waiting:
            time.sleep(POLL_INTERVAL)
    return failed


def _report(output: Path, run: str, total: int) -> None:
    """Report progress from the manifest; other machines may be writing it, then the next look sees more."""
    with suppress(InputError, OSError):
        entries = (entry for entry in manifest.iterate(output) if entry.get("run") == run)
        errors = {entry["name"]: entry.get("error") for entry in entries}
        report_progress(len(errors), sum(map(bool, errors.values())), total)


def _cancel(run: str) -> None:
    """Cancel the shards of the batch ``run``; workers stop those that run."""
    unfinished = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[UUID(run)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(not_any_=[*TERMINAL_STATES])),
    )
    found: list[FlowRun] = []
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        while page := client.read_flow_runs(
            flow_run_filter=unfinished, limit=RUNS_PER_REQUEST, offset=len(found)
        ):
            found += page
        for shard in found:
            with suppress(httpx.HTTPError, ObjectNotFound):
                client.set_flow_run_state(shard.id, Cancelling())


def _submit(
    shard: Shard,
    deployment: str,
    output: Path,
    run: str,
    settings: tuple[PipelineSettings, ExecutionSettings, str],
) -> None:
    pipeline, execution, runner = settings
    submitted = run_deployment(
        deployment,
        parameters={
            "plan": [{"score": str(job.score.absolute()), "name": job.name} for job in shard.plan],
            "output": str(output),
            "run": run,
            "settings": pipeline.model_dump(mode="json"),
            "execution": execution.model_dump(mode="json"),
            "runner": runner,
        },
        flow_run_name=f"{run[-8:]}: scores {shard.first + 1} to {shard.first + len(shard.plan)}",
        timeout=0,
    )
    assert isinstance(submitted, FlowRun)
    shard.run, shard.signs, shard.last_change = submitted.id, (), time.monotonic()
    shard.attempts += 1


def work_pool_of(deployment: str) -> str | None:
    """The work pool of a deployment. Raises ``InputError`` where the server does not know the deployment."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_deployment_by_name(deployment).work_pool_name
        except (ObjectNotFound, ValueError) as error:
            raise InputError(
                f"the Prefect server at {client.api_url} knows no deployment {deployment!r}: deploy one "
                "(`prefect --no-prompt deploy --all`), and name it as FLOW/DEPLOYMENT"
            ) from error


def _poll(shards: Sequence[Shard], output: Path) -> dict[int, End]:
    """Index of the first score of a shard -> its end, for all shards that have ended."""
    by_run = {shard.run: shard for shard in shards if shard.run}
    runs, ends = list(by_run), {}
    with get_client(sync_client=True) as client:
        for start in range(0, len(runs), RUNS_PER_REQUEST):
            page = runs[start : start + RUNS_PER_REQUEST]
            these = FlowRunFilter(id=FlowRunFilterId(any_=page))
            for found in client.read_flow_runs(flow_run_filter=these, limit=len(page)):
                shard, state = by_run[found.id], found.state
                if state and _is_lost(shard, found, output):
                    state = Cancelled() if state.is_cancelling() else Crashed(message=WORKER_LOST)
                    client.set_flow_run_state(found.id, state, force=True)
                if state and state.is_final():
                    ends[shard.first] = _end(state)
    return ends


def _end(state: State[Any]) -> End:
    if state.is_completed():
        return End()
    if state.is_cancelled():
        return End("the flow run of its shard was cancelled")
    return End(state.message or f"the flow run ended as {state.name}", lost=state.is_crashed())


def _is_lost(shard: Shard, found: FlowRun, output: Path) -> bool:
    """Whether a flow run that was claimed has changed neither state nor heartbeat for too long."""
    state = found.state
    if state is None or state.is_final():
        return False
    if state.is_scheduled():  # waits for a worker, however long
        shard.last_change = time.monotonic()
        return False
    signs = (state.type, _modified(output / HEARTBEAT_FOLDER / str(found.id)))
    if signs != shard.signs:
        shard.signs, shard.last_change = signs, time.monotonic()
    limit = LOST_AFTER if state.is_running() else START_TIME
    return time.monotonic() - shard.last_change > limit


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


@contextmanager
def heartbeat(output: Path, run: str) -> Iterator[None]:
    """Touch the heartbeat file of flow run ``run`` for as long as the block lasts."""
    path, over = output / HEARTBEAT_FOLDER / run, Event()
    path.parent.mkdir(parents=True, exist_ok=True)

    def touch_until_over() -> None:
        while not over.is_set():
            with suppress(OSError):  # a full disk fails the shard elsewhere
                path.write_text(str(time.monotonic()))
            over.wait(HEARTBEAT_SECONDS)

    thread = Thread(target=touch_until_over, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.unlink(missing_ok=True)

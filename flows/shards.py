"""Shards of a batch as flow runs of a deployment: submitted, watched, and submitted again when lost.

A process that is killed together with its worker leaves a flow run that stays "Running" for ever. So a shard
touches a file every few seconds for as long as it lives, and a shard whose file stands still is lost: by the
watcher's own clock, since two machines seldom agree on the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
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

from flows.report import tell
from flows.server import is_away
from score_to_audio import manifest
from score_to_audio.errors import InputError
from score_to_audio.jobs import Job

BEATS = ".shards"
"""Folder in the output folder: a file per living shard."""
BEAT = 2.0
"""Seconds between two touches."""
LOST_AFTER = 120.0
"""Seconds without a touch; network file systems show a change up to a minute late."""
START_TIME = 600.0
"""Seconds that a claimed flow run may take to begin: a new machine may have to install everything."""
ATTEMPTS = 3
"""Flow runs per shard, lost ones included."""
BETWEEN_POLLS = 2.0
"""Seconds."""
BETWEEN_LOOKS = 10.0
"""Seconds between looks at the manifest, which may be long."""
ANSWERS_AFTER = 600.0
"""Seconds that the server may be away before the batch gives up."""
RUNS_PER_REQUEST = 100
"""The server answers with at most 200."""
WAITS_QUIETLY = 60.0
"""Seconds; a worker that is free takes a run within some 15."""
GONE = "the process that worked on this shard is gone"
NOBODY_THERE = (
    "no shard has begun for %.0f s: no worker of the work pool %r is free; start one (a batch that a worker "
    "itself carries out keeps that worker, and needs another one for its shards)"
)


@dataclass
class _Shard:
    """A part of a batch and the flow run that carries it out."""

    first: int
    plan: Sequence[Job]
    run: UUID | None = None
    attempts: int = 0
    last_sign: float = 0.0
    """By ``time.monotonic``."""
    signs: tuple[Any, ...] = field(default_factory=tuple)


def carry_out(
    cut: Sequence[Sequence[Job]],
    deployment: str,
    output: Path,
    run: str,
    choices: Mapping[str, Any],
    means: Any,
) -> list[tuple[Job, str]]:
    """All shards, each as a flow run of ``deployment``; everything that they did is in the manifest, under
    ``run``.

    Returns the jobs of shards that failed, whole or in part, and why. Raises ``InputError`` for an unknown
    deployment. Whoever interrupts or cancels this cancels the shards, too.
    """
    pool = work_pool_of(deployment)
    waiting = [_Shard(number * len(cut[0]), plan) for number, plan in enumerate(cut)]
    try:
        return _watch(
            waiting, pool, output, run, lambda shard: _submit(shard, deployment, output, run, choices, means)
        )
    except BaseException:  # nobody would wait for them any more
        _cancel(run)
        raise


def _watch(
    waiting: list[_Shard], pool: str | None, output: Path, run: str, submit: Callable[[_Shard], None]
) -> list[tuple[Job, str]]:
    """Submit shards, and again when they are lost, until each has ended; ``waiting`` holds the others."""
    total = sum(len(shard.plan) for shard in waiting)
    failed: list[tuple[Job, str]] = []
    last_answer = last_look = idle_since = time.monotonic()
    while waiting:
        try:
            for shard in waiting:
                if shard.run is None:
                    submit(shard)
            ended = _poll(waiting, output)
            last_answer = time.monotonic()
        except Exception as error:
            if not is_away(error) or time.monotonic() - last_answer > ANSWERS_AFTER:
                raise
            get_run_logger().warning("the Prefect server does not answer (%s); trying again", error)
            ended, idle_since = {}, time.monotonic()
        for first, end in ended.items():
            shard = next(shard for shard in waiting if shard.first == first)
            if end.lost and shard.attempts < ATTEMPTS:
                get_run_logger().warning("shard from %d: %s; submitted again", first, end.error)
                shard.run = None
            else:
                waiting.remove(shard)
                failed += [(job, end.error) for job in shard.plan if end.error]
        if ended or any(shard.signs for shard in waiting):
            idle_since = math.inf
        elif time.monotonic() - idle_since > WAITS_QUIETLY:
            get_run_logger().warning(NOBODY_THERE, WAITS_QUIETLY, pool)
            idle_since = math.inf  # said once
        if ended or time.monotonic() - last_look > BETWEEN_LOOKS:
            _tell(output, run, total)
            last_look = time.monotonic()
        if waiting:
            time.sleep(BETWEEN_POLLS)
    return failed


def _tell(output: Path, run: str, total: int) -> None:
    """How far the shards are. Other machines may be writing the manifest: the next look sees more."""
    with suppress(InputError, OSError):
        entries = (entry for entry in manifest.iterate(output) if entry.get("run") == run)
        errors = {entry["name"]: entry.get("error") for entry in entries}
        tell(len(errors), sum(map(bool, errors.values())), total)


def _cancel(run: str) -> None:
    """The shards of the batch ``run``, also one that was just being submitted: those that wait, at once;
    those that run are stopped by their workers."""
    wanted = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[UUID(run)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(not_any_=[*TERMINAL_STATES])),
    )
    found: list[FlowRun] = []
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        while page := client.read_flow_runs(
            flow_run_filter=wanted, limit=RUNS_PER_REQUEST, offset=len(found)
        ):
            found += page
        for shard in found:
            with suppress(httpx.HTTPError, ObjectNotFound):
                client.set_flow_run_state(shard.id, Cancelling())


def _submit(
    shard: _Shard, deployment: str, output: Path, run: str, choices: Mapping[str, Any], means: Any
) -> None:
    made = run_deployment(
        deployment,
        parameters={
            "plan": [{"score": str(job.score.absolute()), "name": job.name} for job in shard.plan],
            "output": str(output),
            "run": run,
            "choices": dict(choices),
            "means": asdict(means),
        },
        flow_run_name=f"{run[-8:]}: scores {shard.first + 1} to {shard.first + len(shard.plan)}",
        timeout=0,
    )
    assert isinstance(made, FlowRun)
    shard.run, shard.signs, shard.last_sign = made.id, (), time.monotonic()
    shard.attempts += 1


def work_pool_of(deployment: str) -> str | None:
    """Where a deployment's runs wait for workers. Raises ``InputError`` where the server does not know it."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_deployment_by_name(deployment).work_pool_name
        except (ObjectNotFound, ValueError) as error:
            raise InputError(
                f"the Prefect server at {client.api_url} knows no deployment {deployment!r}: deploy one "
                "(`prefect --no-prompt deploy --all`), and name it as FLOW/DEPLOYMENT"
            ) from error


@dataclass(frozen=True)
class _End:
    """How a shard's flow run ended."""

    error: str | None = None
    lost: bool = False
    """It may do better the next time."""


def _poll(shards: Sequence[_Shard], output: Path) -> dict[int, _End]:
    """The shards (their first scores) whose flow runs are over."""
    by_run = {shard.run: shard for shard in shards if shard.run}
    ended: dict[int, _End] = {}
    with get_client(sync_client=True) as client:
        runs = list(by_run)
        for start in range(0, len(runs), RUNS_PER_REQUEST):
            some = runs[start : start + RUNS_PER_REQUEST]
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=some))
            for found in client.read_flow_runs(flow_run_filter=wanted, limit=len(some)):
                shard = by_run[found.id]
                state = found.state
                if state and _is_lost(shard, found, output):
                    state = Cancelled() if state.is_cancelling() else Crashed(message=GONE)
                    client.set_flow_run_state(found.id, state, force=True)
                if state and state.is_final():
                    ended[shard.first] = _end(state)
    return ended


def _end(state: State[Any]) -> _End:
    if state.is_completed():
        return _End()
    if state.is_cancelled():
        return _End("the flow run of its shard was cancelled")
    return _End(state.message or f"the flow run ended as {state.name}", lost=state.is_crashed())


def _is_lost(shard: _Shard, found: FlowRun, output: Path) -> bool:
    """Whether a flow run that began has shown no sign of life for too long."""
    state = found.state
    if state is None or state.is_final():
        return False
    if state.is_scheduled():  # waits for a worker, however long
        shard.last_sign = time.monotonic()
        return False
    signs = (state.type, _touched(output / BEATS / str(found.id)))
    if signs != shard.signs:
        shard.signs, shard.last_sign = signs, time.monotonic()
    patience = LOST_AFTER if state.is_running() else START_TIME
    return time.monotonic() - shard.last_sign > patience


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


@contextmanager
def beating(output: Path, run: str) -> Iterator[None]:
    """Show that the shard of flow run ``run`` is alive, for as long as the block lasts."""
    path, over = output / BEATS / run, Event()
    path.parent.mkdir(parents=True, exist_ok=True)

    def beat() -> None:
        while not over.is_set():
            with suppress(OSError):  # a full disk is the shard's own trouble
                path.write_text(str(time.monotonic()))
            over.wait(BEAT)

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.unlink(missing_ok=True)

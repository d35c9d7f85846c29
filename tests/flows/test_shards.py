"""How the watcher of a batch treats the flow runs of its shards, against a server that is scripted."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from score_to_audio.jobs import Job
from score_to_audio.settings import ExecutionSettings, PipelineSettings

pytestmark = pytest.mark.slow  # imports Prefect


@pytest.mark.parametrize(
    ("state", "becomes", "attempts", "reason"),
    [
        ("Running", "Crashed", 3, "the process that ran this shard is gone"),
        ("Cancelling", "Cancelled", 1, "the flow run of its shard was cancelled"),
    ],
)
def test_a_shard_without_heartbeat_is_lost(
    state: str, becomes: str, attempts: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import states
    from prefect.client.schemas.objects import FlowRun

    from flows import shards

    runs: dict[UUID, Any] = {}
    changes: list[str] = []

    class Client:
        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read_deployment_by_name(self, _: str) -> Any:
            return SimpleNamespace(work_pool_name="local")

        def read_flow_runs(self, *, flow_run_filter: Any, **_: object) -> list[Any]:
            return [runs[run] for run in flow_run_filter.id.any_]

        def set_flow_run_state(self, run: UUID, state: Any, *, force: bool) -> None:
            changes.append(state.name)

    def submit(*_: object, **__: object) -> FlowRun:
        run = FlowRun(id=uuid4(), flow_id=uuid4())
        runs[run.id] = SimpleNamespace(id=run.id, state=getattr(states, state)())
        return run

    monkeypatch.setattr(shards, "get_client", lambda **_: Client())
    monkeypatch.setattr(shards, "run_deployment", submit)
    monkeypatch.setattr(shards, "get_run_logger", lambda: logging.getLogger("test"))
    for limit in ("LOST_AFTER", "START_TIME"):
        monkeypatch.setattr(shards, limit, -1.0)
    monkeypatch.setattr(shards, "POLL_INTERVAL", 0.0)
    job = Job(tmp_path / "a.musicxml", "a")
    settings = (PipelineSettings(), ExecutionSettings(), "thread")
    failed = shards.run_shards([[job]], "batch-shard/batch-shard", tmp_path, str(uuid4()), settings)
    assert failed == [(job, reason)]
    assert changes == [becomes] * attempts

"""What the watcher of a batch makes of the states of its shards' flow runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

pytestmark = pytest.mark.slow  # imports Prefect


@pytest.mark.parametrize(
    ("state", "becomes", "tried_again"), [("Running", "Crashed", True), ("Cancelling", "Cancelled", False)]
)
def test_a_shard_whose_process_is_gone(
    state: str, becomes: str, tried_again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import states

    from flows import shards

    run = SimpleNamespace(id=uuid4(), state=getattr(states, state)())
    changes: list[tuple[UUID, str]] = []

    class Client:
        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read_flow_runs(self, **_: object) -> list[Any]:
            return [run]

        def set_flow_run_state(self, which: UUID, state: Any, *, force: bool) -> None:
            changes.append((which, state.name))

    monkeypatch.setattr(shards, "get_client", lambda **_: Client())
    for patience in ("LOST_AFTER", "START_TIME"):
        monkeypatch.setattr(shards, patience, -1.0)
    ended = shards._poll([shards._Shard(0, [], run=run.id)], tmp_path)
    assert changes == [(run.id, becomes)]
    assert ended[0].lost is tried_again
    assert ended[0].error

"""The flows against a real server, within this process: what is made, what is reported, what is retried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from score_to_audio.errors import InputError
from score_to_audio.jobs import read_manifest
from tests.flows.conftest import Server
from tests.trial.trial_kit import write_scores

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.slow,
    pytest.mark.usefixtures("settings"),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with five scores, of which one is broken, and a store of its own."""
    write_scores(tmp_path / "scores", 4)
    (tmp_path / "scores" / "score-002b.musicxml").write_text("<score-partwise><part-list>")
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    return tmp_path


def options(place: Path, **more: Any) -> dict[str, Any]:
    trial = {"log": str(place / "log"), **more}
    return {
        "renderer": "trial",
        "synthesizer": "trial",
        "renderer_options": trial,
        "synthesizer_options": trial,
    }


def work_done(place: Path) -> list[str]:
    return sorted((place / "log").read_text().splitlines())


async def states_of_tasks(flow_run_id: Any, count: int) -> dict[str, str]:
    """Name of each task run -> name of its state; written by the server a little later."""
    import anyio
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    async with get_client() as client:
        for _ in range(100):
            runs = await client.read_task_runs(flow_run_filter=wanted)
            states = {run.name: run.state_name or "" for run in runs}
            if len(states) >= count and not set(states.values()) & {"", "Pending", "Running"}:
                break
            await anyio.sleep(0.2)
    return states


async def artifacts_of(flow_run_id: Any) -> dict[str, Any]:
    """Type of artifact -> data, of one flow run."""
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        )
    return {artifact.type or "": artifact.data for artifact in found}


def test_one_bad_score_stops_nothing_and_a_second_run_finds_everything(place: Path) -> None:
    import asyncio

    from flows.pipeline import score_to_audio

    first = score_to_audio(
        [place / "scores"], place / "out", format=["wav", "ogg"], **options(place), return_state=True
    )
    assert first.is_failed()
    assert "5 scores: 4 made, 0 from the store, 1 failed (score-002b: " in (first.message or "")
    names = [f"score-{number:03}" for number in range(4)]
    visible = {path.name for path in (place / "out").iterdir() if not path.name.startswith(".")}
    assert visible == {"manifest.jsonl"} | {
        f"{name}.{end}" for name in names for end in ("mid", "wav", "ogg")
    }
    entries = {entry["name"]: entry for entry in read_manifest(place / "out")}
    assert [name for name, entry in entries.items() if entry["error"]] == ["score-002b"]
    assert entries["score-001"]["audio"]["provenance"]["parameters"]["log"] == str(place / "log")
    done = work_done(place)
    assert len(done) == 2 + 2 * 4, done  # each model is loaded once

    (place / "scores" / "score-002b.musicxml").unlink()
    second = score_to_audio([place / "scores"], place / "out", **options(place), return_state=True)
    assert second.is_completed()
    assert second.message == "4 scores: 0 made, 4 from the store, 0 failed"
    assert work_done(place) == done
    run = second.state_details.flow_run_id
    states = asyncio.run(states_of_tasks(run, 8))
    assert states == {f"{stage} {name}": "Cached" for stage in ("render", "synthesize") for name in names}
    artifacts = asyncio.run(artifacts_of(run))
    table = json.loads(artifacts["table"])
    assert [row["result"] for row in table] == ["cached"] * 4
    assert {"score", "renderer", "synthesizer", "duration", "result", "notices", "files"} == set(table[0])
    assert table[0]["duration"] == "0:02"
    assert table[0]["files"].split() == [str(place / "out" / f"score-000.{end}") for end in ("mid", "wav")]
    assert artifacts["progress"] == 100


def test_the_rows_of_a_failed_run_say_why(place: Path) -> None:
    import asyncio

    from flows.pipeline import score_to_audio

    state = score_to_audio([place / "scores"], place / "out", **options(place), return_state=True)
    assert state.is_failed()
    run = state.state_details.flow_run_id
    table = json.loads(asyncio.run(artifacts_of(run))["table"])
    assert [row["result"] for row in table] == ["failed"] + ["made"] * 4
    assert "score-002b.musicxml" in table[0]["files"]
    assert table[0]["score"] == str(place / "scores" / "score-002b.musicxml")
    states = asyncio.run(states_of_tasks(run, 10))
    assert states["render score-002b"] == "Failed"
    assert sorted(states.values()) == ["Completed"] * 8 + ["Failed", "Skipped"]


def test_a_fault_of_the_disk_is_tried_again_and_a_bad_score_is_not(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import tasks
    from flows.pipeline import score_to_audio

    attempts: list[object] = []
    original = tasks.is_retryable
    monkeypatch.setattr(tasks, "is_retryable", lambda e: attempts.append(e) or original(e))
    (place / "stumble").touch()
    scores = [place / "scores" / "score-000.musicxml", place / "scores" / "score-002b.musicxml"]
    chosen = options(place, stumble=str(place / "stumble"))
    state = score_to_audio(scores, place / "out", **chosen, return_state=True)
    assert "2 scores: 1 made, 0 from the store, 1 failed (score-002b: " in (state.message or "")
    assert sorted(type(error).__name__ for error in attempts) == ["InputError", "OSError"]


def test_wrong_choices_are_one_sentence_before_any_work(place: Path) -> None:
    from flows.pipeline import score_to_audio

    state = score_to_audio([place / "scores"], place / "out", renderer="rachmaninov", return_state=True)
    assert state.is_failed()
    assert (state.message or "").startswith("unknown renderer 'rachmaninov'; known: ")
    assert isinstance(state.result(raise_on_failure=False), InputError)
    assert not (place / "out").exists()
    assert not (place / "store").exists()


def test_runs_are_named_after_their_scores(server: Server, place: Path) -> None:
    import asyncio

    from prefect import get_client

    from flows.pipeline import score_to_audio

    scores = sorted((place / "scores").glob("score-00?.musicxml"))[:2]
    state = score_to_audio(scores, place / "out", **options(place), return_state=True)

    async def name() -> str:
        async with get_client() as client:
            return (await client.read_flow_run(state.state_details.flow_run_id)).name

    assert asyncio.run(name()) == "score-000 and 1 more, trial + trial"


def test_a_server_that_shows_nothing_does_not_end_a_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    from flows import report, tasks
    from flows.pipeline import score_to_audio

    tried: list[str] = []

    def away(*_arguments: object, key: str, **_: object) -> None:
        tried.append(key)
        raise httpx.ConnectError("connection refused")

    monkeypatch.setattr(report, "PROGRESS_INTERVAL", 0.0)
    monkeypatch.setattr(report, "create_table_artifact", away)
    monkeypatch.setattr(tasks, "create_progress_artifact", away)
    state = score_to_audio([place / "scores"], place / "out", **options(place), return_state=True)
    assert "5 scores: 4 made, 0 from the store, 1 failed" in (state.message or "")
    assert tried == [*["progress"] * 6, "results"]

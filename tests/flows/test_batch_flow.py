"""The flow for long lists of scores, within this process: shards, resuming, failures, other runners."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from score_to_audio import progress
from score_to_audio.manifest import read_manifest
from tests.flows.conftest import Server
from tests.flows.test_pipeline_flow import options, place, states_of_tasks, work_done
from tests.trial.trial_kit import write_scores

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.slow,
    pytest.mark.usefixtures("settings"),
]

__all__ = ["place"]  # a fixture


def run_batch(place: Path, output: str = "out", **more: Any) -> Any:
    from flows.batch import batch

    return batch([place / "scores"], place / output, **(options(place) | more), return_state=True)


def sounds(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".mid", ".wav")}


def test_a_batch_in_shards_is_resumed_and_retried(place: Path) -> None:
    reports: list[tuple[float, float, str]] = []
    with progress.listening(lambda *report: reports.append(report)):
        first = run_batch(place, shard=2)
    assert [report[:2] for report in reports] == [(done, 5) for done in range(1, 6)]
    assert reports[-1][2] == "scores, 1 failed"
    assert first.is_failed()
    assert "5 scores: 4 made, 0 from the store, 1 failed (score-002b: " in (first.message or "")
    states = asyncio.run(states_of_tasks(first.state_details.flow_run_id, 5))
    assert states == {f"score-{n:03}": "Completed" for n in range(4)} | {"score-002b": "Failed"}
    done, results = work_done(place), sounds(place / "out")
    assert len(done) == 2 + 2 * 4, done  # each model is loaded once
    entries = {entry["name"]: entry for entry in read_manifest(place / "out")}
    assert entries["score-002b"]["input"] != entries["score-001"]["input"]
    assert entries["score-001"]["sound_seconds"] == 2.3  # 0.3 s lead-in

    write_scores(place / "scores", 5)  # one more
    (place / "scores" / "score-002b.musicxml").write_bytes(
        (place / "scores" / "score-002.musicxml").read_bytes() + b"<!-- mended -->"
    )
    retried = run_batch(place, retry_failed=True)
    assert retried.message == "1 score: 1 made, 0 from the store, 0 failed"
    assert not (place / "out" / "score-004.wav").exists()
    resumed = run_batch(place)
    assert resumed.message == "6 scores: 1 made, 5 from the store, 0 failed"
    assert results.items() <= sounds(place / "out").items()
    with (place / "out" / "summary.csv").open(newline="") as file:
        rows = {row["name"]: row["result"] for row in csv.DictReader(file)}
    assert rows == dict.fromkeys([*entries], "cached") | {"score-004": "made"}
    states = asyncio.run(states_of_tasks(resumed.state_details.flow_run_id, 1))
    assert states == {"score-004": "Completed"}  # what is in the store needs no task


def test_a_score_that_hangs_does_not_stop_the_batch(place: Path) -> None:
    run_batch(place, "alone")
    trouble = {"trouble": "score-001=hang", "log": str(place / "log2")}
    state = run_batch(place, processes=2, deadline=3.0, renderer_options=trouble)
    assert "5 scores: 3 made, 0 from the store, 2 failed (" in (state.message or "")
    errors = {entry["name"]: entry["error"] or "" for entry in read_manifest(place / "out")}
    assert errors["score-001"].endswith("score-001.musicxml: not done within the deadline of 3 s")
    assert sounds(place / "out").items() <= sounds(place / "alone").items()


@pytest.mark.parametrize("runner", ["ray", "dask"])
def test_other_runners_give_the_same_bytes(
    server: Server, place: Path, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = importlib.util.find_spec(f"prefect_{runner}") is None
    if missing:
        state = run_batch(place, runner=runner)
        assert f"needs the extra `{runner}`" in (state.message or "")
        pytest.skip(f"the extra `{runner}` is not installed: tested that the run says so, and nothing more")
    monkeypatch.setenv("PYTHONPATH", server.environment["PYTHONPATH"])  # for the trial plug-ins
    run_batch(place, "alone")
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(place / "another-store"))
    state = run_batch(place, runner=runner, processes=2)
    assert "5 scores: 4 made, 0 from the store, 1 failed" in (state.message or "")
    assert sounds(place / "out") == sounds(place / "alone")

"""The steps of docs/guide/prefect.md for real: deploy, a worker, a run from the command line, `serve`."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from score_to_audio.errors import InputError
from score_to_audio.manifest import read_manifest
from tests.flows.conftest import PATIENCE, PROJECT, Server, kill_with_children
from tests.terminal import terminal
from tests.trial.trial_kit import write_scores

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

DEPLOYMENTS = ("score-to-audio/score-to-audio", "batch/batch")


@pytest.fixture(scope="module")
def deployed(server: Server) -> Server:
    server.ask("work_pools/", {"name": "local", "type": "process"})
    done = server.prefect("--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    return server


def parameters(scores: list[str], output: Path) -> dict[str, Any]:
    return {"scores": scores, "output": str(output), "renderer": "trial", "synthesizer": "trial"}


def test_both_deployments_run_in_a_process_pool(deployed: Server, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores", 3)
    (scores / "broken.xml").write_text("no score")
    with deployed.running("worker", "-m", "prefect", "worker", "start", "--pool", "local"):
        chosen = parameters([str(scores / "score-*.musicxml")], tmp_path / "out")
        done = deployed.prefect(
            *("deployment", "run", DEPLOYMENTS[0], "--watch", "--watch-timeout", str(PATIENCE)),
            *(word for name, value in chosen.items() for word in ("--param", f"{name}={json.dumps(value)}")),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "out" / "score-002.wav").is_file()
        run = deployed.start_run(DEPLOYMENTS[1], **parameters([str(scores)], tmp_path / "batch"))
        assert deployed.final_state(run)["type"] == "FAILED"  # one score is broken
    cached = {
        entry["name"]: entry["audio"]["cached"]
        for entry in read_manifest(tmp_path / "batch")
        if "audio" in entry
    }
    assert cached == {f"score-{number:03}": True for number in range(3)}


@pytest.mark.kills
@pytest.mark.usefixtures("settings")
def test_a_batch_survives_the_death_of_a_worker_and_its_shard(
    deployed: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two shards, two workers; one worker is killed with all its children once its shard is under way."""
    from flows import shards
    from flows.batch import batch

    monkeypatch.setattr(shards, "LOST_AFTER", 3 * shards.HEARTBEAT_SECONDS)
    monkeypatch.setattr(shards, "START_TIME", 30.0)  # the kill may come before its flow run begins
    scores = write_scores(tmp_path / "scores", 6)
    (scores / "broken.xml").write_text("no score")
    slow = {"pause": 0.5, "log": str(tmp_path / "log")}
    chosen: dict[str, Any] = {"renderer": "trial", "synthesizer": "trial", "renderer_options": slow}
    worker = ("-m", "prefect", "worker", "start", "--pool", "local", "--limit", "1")
    with deployed.running("one", *worker) as one, deployed.running("two", *worker):

        def kill_one() -> None:
            deadline = time.monotonic() + PATIENCE
            while not _has_flow_run(one.pid) or not (tmp_path / "log").exists():
                if time.monotonic() > deadline:
                    return
                time.sleep(0.1)
            kill_with_children(one.pid)

        killer = threading.Thread(target=kill_one)
        killer.start()
        state = batch(
            [scores],
            tmp_path / "out",
            **chosen,
            shard=4,
            deployment="batch-shard/batch-shard",
            return_state=True,
        )
        killer.join()
        assert one.wait() == -signal.SIGKILL
    assert "7 scores: " in (state.message or "")
    assert "1 failed (broken: " in (state.message or "")
    alone = batch([scores], tmp_path / "alone", **chosen, return_state=True)
    assert "0 made, 6 from the store, 1 failed" in (alone.message or "")
    for path in (tmp_path / "alone").glob("score-*"):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
    assert {entry["name"]: bool(entry["error"]) for entry in read_manifest(tmp_path / "out")} == {
        f"score-{number:03}": False for number in range(6)
    } | {"broken": True}


def _has_flow_run(worker: int) -> bool:
    """Whether the worker has a child process."""
    return bool(Path(f"/proc/{worker}/task/{worker}/children").read_text().split())


@pytest.mark.usefixtures("settings")
def test_ctrl_c_in_a_terminal_cancels_the_shards(deployed: Server, tmp_path: Path) -> None:
    """No worker runs: the batch waits for its shards, says so, and is interrupted."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    (tmp_path / "sitecustomize.py").write_text("from flows import shards\nshards.NO_WORKER_AFTER = 1.0\n")
    path = os.pathsep.join([str(tmp_path), str(PROJECT), deployed.environment["PYTHONPATH"]])
    options = ("-r", "trial", "-s", "trial", "--shard", "2", "--deployment", "batch-shard/batch-shard")
    arguments = ("batch", str(write_scores(tmp_path / "scores", 3)), "-o", str(tmp_path / "out"), *options)
    with terminal(*arguments, environment=deployed.environment | {"PYTHONPATH": path}) as command:
        deadline = time.monotonic() + PATIENCE
        while "no worker of the work pool 'local' is free" not in " ".join(command.output.split()):
            assert command.read(0.1), command.output
            assert time.monotonic() < deadline, command.output
        command.press_ctrl_c()
        assert command.exit_code(PATIENCE) == 130, command.output
    assert command.output.count("interrupted: finished work is kept") == 1
    assert "Traceback" not in command.output
    named = FlowRunFilter(name=FlowRunFilterName(like_=": scores "))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=named)
    newest = sorted(runs, key=lambda run: str(run.created))[-2:]
    assert [run.state_name for run in newest] == ["Cancelled", "Cancelled"]


@pytest.mark.usefixtures("settings")
def test_an_unknown_deployment_is_one_sentence(deployed: Server, tmp_path: Path) -> None:
    from flows import shards

    for name in ("batch-shard/elsewhere", "batch-shard"):
        with pytest.raises(InputError, match=f"knows no deployment '{name}'"):
            shards.work_pool_of(name)


def test_parameters_are_checked_before_a_run_is_created(deployed: Server, tmp_path: Path) -> None:
    with pytest.raises(HTTPError) as refused:
        deployed.start_run(DEPLOYMENTS[0], seed=-1)
    assert "minimum" in refused.value.read().decode()


def test_serving_without_a_worker(server: Server, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores", 1)
    line = _serve_line()
    with server.running("serve", "-c", line) as process:
        deadline = time.monotonic() + PATIENCE
        while not server.knows("score-to-audio/served"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        run = server.start_run("score-to-audio/served", **parameters([str(scores)], tmp_path / "out"))
        state = server.final_state(run)
    assert state["type"] == "COMPLETED", state
    assert (tmp_path / "out" / "score-000.wav").is_file()


def _serve_line() -> str:
    """The Python of the one-liner in the documentation, under a name that leaves the deployment alone."""
    text = (PROJECT / "docs" / "guide" / "prefect.md").read_text()
    line = next(line for line in text.splitlines() if ".serve(" in line)
    return line.split('"')[1].replace("'score-to-audio'", "'served'")


def test_the_documented_commands_are_the_tested_ones() -> None:
    text = (PROJECT / "docs" / "guide" / "prefect.md").read_text()
    for command in (
        "prefect server start",
        "prefect work-pool create local --type process",
        "prefect --no-prompt deploy --all",
        "prefect worker start --pool local",
        "prefect deployment run score-to-audio/score-to-audio --param 'scores=[",
    ):
        assert command in text

"""What docs/prefect.md says, done for real: deploy, a worker, a run from the command line, and `serve`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from score_to_audio.jobs import read_manifest
from tests.flows.conftest import PATIENCE, PROJECT, Server
from tests.trial.trial_kit import write_scores

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.xdist_group("prefect")]

DEPLOYMENTS = ("score-to-audio/score-to-audio", "batch/batch")


@pytest.fixture(scope="module")
def deployed(server: Server) -> Server:
    pool = server.prefect("work-pool", "create", "local", "--type", "process")
    assert pool.returncode == 0, pool.stdout + pool.stderr
    done = server.prefect("--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    return server


def parameters(scores: list[str], output: Path) -> list[str]:
    values = {"scores": scores, "output": str(output), "renderer": "trial", "synthesizer": "trial"}
    return [word for name, value in values.items() for word in ("--param", f"{name}={json.dumps(value)}")]


def test_both_deployments_run_in_a_process_pool(deployed: Server, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores", 3)
    (scores / "broken.xml").write_text("no score")
    with deployed.running("worker", "-m", "prefect", "worker", "start", "--pool", "local"):
        done = deployed.prefect(
            *("deployment", "run", DEPLOYMENTS[0], "--watch", "--watch-timeout", str(PATIENCE)),
            *parameters([str(scores / "score-*.musicxml")], tmp_path / "out"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "out" / "score-002.wav").is_file()
        done = deployed.prefect(
            *("deployment", "run", DEPLOYMENTS[1], "--watch", "--watch-timeout", str(PATIENCE)),
            *parameters([str(scores)], tmp_path / "batch"),
        )
    assert done.returncode == 1  # one score is broken
    cached = {
        entry["name"]: entry["audio"]["cached"]
        for entry in read_manifest(tmp_path / "batch")
        if "audio" in entry
    }
    assert cached == {f"score-{number:03}": True for number in range(3)}


def test_parameters_are_checked_before_a_run_is_created(deployed: Server, tmp_path: Path) -> None:
    refused = deployed.prefect("deployment", "run", DEPLOYMENTS[0], "--param", "seed=-1")
    assert refused.returncode == 1
    assert "minimum" in refused.stdout


def test_serving_without_a_worker(server: Server, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores", 1)
    line = _serve_line()
    with server.running("serve", "-c", line) as process:
        deadline = time.monotonic() + PATIENCE
        while server.prefect("deployment", "inspect", "score-to-audio/served").returncode:
            assert process.poll() is None
            assert time.monotonic() < deadline
        done = server.prefect(
            *("deployment", "run", "score-to-audio/served", "--watch", "--watch-timeout", str(PATIENCE)),
            *parameters([str(scores)], tmp_path / "out"),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "score-000.wav").is_file()


def _serve_line() -> str:
    """The Python of the one-liner in the documentation, under a name that leaves the deployment alone."""
    text = (PROJECT / "docs" / "prefect.md").read_text()
    line = next(line for line in text.splitlines() if ".serve(" in line)
    return line.split('"')[1].replace("'score-to-audio'", "'served'")


def test_the_documented_commands_are_the_tested_ones() -> None:
    text = (PROJECT / "docs" / "prefect.md").read_text()
    for command in (
        "prefect server start",
        "prefect work-pool create local --type process",
        "prefect --no-prompt deploy --all",
        "prefect worker start --pool local",
        "prefect deployment run score-to-audio/score-to-audio --param 'scores=[",
    ):
        assert command in text

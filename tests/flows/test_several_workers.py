"""What docker/compose.yaml starts, without containers: a server on PostgreSQL and two workers; one dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile

from score_to_audio.jobs import read_manifest
from tests.flows.conftest import PATIENCE, Server, free_port, kill_with_children, serving
from tests.trial.trial_kit import write_scores

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.kills]

SHARDS, SHARD = 3, 20
PAUSE = 0.05
"""Seconds that each stage of a score takes."""


@contextmanager
def postgresql() -> Iterator[str]:
    """A database server of its own on a free port, as the user it insists on; yields Prefect's URL of it."""
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
    path = os.pathsep.join([str(programs)] if programs else []) + os.pathsep + os.environ.get("PATH", "")
    initdb, pg_ctl = shutil.which("initdb", path=path), shutil.which("pg_ctl", path=path)
    assert initdb, "PostgreSQL is needed: Debian's package postgresql"
    assert pg_ctl
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    who: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        who |= {"user": "postgres", "group": "postgres", "extra_groups": []}

    def run(*command: str) -> None:
        subprocess.run(command, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL, **who)

    port, data = free_port(), str(folder / "data")
    run(initdb, "-D", data, "-U", "prefect", "-A", "trust", "--no-sync", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(pg_ctl, "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        run(pg_ctl, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def start_run(server: Server, scores: Sequence[Path], output: Path, log: Path) -> str:
    options = {"log": str(log), "pause": PAUSE}
    return server.start_run(
        "score-to-audio/score-to-audio",
        scores=[str(score) for score in scores],
        output=str(output),
        renderer="trial",
        synthesizer="trial",
        renderer_options=options,
        synthesizer_options=options,
    )


def states(server: Server, runs: Sequence[str]) -> list[str]:
    return [server.ask(f"flow_runs/{run}")["state_type"] for run in runs]


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.25)


def test_a_worker_dies_and_nothing_is_missing(tmp_path: Path) -> None:
    scores = sorted(write_scores(tmp_path / "scores", SHARDS * SHARD).iterdir())
    shards = [scores[start::SHARDS] for start in range(SHARDS)]
    output, log = tmp_path / "out", tmp_path / "log"

    def missing(shard: Sequence[Path]) -> list[Path]:
        return [score for score in shard if not (output / f"{score.stem}.wav").is_file()]

    settings = {"PREFECT_WORKER_QUERY_SECONDS": "1", "OMP_NUM_THREADS": "1"}
    with (
        postgresql() as database,
        serving(tmp_path, PREFECT_SERVER_DATABASE_CONNECTION_URL=database, **settings) as server,
    ):
        server.ask("work_pools/", {"name": "shards", "type": "process"})
        worker = ("-m", "prefect", "worker", "start", "--pool", "shards", "--limit", "1", "--name")
        with server.running("one", *worker, "one") as victim, server.running("two", *worker, "two"):
            done = server.prefect(*("--no-prompt", "deploy", "--name", "score-to-audio", "--pool", "shards"))
            assert done.returncode == 0, done.stdout + done.stderr
            runs = [start_run(server, shard, output, log) for shard in shards]
            wait_until(lambda: states(server, runs).count("RUNNING") == 2, "both workers")
            wait_until(lambda: log.exists() and log.read_text().count("synthesized") >= 6, "some results")
            kill_with_children(victim.pid)
            victim.wait()
            assert any(missing(shard) for shard in shards)
            wait_until(lambda: states(server, runs).count("COMPLETED") == SHARDS - 1, "the other worker")
            lost = [shard for shard in shards if missing(shard)]
            assert len(lost) == 1  # what the dead worker had; the other one took the rest
            again = start_run(server, lost[0], output, log)
            wait_until(lambda: states(server, [again]) == ["COMPLETED"], "the second attempt")

    entries = read_manifest(output)
    assert [entry["name"] for entry in entries] == [score.stem for score in scores]
    assert [entry for entry in entries if entry["error"]] == []
    for score in scores:
        assert soundfile.info(output / f"{score.stem}.wav").frames == 4 * 4000 + 2400  # with the lead-in
    worked = [line for line in log.read_text().splitlines() if line.startswith("rendered")]
    assert len(worked) <= len(scores) + 2  # what was under way when the worker died, no more

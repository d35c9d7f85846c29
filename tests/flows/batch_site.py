"""A batch operated for real, to be disturbed: server, workers, command line, their store and results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.flows.conftest import Server, free_port, kill_with_children, variables, wait_until_healthy
from tests.trial.trial_kit import write_scores

DEPLOYMENT = ("--deployment", "batch-shard/batch-shard")
WORKER = ("-m", "prefect", "worker", "start", "--pool", "local", "--limit", "1")
WORKERS = ("worker-1", "worker-2")
PATIENCE = 180
"""Seconds after which a batch counts as hanging."""
PAUSE = 0.1
"""Seconds that a stage takes."""
DRIVER = """
from flows import shards
shards.LOST_AFTER = 5 * shards.HEARTBEAT_SECONDS
shards.START_TIME = 60.0
from score_to_audio.cli.main import main
main()
"""
"""The command line, less patient than usual with processes that show no sign of life."""


@dataclass
class Site:
    """The processes that work in the folder of a server that may be killed, and start again."""

    server: Server
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.server.folder

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        self.processes[name] = self.server.start(name, *command)
        return self.processes[name]

    def start_server(self) -> None:
        address = ("--host", "127.0.0.1", "--port", str(self.port))
        process = self.start("server", "-m", "prefect", "server", "start", *address)
        wait_until_healthy(process, self.server.environment["PREFECT_API_URL"], self.root / "server.log")

    def start_worker(self, name: str) -> None:
        self.start(name, *WORKER)

    def start_driver(self, *more: str) -> subprocess.Popen[bytes]:
        how = {"pause": PAUSE, "log": self.root / "log"}.items()
        settings = [f"{stage}.{key}={value}" for stage in ("renderer", "synthesizer") for key, value in how]
        return self.start(
            "driver",
            *("-c", DRIVER, "batch", str(self.root / "scores"), "-o", str(self.root / "out")),
            *("-r", "trial", "-s", "trial", "--shard", "10"),
            *(word for setting in settings for word in ("--set", setting)),
            *more,
        )

    def finish(self, *deployment: str) -> None:
        """A batch that nobody disturbs, to its end."""
        code = self.wait(self.start_driver(*deployment))
        assert code == 0, f"the batch ended with {code}: {self.logs()}"

    def wait(self, driver: subprocess.Popen[bytes]) -> int:
        """The exit code of a driver."""
        self.wait_for_stages(sys.maxsize, driver)
        return driver.wait()

    def kill(self, name: str) -> None:
        """Kill -9, with its children; all but the driver then start again."""
        process = self.processes.pop(name)
        kill_with_children(process.pid)
        process.wait()
        if name == "server":
            self.start_server()
        elif name != "driver":
            self.start_worker(name)

    def close(self) -> None:
        for process in self.processes.values():
            kill_with_children(process.pid)
            process.wait()

    def clear(self) -> None:
        for folder in ("store", "out"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
        (self.root / "log").unlink(missing_ok=True)

    def results(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "out").glob("score-*")}

    def stages_done(self) -> int:
        log = self.root / "log"
        return len([line for line in log.read_text().splitlines() if line != "loaded"]) if log.exists() else 0

    def wait_for_stages(self, count: int, driver: subprocess.Popen[bytes]) -> None:
        """Until so many stages are done, or the driver is over.

        Workers that end meanwhile start again, as under a supervisor: one that finds no server when it
        starts, ends.
        """
        last_done, last_change = -1, time.monotonic()
        while (done := self.stages_done()) < count and driver.poll() is None:
            if done != last_done:
                last_done, last_change = done, time.monotonic()
            assert time.monotonic() - last_change < PATIENCE, f"the batch hangs: {self.logs()}"
            for name in WORKERS:
                if name in self.processes and self.processes[name].poll() is not None:
                    self.start_worker(name)
            time.sleep(0.01)

    def logs(self) -> str:
        """The ends of what all processes said."""
        return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in self.root.glob("*.log"))

    def leftovers(self) -> list[Path]:
        return [*(self.root / "out").glob(".score-to-audio-*"), *(self.root / "store").rglob(".tmp-*")]


@contextmanager
def prepared(root: Path, scores: int) -> Iterator[Site]:
    """A site with its server, a pool and a deployment; no workers yet. At the end nothing of it runs."""
    write_scores(root / "scores", scores)
    port = free_port()
    more = {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    site = Site(Server(os.environ | variables(root, port) | more, root), port)
    try:
        site.start_server()
        deploy_shards(site.server)
        yield site
    finally:
        site.close()


def deploy_shards(server: Server) -> None:
    """The deployment batch-shard on a work pool, both new."""
    for arguments in (
        ("work-pool", "create", "local", "--type", "process"),
        ("--no-prompt", "deploy", "--name", "batch-shard"),
    ):
        done = server.prefect(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr

"""One real Prefect server for all tests of flows: a process of its own, with a home and a port of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.paths import PROJECT
from tests.trial.trial_kit import install_trial_plugins

PATIENCE = 180
"""Seconds after which something counts as hanging."""
IMPATIENT = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
"""Workers and `serve` ask for work every second, not every ten."""


@dataclass(frozen=True)
class Server:
    """A running server, and the environment of processes that use it."""

    environment: dict[str, str]
    folder: Path

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def ask(self, path: str, body: Any = None) -> Any:
        """What the API answers; with a body, a POST. Repeats what the server answers with 503, as Prefect's
        own client does: its SQLite database was locked by another request."""
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def knows(self, deployment: str) -> bool:
        try:
            return bool(self.ask(f"deployments/name/{deployment}"))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False

    def start_run(self, deployment: str, **parameters: Any) -> str:
        """As ``prefect deployment run``, which takes seconds to start; the id of the flow run."""
        id = self.ask(f"deployments/name/{deployment}")["id"]
        return str(self.ask(f"deployments/{id}/create_flow_run", {"parameters": parameters})["id"])

    def final_state(self, run: str) -> dict[str, Any]:
        """Of a flow run, once it has ended."""
        deadline = time.monotonic() + PATIENCE
        while True:
            state: dict[str, Any] = self.ask(f"flow_runs/{run}")["state"]
            if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return state
            assert time.monotonic() < deadline, state
            time.sleep(0.2)

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """A process beside the test; its output goes to ``NAME.log``."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=PROJECT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @contextmanager
    def running(self, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """The same, ended with all its children."""
        process = self.start(name, *command)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # a test killed it
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def kill_with_children(process: int) -> None:
    """As a machine that loses its power: kill -9, also of children that lead a group of their own."""
    for child in children_of(process):
        kill_with_children(child)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def children_of(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for children in listed for child in children.read_text().split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def variables(folder: Path, port: int) -> dict[str, str]:
    """Of a server at ``port`` and of those who use it: all in ``folder``, with the trial plug-ins."""
    plugins = install_trial_plugins(folder / "plugins")
    return {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "1",
        "SCORE_TO_AUDIO_STORE": str(folder / "store"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")])),
    }


@contextmanager
def serving(folder: Path, **more: str) -> Iterator[Server]:
    """A server with its home in ``folder``, whose processes know the trial plug-ins; ``more``: variables."""
    port = free_port()
    changes = variables(folder, port) | more
    running = Server(os.environ | changes, folder)
    arguments = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with running.running("server", *arguments) as process:
        wait_until_healthy(process, changes["PREFECT_API_URL"], folder / "server.log")
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with (
        serving(tmp_path_factory.mktemp("prefect"), **IMPATIENT) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_LOGGING_LEVEL", "SCORE_TO_AUDIO_STORE"):
            patch.setenv(name, running.environment[name])
        patch.syspath_prepend(str(running.folder / "plugins"))
        yield running


def wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server stopped:\n{log.read_text()[-3000:]}"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server did not answer within {PATIENCE} s:\n{log.read_text()[-3000:]}")


@pytest.fixture
def settings(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Flows called within this process report to the server, and know the trial plug-ins."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_LOGGING_LEVEL, temporary_settings

    from score_to_audio import registry

    registry.entries.cache_clear()
    monkeypatch.setattr(registry, "_built", {})
    wanted = {
        PREFECT_API_URL: server.environment["PREFECT_API_URL"],
        PREFECT_HOME: server.environment["PREFECT_HOME"],
        PREFECT_LOGGING_LEVEL: "WARNING",
    }
    with temporary_settings(wanted):
        yield
    registry.entries.cache_clear()

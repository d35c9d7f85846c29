"""Commands that run a flow while the server that they are to report to is not there."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from score_to_audio.commands.options import INTERRUPTED
from score_to_audio.types import InputError
from tests.flows.conftest import PATIENCE, PROJECT, free_port

SCORE = str(PROJECT / "examples/scores/petzold_minuet_bwv_anh114.musicxml")


@pytest.mark.slow  # imports Prefect
@pytest.mark.parametrize(
    "command", [("batch", SCORE), ("batch", SCORE, "--deployment", "a/b"), ("compare", SCORE)]
)
def test_it_is_one_sentence(command: tuple[str, ...], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    done = subprocess.run(
        [sys.executable, "-m", "score_to_audio.cli", *command, "-o", str(tmp_path / "out")],
        env=os.environ | {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the Prefect server at {url} does not answer: start it (")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_temporary_server_does_not_outlive_whoever_is_killed(how: signal.Signals, tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": ""}
    batch = subprocess.Popen(
        [sys.executable, "-m", "score_to_audio.cli", "batch", SCORE, "-o", str(tmp_path / "out")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not (server := child_that_runs("uvicorn", batch.pid)):
        assert batch.poll() is None, "the batch ended without a server"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while not child_that_runs("read -r", batch.pid):
        assert time.monotonic() < deadline, "nobody watches over the server"
        time.sleep(0.02)
    batch.send_signal(how)
    said, _ = batch.communicate(timeout=PATIENCE)  # ends once nobody holds the pipe any more
    assert said.strip() == (INTERRUPTED if how == signal.SIGTERM else "")
    assert batch.returncode == (128 + how if how == signal.SIGTERM else -how)
    while Path(f"/proc/{server}/cmdline").exists() and Path(f"/proc/{server}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the server outlived the batch"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_temporary_server_that_cannot_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with a full disk or a damaged database, where Prefect by itself tries for ever."""
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    from flows.server import ATTEMPTS, STARTING, answering

    started = []

    def start_what_ends(_: object) -> subprocess.Popen[bytes]:
        assert len(started) < 3 * ATTEMPTS, "given up, and that thread ends too"
        started.append(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]))
        return started[-1]

    monkeypatch.setattr(SubprocessASGIServer, "_instances", {})
    monkeypatch.setattr(SubprocessASGIServer, "_run_uvicorn_command", start_what_ends)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with (
        temporary_settings({PREFECT_HOME: tmp_path}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(InputError, match=f"does not start; .* It needs room in {tmp_path}, and a whole data"),
        answering(),
    ):
        pass
    assert len(started) > ATTEMPTS
    for thread in threading.enumerate():
        if thread.name == STARTING:  # Prefect's loop, which by now would start real servers
            thread.join(PATIENCE)
    atexit.unregister(SubprocessASGIServer().stop)  # would complain that the test's stderr is closed


@pytest.mark.slow
@pytest.mark.parametrize(("status", "foreseen"), [(500, True), (503, True), (422, False)])
def test_a_server_that_fails_is_one_sentence(status: int, foreseen: bool) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.server import answering

    request = httpx.Request("POST", "http://127.0.0.1:1/api/artifacts/")
    error = httpx.HTTPStatusError("no", request=request, response=httpx.Response(status))

    def raise_within(error: Exception) -> None:
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}), answering():
            raise error

    wanted = InputError if foreseen else httpx.HTTPStatusError
    with pytest.raises(wanted, match=f"HTTP {status}" if foreseen else "no"):
        raise_within(error)


def child_that_runs(what: str, parent: int) -> str | None:
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in children.read_text().split():
            with suppress(OSError):
                if what.encode() in Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" "):
                    return child
    return None

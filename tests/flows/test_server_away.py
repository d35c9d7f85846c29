"""Commands that run a flow while the server that they are to report to is not there."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from unittest.mock import create_autospec

import httpx
import pytest

from score_to_audio.cli.options import INTERRUPTED
from score_to_audio.errors import InputError
from tests.flows.conftest import PATIENCE, PROJECT, children_of, free_port

SCORE = str(PROJECT / "examples/scores/petzold_minuet_bwv_anh114.musicxml")


@pytest.mark.slow  # imports Prefect
@pytest.mark.parametrize(
    "command", [("batch", SCORE), ("batch", SCORE, "--deployment", "a/b"), ("compare", SCORE)]
)
def test_it_is_one_sentence(command: tuple[str, ...], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    done = subprocess.run(
        [sys.executable, "-m", "score_to_audio.cli", *command, "-o", str(tmp_path / "out")],
        env=environment(tmp_path) | {"PREFECT_API_URL": url},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the Prefect server at {url} does not answer: start it (")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.xdist_group("server-away")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_temporary_server_does_not_outlive_whoever_is_killed(how: signal.Signals, tmp_path: Path) -> None:
    batch = subprocess.Popen(
        [sys.executable, "-m", "score_to_audio.cli", "batch", SCORE, "-o", str(tmp_path / "out")],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not (server := child_that_runs(f"{sys.executable} -m uvicorn ", batch.pid)):
        assert batch.poll() is None, "the batch ended without a server"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while not child_that_runs("/bin/sh -c \nread -r", batch.pid):
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
@pytest.mark.parametrize("is_it", [True, False])
def test_only_the_server_itself_is_ended(is_it: bool) -> None:
    """By the time that a command ends, the number of its server may be somebody else's."""
    from flows.server import WATCH

    program = "import time; time.sleep(60)"
    with (
        subprocess.Popen([sys.executable, "-c", program]) as process,
        subprocess.Popen(
            ["/bin/sh", "-c", WATCH, "sh", str(process.pid), f"-c {program}" if is_it else "-m uvicorn"],
            stdin=subprocess.PIPE,
        ) as watcher,
    ):
        try:
            assert watcher.stdin
            watcher.stdin.close()
            if is_it:
                assert process.wait(PATIENCE) == -signal.SIGTERM
                watcher.terminate()  # it would look again in a few seconds
            else:
                assert watcher.wait(PATIENCE) != 0
                assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("code", [3, 1])
def test_a_temporary_server_that_cannot_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    """As with a full disk or a damaged database, where Prefect tries for ever or waits for long."""
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    from flows.server import ATTEMPTS, PORT_LOST, STARTING, answering

    started: list[subprocess.Popen[bytes]] = []
    most, least = (3 * ATTEMPTS, ATTEMPTS + 1) if code == PORT_LOST else (1, 1)

    def start_what_ends(_: object) -> subprocess.Popen[bytes]:
        assert len(started) < most, "given up, and that thread ends too"
        started.append(subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"]))
        return started[-1]

    monkeypatch.setattr(SubprocessASGIServer, "_instances", {})
    monkeypatch.setattr(SubprocessASGIServer, "_run_uvicorn_command", start_what_ends)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with (
        temporary_settings({PREFECT_HOME: tmp_path}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(
            InputError, match=f"does not start; .* It needs room in {tmp_path}, and a whole data"
        ) as given_up,
        answering(),
    ):
        pass
    assert len(started) >= least
    assert given_up.value.__cause__ is None, "Prefect's own time was over first"
    started[-1].returncode = PORT_LOST
    for thread in threading.enumerate():
        if thread.name == STARTING:  # Prefect's loop, which by now would start real servers
            thread.join(PATIENCE)
    atexit.unregister(SubprocessASGIServer().stop)  # would complain that the test's stderr is closed


@pytest.mark.slow
def test_a_temporary_server_that_ends_halfway_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    from flows.server import answering

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    starts_none = {PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}
    with (
        temporary_settings(starts_none, restore_defaults={PREFECT_API_URL}),
        pytest.raises(InputError, match=r"^the temporary Prefect server ended; .* the same command again$"),
        answering(),
    ):
        raise httpx.ConnectError("connection refused")


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:1/api/artifacts/")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status))


@pytest.mark.slow
def test_an_outage_is_said_once_and_a_defect_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import tasks

    logger = create_autospec(logging.Logger, instance=True)
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logger)
    monkeypatch.setattr(tasks, "_outage", threading.Event())
    said = []
    for error in (httpx.ConnectError("refused"), answered(503), None, httpx.ReadTimeout("late")):
        with tasks.even_if_unreachable():
            if error:
                raise error
        said.append(logger.warning.call_count)
    assert said == [1, 1, 1, 2]
    for defect in (answered(404), answered(422), OSError(errno.EMFILE, "too many open files")):
        with pytest.raises(type(defect)), tasks.even_if_unreachable():
            raise defect


@pytest.mark.slow
def test_only_an_outage_fails_a_score_alone() -> None:
    from prefect.futures import PrefectFuture

    from flows.pipeline import final_state

    future = create_autospec(PrefectFuture, instance=True)
    future.wait.side_effect = answered(502)
    assert "the Prefect server did not answer" in (final_state(future).message or "")
    future.wait.side_effect = answered(422)
    with pytest.raises(httpx.HTTPStatusError):
        final_state(future)


@pytest.mark.slow
@pytest.mark.parametrize(("status", "foreseen"), [(500, True), (503, True), (422, False)])
def test_a_server_that_fails_is_one_sentence(status: int, foreseen: bool) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.server import answering

    def raise_within(error: Exception) -> None:
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}), answering():
            raise error

    wanted = InputError if foreseen else httpx.HTTPStatusError
    with pytest.raises(wanted, match=f"HTTP {status}" if foreseen else "no"):
        raise_within(answered(status))


def environment(folder: Path) -> dict[str, str]:
    """With nothing on stderr but what the command says: no warnings of libraries about themselves."""
    own = {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": "", "PYTHONWARNINGS": "ignore"}
    return os.environ | own


def child_that_runs(command: str, parent: int) -> int | None:
    """The child whose command line begins like this."""
    for child in children_of(parent):
        with suppress(OSError):
            line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
            if line.startswith(command.encode()):
                return child
    return None

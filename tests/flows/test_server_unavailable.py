"""Commands and flow runs while the Prefect server is away."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import create_autospec

import httpx
import pytest

from score_to_audio.errors import InputError
from tests.flows.conftest import PATIENCE, free_port
from tests.paths import EXAMPLE_SCORES

pytestmark = pytest.mark.slow  # imports Prefect

SCORE = str(EXAMPLE_SCORES / "petzold_minuet_bwv_anh114.musicxml")


def batch(folder: Path, *options: str, url: str) -> subprocess.CompletedProcess[str]:
    # no warnings of libraries about themselves on stderr
    own = {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": url, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-m", "score_to_audio.cli", "batch", SCORE, *options, "-o", str(folder / "out")],
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("options", [(), ("--deployment", "a/b")])
def test_a_configured_server_that_does_not_answer(options: tuple[str, ...], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    done = batch(tmp_path, *options, url=url)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the Prefect server at {url} does not answer: start it (")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [("--deployment", "a/b"), ("--runner", "dask")])
def test_options_that_need_a_server(options: tuple[str, str], tmp_path: Path) -> None:
    done = batch(tmp_path, *options, url="")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {options[0]}")
    assert "needs a Prefect server: start one (`prefect server start`) and set PREFECT_API_URL" in done.stderr
    assert done.stderr.count("\n") == 1


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:1/api/artifacts/")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status))


def test_an_outage_is_reported_once_and_defects_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import server

    logger = create_autospec(logging.Logger, instance=True)
    monkeypatch.setattr(server, "get_run_logger", lambda: logger)
    monkeypatch.setattr(server, "_outage", threading.Event())
    warnings = []
    for error in (httpx.ConnectError("refused"), answered(503), None, httpx.ReadTimeout("late")):
        with server.ignore_server_outage():
            if error:
                raise error
        warnings.append(logger.warning.call_count)
    assert warnings == [1, 1, 1, 2]
    for defect in (answered(404), answered(422), OSError(errno.EMFILE, "too many open files")):
        with pytest.raises(type(defect)), server.ignore_server_outage():
            raise defect


def test_an_outage_fails_one_score_and_a_defect_the_run() -> None:
    from prefect.futures import PrefectFuture

    from flows.tasks import final_state

    future = create_autospec(PrefectFuture, instance=True)
    future.wait.side_effect = answered(502)
    assert "the Prefect server did not answer" in (final_state(future).message or "")
    future.wait.side_effect = answered(422)
    with pytest.raises(httpx.HTTPStatusError):
        final_state(future)


@pytest.mark.parametrize(("status", "expected"), [(500, True), (503, True), (422, False)])
def test_a_server_that_fails(status: int, expected: bool) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.server import explained_outage

    def raise_within(error: Exception) -> None:
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}), explained_outage():
            raise error

    wanted = InputError if expected else httpx.HTTPStatusError
    with pytest.raises(wanted, match=f"HTTP {status}" if expected else "no"):
        raise_within(answered(status))

"""The Prefect server that flows report to: somebody else's, or a temporary one that ends with us."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import httpx
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

from score_to_audio.types import InputError

ATTEMPTS = 3
"""Servers that may end at once: Prefect takes each for one that lost its port, and starts others for ever."""
STARTING = "start of the temporary Prefect server"
WATCH = 'read -r _; kill "$1" && sleep 5 && kill -9 "$1"'
"""Waits for the end of its input, which comes when whoever holds the other end dies, however he dies."""


@contextmanager
def answering() -> Iterator[None]:
    """Starts a temporary server where none is configured.

    Raises ``InputError`` where a flow cannot begin or end because the server is away.
    """
    try:
        if not PREFECT_API_URL.value() and PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
            _start_temporary_server()
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status < 500:
            raise
        raise InputError(
            f"the Prefect server cannot do its work (HTTP {status}): often its disk or that of its database "
            "is full; what is finished already is kept, run the same command again when it is mended"
        ) from error
    except (httpx.TransportError, RuntimeError) as error:
        # Prefect has no type of its own for it
        if isinstance(error, RuntimeError) and "Failed to reach API" not in str(error):
            raise
        url = httpx.URL(PREFECT_API_URL.value() or "").copy_with(username=None, password=None)
        raise InputError(
            f"the Prefect server at {url} does not answer: start it (`prefect server start`), or unset "
            "PREFECT_API_URL to do without; what is finished already is kept"
        ) from error


def _start_temporary_server() -> None:
    """The one that Prefect would start by itself. It ends its server when the process ends of itself, but not
    when the process is killed: the server would stay for ever, and with it whoever reads our output."""
    from prefect.server.api.server import SubprocessASGIServer  # all of the server: slow to import

    server = SubprocessASGIServer()

    failures: list[Exception] = []

    def start() -> None:
        try:
            server.start()
        except Exception as error:
            failures.append(error)

    starting = Thread(target=start, name=STARTING, daemon=True)
    starting.start()
    started: set[int] = set()
    while starting.is_alive() and len(started) <= ATTEMPTS:
        process = server.server_process
        if process is not None and process.pid not in started:
            started.add(process.pid)
            _end_with_us(process.pid)
        time.sleep(0.01)
    if failures or starting.is_alive():
        raise InputError(
            "the temporary Prefect server does not start; `prefect server start` says why. It needs room in "
            f"{PREFECT_HOME.value()}, and a whole database: make room there and move prefect.db away, or set "
            "PREFECT_HOME to another folder"
        ) from (failures[0] if failures else None)


def _end_with_us(process: int) -> None:
    theirs, _ours_for_ever = os.pipe()
    subprocess.Popen(
        ["/bin/sh", "-c", WATCH, "sh", str(process)],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C and the end of the terminal are none of its business
    )
    os.close(theirs)

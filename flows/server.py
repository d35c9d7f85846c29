"""The Prefect server that flows report to: somebody else's, or a temporary one that ends with us."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import httpx
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

from score_to_audio.errors import InputError

PORT_LOST = 3
"""Exit code after which Prefect starts another server at another port."""
ATTEMPTS = 3
"""Servers that may end with this code: so does one with a damaged database, and Prefect goes on for ever."""
STARTING = "start of the temporary Prefect server"
WATCH = """
read -r _
is_it() { { tr '\\0' ' ' <"/proc/$1/cmdline" || ps -ww -o args= -p "$1"; } 2>/dev/null | grep -qF -e "$2"; }
is_it "$@" && kill "$1" && sleep 5 && is_it "$@" && kill -9 "$1"
"""
"""Waits for the end of its input, which comes when whoever holds the other end dies, however he dies. By then
the server may be gone and its number somebody else's: so it looks at the command line before each kill."""


@contextmanager
def answering() -> Iterator[None]:
    """Starts a temporary server where none is configured.

    Raises ``InputError`` where a flow cannot begin or end because the server is away.
    """
    try:
        if not PREFECT_API_URL.value() and PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
            _start_temporary_server()
        yield
    except (httpx.HTTPError, RuntimeError) as error:
        if not is_away(error):
            raise
        raise InputError(_why_away(error)) from error


def is_away(error: BaseException) -> bool:
    """Whether an error says that the server, and not what was asked of it, is at fault."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    if isinstance(error, RuntimeError):
        return "Failed to reach API" in str(error)  # Prefect has no type of its own for it
    return isinstance(error, httpx.TransportError)


def _why_away(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return (
            f"the Prefect server cannot do its work (HTTP {error.response.status_code}): often its disk or "
            "that of its database is full; what is finished already is kept, run the same command again when "
            "it is mended"
        )
    configured = PREFECT_API_URL.value()
    if not configured:
        return "the temporary Prefect server ended; what is finished is kept, run the same command again"
    url = httpx.URL(configured).copy_with(username=None, password=None)
    return (
        f"the Prefect server at {url} does not answer: start it (`prefect server start`), or unset "
        "PREFECT_API_URL to do without; what is finished already is kept"
    )


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
            _end_with_us(process)
        if process is not None and process.poll() not in (None, PORT_LOST):
            break  # Prefect would wait for its answer until its own time is over
        time.sleep(0.01)
    if failures or starting.is_alive():
        raise InputError(
            "the temporary Prefect server does not start; `prefect server start` says why. It needs room in "
            f"{PREFECT_HOME.value()}, and a whole database: make room there and move prefect.db away, or set "
            "PREFECT_HOME to another folder"
        ) from (failures[0] if failures else None)


def _end_with_us(process: subprocess.Popen[Any]) -> None:
    theirs, _ours_for_ever = os.pipe()
    subprocess.Popen(
        ["/bin/sh", "-c", WATCH, "sh", str(process.pid), _options(process)],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C and the end of the terminal are none of its business
    )
    os.close(theirs)


def _options(process: subprocess.Popen[Any]) -> str:
    """All of its command line but the program, which some systems show with another path."""
    assert isinstance(process.args, list)
    return " ".join(process.args[1:])

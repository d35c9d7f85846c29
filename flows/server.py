"""Outages of the Prefect server: recognised in one place, reported once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import httpx
from prefect import get_run_logger
from prefect.settings import PREFECT_API_URL

from score_to_audio.errors import InputError
from score_to_audio.wording import brief

_outage = Event()
"""Set from the first failed update to the next successful one, so that an outage is reported once."""


def api_is_configured() -> bool:
    """Whether the environment or the active profile names a Prefect API."""
    return bool(PREFECT_API_URL.value())


def is_server_unavailable(error: BaseException) -> bool:
    """Whether an error says that the server, not the request, is at fault."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    if isinstance(error, RuntimeError):
        return "Failed to reach API" in str(error)  # Prefect has no type of its own for it
    return isinstance(error, httpx.TransportError)


@contextmanager
def explained_outage() -> Iterator[None]:
    """Turn an outage that ends a flow run into an ``InputError``."""
    try:
        yield
    except (httpx.HTTPError, RuntimeError) as error:
        if not is_server_unavailable(error):
            raise
        raise InputError(_outage_sentence(error)) from error


def _outage_sentence(error: Exception) -> str:
    url = httpx.URL(PREFECT_API_URL.value() or "").copy_with(username=None, password=None)
    if isinstance(error, httpx.HTTPStatusError):
        return (
            f"the Prefect server at {url} fails (HTTP {error.response.status_code}), often because its disk "
            "is full; finished work is kept, run the same command again once the server works"
        )
    return (
        f"the Prefect server at {url} does not answer: start it (`prefect server start`), or unset "
        "PREFECT_API_URL to run without it; finished work is kept"
    )


@contextmanager
def ignore_server_outage() -> Iterator[None]:
    """For progress and result artifacts: no run fails because the server does not show them."""
    try:
        yield
    except Exception as error:
        if not is_server_unavailable(error):
            raise
        if not _outage.is_set():
            _outage.set()
            get_run_logger().warning("progress is not shown: the Prefect server is away (%s)", brief(error))
    else:
        _outage.clear()

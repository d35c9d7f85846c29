"""The Prefect server that flows report to, where it is somebody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.settings import PREFECT_API_URL

from score_to_audio.types import InputError


@contextmanager
def answering() -> Iterator[None]:
    """Raises ``InputError`` where a flow cannot begin or end because the server is away."""
    try:
        yield
    except (httpx.TransportError, RuntimeError) as error:
        # Prefect has no type of its own for it
        if isinstance(error, RuntimeError) and "Failed to reach API" not in str(error):
            raise
        url = httpx.URL(PREFECT_API_URL.value() or "").copy_with(username=None, password=None)
        raise InputError(
            f"the Prefect server at {url} does not answer: start it (`prefect server start`), or unset "
            "PREFECT_API_URL to do without; what is finished already is kept"
        ) from error

"""How a long computation tells where it is, and keeps the parts that it has finished.

Plug-ins call ``report`` and ``cached_part``; whoever runs them listens with ``listening`` and ``part_cache``.
Without a listener both do nothing beyond the work itself, so that a model needs no store and no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

Report = Callable[[float, float, str], None]
"""(done, total, unit), for instance (120, 880, "frames")."""
Arrays = Mapping[str, NDArray[Any]]
Keep = Callable[[str, Callable[[], Arrays]], Arrays]
"""(name, make): the arrays kept under the name, made and kept where there are none yet."""

_report: ContextVar[Report | None] = ContextVar("report", default=None)
_keep: ContextVar[Keep | None] = ContextVar("keep", default=None)


def report(done: float, total: float, unit: str) -> None:
    """Tell the listener how far the work is."""
    if listener := _report.get():
        listener(done, total, unit)


def cached_part(name: str, make: Callable[[], Arrays]) -> dict[str, NDArray[Any]]:
    """The part called ``name``: from an earlier, interrupted run of the same work, or made now.

    The name needs to be unique within one ``render`` or ``synthesize``; options, input and seed are
    already told apart by the caller.
    """
    keeper = _keep.get()
    kept = keeper(name, make) if keeper else make()
    return {key: np.asarray(value) for key, value in kept.items()}


@contextmanager
def listening(listener: Report) -> Iterator[None]:
    """Send reports made within the block, in this thread, to ``listener``."""
    token = _report.set(listener)
    try:
        yield
    finally:
        _report.reset(token)


@contextmanager
def part_cache(keeper: Keep) -> Iterator[None]:
    """Keep parts made within the block, in this thread, through ``keeper``."""
    token = _keep.set(keeper)
    try:
        yield
    finally:
        _keep.reset(token)

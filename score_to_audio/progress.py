"""How a long computation reports its progress and keeps the parts that it has finished.

Plug-ins call ``report`` and ``cached_part``; callers install ``listening`` and ``part_cache`` around them.
Without these both do nothing beyond the work itself, so a model needs neither a store nor a terminal.
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
MakeArrays = Callable[[], Arrays]
PartCache = Callable[[str, MakeArrays], Arrays]
"""(name, make) -> the arrays cached under the name, made where there are none yet."""

_report: ContextVar[Report | None] = ContextVar("report", default=None)
_part_cache: ContextVar[PartCache | None] = ContextVar("part_cache", default=None)


def report(done: float, total: float, unit: str) -> None:
    """Report progress to the listener, if there is one."""
    if listener := _report.get():
        listener(done, total, unit)


def cached_part(name: str, make: MakeArrays) -> dict[str, NDArray[Any]]:
    """The part called ``name``: from an earlier, interrupted run of the same work, or made now.

    The name is unique within one ``render`` or ``synthesize``; the cache tells inputs, options and seeds
    apart.
    """
    cache = _part_cache.get()
    part = cache(name, make) if cache else make()
    return {key: np.asarray(value) for key, value in part.items()}


@contextmanager
def listening(listener: Report) -> Iterator[None]:
    """Send reports made within the block, in this thread, to ``listener``."""
    token = _report.set(listener)
    try:
        yield
    finally:
        _report.reset(token)


@contextmanager
def part_cache(cache: PartCache) -> Iterator[None]:
    """Use ``cache`` for the parts made within the block, in this thread."""
    token = _part_cache.set(cache)
    try:
        yield
    finally:
        _part_cache.reset(token)

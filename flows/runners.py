"""Where the tasks of a batch run: threads of this process, or a Ray or Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any

from prefect.task_runners import ThreadPoolTaskRunner

from score_to_audio.errors import InputError

THREADS = 2
"""One score computes while the next is read."""


@contextmanager
def task_runners(name: str, processes: int) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Yields a function that gives a Prefect task runner for one shard. ``processes``: 0 for the default.

    A thread runner is new for each shard, since it keeps data of every task until it ends. A Ray or Dask
    cluster starts with the first shard and ends with the block: the one that RAY_ADDRESS or
    DASK_SCHEDULER_ADDRESS names, or a local one. Raises ``InputError`` where the library is missing.
    """
    if name == "thread":
        yield lambda: ThreadPoolTaskRunner(max_workers=max(processes, THREADS))
        return
    with ExitStack() as stack:

        @cache
        def cluster() -> Any:
            return stack.enter_context(_cluster(name, processes))

        yield lambda: nullcontext(cluster())


def _cluster(name: str, processes: int) -> Any:
    try:
        return _ray(processes) if name == "ray" else _dask(processes)
    except ImportError as error:
        raise InputError(
            f"the runner {name!r} needs the extra `{name}`: pip install 'score-to-audio[{name}]' ({error})"
        ) from error


def _ray(processes: int) -> Any:
    import os

    from prefect_ray import RayTaskRunner

    here = not os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False}  # failures are in the task states
    if here:
        options |= {"include_dashboard": False} | ({"num_cpus": processes} if processes else {})
    return RayTaskRunner(init_kwargs=options)


def _dask(processes: int) -> Any:
    import dask
    from prefect_dask import DaskTaskRunner

    if address := dask.config.get("scheduler-address", None):
        return DaskTaskRunner(address=address)
    dask.config.set({"distributed.worker.daemon": False})  # worker processes with limits are children
    workers = {"n_workers": processes} if processes else {}
    return DaskTaskRunner(cluster_kwargs={"threads_per_worker": 1, "dashboard_address": None, **workers})

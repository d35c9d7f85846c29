"""Where the tasks of a batch run: threads of this process, or a Ray or Dask cluster."""

from __future__ import annotations

from typing import Any, Literal

from prefect.task_runners import ThreadPoolTaskRunner

from score_to_audio.types import InputError

RunnerName = Literal["thread", "ray", "dask"]
THREADS = 2
"""One score computes while the next is read."""


def task_runner(name: RunnerName, processes: int) -> Any:
    """A Prefect task runner, ready to be entered; ``processes`` at a time, or as the cluster decides where 0.

    Ray uses the cluster that RAY_ADDRESS names, Dask the one that DASK_SCHEDULER_ADDRESS names; without them
    both start one on this machine. Raises ``InputError`` where the library is missing.
    """
    if name == "thread":
        return ThreadPoolTaskRunner(max_workers=max(processes, THREADS))
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
    options: dict[str, Any] = {"log_to_driver": False}  # what fails, the tasks' states say
    if here:
        options |= {"include_dashboard": False} | ({"num_cpus": processes} if processes else {})
    return RayTaskRunner(init_kwargs=options)


def _dask(processes: int) -> Any:
    import dask
    from prefect_dask import DaskTaskRunner

    if address := dask.config.get("scheduler-address", None):
        return DaskTaskRunner(address=address)
    dask.config.set({"distributed.worker.daemon": False})  # a limited score needs a child process
    workers = {"n_workers": processes} if processes else {}
    return DaskTaskRunner(cluster_kwargs={"threads_per_worker": 1, "dashboard_address": None, **workers})

"""The temporary Prefect server of commands that run a flow."""

from __future__ import annotations

import os


def keep_prefect_quiet() -> None:
    """To be called before Prefect is imported; what the environment says already stands."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")  # it grumbles when it ends
    os.environ.setdefault("PREFECT_LOGGING_ROOT_LEVEL", "CRITICAL")  # so does its database
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")  # it tells the life of every worker

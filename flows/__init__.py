"""The Prefect flows and their tasks: the only package that imports Prefect."""

import os

# Prefect gives its temporary server 20 s to start; the first start on a small, busy machine takes longer.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")

"""Commands that run a flow while the server that they are to report to is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import PATIENCE, PROJECT, free_port

SCORE = str(PROJECT / "examples/scores/minuet.musicxml")


@pytest.mark.slow  # imports Prefect
@pytest.mark.parametrize(
    "command", [("batch", SCORE), ("batch", SCORE, "--deployment", "a/b"), ("compare", SCORE)]
)
def test_it_is_one_sentence(command: tuple[str, ...], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    done = subprocess.run(
        [sys.executable, "-m", "score_to_audio.cli", *command, "-o", str(tmp_path / "out")],
        env=os.environ | {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the Prefect server at {url} does not answer: start it (")
    assert done.stderr.count("\n") == 1

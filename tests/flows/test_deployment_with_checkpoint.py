"""A checkpoint that was imported once serves deployed flows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from score_to_audio.testing import example_score
from tests.flows.conftest import PATIENCE, Server
from tests.virtuosonet_checkpoint import write_checkpoint

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.xdist_group("prefect")]

SERVE = "from flows.pipeline import score_to_audio; score_to_audio.serve(name='with-checkpoint', limit=1)"


def test_a_deployed_flow_uses_an_imported_checkpoint(server: Server, tmp_path: Path) -> None:
    (tmp_path / "example.musicxml").write_bytes(example_score().content)
    write_checkpoint(tmp_path / "weights.pt")
    own = {
        "SCORE_TO_AUDIO_STORE": str(tmp_path / "store"),
        "SCORE_TO_AUDIO_CHECKPOINTS": str(tmp_path / "checkpoints"),
    }
    command = [sys.executable, "-m", "score_to_audio.cli", "models", "import", "virtuosonet"]
    subprocess.run([*command, str(tmp_path / "weights.pt")], env=os.environ | own, check=True)
    server = Server(server.environment | own, server.folder)
    with server.running("serve-checkpoint", "-c", SERVE) as process:
        deadline = time.monotonic() + PATIENCE
        while server.prefect("deployment", "inspect", "score-to-audio/with-checkpoint").returncode:
            assert process.poll() is None
            assert time.monotonic() < deadline
        done = server.prefect(
            *("deployment", "run", "score-to-audio/with-checkpoint", "--watch", "--watch-timeout", "170"),
            *("--param", f"scores={json.dumps([str(tmp_path / 'example.musicxml')])}"),
            *("--param", f"output={json.dumps(str(tmp_path / 'out'))}", "--param", "renderer=virtuosonet"),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "example.wav").is_file()

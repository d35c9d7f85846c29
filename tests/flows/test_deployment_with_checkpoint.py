"""A checkpoint that was imported once serves deployed flows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from score_to_audio.testing import example_score
from tests.flows.conftest import PATIENCE, Server
from tests.virtuosonet_checkpoint import write_checkpoint

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

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
        while not server.knows("score-to-audio/with-checkpoint"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        run = server.start_run(
            "score-to-audio/with-checkpoint",
            scores=[str(tmp_path / "example.musicxml")],
            output=str(tmp_path / "out"),
            renderer="virtuosonet",
            synthesizer="trial",  # filled weights may play for minutes
        )
        state = server.final_state(run)
    assert state["type"] == "COMPLETED", state
    assert (tmp_path / "out" / "example.wav").is_file()

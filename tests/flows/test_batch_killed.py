"""The command `batch` under kill -9 and Ctrl-C, then twice at once on one store: nothing lost or changed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from score_to_audio.files import TEMPORARY
from score_to_audio.manifest import read_manifest
from tests.flows.conftest import PATIENCE, PROJECT, Server
from tests.trial.trial_kit import write_scores

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.kills]

COUNT = 30
KILLS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
INTERRUPTED = "interrupted: finished work is kept; run the same command again to continue\n"


@dataclass(frozen=True)
class Place:
    root: Path
    environment: dict[str, str]

    def start(self, command: str, output: str, *more: str) -> subprocess.Popen[str]:
        settings = [f"{stage}.log={self.root / 'log'}" for stage in ("renderer", "synthesizer")]
        options = [word for setting in [*settings, "renderer.pause=0.1"] for word in ("--set", setting)]
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "score_to_audio.cli", command, str(self.root / "scores")),
                *("-o", str(self.root / output), "-r", "trial", "-s", "trial", *options, *more),
            ],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def work_done(self) -> list[str]:
        log = self.root / "log"
        return [line for line in log.read_text().splitlines() if line != "loaded"] if log.exists() else []

    def results(self, output: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / output).glob("score-*")}


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    write_scores(tmp_path / "scores", COUNT)
    return Place(tmp_path, server.environment | {"SCORE_TO_AUDIO_STORE": str(tmp_path / "store")})


def test_killed_interrupted_and_run_twice_at_once(place: Place) -> None:
    undisturbed = Place(place.root, place.environment | {"SCORE_TO_AUDIO_STORE": str(place.root / "alone")})
    code, _, err = finish(undisturbed.start("run", "expected"))
    assert code == 0, err
    expected = place.results("expected")
    assert len(expected) == 2 * COUNT
    (place.root / "log").unlink()

    moments = random.Random(9)
    for round_, kill in enumerate(KILLS):
        done = len(place.work_done())
        process = place.start("batch", "out", "--processes", "1" if round_ else "2")
        while len(place.work_done()) == done and process.poll() is None:  # past the start
            time.sleep(0.02)
        time.sleep(moments.uniform(0.0, 0.4))
        os.kill(process.pid, kill)
        code, _, err = finish(process)
        assert code == (130 if kill == signal.SIGINT else -kill), err
        assert kill != signal.SIGINT or err.strip() == INTERRUPTED.strip()
        for name, content in place.results("out").items():
            assert content == expected[name], f"{name} is visible but not whole"
    assert 0 < len(place.work_done()) < 2 * COUNT, "every process was done before it was killed"
    (place.root / "out" / f"{TEMPORARY}of-a-dead-process").touch()

    both = [place.start("batch", output) for output in ("out", "other")]
    for process in both:
        code, _, err = finish(process)
        assert code == 0, err
    assert place.results("out") == place.results("other") == expected
    assert len(read_manifest(place.root / "out")) == COUNT
    assert not list((place.root / "out").glob(f"{TEMPORARY}*"))
    assert not list((place.root / "store").rglob(".tmp-*"))
    assert len(place.work_done()) <= 2 * COUNT + 2 * len(KILLS)  # at most what was under way, per kill

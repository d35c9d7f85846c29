"""Distributions of their own, installed as a third party would, show up and work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import PROJECT


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the plug-ins installed."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
    folders = [str(PROJECT / "examples" / folder) for folder in ("plugin", "plugin_symupe")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *folders], check=True)
    store = tmp_path_factory.mktemp("store")
    return os.environ | {"PYTHONPATH": str(target), "SCORE_TO_AUDIO_STORE": str(store)}


def score_to_audio(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "score_to_audio.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_installed_plugin_renders_and_synthesizes(environment: dict[str, str], tmp_path: Path) -> None:
    score = str(PROJECT / "examples/scores/chopin_prelude_op28_no7.musicxml")
    listed = score_to_audio("models", "list", env=environment)
    assert "metronome" in listed.stdout
    assert "music-box" in listed.stdout
    done = score_to_audio(
        *("run", score, "-o", str(tmp_path), "--renderer", "metronome", "--synthesizer", "music-box"),
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert {path.suffix for path in tmp_path.glob("chopin*")} == {".mid", ".wav"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "passed"), [("plugin/test_music_box.py", 17), ("plugin_symupe/test_pianoflow.py", 10)]
)
def test_an_installed_plugin_passes_the_conformance_suite(
    suite: str, passed: int, environment: dict[str, str]
) -> None:
    """PianoFlow with a stub in the place of its weights; where symupe is installed, its calls too."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PROJECT / "examples" / suite)],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= passed, done.stdout

"""`score-to-audio compare` as a user meets it. Ctrl-C: tests/end_to_end/test_interrupt.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trial.trial_kit import install_trial_plugins, write_scores

pytestmark = pytest.mark.slow

COLUMNS = """measures: [levels]
sections:
- title: S
  rows: [{score: scores/score-000.musicxml}, {score: scores/score-001.musicxml}]
  columns:
  - {renderer: trial, synthesizer: trial}
  - {renderer: trial, synthesizer: midi-valle}
"""


def compare(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plugins = place / "plugins"
    if not plugins.exists():
        install_trial_plugins(plugins)
        write_scores(place / "scores", 2)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")])),
        "SCORE_TO_AUDIO_STORE": str(place / "store"),
        "SCORE_TO_AUDIO_CHECKPOINTS": str(place / "none"),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",  # nothing answers there, and nobody asks
    }
    command = [sys.executable, "-m", "score_to_audio.cli", "compare", *arguments, "-o", "out"]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_a_page_is_made_though_a_cell_fails(tmp_path: Path) -> None:
    config = tmp_path / "two ways.yaml"
    config.write_text(COLUMNS)
    done = compare(tmp_path, config.name)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("2 of 4 cells made, 2 failed; listen: ")
    assert len(done.stderr.splitlines()) == 1
    assert "failed: score-001: trial + midi-valle: checkpoint 'midi-valle' " in done.stdout
    assert "models pull midi-valle" in done.stdout
    assert (tmp_path / "out" / "page" / "index.html").is_file()
    config.write_text(COLUMNS.replace("renderer: trial", "renderer: trail", 1))
    done = compare(tmp_path, config.name)
    assert done.returncode == 2
    assert "two ways.yaml, line 6: sections.0.columns.0: unknown renderer 'trail'" in done.stderr
    done = compare(tmp_path, config.name, "--set", "trial.pause=1")
    assert done.returncode == 2
    assert done.stderr == "error: --set 'trial.pause=1': write options into two ways.yaml\n"


def test_settings_reach_the_plug_ins(tmp_path: Path) -> None:
    log = tmp_path / "a:b,c.log"
    lists = ("--renderers", "trial,score", "--synthesizers", "trial", "--set", f"trial.log={log}")
    done = compare(tmp_path, "scores/score-000.musicxml", *lists, "--metrics", "levels", "--json")
    assert done.returncode == 0, done.stderr
    conditions = [one["label"] for one in json.loads(done.stdout)["sections"][0]["conditions"]]
    assert conditions == [f"trial {log} + trial {log}", f"score + trial {log}"]
    assert "rendered score-000.musicxml" in log.read_text()
    assert log.read_text().count("synthesized") == 2


def test_options_that_the_file_decides_are_refused_and_measures_chosen(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(COLUMNS.replace("[levels]", "[expression]"))
    done = compare(tmp_path, "two.yaml", "--renderers", "score")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --renderers: two.yaml says which rows")
    done = compare(tmp_path, "two.yaml", "--seed", "3")
    assert done.returncode == 2
    done = compare(tmp_path, "two.yaml", "--metrics", "level")
    assert done.returncode == 2
    assert "did you mean 'levels'?" in done.stderr
    done = compare(tmp_path, "two.yaml", "--metrics", "levels")
    assert done.returncode == 1
    assert "loudness" in done.stdout
    assert not (tmp_path / "out" / "blind-key.json").exists()

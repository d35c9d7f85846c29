"""`score-to-audio compare` as a user meets it. Ctrl-C: tests/end_to_end/test_interrupt.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from score_to_audio import registry
from tests.command_line import call
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


Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two scores, the trial plug-ins, and no server that answers."""
    plugins = install_trial_plugins(tmp_path / "plugins")
    write_scores(tmp_path / "scores", 2)
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")]))
    )
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path / "none"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody asks there
    monkeypatch.chdir(tmp_path)
    registry.entries.cache_clear()
    yield tmp_path
    registry.entries.cache_clear()


@pytest.fixture
def compare(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Within this process."""

    def run(*arguments: str) -> tuple[int, str, str]:
        return call(monkeypatch, capsys, "compare", *arguments, "-o", "out")

    return run


def test_a_page_is_made_though_a_cell_fails(place: Path, compare: Compare) -> None:
    config = place / "two ways.yaml"
    config.write_text(COLUMNS)
    command = [sys.executable, "-m", "score_to_audio.cli", "compare", config.name, "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("2 of 4 cells made, 2 failed; listen: ")
    assert len(done.stderr.splitlines()) == 1
    assert "failed: score-001: trial + midi-valle: checkpoint 'midi-valle' " in done.stdout
    assert "models pull midi-valle" in done.stdout
    assert (place / "out" / "page" / "index.html").is_file()
    code, _, error = compare(config.name, "--set", "trial.pause=1")
    assert (code, error) == (2, "error: --set 'trial.pause=1': write options into two ways.yaml\n")
    config.write_text(COLUMNS.replace("renderer: trial", "renderer: trail", 1))
    code, _, error = compare(config.name)
    assert code == 2
    assert "two ways.yaml, line 6: sections.0.columns.0: unknown renderer 'trail'" in error


def test_settings_reach_the_plug_ins(place: Path, compare: Compare) -> None:
    log = place / "a:b,c.log"
    lists = ("--renderers", "trial,score", "--synthesizers", "trial", "--set", f"trial.log={log}")
    code, printed, error = compare("scores/score-000.musicxml", *lists, "--metrics", "levels", "--json")
    assert code == 0, error
    conditions = [one["label"] for one in json.loads(printed)["sections"][0]["conditions"]]
    assert conditions == [f"trial {log} + trial {log}", f"score + trial {log}"]
    assert "rendered score-000.musicxml" in log.read_text()
    assert log.read_text().count("synthesized") == 2


def test_options_that_the_file_decides_are_refused_and_measures_chosen(place: Path, compare: Compare) -> None:
    (place / "two.yaml").write_text(COLUMNS.replace("[levels]", "[expression]"))
    code, _, error = compare("two.yaml", "--renderers", "score")
    assert code == 2
    assert error.startswith("error: --renderers: two.yaml says which rows")
    assert compare("two.yaml", "--seed", "3")[0] == 2
    code, _, error = compare("two.yaml", "--metrics", "level")
    assert code == 2
    assert "did you mean 'levels'?" in error
    code, printed, _ = compare("two.yaml", "--metrics", "levels")
    assert code == 1
    assert "loudness" in printed
    assert not (place / "out" / "blind-key.json").exists()

"""Comparisons through a real Prefect server: from the command line, with a cell that fails, and as a flow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.conftest import Server
from tests.trial.trial_kit import write_scores

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.xdist_group("prefect")]


def write_comparison(folder: Path, **more: Any) -> Path:
    rows = [{"score": f"scores/score-00{number}.musicxml"} for number in range(2)]
    columns = [
        {"renderer": "trial", "synthesizer": "trial"},
        {"renderer": "trial", "synthesizer": "midi-valle"},
    ]
    section = {"title": "S", "rows": rows, "columns": columns} | more
    path = folder / "two ways.yaml"
    path.write_text(yaml.safe_dump({"measures": ["levels"], "sections": [section]}))
    return path


def test_the_command_line_makes_a_page_though_a_cell_fails(server: Server, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores", 2)
    config = write_comparison(tmp_path)
    command = [
        sys.executable,
        "-m",
        "score_to_audio.cli",
        "compare",
        str(config),
        "-o",
        str(tmp_path / "out"),
    ]
    nothing = {"SCORE_TO_AUDIO_CHECKPOINTS": str(tmp_path / "none")}
    environment = os.environ | server.environment | nothing
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "2 of 4 cells made, 2 failed; listen: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "failed: score-001: trial + midi-valle: checkpoint 'midi-valle' " in done.stdout
    assert "models pull midi-valle" in done.stdout
    assert (tmp_path / "out" / "page" / "index.html").is_file()
    config.write_text(config.read_text().replace("renderer: trial", "renderer: trail", 1))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "two ways.yaml, line 5: sections.0.columns.0: unknown renderer 'trail'" in done.stderr


@pytest.mark.usefixtures("settings")
def test_the_flow_finds_everything_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.compare import compare

    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    write_scores(tmp_path / "scores", 2)
    options = {"log": str(tmp_path / "log")}
    column = {"renderer": "trial", "synthesizer": "trial"} | dict.fromkeys(
        ("renderer_options", "synthesizer_options"), options
    )
    config = write_comparison(tmp_path, columns=[column])
    for _ in range(2):
        state = compare(config, tmp_path / "out", return_state=True)
        assert state.is_completed(), state.message
    assert (state.message or "").startswith("2 of 2 cells made, 0 failed")
    assert len((tmp_path / "log").read_text().splitlines()) == 2 + 2 * 2
    cells = json.loads((tmp_path / "out" / "results.json").read_text())["sections"][0]["cells"]
    assert [cell["row"] for cell in cells] == ["score-000", "score-001"]
    # Worked out from the flow's parameters, as the server keeps them: a file, or what it would say.
    content = yaml.safe_load(config.read_text())
    content["sections"][0]["rows"] = [{"score": str(tmp_path / "nowhere.musicxml")}]
    state = compare(content, tmp_path / "other", return_state=True)
    assert state.is_failed()
    assert "0 of 1 cells made, 1 failed" in (state.message or "")

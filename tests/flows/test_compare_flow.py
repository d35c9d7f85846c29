"""Comparisons as a flow, on a real Prefect server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trial.trial_kit import write_scores

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


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

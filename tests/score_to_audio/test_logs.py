"""Logs as JSON lines, from the command line itself."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from score_to_audio import logs
from score_to_audio.logs import JsonLines
from tests.paths import PROJECT
from tests.trial.trial_kit import install_trial_plugins, write_scores


def run(tmp_path: Path, kind: str) -> subprocess.CompletedProcess[str]:
    plugins = tmp_path / "plugins"
    if not plugins.exists():
        install_trial_plugins(plugins)
    scores = write_scores(tmp_path / "scores", 2)
    (scores / "broken.xml").write_text("no score")
    command = ["run", str(scores), "-o", str(tmp_path / "out"), "-r", "trial", "-s", "trial"]
    return subprocess.run(
        [sys.executable, "-m", "score_to_audio.cli", *command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {
            "SCORE_TO_AUDIO_LOG": kind,
            "SCORE_TO_AUDIO_STORE": str(tmp_path / "store"),
            "PYTHONPATH": os.pathsep.join([str(plugins), str(PROJECT)]),
        },
    )


def test_every_result_is_a_line_of_json(tmp_path: Path) -> None:
    done = run(tmp_path, "json")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    results = {line["result"]: line for line in lines if "result" in line}
    assert {name: line["message"] for name, line in results.items()} == {
        "broken": "failed",
        "score-000": "made",
        "score-001": "made",
    }
    assert "not XML" in results["broken"]["error"]
    assert results["score-000"]["files"] == [
        str(tmp_path / "out" / f"score-000.{suffix}") for suffix in ("mid", "wav")
    ]
    assert {"time", "level", "logger", "seconds"} <= set(results["score-000"])


def test_people_get_no_json_and_a_wrong_setting_is_told(tmp_path: Path) -> None:
    assert "{" not in run(tmp_path, "text").stderr
    refused = run(tmp_path, "xml")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: SCORE_TO_AUDIO_LOG is 'xml'; known: text, json\n",
    )


def test_exceptions_and_odd_values_stay_on_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "x.py", 1, "no %s", ("luck",), sys.exc_info())
    record.place = Path("/tmp/é")
    line = JsonLines().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["message"], read["level"], read["place"]) == ("no luck", "error", "/tmp/é")
    assert "ValueError: two" in read["exception"]


def test_doctor_tells_about_a_shared_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from score_to_audio.cli.doctor import checks

    monkeypatch.setenv("SCORE_TO_AUDIO_STORE_CACHE", str(tmp_path / "cache"))
    for location, ok, said in (
        (f"file://{tmp_path}/shared", True, "answers"),
        ("nonsense://x", False, "cannot be a store"),
    ):
        monkeypatch.setenv("SCORE_TO_AUDIO_STORE", location)
        found = [check for check in checks() if "store" in check.name]
        assert found[-1].ok == ok
        assert said in found[-1].message


def test_a_stream_that_was_closed_since_stops_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.Logger("somebody")
    logger.addHandler(logs.ToStderr())
    first, second = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    logger.warning("first")
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    logger.warning("second")
    assert second.getvalue() == "second\n"


@pytest.mark.parametrize("debug", [False, True])
def test_a_logged_exception_has_a_traceback_for_those_who_want_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], debug: bool
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    logs.configure(debug=debug)
    try:
        raise KeyError("a defect")
    except KeyError:
        logging.getLogger("somebody").exception("the flow failed")
    written = capsys.readouterr().err
    assert written.startswith("the flow failed\n")
    assert ("Traceback" in written) is debug

"""What a person sees on a terminal while scores are made."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

COLUMNS = 60
SCRIPT = """
import logging
from score_to_audio import logs
from score_to_audio.cli.display import Display

logs.configure()
with Display(total=40, quiet=False) as display:
    display.overall(4, 40, "scores")
    display.live.refresh()
    logging.getLogger("prefect.flow_runs").error("score-005: trial failed")
    display.overall(5, 40, "scores, 1 failed")
"""


def on_a_terminal(script: str = SCRIPT, **environment: str) -> str:
    """What a script writes to a terminal as its stderr."""
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm", "COLUMNS": str(COLUMNS), "NO_COLOR": "1"} | environment
    process = subprocess.Popen([sys.executable, "-c", script], stderr=theirs, env=os.environ | variables)
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 10_000):
            written += block
    except OSError:  # how Linux says that the other side was closed
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0, written
    return written.decode()


def test_a_failure_gets_a_line_of_its_own_above_the_bar() -> None:
    written = on_a_terminal()
    assert "4/40 scores" in written
    before, after = written.split("score-005: trial failed")
    assert before.endswith("\r\x1b[2K"), "the bar was not wiped first"
    assert after.startswith("\r\n")
    assert "5/40 scores, 1 failed" in after


def test_json_lines_come_without_a_bar() -> None:
    written = on_a_terminal(
        SCRIPT.replace("display.live.refresh()", "assert display.live is None"), SCORE_TO_AUDIO_LOG="json"
    )
    assert written == "score-005: trial failed\r\n"

"""The command line within the test process: a process of its own takes seconds to start where models load."""

from __future__ import annotations

import logging
import sys

import pytest

from score_to_audio import registry
from score_to_audio.cli.main import main


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """``score-to-audio ARGUMENTS``: exit code, stdout, stderr."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr(registry, "_built", {})
    monkeypatch.setattr(sys, "argv", ["score-to-audio", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err

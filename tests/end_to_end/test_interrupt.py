"""Ctrl-C in a real terminal: exit code 130, one sentence, everything finished is kept."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from score_to_audio.manifest import read_manifest
from tests.terminal import Terminal, terminal
from tests.trial.trial_kit import install_trial_plugins, write_scores

pytestmark = pytest.mark.slow

PATIENCE = 180
COUNT = 40
INTERRUPTED = "interrupted: finished work is kept; run the same command again to continue"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
USUAL = re.compile(r"\d+/\d+|/out/score-")
"""Progress bars and results."""
TRIAL = ("-r", "trial", "-s", "trial")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a command that knows the trial plug-ins and has no Prefect server."""
    plugins = install_trial_plugins(tmp_path / "plugins")
    write_scores(tmp_path / "scores", COUNT)
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")])),
        "SCORE_TO_AUDIO_STORE": str(tmp_path / "store"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": "",
    }


def work_done(folder: Path) -> int:
    log = folder / "log"
    return len([line for line in log.read_text().splitlines() if line != "loaded"]) if log.exists() else 0


def wait_for(condition: Callable[[], bool], command: Terminal) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert command.read(0.05), command.output
        assert time.monotonic() < deadline, command.output


def interrupt(command: Terminal) -> None:
    """Press Ctrl-C, and check what the person sees."""
    command.press_ctrl_c()
    code = command.exit_code(PATIENCE)
    assert code == 130, command.output
    after = ESCAPES.sub("", command.output.rpartition("^C")[2])
    said = [line.strip() for line in after.splitlines() if line.strip() and not USUAL.search(line)]
    assert said == [INTERRUPTED], command.output


@pytest.mark.parametrize("command", ["run", "batch"])
@pytest.mark.parametrize("processes", ["0", "2"])
def test_ctrl_c_ends_a_list_and_the_next_run_continues(
    tmp_path: Path, environment: dict[str, str], command: str, processes: str
) -> None:
    settings = [f"{stage}.{key}" for stage in ("renderer", "synthesizer") for key in ("pause=0.1",)]
    settings += [f"{stage}.log={tmp_path / 'log'}" for stage in ("renderer", "synthesizer")]
    options = [word for setting in settings for word in ("--set", setting)]
    arguments = (command, str(tmp_path / "scores"), "-o", str(tmp_path / "out"), *TRIAL, *options)
    with terminal(*arguments, "--processes", processes, environment=environment) as first:
        wait_for(lambda: work_done(tmp_path) >= 8, first)
        interrupt(first)
    assert work_done(tmp_path) < 2 * COUNT
    kept = [entry["name"] for entry in read_manifest(tmp_path / "out")]
    assert kept
    with terminal(*arguments, "--processes", "2", environment=environment) as second:
        assert second.exit_code(PATIENCE) == 0, second.output
    assert second.output.count("from the store") >= len(kept)
    assert len(read_manifest(tmp_path / "out")) == COUNT
    assert not list((tmp_path / "out").glob(".score-to-audio-*"))
    assert work_done(tmp_path) <= 2 * COUNT + 2 * 2


def test_ctrl_c_ends_a_model_that_hangs_in_a_worker(tmp_path: Path, environment: dict[str, str]) -> None:
    hang = ("--set", "renderer.trouble=score-000=hang", "--set", f"renderer.log={tmp_path / 'log'}")
    arguments = ("run", str(tmp_path / "scores"), "-o", str(tmp_path / "out"), *TRIAL, *hang)
    with terminal(*arguments, "--processes", "1", environment=environment) as command:
        wait_for(lambda: bool(list((tmp_path / "store").rglob(".lock"))), command)
        interrupt(command)


def test_ctrl_c_ends_a_comparison(tmp_path: Path, environment: dict[str, str]) -> None:
    config = tmp_path / "comparison.yaml"
    options = f"{{pause: 0.3, log: {tmp_path / 'log'}}}"
    config.write_text(
        "measures: [levels]\nsections:\n- title: S\n  rows:\n"
        + "".join(f"  - score: scores/score-{number:03}.musicxml\n" for number in range(20))
        + "  columns:\n  - {renderer: trial, synthesizer: trial, "
        f"renderer_options: {options}, synthesizer_options: {options}}}\n"
    )
    with terminal("compare", str(config), "-o", str(tmp_path / "out"), environment=environment) as command:
        wait_for(lambda: work_done(tmp_path) >= 4, command)
        interrupt(command)
    done = work_done(tmp_path)
    assert done < 40
    with terminal("compare", str(config), "-o", str(tmp_path / "out"), environment=environment) as command:
        assert command.exit_code(PATIENCE) == 0, command.output
    assert work_done(tmp_path) <= 40 + 1
    assert (tmp_path / "out" / "page" / "index.html").is_file()

"""The lines that the documents offer to paste, run as they stand in a folder without a server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import PATIENCE, free_port, variables
from tests.paths import EXAMPLE_SCORES, PROJECT
from tests.project.documents import blocks

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

START = "prefect server start --background"
ADDRESS = "PREFECT_API_URL=http://127.0.0.1:4200/"


def documented_lines(document: str) -> str:
    """The block that starts a server, without the indentation of its document."""
    (block,) = (one for one in blocks() if one.document == PROJECT / document and START in one.text)
    return "".join(f"{line.strip()}\n" for line in block.text.splitlines())


def test_readme_and_guide_offer_the_same_lines() -> None:
    assert documented_lines("README.md") == documented_lines("docs/guide/prefect.md")


def test_pasted_lines_make_sound_and_say_what_failed(tmp_path: Path) -> None:
    """Bash reads the lines one by one, as from a terminal; only the port differs, since 4200 may be taken."""
    port = free_port()
    text = documented_lines("README.md").replace(ADDRESS, ADDRESS.replace("4200", str(port)))
    assert str(port) in text
    for name in ("flows", "prefect.yaml"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "examples/scores").mkdir(parents=True)
    shutil.copy(EXAMPLE_SCORES / "chopin_prelude_op28_no7.musicxml", tmp_path / "examples/scores")
    (tmp_path / "examples/scores/broken.musicxml").write_text("<score")
    environment = (
        os.environ | variables(tmp_path, port) | {"PREFECT_SERVER_API_PORT": str(port), "COLUMNS": "400"}
    )
    environment |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    environment |= {"PYTHONPATH": os.pathsep.join([str(PROJECT), environment["PYTHONPATH"]])}
    del environment["PREFECT_API_URL"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-e"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=tmp_path,
            env=environment,
            start_new_session=True,
        )
        try:
            shell.communicate(text.encode(), 5 * PATIENCE)
        finally:
            os.killpg(shell.pid, signal.SIGKILL)  # the worker, which outlives SIGTERM when its server is gone
            stop = ["prefect", "server", "stop"]
            subprocess.run(stop, env=environment, cwd=tmp_path, stdout=output, check=False)
    shown = log.read_text()
    assert (tmp_path / "output" / "chopin_prelude_op28_no7.wav").is_file(), shown[-5000:]
    assert shell.returncode == 1, shown[-5000:]
    assert "1 made, 0 from the store, 1 failed (broken: " in " ".join(shown.split()), shown[-5000:]
    assert "▪" in shown, "the last line shows no log"

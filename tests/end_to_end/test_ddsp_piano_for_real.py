"""The whole way with weights as their authors publish them: pulled, verified, played, compared, listened to.

A server on this machine stands in for the publisher's address; the files are those of the golden folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from score_to_audio.cli.main import app
from score_to_audio.comparison import verification
from score_to_audio.formats.audio import read_audio
from score_to_audio.testing import example_score
from tests.score_to_audio.comparison.listening.browser import (
    browsing,
    complaints,
    press,
    requested,
    until,
    visit,
)
from tests.synthesizers.ddsp_piano_checkpoints import DATA, INDEX, published_weights

PUBLISHED = published_weights()
SCORE = "example.musicxml"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PUBLISHED is None, reason="the published weights are not here: score-to-audio models pull ddsp-piano"
    ),
]


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[str]:
    """The address of a server with the published files."""
    assert PUBLISHED is not None
    folder = tmp_path / "published" / "ddsp-piano"
    folder.mkdir(parents=True)
    for name in (DATA, INDEX):
        shutil.copy(PUBLISHED.with_name(name), folder)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, publisher: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCORE_TO_AUDIO_MIRROR", publisher)
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    (tmp_path / SCORE).write_bytes(example_score().content)
    return tmp_path


def cli(home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "score_to_audio.cli", *arguments]
    done = subprocess.run(command, cwd=home, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_from_the_publisher_to_the_page(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Apache-2.0" in cli(home, "models", "pull", "ddsp-piano")
    assert sorted(path.name for path in (home / "checkpoints" / "ddsp-piano").glob("ckpt*")) == [DATA, INDEX]
    verified(home, monkeypatch)
    cli(home, "run", SCORE, "-o", "out", "-s", "ddsp-piano", "--seed", "3")
    sound = read_audio(home / "out" / "example.wav")
    assert sound.sample_rate == 16000
    assert 8 < sound.duration < 20
    cli(
        home,
        *("compare", SCORE, "-o", "compared", "--renderers", "kth-rules"),
        *("--synthesizers", "sampled-piano,ddsp-piano", "--metrics", "levels,expression"),
    )
    with browsing() as driver:
        listened(driver, home / "compared" / "page" / "index.html")


def verified(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without transkun, which takes half a minute; tests/score_to_audio/comparison judges with it."""
    monkeypatch.setattr(verification, "find_spec", lambda _name: None)
    report = home / "report.txt"
    done = CliRunner().invoke(app, ["models", "verify", "ddsp-piano", "--report", str(report)])
    assert done.exit_code == 0, done.output
    assert "ddsp-piano behaves like a trained model" in report.read_text()
    for private in (str(home), str(Path.home()), str(PUBLISHED)):
        assert private not in report.read_text()


def listened(driver: Any, page: Path) -> None:
    """Both columns sound, and nothing but the page's own files is asked for."""

    def player(member: str) -> Any:
        return driver.execute_script(f"return listening.open().stage.player.{member}")

    visit(driver, page)
    for column in range(2):
        press(driver, str(column + 1))
        until(lambda one=column: player("current") == one, "the column")
        player("play()")
        before = player("seconds")
        until(lambda last=before: player("seconds") > last + 0.2, "sound")
    assert not complaints(driver)
    assert all(address.startswith(("file:", "data:", "blob:")) for address in requested(driver))

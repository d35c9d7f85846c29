"""The studio's server: work, files, and whom it refuses."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from score_to_audio.formats.midi import read_performance
from tests.score_to_audio.comparison.studio.running import PATIENCE, Studio, running
from tests.terminal import terminal
from tests.trial.trial_kit import write_scores

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[4] / "examples/scores"
MINUET = EXAMPLES / "petzold_minuet_bwv_anh114.musicxml"
TRIAL = {"renderer": "trial", "synthesizer": "trial"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Studio]:
    write_scores(folder / "scores", 12)
    (folder / "results").mkdir()
    (folder / "results" / "a.txt").write_text("ours")
    (folder / "results" / "out").symlink_to(folder / "store")
    arguments = ("--scores", str(folder / "scores"), "--outputs", str(folder / "results"))
    with running(folder, *arguments) as started:
        yield started


def add(studio: Studio, number: int) -> str:
    """A piece of its own for a test."""
    return str(studio.json("POST", f"/api/scores/{number}")["id"])


def play(studio: Studio, piece: str, **options: object) -> None:
    studio.json("POST", f"/api/pieces/{piece}/interpretations", TRIAL | options)


def test_a_score_is_played_and_downloaded_in_every_format(studio: Studio) -> None:
    status, content = studio.call("POST", "/api/pieces?name=minuet.musicxml", MINUET.read_bytes())
    assert status == 200
    piece = json.loads(content)["id"]
    play(studio, piece)
    made = studio.wait(piece, 0, "done", "failed")
    assert made["state"] == "done", made
    address = f"/pieces/{piece}/interpretations/{made['id']}"
    for format in ("wav", "flac", "mp3", "ogg"):
        status, content = studio.call("GET", f"{address}.{format}")
        assert status == 200, content
        sound = soundfile.info(io.BytesIO(content))
        assert sound.duration > 1, format
    assert studio.call("GET", f"{address}.exe")[0] == 400


def test_the_performance_can_be_downloaded(studio: Studio, tmp_path: Path) -> None:
    piece = add(studio, 0)
    play(studio, piece)
    made = studio.wait(piece, 0, "done", "failed")
    status, content = studio.call("GET", f"/pieces/{piece}/interpretations/{made['id']}.mid")
    (tmp_path / "made.mid").write_bytes(content)
    assert status == 200
    assert len(read_performance(tmp_path / "made.mid")) == 4
    # The trial renderer does not name the score's notes.
    status, content = studio.call("GET", f"/pieces/{piece}/interpretations/{made['id']}.match")
    assert (status, b"no note of the performance has the id" in content) == (400, True)


def test_cancelling_ends_the_work_at_once_and_the_next_goes_on(studio: Studio) -> None:
    slow, quick = add(studio, 1), add(studio, 2)
    play(studio, slow, renderer_options={"pause": 1000})
    play(studio, quick)
    working = studio.wait(slow, 0, "working")
    assert studio.piece(quick)["interpretations"][0]["state"] == "waiting"
    studio.json("POST", f"/api/pieces/{slow}/interpretations/{working['id']}/cancel")
    assert studio.wait(slow, 0, "cancelled")["error"] == "cancelled"
    assert studio.wait(quick, 0, "done", "failed")["state"] == "done"


def test_a_cancelled_interpretation_can_be_played_again(studio: Studio) -> None:
    piece, other = add(studio, 3), add(studio, 4)
    play(studio, piece, renderer_options={"pause": 1000})
    play(studio, other)
    studio.wait(piece, 0, "working")
    waiting = studio.piece(other)["interpretations"][0]
    studio.json("POST", f"/api/pieces/{other}/interpretations/{waiting['id']}/cancel")
    first = studio.piece(piece)["interpretations"][0]
    studio.json("POST", f"/api/pieces/{piece}/interpretations/{first['id']}/cancel")
    play(studio, other)
    assert studio.wait(other, 0, "done", "failed")["state"] == "done"
    assert len(studio.piece(other)["interpretations"]) == 1


def test_a_model_that_fails_or_dies_fails_its_interpretation_alone(studio: Studio) -> None:
    piece = add(studio, 5)
    for trouble in ("raise", "die"):
        play(studio, piece, renderer_options={"trouble": f"score={trouble}"})
    play(studio, piece)
    raised, died, played = (studio.wait(piece, number, "done", "failed") for number in range(3))
    assert (raised["state"], died["state"], played["state"]) == ("failed", "failed", "done")
    assert "a defect" in raised["error"]
    assert "SIGSEGV" in died["error"]


def test_removing_a_piece_cancels_its_work_and_deletes_its_files(studio: Studio, folder: Path) -> None:
    piece = add(studio, 6)
    play(studio, piece, renderer_options={"pause": 1000})
    studio.wait(piece, 0, "working")
    studio.json("DELETE", f"/api/pieces/{piece}")
    assert not (folder / "studio" / piece).exists()
    other = add(studio, 7)
    play(studio, other)
    assert studio.wait(other, 0, "done", "failed")["state"] == "done"


def test_removing_an_interpretation_takes_it_off_the_page(studio: Studio, folder: Path) -> None:
    piece = add(studio, 8)
    play(studio, piece)
    play(studio, piece, renderer_options={"pause": 0.01})
    first, second = (studio.wait(piece, number, "done", "failed") for number in range(2))
    deadline = time.monotonic() + PATIENCE
    while studio.piece(piece)["page"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    studio.json("DELETE", f"/api/pieces/{piece}/interpretations/{first['id']}")
    data = (folder / "studio" / piece / "page/data/page.js").read_text()
    assert second["id"] in data
    assert first["id"] not in data


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"renderer": "nobody"}, "unknown renderer"),
        ({"renderer_options": {"volume": 3}}, "no option"),
        ({"seed": -1}, "seed"),
        ({"prompt": "/etc/passwd"}, "no prompt"),
        ({"renderer": "virtuosonet", "renderer_options": {"checkpoint": "/etc/passwd"}}, "no paths"),
        ({"synthesizer": "fluidsynth", "synthesizer_options": {"soundfont": "/etc/passwd"}}, "no paths"),
        ({"format": "wav", "output": "/tmp/x"}, "no option"),
    ],
)
def test_bad_requests_get_a_sentence_and_leave_nothing(
    studio: Studio, settings: dict[str, object], reason: str
) -> None:
    piece = add(studio, 9)
    status, content = studio.call("POST", f"/api/pieces/{piece}/interpretations", TRIAL | settings)
    assert status == 400
    assert reason in json.loads(content)["error"]
    assert studio.piece(piece)["interpretations"] == []


def test_bad_uploads_get_a_sentence(studio: Studio) -> None:
    status, content = studio.call("POST", "/api/pieces?name=a.musicxml", b"<score-partwise>")
    assert status == 400
    assert json.loads(content)["error"].startswith("a.musicxml")
    status, content = studio.call("POST", "/api/pieces?name=a.musicxml", b"<" * (33 * 2**20))
    assert status == 400
    assert "32 MiB" in json.loads(content)["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/outputs/0/../studio/lock",
        "/outputs/0/%2e%2e/studio/lock",
        "/outputs/0/..%2fstudio%2flock",
        "/outputs/0/out",
        "/outputs/0//etc/passwd",
        "/outputs/1/a.txt",
        "/pieces/..%2f..%2f/page/x",
        "/library.py",
        "/openapi.json",
    ],
)
def test_nothing_outside_the_folders_is_served(studio: Studio, path: str) -> None:
    assert studio.call("GET", path)[0] in (400, 404)


def test_results_of_earlier_runs_are_served(studio: Studio) -> None:
    assert b"a.txt" in studio.call("GET", "/outputs/0/")[1]
    assert studio.call("GET", "/outputs/0/a.txt") == (200, b"ours")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "attacker.example"}, {"Origin": "http://attacker.example"}, {"Origin": "null"}],
)
def test_foreign_pages_are_refused(studio: Studio, headers: dict[str, str]) -> None:
    status, _ = studio.call("POST", "/api/scores/10", headers=headers)
    assert status == 403
    assert all(piece["file_name"] != "score-010.musicxml" for piece in studio.state()["pieces"])


def test_beyond_loopback_a_token_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "0.0.0.0") as started:
        port = started.address.split(":")[2].split("/")[0]
        token = started.address.partition("token=")[2]
        assert len(token) > 20
        started.address = f"http://127.0.0.1:{port}/"
        assert started.call("GET", "/")[0] == 401
        assert started.call("GET", "/?token=wrong")[0] == 401
        cookie = {"Cookie": f"score-to-audio-studio={token}"}
        assert started.call("GET", "/api/choices", headers=cookie)[0] == 200


def test_work_ends_with_the_studio_and_is_known_after_a_restart(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores", 1)
    with running(tmp_path, "--scores", str(tmp_path / "scores")) as first:
        piece = add(first, 0)
        play(first, piece)
        first.wait(piece, 0, "done", "failed")
        play(first, piece, renderer_options={"pause": 1000})
        first.wait(piece, 1, "working")
    with running(tmp_path) as second:
        states = [one["state"] for one in second.piece(piece)["interpretations"]]
    assert states == ["done", "cancelled"]


def test_ctrl_c_in_a_terminal_ends_the_studio(tmp_path: Path) -> None:
    arguments = ("studio", "--folder", str(tmp_path), "--port", "0", "--no-open")
    with terminal(*arguments, environment=os.environ) as command:
        while "Ctrl-C ends it" not in command.output:
            assert command.read(PATIENCE), command.output
        command.press_ctrl_c()
        assert command.exit_code(PATIENCE) == 0, command.output
    assert "Traceback" not in command.output

"""No result replaces an input or a file that is not ours, whatever the command, the link or the name."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from score_to_audio.cli.main import main
from score_to_audio.errors import InputError
from score_to_audio.outputs import check_output_files
from score_to_audio.testing import example_score
from tests.paths import EXAMPLE_SCORES

Call = Callable[..., tuple[int, str, str]]
REFUSED = "choose another output, or move the file away"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line, within this process, in ``tmp_path``: exit code, stdout, stderr."""
    (tmp_path / "tune.musicxml").write_bytes(example_score().content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["score-to-audio", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def assert_refused(result: tuple[int, str, str], kept: Path, content: bytes) -> None:
    code, printed, error = result
    assert (code, printed) == (2, ""), error
    assert REFUSED in error
    assert error.count("\n") == 1
    assert kept.read_bytes() == content


@pytest.fixture
def song(call: Call, tmp_path: Path) -> Path:
    """A MIDI score of the user's, in a folder of its own."""
    assert call("render", "tune.musicxml", "-o", "made.mid", "-r", "score")[0] == 0
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "made.mid", tmp_path / "folder" / "song.mid")
    return tmp_path / "folder" / "song.mid"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "folder/song.mid", "-o", "folder"),
        ("run", "folder", "-o", "folder"),
        ("batch", "folder", "-o", "folder"),
        ("render", "folder/song.mid", "-o", "folder/song.mid"),
        ("render", "folder/song.mid", "-o", "link.mid"),
        ("run", "link.mid", "-o", "folder", "--set", "renderer.speed=2"),
        ("run", "song.mid", "-o", "folder"),
    ],
)
def test_an_input_is_never_replaced(
    call: Call, song: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    content = song.read_bytes()
    (tmp_path / "link.mid").symlink_to(song)
    (tmp_path / "song.mid").symlink_to(song)
    if arguments[1] == "link.mid":
        (tmp_path / "folder" / "link.mid").hardlink_to(song)
    assert_refused(call(*arguments), song, content)


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("tune.mid", ("run", "tune.musicxml", "-o", ".")),
        ("out/tune.wav", ("run", "tune.musicxml", "-o", "out")),
        ("out/tune.ogg", ("run", "tune.musicxml", "-o", "out", "-f", "wav", "-f", "ogg")),
        ("out/summary.csv", ("batch", "tune.musicxml", "-o", "out")),
        ("x.mid", ("render", "tune.musicxml", "-o", "x.mid")),
        ("x.svg", ("plot", "tune.musicxml", "-o", "x.svg")),
        ("x.wav", ("synthesize", "made.mid", "-o", "x.wav")),
    ],
)
def test_a_file_of_the_user_is_never_replaced(
    call: Call, song: Path, tmp_path: Path, file: str, arguments: tuple[str, ...]
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"the user's own")
    code, printed, error = call(*arguments)
    assert (code, printed) == (2, "")
    assert f"{file}: this file exists and was not written by score-to-audio" in error
    assert (tmp_path / file).read_bytes() == b"the user's own"


def test_our_own_earlier_results_are_replaced(call: Call, tmp_path: Path) -> None:
    for renderer in ("score", "kth-rules"):
        assert call("render", "tune.musicxml", "-o", "x.mid", "-r", renderer)[0] == 0
        assert call("plot", "tune.musicxml", "-o", "x.svg", "-r", renderer)[0] == 0
    (tmp_path / "x.mid").write_bytes(b"edited by the user")
    assert_refused(call("render", "tune.musicxml", "-o", "x.mid"), tmp_path / "x.mid", b"edited by the user")


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_manifest_is_resumed(call: Call, tmp_path: Path) -> None:
    arguments = ("run", "tune.musicxml", "-o", "out", "-f", "wav", "-f", "ogg")
    assert call(*arguments)[0] == 0
    (tmp_path / "out" / "manifest.jsonl").unlink()
    code, printed, error = call(*arguments)
    assert (code, error) == (0, "")
    assert "from the store" in printed
    (tmp_path / "out" / "manifest.jsonl").unlink()
    assert call(*arguments, "-r", "score")[0] == 2  # these would be other bytes


def test_files_that_differ_in_case_only_are_one_file_where_the_file_system_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Song.mid").write_bytes(b"score")
    original = Path.stat

    def ignoring_case(self: Path, **options: bool) -> object:
        return original(self.with_name("Song.mid") if self.name.lower() == "song.mid" else self, **options)

    monkeypatch.setattr(Path, "stat", ignoring_case)
    with pytest.raises(InputError, match=r"song\.mid: the result would replace the input .*Song\.mid"):
        check_output_files([tmp_path / "song.mid"], [tmp_path / "Song.mid"], lambda _: True)


@pytest.mark.slow
def test_decisions_of_the_reader_are_reported_once_everywhere(call: Call, tmp_path: Path) -> None:
    text = (EXAMPLE_SCORES / "chopin_prelude_op28_no7.musicxml").read_text("utf-8")
    voice = '<score-part id="P9"><part-name>Voice</part-name></score-part>'
    measures = text.count("<measure ")
    rest = '<measure number="{}"><note><rest measure="yes"/><duration>1</duration></note></measure>'
    part = f'<part id="P9">{"".join(map(rest.format, range(1, measures + 1)))}</part>'
    text = text.replace("</part-list>", f"{voice}</part-list>")
    text = text.replace("</score-partwise>", f"{part}</score-partwise>")
    (tmp_path / "two.musicxml").write_text(text, "utf-8")
    for _ in range(2):  # made, then from the store
        code, printed, error = call("run", "two.musicxml", "-o", "out", "-r", "score", "--json")
        assert code == 0, error
        notices = json.loads(printed)["notices"]
        assert len(notices) == 1
        assert "Voice" in notices[0]
        assert call("run", "two.musicxml", "-o", "out", "-r", "score")[1].count(notices[0]) == 1
        assert call("render", "two.musicxml", "-o", "two.mid", "-r", "score")[1].count(notices[0]) == 1
        entry = json.loads((tmp_path / "out" / "manifest.jsonl").read_text())
        assert entry["notices"] == notices


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("render", "tune.musicxml", "-o", "a.wav"), "`render` writes MIDI"),
        (("plot", "tune.musicxml", "-o", "a.pdf"), "`plot` writes SVG or PNG"),
        (("run", "tune.musicxml", "-o", "out", "--device", "gpu"), "device: Input should be 'auto', 'cpu'"),
        (("run", "tune.musicxml", "-o", "out", "--prompt", "p.wav"), "sampled-piano takes no prompt"),
    ],
)
def test_options_without_effect_are_refused(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "p.wav").write_bytes(b"")
    code, _, error = call(*arguments)
    assert code == 2
    assert message in error


def test_a_plot_needs_the_score_of_its_performance(call: Call, tmp_path: Path) -> None:
    assert call("render", "tune.musicxml", "-o", "a.mid")[0] == 0
    other = str(EXAMPLE_SCORES / "bach_prelude_bwv846.musicxml")
    code, _, error = call("plot", "a.mid", "--score", other, "-o", "a.png")
    assert code == 2
    assert "a.mid is no performance of" in error
    assert call("plot", "a.mid", "--score", "tune.musicxml", "-o", "a.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

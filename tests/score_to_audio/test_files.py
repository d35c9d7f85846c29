"""Files that appear whole or not at all, and what killed writers leave behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from score_to_audio.files import TEMPORARY, replacing, sweep

WRITER = """
import sys, time
from pathlib import Path
from score_to_audio.files import replacing

with replacing(Path(sys.argv[1])) as path:
    path.write_text("half of it")
    print("writing", flush=True)
    time.sleep(1000)
"""


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(f"{TEMPORARY}*"))


def test_a_block_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "result").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "result") as path:
            path.write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert (tmp_path / "result").read_text() == "old"


def test_leftovers_go_once_their_writer_is_dead(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "result")], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout
    assert writer.stdout.readline() == "writing\n"
    (tmp_path / ".somebody-elses").touch()
    try:
        assert sweep([tmp_path, tmp_path / "missing"]) == 0
        assert len(leftovers(tmp_path)) == 1, "a living writer's file was deleted"
    finally:
        writer.kill()
        writer.communicate()
    assert len(leftovers(tmp_path)) == 1
    assert sweep([tmp_path]) == 1
    assert [path.name for path in tmp_path.iterdir()] == [".somebody-elses"]

"""Files that appear whole or not at all, and what killed writers leave behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from score_to_audio import files
from score_to_audio.errors import OutputError
from score_to_audio.files import FICLONE, TEMPORARY, copy_file, replacing, sweep, writing

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


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (errno.ENOSPC, "No space left on device); make room there and run the same command again"),
        (errno.EROFS, "Read-only file system); choose a folder that can be written to"),
        (errno.ENAMETOOLONG, "File name too long); shorten the name of the score"),
    ],
)
def test_what_hinders_writing_is_one_sentence_with_a_way_out(tmp_path: Path, code: int, way_out: str) -> None:
    with pytest.raises(OutputError) as found, writing(tmp_path / "x.wav"):
        raise OSError(code, os.strerror(code), "/some/source", None, "/some/copy")
    assert str(found.value).startswith(f"{tmp_path}/x.wav: cannot be written ({way_out}")


def test_a_fault_that_may_pass_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Stale") as found, writing(tmp_path):
        raise OSError(errno.ESTALE, "Stale file handle")
    assert not isinstance(found.value, OutputError)


def test_a_copy_shares_nothing_that_an_editor_changes(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(bytes(range(256)) * 9000)
    copy_file(source, copy)
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_mtime_ns == source.stat().st_mtime_ns
    with copy.open("r+b") as file:
        file.write(b"edited")
    assert source.read_bytes() == bytes(range(256)) * 9000


def test_a_file_system_that_can_share_blocks_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imitates the ioctl of Btrfs and XFS, which takes the descriptors of the copy and of its source."""

    def clone(copy: int, request: int, source: int) -> int:
        assert request == FICLONE
        os.write(copy, os.pread(source, 100, 0)[::-1])
        return 0

    monkeypatch.setattr(files.fcntl, "ioctl", clone)
    (tmp_path / "source").write_bytes(b"abc")
    copy_file(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"cba"

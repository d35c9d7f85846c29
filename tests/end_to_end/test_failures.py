"""The real command line under kill -9, in parallel, on full disks and on read-only stores."""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from score_to_audio.jobs import read_manifest
from tests.trial.trial_kit import install_trial_plugins, write_scores

pytestmark = pytest.mark.slow

PATIENCE = 240
"""Seconds after which a process counts as hanging."""


@dataclass(frozen=True)
class Place:
    """A folder with scores, the trial plug-ins, a store and a log of all work done."""

    root: Path
    pause: float
    """Seconds that each stage takes for each score."""

    @property
    def store(self) -> Path:
        return self.root / "store"

    def command(self, output: str) -> list[str]:
        options = [
            f"{stage}.{key}={value}"
            for stage in ("renderer", "synthesizer")
            for key, value in (("log", self.root / "log"), ("pause", self.pause))
        ]
        return [
            *(sys.executable, "-m", "score_to_audio.cli", "run", str(self.root / "scores")),
            *("-o", str(self.root / output), "--renderer", "trial", "--synthesizer", "trial"),
            *(word for option in options for word in ("--set", option)),
        ]

    def start(
        self,
        output: str = "out",
        *,
        before: tuple[str, ...] = (),
        preexec_fn: Callable[[], None] | None = None,
        **environment: str,
    ) -> subprocess.Popen[str]:
        python_path = os.pathsep.join(
            filter(None, [str(self.root / "plugins"), os.environ.get("PYTHONPATH")])
        )
        return subprocess.Popen(
            [*before, *self.command(output)],
            env=os.environ
            | {"PYTHONPATH": python_path, "SCORE_TO_AUDIO_STORE": str(self.store)}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec_fn,
        )

    def run(self, output: str = "out") -> tuple[str, str]:
        code, out, err = finish(self.start(output))
        assert code == 0, err
        return out, err

    def work_done(self) -> list[str]:
        """ "rendered ..." and "synthesized ..." lines, in order."""
        lines = (self.root / "log").read_text().splitlines()
        return [line for line in lines if line != "loaded"]

    def results(self, output: str = "out") -> dict[str, bytes]:
        folder = self.root / output
        found = folder.iterdir() if folder.is_dir() else ()
        return {path.name: path.read_bytes() for path in found if path.suffix in (".mid", ".wav")}


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def make_place(root: Path, count: int, pause: float) -> Place:
    write_scores(root / "scores", count)
    install_trial_plugins(root / "plugins")
    (root / "log").touch()
    return Place(root, pause)


def artifacts(store: Path) -> dict[str, tuple[int, int]]:
    """Every whole artifact's file -> what changes when it is made again."""
    records = store.glob("*/*/artifact.json")
    files = [path for record in records for path in record.parent.glob("[a-z]*.[mw]*")]
    return {str(path.relative_to(store)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


# ---------------------------------------------------------------------------------------------- killed


@pytest.mark.kills
def test_killed_at_random_moments_and_run_again(tmp_path: Path) -> None:
    undisturbed = make_place(tmp_path / "undisturbed", 20, 0.0)
    undisturbed.run()
    expected = undisturbed.results()
    assert len(expected) == 40
    assert len(set(expected.values())) == 40

    moments = random.Random(9)
    place = make_place(tmp_path / "disturbed", 20, 0.15)
    finished: dict[str, tuple[int, int]] = {}
    killed = 0
    for _ in range(8):
        process = place.start()
        while not place.work_done() and process.poll() is None:  # past the start, whatever it takes
            time.sleep(0.02)
        time.sleep(moments.uniform(0.0, 2.0))
        process.kill()
        killed += finish(process)[0] == -9
        for name, content in place.results().items():
            assert content == expected[name], f"{name} is visible but not whole"
        now = artifacts(place.store)
        assert finished.items() <= now.items(), "finished work was done again"
        finished = now
    assert killed >= 3, "hardly any process was killed before it was done"
    place.run()
    assert place.results() == expected
    assert finished.items() <= artifacts(place.store).items()
    assert len(read_manifest(place.root / "out")) == 20
    assert not list(place.store.rglob(".tmp-*"))
    assert len(place.work_done()) <= 40 + 2 * killed  # at most what was under way, per kill


def test_two_processes_at_once_make_everything_once(tmp_path: Path) -> None:
    place = make_place(tmp_path, 20, 0.1)
    processes = [place.start(output) for output in ("one", "two")]
    for process in processes:
        code, _, err = finish(process)
        assert code == 0, err
    assert place.results("one") == place.results("two")
    assert len(place.results("one")) == 40
    work = place.work_done()
    assert len(work) == len(set(work)) == 40


def test_two_processes_may_share_the_output_folder(tmp_path: Path) -> None:
    place = make_place(tmp_path, 6, 0.05)
    processes = [place.start() for _ in range(2)]
    for process in processes:
        code, _, err = finish(process)
        assert code == 0, err
    assert len(place.results()) == 12
    assert len(read_manifest(place.root / "out")) == 6


def test_a_second_run_of_100_scores_does_no_work(tmp_path: Path) -> None:
    place = make_place(tmp_path, 100, 0.0)
    place.run()
    work, results = place.work_done(), place.results()
    assert len(work) == len(results) == 200
    out, _ = place.run()
    assert out.count("from the store") == 100
    assert place.work_done() == work
    assert place.results() == results


# -------------------------------------------------------------------------------------------- full disk


def limit_file_size() -> None:
    """Enough for the MIDI files and records, not for the audio of two seconds (20 kB)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def assert_one_clear_line_per_score(err: str, count: int, place: Place) -> None:
    lines = err.splitlines()
    assert len(lines) == count, err
    for line in lines:
        assert line.startswith(f"error: {place.store}: the store cannot be used ("), line
        assert "SCORE_TO_AUDIO_STORE" in line


def test_a_limit_on_file_sizes(tmp_path: Path) -> None:
    place = make_place(tmp_path, 3, 0.0)
    code, _, err = finish(place.start(preexec_fn=limit_file_size))
    assert code == 1
    assert_one_clear_line_per_score(err, 3, place)
    assert place.results() == {}
    assert not list(place.store.rglob(".tmp-*"))
    place.run()
    assert len(place.results()) == 6


@pytest.fixture
def mounting() -> tuple[str, ...]:
    """The start of a command line that may mount: a mount namespace of its own."""
    command = ("unshare", "--map-root-user", "--mount")
    try:
        possible = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("this machine lets nobody mount (no user namespaces): test_a_limit_on_file_sizes remains")
    return command


def test_a_full_disk(tmp_path: Path, mounting: tuple[str, ...]) -> None:
    """A store of 200 kB without a limit of its own holds some of ten scores; the others say so, and pruning
    helps."""
    place = make_place(tmp_path, 10, 0.0)
    place.store.mkdir()
    prune = f'"{sys.executable}" -m score_to_audio.cli store prune --all'
    script = (
        'mount -t tmpfs -o size=200k tmpfs "$0" || exit 99; "$@"; code=$?; '
        f'find "$0" -name ".tmp-*" | sed s/^/LEFT:/; {prune}; "$@" 2>/dev/null | sed s/^/AGAIN:/; exit $code'
    )
    before = (*mounting, "sh", "-c", script, str(place.store))
    code, out, err = finish(place.start(before=before, SCORE_TO_AUDIO_STORE_SIZE="none"))
    assert code == 1, err
    assert "LEFT:" not in out
    done = [line for line in out.splitlines() if line.startswith(str(place.root / "out"))]
    assert 1 <= len(done) < 10
    assert_one_clear_line_per_score(err, 10 - len(done), place)
    assert "No space left on device" in err
    assert "deleted " in out
    assert out.count("AGAIN:") == len(done)  # as many fit into the emptied store


def test_a_full_output_folder(tmp_path: Path, mounting: tuple[str, ...]) -> None:
    """200 kB hold three or four of ten results; the run says where there is no room, and how to go on."""
    place = make_place(tmp_path, 10, 0.0)
    out = place.root / "out"
    out.mkdir()
    script = (
        'mount -t tmpfs -o size=200k tmpfs "$0" || exit 99; "$@"; code=$?; '
        'find "$0" -name ".score-to-audio-*" | sed s/^/LEFT:/; '
        'mount -o remount,size=2M "$0"; "$@" | sed s/^/AGAIN:/; exit $code'
    )
    code, printed, err = finish(place.start(before=(*mounting, "sh", "-c", script, str(out))))
    assert code == 1, err
    assert "LEFT:" not in printed
    assert printed.count("AGAIN:") == 10
    way_out = "(No space left on device); make room there and run the same command again"
    assert err
    for line in err.splitlines():
        assert line.startswith(f"error: {out}/"), line
        assert f": cannot be written {way_out}" in line


# -------------------------------------------------------------------------------------------- read-only


def be_bound_by_permissions() -> None:
    """Make permission bits count for root too: drop the capabilities to override them."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; 24 is PR_CAPBSET_DROP
            if libc.prctl(24, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")


def test_a_read_only_store_serves_hits_and_says_why_it_cannot_do_more(tmp_path: Path) -> None:
    place = make_place(tmp_path, 3, 0.0)
    place.run("before")
    work = place.work_done()
    write_scores(place.root / "scores", 4)
    folders = [place.store, *(path for path in place.store.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        code, out, err = finish(place.start(preexec_fn=be_bound_by_permissions))
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert code == 1
    assert out.count("from the store") == 3
    assert place.results() == place.results("before")
    assert err == (
        f"error: {place.store}: the store cannot be used (Permission denied); set SCORE_TO_AUDIO_STORE to a "
        "folder that can be written to\n"
    )
    assert place.work_done() == work


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    place = make_place(tmp_path, 1, 0.0)
    (place.root / "file").write_text("")
    code, _, err = finish(place.start(SCORE_TO_AUDIO_STORE=str(place.root / "file" / "store")))
    assert code == 1
    assert err.startswith(f"error: {place.root}/file/store: the store cannot be used (Not a directory); set ")
    assert len(err.splitlines()) == 1


def stage_of(artifact: Path) -> str:
    record = json.loads((artifact.parent / "artifact.json").read_text())
    return str(record["provenance"]["stage"])


def test_damaged_artifacts_are_made_again(tmp_path: Path) -> None:
    place = make_place(tmp_path, 4, 0.0)
    place.run("before")
    damages: list[Callable[[Path], object]] = [
        lambda path: os.truncate(path, 1000),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\0"),
        lambda path: (path.parent / "artifact.json").write_text("{}"),
    ]
    sounds = [path for path in sorted(place.store.rglob("audio.flac")) if stage_of(path) == "synthesize"]
    for damage, path in zip(damages, sounds, strict=True):
        damage(path)
    place.run()
    assert place.results() == place.results("before")
    assert len(place.work_done()) == 8 + 4

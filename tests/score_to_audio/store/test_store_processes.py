"""The store under several processes, SIGKILL, full disks and read-only folders: all of it for real."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from score_to_audio.store import Store
from score_to_audio.store.limits import MADE
from tests.paths import PROJECT
from tests.score_to_audio.store.store_worker import CONTENT, PROVENANCE, key_of

WORKER = Path(__file__).with_name("store_worker.py")
NAMES = [f"piece-{number}" for number in range(8)]
PATIENCE = 120
"""Seconds after which a process counts as hanging."""


def start(
    root: Path, *arguments: str, before: tuple[str, ...] = (), preexec_fn: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, str(WORKER), str(root), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def make(root: Path, log: Path, names: list[str], pause: float = 0.0) -> None:
    code, _, err = finish(start(root, "make", str(log), str(pause), *names))
    assert code == 0, err


def assert_whole(store: Store, names: list[str]) -> None:
    """Every artifact is there, and nothing else is."""
    for name in names:
        artifact = store.get(key_of(name), verify="hash")
        assert artifact
        assert store.path(artifact).read_bytes() == CONTENT
    files = {path.name for path in store.folder.rglob("*") if path.is_file()}
    assert files - {MADE} == {".lock", "audio.wav", "artifact.json", ".in-use"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


# ------------------------------------------------------------------------------------ killed processes


@pytest.mark.slow
@pytest.mark.kills
def test_killed_at_random_moments_and_run_again(tmp_path: Path, log: Path) -> None:
    moments = random.Random(20)
    store = Store(tmp_path / "store")
    killed = 0
    for _ in range(12):
        process = start(store.folder, "make", str(log), "0.15", *NAMES)
        time.sleep(moments.uniform(0.2, 1.2))
        process.kill()
        killed += finish(process)[0] == -9
        for folder in store.folder.glob("*/*"):
            artifact = store.get(folder.name)  # there and whole, or not there
            assert artifact is None or store.path(artifact).read_bytes() == CONTENT
    assert killed, "no process was killed before it was done"
    make(store.folder, log, NAMES)
    assert_whole(store, NAMES)
    lines = log.read_text().splitlines()
    for name in NAMES:
        after_first_done = lines[lines.index(f"done {name}") :]
        assert f"made {name}" not in after_first_done
        assert f"draft {name}" not in after_first_done


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")
    holder = start(store.folder, "make", str(log), "1000", "piece")
    while not log.read_text():
        assert holder.poll() is None
        time.sleep(0.01)
    waiting = start(store.folder, "make", str(log), "0", "piece")
    time.sleep(0.5)
    assert waiting.poll() is None  # it waits as long as the holder lives
    holder.kill()
    finish(holder)
    code, _, err = finish(waiting)
    assert code == 0, err
    assert_whole(store, ["piece"])


def test_parts_of_a_killed_process_are_used(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")
    process = start(store.folder, "make", str(log), "1", "piece")
    while not list(store.folder.rglob("parts/*.npz")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    finish(process)
    make(store.folder, log, ["piece"])
    assert log.read_text().splitlines() == ["draft piece", "made piece", "done piece"]
    assert_whole(store, ["piece"])


# ------------------------------------------------------------------------------------- at the same time


def test_two_processes_make_everything_once(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")
    processes = [
        start(store.folder, "make", str(log), "0.05", *names) for names in (NAMES, NAMES[::-1], NAMES)
    ]
    for process in processes:
        code, _, err = finish(process)
        assert code == 0, err
    lines = log.read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("made")) == [f"made {name}" for name in NAMES]
    assert_whole(store, NAMES)


def test_threads_make_everything_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    together = Barrier(8)
    made = []

    def slow(destination: Path) -> None:
        time.sleep(0.1)
        destination.write_bytes(CONTENT)
        made.append(1)

    def get(_: int) -> bool:
        together.wait()
        return store.get_or_make(
            key_of("one"), name="audio.wav", media_type="audio/wav", provenance=PROVENANCE, make=slow
        )[1]

    with ThreadPoolExecutor(8) as threads:
        cached = list(threads.map(get, range(8)))
    assert sum(cached) == 7
    assert len(made) == 1


def test_what_another_process_has_got_is_not_pruned_until_it_ends(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")
    make(store.folder, log, NAMES[:3])
    user = start(store.folder, "use", NAMES[1], "unknown")
    assert user.stdout
    assert [user.stdout.readline() for _ in range(2)] == ["hit\n", "miss\n"]
    report = store.prune(max_size=0)
    assert (report.count, report.spared) == (2, 1)
    user.kill()
    finish(user)
    report = store.prune(max_size=0)
    assert (report.count, report.spared) == (1, 0)


def test_what_another_process_is_making_is_not_pruned(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")
    maker = start(store.folder, "make", str(log), "1", "piece")
    while not list(store.folder.rglob(".tmp-*-audio.wav")):
        assert maker.poll() is None
        time.sleep(0.01)
    report = store.prune(max_size=0)
    assert (report.count, report.spared) == (0, 1)
    code, _, err = finish(maker)
    assert code == 0, err
    assert log.read_text().splitlines() == ["draft piece", "made piece", "done piece"]


@pytest.mark.slow
@pytest.mark.kills
def test_pruning_beside_running_work(tmp_path: Path, log: Path) -> None:
    """Workers read what they got; the workers' own checks fail if it vanishes under them."""
    store = Store(tmp_path / "store")
    deleted = 0
    for _ in range(4):
        workers = [start(store.folder, "make", str(log), "0.01", *NAMES) for _ in range(3)]
        while any(worker.poll() is None for worker in workers):
            deleted += store.prune(max_size=0).count
        for worker in workers:
            code, _, err = finish(worker)
            assert code == 0, err
    assert deleted, "pruning never met an artifact that it could delete"
    store.prune(max_size=0)
    assert store.info().count == 0


def test_a_forked_child_claims_for_itself(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")
    make(store.folder, log, ["piece"])
    script = (
        "import os, sys; from pathlib import Path; from score_to_audio.store import Store\n"
        "store, key = Store(Path(sys.argv[1])), sys.argv[2]\n"
        "assert store.get(key)\n"
        "if os.fork(): os._exit(0)\n"
        "assert store.get(key); print('claimed', flush=True); sys.stdin.readline()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(store.folder), key_of("piece")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    assert parent.stdout.readline() == "claimed\n"
    parent.wait(PATIENCE)
    pruner = "import sys; from pathlib import Path; from score_to_audio.store import Store\n"
    pruner += "print(Store(Path(sys.argv[1])).prune(max_size=0).spared)"
    done = subprocess.run(
        [sys.executable, "-c", pruner, str(store.folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    parent.communicate("\n", timeout=PATIENCE)


# --------------------------------------------------------------------------------------- full, read-only


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_limit_on_file_sizes(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")
    code, _, err = finish(start(store.folder, "make", str(log), "0", "piece", preexec_fn=limit_file_size))
    assert code == 1
    assert err == (
        f"error: {store.folder}: the store cannot be used (File too large); raise the limit (`ulimit -f`) or "
        "set SCORE_TO_AUDIO_STORE to another file system\n"
    )
    assert store.get(key_of("piece")) is None
    assert not list(store.folder.rglob(".tmp-*"))
    make(store.folder, log, ["piece"])
    assert log.read_text().splitlines() == ["draft piece", "made piece", "done piece"]  # the draft was kept


@pytest.fixture
def mounting(tmp_path: Path) -> tuple[str, ...]:
    """The start of a command line that may mount: a mount namespace of its own."""
    command = ("unshare", "--map-root-user", "--mount")
    try:
        possible = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("this machine lets nobody mount (no user namespaces): test_a_limit_on_file_sizes remains")
    return command


def test_a_full_disk(tmp_path: Path, log: Path, mounting: tuple[str, ...]) -> None:
    """Two artifacts of 208 kB do not fit on a file system of 350 kB."""
    root = tmp_path / "disk"
    root.mkdir()
    script = (
        'mount -t tmpfs -o size=350k tmpfs "$0" || exit 99; "$@"; code=$?; '
        'cd "$0" && find . -name ".tmp-*" -o -name "audio.wav" -o -name "artifact.json"; exit $code'
    )
    before = (*mounting, "sh", "-c", script, str(root))
    code, out, err = finish(start(root, "make", str(log), "0", "one", "two", before=before))
    assert code == 1, err
    assert err == (
        f"error: {root}: the store cannot be used (No space left on device); make room "
        "(`score-to-audio store prune`) or set SCORE_TO_AUDIO_STORE to a disk with space\n"
    )
    home = f"./{key_of('one')[:2]}/{key_of('one')}"
    assert sorted(out.split()) == [f"{home}/artifact.json", f"{home}/audio.wav"]


def test_a_full_disk_is_helped_by_pruning(tmp_path: Path, log: Path, mounting: tuple[str, ...]) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    prune = f'"{sys.executable}" -m score_to_audio.cli store prune --all'
    script = (
        'mount -t tmpfs -o size=350k tmpfs "$0" || exit 99; "$@" one two 2>/dev/null; '
        f'SCORE_TO_AUDIO_STORE="$0" {prune}; "$@" two'
    )
    code, out, err = finish(
        start(root, "make", str(log), "0", before=(*mounting, "sh", "-c", script, str(root)))
    )
    assert code == 0, err
    assert out.startswith("deleted 2 artifacts")  # the second one was the kept part of unfinished work


def test_a_read_only_file_system(tmp_path: Path, log: Path, mounting: tuple[str, ...]) -> None:
    store = Store(tmp_path / "store")
    make(store.folder, log, ["piece"])
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" || exit 99; "$@"'
    before = (*mounting, "sh", "-c", script, str(store.folder))
    code, _, err = finish(start(store.folder, "make", str(log), "0", "piece", before=before))
    assert code == 0, err
    code, _, err = finish(start(store.folder, "make", str(log), "0", "other", before=before))
    assert code == 1
    assert err == (
        f"error: {store.folder}: the store cannot be used (Read-only file system); set SCORE_TO_AUDIO_STORE "
        "to a folder that can be written to\n"
    )
    assert "draft other" not in log.read_text()  # said before any work


def be_bound_by_permissions() -> None:
    """Make permission bits count for root too: drop the capabilities to override them."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; 24 is PR_CAPBSET_DROP
            if libc.prctl(24, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")


def test_a_folder_without_write_permission(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")
    make(store.folder, log, ["piece"])
    folders = [path for path in (store.folder, *store.folder.rglob("*")) if path.is_dir()]
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    for path in (*files, *folders):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        arguments = ("make", str(log), "0")
        hit = finish(start(store.folder, *arguments, "piece", preexec_fn=be_bound_by_permissions))
        miss = finish(start(store.folder, *arguments, "other", preexec_fn=be_bound_by_permissions))
    finally:
        for path in folders:
            path.chmod(0o755)
    assert hit[0] == 0, hit[2]
    assert miss[0] == 1
    assert miss[2] == (
        f"error: {store.folder}: the store cannot be used (Permission denied); set SCORE_TO_AUDIO_STORE to "
        "a folder that can be written to\n"
    )

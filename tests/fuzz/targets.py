"""What has to hold for every file that strangers hand over, one target for each kind of file.

A target reads a file as the product does and goes on as far as a damaged file can get: a score is rendered
and written as MIDI. Only our own errors may come out; nothing may be run, fetched, or written outside the
file's folder; time and memory stay within bounds.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np

from score_to_audio.errors import InputError
from tests.fuzz import seeds
from tests.fuzz.mutations import Mutation, damage_archive, damage_bytes, damage_xml, damage_yaml

SECONDS = 20.0
"""Of processor time for one file of at most 256 kB; the largest legitimate scores of that size take 3 s."""
FORBIDDEN = {
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen"),
    *("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request", "pty.spawn", "ctypes.dlopen"),
}
"""Audit events (the table in the Python library reference) that no reader has a reason for."""
CHANGES = {
    *("os.remove", "os.rmdir", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.chmod", "shutil.rmtree"),
}
"""Audit events that a reader may cause for temporary files only; their first argument is a path."""


class TookTooLong(BaseException):
    """Not an ``Exception``, so that nobody who catches those hides it."""


@dataclass(frozen=True)
class Target:
    """A kind of file: how it ends, good examples, how to damage them, and what the product does with one."""

    suffix: str
    seeds: Callable[[], list[bytes]]
    damage: Mutation
    use: Callable[[Path], object]


def mutated(target: Target, random: Random) -> bytes:
    content = random.choice(target.seeds())
    for _ in range(random.choice((1, 1, 2, 3))):
        content = target.damage(content, random)
    return content


def check(target: Target, content: bytes, folder: Path) -> str | None:
    """What is wrong with the way in which ``target`` takes a file: a readable report, or None."""
    load_libraries(target)
    path = folder / f"input{target.suffix}"
    path.write_bytes(content)
    problem = None
    try:
        with _watched(folder) as violations, _limited():
            target.use(path)
    except InputError as error:
        message = str(error)
        if "\n" in message or len(message) > 600:
            problem = f"an error that is no short sentence: {message[:300]!r}"
    except (Exception, TookTooLong):
        problem = traceback.format_exc()
    if violations:
        problem = f"{violations}\n{problem or ''}"
    others = sorted(file.name for file in folder.iterdir() if file != path)
    return problem or (f"left behind: {others}" if others else None)


@cache
def load_libraries(target: Target) -> None:
    """Libraries run and open what they like while they are imported."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"input{target.suffix}"
        path.write_bytes(target.seeds()[0])
        target.use(path)


# ------------------------------------------------------------------------------------------- bounds

_violations: list[str] | None = None
_folder = ""


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _violations is None:
        return
    if event in FORBIDDEN or (event in CHANGES and _is_outside(arguments[0])):
        _violations.append(f"{event} {arguments!r}"[:300])
    elif event == "open":
        path, mode, flags = arguments
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if isinstance(flags, int) else False
        if (writes or (mode and set(mode) & set("wax+"))) and _is_outside(path):
            _violations.append(f"open {path!r} for writing")


def _is_outside(path: int | str | bytes) -> bool:
    """Of the input's folder, which is the one for temporary files too; relative paths belong to a folder that
    is open already."""
    text = "" if isinstance(path, int) else os.fsdecode(path)
    return text.startswith("/") and not text.startswith((f"{_folder}/", "/dev/null"))


@cache
def _install_audit() -> None:
    sys.addaudithook(_audit)


@contextmanager
def _watched(folder: Path) -> Iterator[list[str]]:
    """The list gets what is done in the block and should not be."""
    global _violations, _folder
    _install_audit()
    sys.dont_write_bytecode = True
    tempfile.tempdir = str(folder)
    found: list[str] = []
    _violations, _folder = found, str(folder)
    try:
        yield found
    finally:
        _violations = None
        tempfile.tempdir = None


@contextmanager
def _limited() -> Iterator[None]:
    """Raises ``TookTooLong`` in the block after ``SECONDS`` of processor time."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TookTooLong(f"more than {SECONDS:.0f} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# ------------------------------------------------------------------------------------------- targets


def play_score(path: Path) -> None:
    """As `score-to-audio render` does with both renderers that need no checkpoint."""
    from score_to_audio.formats.scores.reader import read_score

    score = read_score(path)
    notes = score.parsed.notes
    assert len(notes)
    assert np.isfinite(notes.onset).all()
    assert np.isfinite(notes.duration).all()
    assert (notes.duration >= 0).all()
    assert (np.diff(notes.onset) >= 0).all()
    for renderer in _renderers():
        performance = renderer.render(score, seed=0)
        _assert_written_and_read(performance)


def _assert_written_and_read(performance: Any) -> None:
    from score_to_audio.formats.midi import performance_from_midi, performance_to_midi

    if len(performance):
        again = performance_from_midi(performance_to_midi(performance), name="own MIDI")
        assert len(again) == len(performance)


@cache
def _renderers() -> tuple[Any, ...]:
    from score_to_audio.registry import build, resolve

    return tuple(build(resolve("renderer", name, {})) for name in ("pianist-mean", "kth-rules", "score"))


def load_notated_parts(path: Path) -> None:
    """What the renderers with networks start from."""
    from score_to_audio.formats.scores.reader import load_parts, read_score

    score = read_score(path)
    load_parts(score, unfolded=True)


def read_performance(path: Path) -> None:
    from score_to_audio.formats.midi import read_performance as read

    _assert_written_and_read(read(path))


def load_checkpoint(path: Path) -> None:
    """The bytes of every tensor are read too."""
    from score_to_audio.weights import config_of, count_tensors
    from score_to_audio.weights import load_checkpoint as load

    content = load(path, foreign=("omegaconf", "typing"))
    count_tensors(content)
    if isinstance(content, dict):
        config_of(content.get("config"))
        for value in content.values():
            if hasattr(value, "clone") and value.numel() < 1_000_000:
                value.clone()


def read_audio(path: Path) -> None:
    from score_to_audio.formats.audio import read_audio as read

    read(path)


def read_model_config(path: Path) -> None:
    from adapters.m2a import read_config

    read_config(path)


def read_statistics(path: Path) -> None:
    from adapters.m2a import read_statistics as read

    read(path)


def read_comparison(path: Path) -> None:
    from score_to_audio.comparison.config_file import read_config  # type: ignore[import-not-found, unused-ignore]

    read_config(path)


TARGETS = {
    "musicxml": Target(".musicxml", seeds.musicxml, damage_xml, play_score),
    "mxl": Target(".mxl", seeds.mxl, damage_archive(damage_xml), play_score),
    "mei": Target(".mei", seeds.mei, damage_xml, play_score),
    "midi-score": Target(".mid", seeds.midi, damage_bytes, play_score),
    "parts": Target(".musicxml", seeds.musicxml, damage_xml, load_notated_parts),
    "performance": Target(".mid", seeds.midi, damage_bytes, read_performance),
    "checkpoint": Target(".pt", seeds.checkpoints, damage_archive(damage_bytes), load_checkpoint),
    "safetensors": Target(".safetensors", seeds.safetensors, damage_bytes, load_checkpoint),
    "audio": Target(".wav", seeds.audio, damage_bytes, read_audio),
    "model-config": Target(".yaml", seeds.model_config, damage_yaml, read_model_config),
    "statistics": Target(".npz", seeds.statistics, damage_archive(damage_bytes), read_statistics),
}
if find_spec("score_to_audio.comparison"):
    TARGETS["comparison"] = Target(".yaml", seeds.comparisons, damage_yaml, read_comparison)

"""The record of what was made: ``manifest.jsonl`` in the output folder, one JSON object a line.

Lines are appended as results come, whoever makes them; of several about one result the last counts, and
``tidy`` leaves one of each. A line that a killed process did not finish is no line.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from score_to_audio.errors import InputError
from score_to_audio.files import replacing, writing
from score_to_audio.tables import write_csv

MANIFEST = "manifest.jsonl"
SUMMARY = "summary.csv"
STAGES = ("performance", "audio")
"""Where an entry says how each stage went."""
COLUMNS = (
    *("name", "result", "score", "renderer", "synthesizer"),
    *("sound_seconds", "render_seconds", "synthesis_seconds", "files", "error"),
)


def append(output: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Add entries, each with a "name". Safe beside other processes and after those that were killed."""
    lines = "".join(json.dumps(entry, ensure_ascii=False, sort_keys=True) + "\n" for entry in entries)
    with writing(output / MANIFEST):
        output.mkdir(parents=True, exist_ok=True)
        with _locked(output), (output / MANIFEST).open("a+b") as file:
            file.write((_end_of_torn_line(file) + lines).encode("utf-8", "backslashreplace"))


def _end_of_torn_line(file: BinaryIO) -> str:
    if file.seek(0, 2) == 0:
        return ""
    file.seek(-1, 2)
    return "" if file.read(1) == b"\n" else "\n"


def check(output: Path) -> None:
    """Raises ``InputError`` where the record of an output folder is damaged, or something else has its name:
    better before the work than after it."""
    for path in (output / MANIFEST, output / SUMMARY):
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no file; move it away and run again")
    for _ in iterate(output):
        pass


def check_summary(output: Path) -> None:
    """Raises ``InputError`` for a summary.csv that is not ours: one without a manifest beside it."""
    if (output / SUMMARY).exists() and not (output / MANIFEST).exists():
        raise InputError(
            f"{output / SUMMARY}: this file exists and was not written by score-to-audio; "
            "choose another output folder, or move the file away"
        )


def read_manifest(output: Path) -> list[dict[str, Any]]:
    """The entries of an output folder's manifest, one per result; none where there is no manifest."""
    entries = {entry["name"]: entry for entry in iterate(output)}
    return [entries[name] for name in sorted(entries)]


def iterate(output: Path) -> Iterator[dict[str, Any]]:
    """The entries in the order of their writing, outdated ones included."""
    return (entry for _, _, entry in _lines(output))


def latest(output: Path, run: str) -> Iterator[dict[str, Any]]:
    """The last entry of each result that ``run`` recorded, in the order of the names; one at a time, since a
    manifest may be long."""
    if not (output / MANIFEST).is_file():
        return
    with (output / MANIFEST).open("rb") as file:
        for start, length in _places(entry for entry in _lines(output) if entry[2].get("run") == run):
            file.seek(start)
            yield json.loads(file.read(length))


def _places(lines: Iterable[tuple[int, int, dict[str, Any]]]) -> list[tuple[int, int]]:
    """Start and length of the last line of each result, in the order of the names."""
    last = {entry["name"]: (start, length) for start, length, entry in lines}
    return [last[name] for name in sorted(last)]


def _lines(output: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Start and length of each line in bytes, and what it says."""
    path = output / MANIFEST
    if not path.is_file():
        return
    start = 0
    with path.open("rb") as file:
        for line in file:
            entry = _parsed(line, path)
            if entry is not None:
                yield start, len(line), entry
            start += len(line)


def _parsed(line: bytes, path: Path) -> dict[str, Any] | None:
    """None for an empty and for an unfinished line."""
    if not line.strip():
        return None
    try:
        entry = json.loads(line)
        if _is_entry(entry):
            return cast(dict[str, Any], entry)
        error: object = "a line that is no entry"
    except (ValueError, RecursionError) as unreadable:
        if line.startswith(b"{"):
            return None
        error = unreadable
    raise InputError(f"{path}: not a manifest ({error}); move it away and run again")


def _is_entry(found: object) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return False
    files, stages = found.get("files"), [found.get(stage) or {} for stage in STAGES]
    return (
        isinstance(files, list)
        and all(isinstance(file, str) for file in files)
        and isinstance(found.get("error"), str | None)
        and all(isinstance(stage, dict) for stage in stages)
    )


def tidy(output: Path) -> None:
    """Leave one line a result, sorted by name."""
    if not (output / MANIFEST).is_file():
        return
    with writing(output / MANIFEST), _locked(output):
        places = _places(_lines(output))
        with (
            (output / MANIFEST).open("rb") as old,
            replacing(output / MANIFEST) as path,
            path.open("wb") as new,
        ):
            for start, length in places:
                old.seek(start)
                new.write(old.read(length).rstrip(b"\n") + b"\n")


def summarize(output: Path) -> None:
    """Write what a tidy manifest says as a table for people, ``summary.csv``."""
    rows = (_row(entry) for entry in iterate(output))
    write_csv(output / SUMMARY, COLUMNS, ([row[column] for column in COLUMNS] for row in rows))


def result(entry: Mapping[str, Any]) -> str:
    """ "failed", "cached" or "made"."""
    if entry.get("error"):
        return "failed"
    return "cached" if all((entry.get(stage) or {}).get("cached") for stage in STAGES) else "made"


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    render, synthesis = ((entry.get(stage) or {}).get("seconds") for stage in STAGES)
    return {
        **{column: entry.get(column) for column in COLUMNS},
        "result": result(entry),
        "render_seconds": render,
        "synthesis_seconds": synthesis,
        "files": " ".join(entry.get("files", ())),
    }


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    with (output / f".{MANIFEST}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the kernel if the process dies
        yield

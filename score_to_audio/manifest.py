"""The manifest: ``manifest.jsonl`` in the output folder, one JSON object per line and result.

Processes append lines as results come. Of several lines about one result the last counts; ``tidy`` removes
the others. An unfinished line of a killed process does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from score_to_audio.errors import InputError
from score_to_audio.files import exclusive, replacing, writing
from score_to_audio.tables import write_csv

MANIFEST = "manifest.jsonl"
SUMMARY = "summary.csv"
STAGES = ("performance", "audio")
"""Keys of an entry, one per stage."""
COLUMNS = (
    *("name", "result", "score", "renderer", "synthesizer"),
    *("sound_seconds", "render_seconds", "synthesis_seconds", "files", "error"),
)


def append(output: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Add entries, each with a "name"; safe beside other processes and after killed ones."""
    lines = "".join(json.dumps(entry, ensure_ascii=False, sort_keys=True) + "\n" for entry in entries)
    with writing(output / MANIFEST), exclusive(_lock(output)), (output / MANIFEST).open("a+b") as file:
        file.write((_end_of_unfinished_line(file) + lines).encode("utf-8", "backslashreplace"))


def _end_of_unfinished_line(file: BinaryIO) -> str:
    if file.seek(0, 2) == 0:
        return ""
    file.seek(-1, 2)
    return "" if file.read(1) == b"\n" else "\n"


def check(output: Path) -> None:
    """Raises ``InputError`` for a damaged manifest, and for a folder of its name."""
    for path in (output / MANIFEST, output / SUMMARY):
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is not a file; move it away and run again")
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
    """The entries, one per result, sorted by name; empty without a manifest."""
    entries = {entry["name"]: entry for entry in iterate(output)}
    return [entries[name] for name in sorted(entries)]


def iterate(output: Path) -> Iterator[dict[str, Any]]:
    """The entries in the order of writing, outdated ones included."""
    return (entry for _, _, entry in _lines(output))


def latest(output: Path, run: str) -> Iterator[dict[str, Any]]:
    """The last entry of each result that ``run`` recorded, sorted by name; read one at a time."""
    lines = _last_lines(output, (line for line in _lines(output) if line[2].get("run") == run))
    yield from map(json.loads, lines)


def _last_lines(output: Path, lines: Iterable[tuple[int, int, dict[str, Any]]]) -> Iterator[bytes]:
    """The last line of each result, sorted by name; empty without a manifest."""
    if not (output / MANIFEST).is_file():
        return
    last = {entry["name"]: (start, length) for start, length, entry in lines}
    with (output / MANIFEST).open("rb") as file:
        for name in sorted(last):
            start, length = last[name]
            file.seek(start)
            yield file.read(length)


def _lines(output: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Start and length of each line in bytes, and its entry."""
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
    """None for an empty or unfinished line."""
    if not line.strip():
        return None
    try:
        entry = json.loads(line)
        if _is_entry(entry):
            return cast(dict[str, Any], entry)
        error: object = "a line that is not an entry"
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
    """Leave one line per result, sorted by name."""
    if not (output / MANIFEST).is_file():
        return
    with (
        writing(output / MANIFEST),
        exclusive(_lock(output)),
        replacing(output / MANIFEST) as path,
        path.open("wb") as new,
    ):
        new.writelines(line.rstrip(b"\n") + b"\n" for line in _last_lines(output, _lines(output)))


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


def _lock(output: Path) -> Path:
    return output / f".{MANIFEST}.lock"

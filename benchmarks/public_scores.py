"""What the reader makes of a folder of public scores: played, refused and why, measures never played.

    python benchmarks/public_scores.py FOLDER [--against verovio|music21] [--every N] [--json report.json]

``--against`` compares with another program note by note (independent_readers.py): MEI with verovio, MusicXML
with music21.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from independent_readers import Row, against_music21, against_verovio

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.reader import SUFFIXES, ScoreOptions, read_score
from score_to_audio.types import Score

MOST_LISTED = 40
READERS: dict[str, tuple[tuple[str, ...], Callable[[Score], Row]]] = {
    "music21": ((".musicxml", ".xml", ".mxl"), against_music21),
    "verovio": ((".mei",), against_verovio),
}
"""Name -> suffixes of the files that it reads here, comparison."""
COMPARED = ("only_here", "explained_here", "only_there", "explained_there", "other_onset", "grace", "order")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", choices=sorted(READERS), help="another program to compare with")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth file only")
    parser.add_argument("--json", type=Path, help="where to write one row per file")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    rows = [_row(path, arguments.folder, arguments.against) for path in paths[:: arguments.every]]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    _print_report(rows)
    return 1 if any(row["outcome"] == "crash" for row in rows) else 0


def _row(path: Path, folder: Path, other: str | None) -> Row:
    row: Row = {"file": str(path.relative_to(folder)), "outcome": "played"}
    try:
        score = read_score(path, ScoreOptions(parts="all"))
        parsed = score.parsed
    except InputError as error:
        return row | {"outcome": "refused", "reason": _kind(str(error), path)}
    except Exception:
        return row | {"outcome": "crash", "reason": traceback.format_exc(limit=-2)}
    row |= {"notes": len(parsed.notes), "notices": list(parsed.notices)}
    if other is not None and path.suffix.lower() in READERS[other][0]:
        row |= READERS[other][1](score)
    return row


def _kind(sentence: str, path: Path) -> str:
    """The sentence without what differs from file to file."""
    return re.sub(r"<\w+>", "<...>", re.sub(r"\d+", "N", sentence.replace(str(path), "FILE")))


def _print_report(rows: list[Row]) -> None:
    outcomes = collections.Counter(row["outcome"] for row in rows)
    print(f"{len(rows)} files: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    by_kind = collections.Counter(Path(row["file"]).suffix + " " + row["outcome"] for row in rows)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(by_kind.items())))
    for reason, count in collections.Counter(row["reason"] for row in rows if "reason" in row).most_common():
        print(f"  {count} {reason}")
    lost = [row for row in rows if any("never played" in notice for notice in row.get("notices", ()))]
    print(f"measures that are never played: {len(lost)} files")
    for row in lost[:MOST_LISTED]:
        print(f"  {row['file']}: " + "; ".join(one for one in row["notices"] if "never played" in one))
    compared = [row for row in rows if row.get("outcome_there") == "read"]
    if compared:
        _print_comparison(compared)


def _print_comparison(compared: list[Row]) -> None:
    keys = [key for key in COMPARED if key in compared[0]]
    same = [row for row in compared if not any(row[key] for key in keys)]
    totals = ", ".join(f"{key} {sum(abs(row[key]) for row in compared)}" for key in keys)
    notes = sum(row["notes"] for row in compared)
    print(f"{len(same)} of {len(compared)} files agree; {notes} notes played: {totals}")
    for row in compared:
        if row not in same:
            print(f"  {row['file']}: " + ", ".join(f"{key} {row[key]}" for key in keys if row[key]))


if __name__ == "__main__":
    sys.exit(main())

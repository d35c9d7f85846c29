"""What the reader makes of a folder of public scores: played, refused and why, measures never played.

    python benchmarks/public_scores.py FOLDER [--verovio] [--json report.json]

``--verovio`` compares every MEI file with verovio's timemap (extra ``listening``): notes by their ids, onsets
within their measures. Verovio gives tied noteheads that it cannot join as notes of their own, and grace notes
a time of their own, so that both are left out of the comparison.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.files import open_xml
from score_to_audio.formats.scores.mei_values import XML_ID, reference
from score_to_audio.formats.scores.reader import SUFFIXES, ScoreOptions, notation, read_score
from score_to_audio.types import Score

TOLERANCE_QUARTERS = 0.02
MOST_LISTED = 40

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--verovio", action="store_true", help="compare MEI files with verovio's timemap")
    parser.add_argument("--json", type=Path, help="where to write one row per file")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    rows = [_row(path, arguments.folder, arguments.verovio) for path in paths]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    _print_report(rows)
    return 1 if any(row["outcome"] == "crash" for row in rows) else 0


def _row(path: Path, folder: Path, with_verovio: bool) -> Row:
    row: Row = {"file": str(path.relative_to(folder)), "outcome": "played"}
    try:
        score = read_score(path, ScoreOptions(parts="all"))
        parsed = score.parsed
    except InputError as error:
        return row | {"outcome": "refused", "reason": _kind(str(error), path)}
    except Exception:
        return row | {"outcome": "crash", "reason": traceback.format_exc(limit=-2)}
    row |= {"notes": len(parsed.notes), "notices": list(parsed.notices)}
    if with_verovio and path.suffix.lower() == ".mei":
        row |= _against_verovio(score)
    return row


def _kind(sentence: str, path: Path) -> str:
    """The sentence without what differs from file to file."""
    return re.sub(r"<\w+>", "<...>", re.sub(r"\d+", "N", sentence.replace(str(path), "FILE")))


def _against_verovio(score: Score) -> Row:
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions({"mdivAll": True, "breaks": "none", "expandNever": True, "xmlIdSeed": 1})
    text, _ = notation(score)
    if not toolkit.loadData(text):
        return {"verovio": "refused"}
    timemap = toolkit.renderToTimemap({"includeMeasures": True})
    theirs: dict[str, tuple[int, float]] = {}
    begin, count = 0.0, -1
    for event in timemap if isinstance(timemap, list) else json.loads(timemap):
        if "measureOn" in event:
            begin, count = event["qstamp"], count + 1
        for id_ in event.get("on", []):
            theirs.setdefault(id_, (count, event["qstamp"] - begin))
    parsed = score.parsed
    ours: dict[str, tuple[int, float]] = {}
    grace = set()
    for id_, onset, measure, kind in zip(
        parsed.notes.id, parsed.notes.onset, parsed.notes.measure, parsed.notes.grace, strict=True
    ):
        name, played = id_.rpartition("-")[0], parsed.measures[measure]
        ours.setdefault(name, (played.written, float(onset) - played.onset))
        grace |= {name} if kind else set()
    tied = _tied(open_xml(score.content, str(score.path)))
    both = [name for name in ours if name in theirs and name not in grace]
    moved = [name for name in both if abs(ours[name][1] - theirs[name][1]) > TOLERANCE_QUARTERS]
    return {
        "verovio": "compared",
        "only_here": len(set(ours) - set(theirs)),
        "only_verovio": len(set(theirs) - set(ours) - tied),
        "other_onset": len(moved),
        "examples": [(name, ours[name], theirs[name]) for name in moved[:4]],
    }


def _tied(document: Any) -> set[str]:
    """Ids of the notes that continue another."""
    ends = {reference(tie.get("endid")) for tie in document.iter("{*}tie")}
    for note in document.iter("{*}note"):
        if set((note.get("tie") or "") + (note.getparent().get("tie") or "")) & set("mt"):
            ends.add(note.get(XML_ID))
    return ends


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
    compared = [row for row in rows if row.get("verovio") == "compared"]
    if compared:
        _print_comparison(compared)


def _print_comparison(compared: list[Row]) -> None:
    keys = ("only_here", "only_verovio", "other_onset")
    same = [row for row in compared if not any(row[key] for key in keys)]
    totals = ", ".join(f"{key} {sum(row[key] for row in compared)}" for key in keys)
    notes = sum(row["notes"] for row in compared)
    print(f"verovio: {len(same)} of {len(compared)} files agree; {notes} notes played: {totals}")
    for row in compared:
        if row not in same:
            print(f"  {row['file']}: " + ", ".join(f"{key} {row[key]}" for key in keys if row[key]))


if __name__ == "__main__":
    sys.exit(main())

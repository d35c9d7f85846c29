"""Reads every score of a corpus and compares its note count with the MIDI score beside it.

    python benchmarks/score_corpus.py ../asap [--partitura] [--csv report.csv]

A corpus is a folder with any number of ``xml_score.musicxml``, each with a ``midi_score.mid`` (the layout
of the ASAP dataset). Times are processor time.
"""

from __future__ import annotations

import argparse
import collections
import csv
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from adapters.musicxml import ScoreOptions, load_parts, read_score
from score_to_audio.types import InputError, ParsedScore

Row = dict[str, Any]


def main() -> int:
    arguments = _arguments()
    scores = sorted(arguments.corpus.rglob("xml_score.musicxml"))
    rows = [_row(path, arguments.corpus, arguments.partitura) for path in scores]
    if arguments.csv:
        _write(rows, arguments.csv)
    _print_report(rows)
    return 1 if any(row["outcome"] == "crash" for row in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("corpus", type=Path, help="folder with the scores")
    parser.add_argument("--partitura", action="store_true", help="also load and unfold with partitura")
    parser.add_argument("--csv", type=Path, help="where to write one line per score")
    return parser.parse_args()


def _row(path: Path, corpus: Path, with_partitura: bool) -> Row:
    row: Row = {"score": str(path.parent.relative_to(corpus)), "outcome": "read", "reason": ""}
    start = time.process_time()
    try:
        parsed = read_score(path, ScoreOptions(parts="all")).parsed
    except InputError as error:
        return row | {"outcome": "refused", "reason": str(error)}
    except Exception:
        return row | {"outcome": "crash", "reason": traceback.format_exc(limit=-3)}
    row["seconds"] = time.process_time() - start
    row |= _content(parsed)
    midi = path.with_name("midi_score.mid")
    if midi.exists():
        row |= _compare(parsed, midi)
    if with_partitura:
        row |= _partitura(path)
    return row


def _content(parsed: ParsedScore) -> Row:
    kinds = collections.Counter(direction.kind for direction in parsed.directions)
    marks = collections.Counter(mark for marks in parsed.notes.marks for mark in marks)
    return {
        "notes": len(parsed.notes),
        "grace": sum(1 for grace in parsed.notes.grace if grace),
        "measures": len(parsed.measures),
        "slurs": len(parsed.slurs),
        "directions": dict(kinds),
        "marks": dict(marks),
        "notices": " ".join(parsed.notices),
    }


def _compare(parsed: ParsedScore, midi: Path) -> Row:
    """Note counts, and how many notes have a MIDI note of their pitch within a sixteenth of a quarter."""
    import mido

    file = mido.MidiFile(midi)
    expected: collections.Counter[tuple[int, int]] = collections.Counter()
    count, end = 0, 0.0
    for track in file.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on" and message.velocity:
                count += 1
                expected[message.note, round(tick / file.ticks_per_beat * 16)] += 1
                end = max(end, tick / file.ticks_per_beat)
    found = 0
    for onset, pitch in zip(parsed.notes.onset, parsed.notes.pitch, strict=True):
        slot = round(onset * 16)
        for near in (slot, slot - 1, slot + 1):
            if expected[int(pitch), near]:
                expected[int(pitch), near] -= 1
                found += 1
                break
    return {"midi_notes": count, "found": found, "end": float(parsed.notes.onset.max()), "midi_end": end}


def _partitura(path: Path) -> Row:
    score = read_score(path)
    start = time.process_time()
    try:
        parts = load_parts(score, ScoreOptions(parts="all"), unfolded=True)
    except InputError as error:
        return {"partitura_reason": str(error)}
    seconds = time.process_time() - start
    notes = sum(len(part.notes_tied) for part in parts)
    return {"partitura_seconds": seconds, "partitura_notes": notes}


def _write(rows: list[Row], path: Path) -> None:
    fields = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)


def _print_report(rows: list[Row]) -> None:
    outcomes = collections.Counter(row["outcome"] for row in rows)
    print(f"{len(rows)} scores: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    for row in rows:
        if row["outcome"] != "read":
            print(f"  {row['score']}: {row['reason']}")
    read = [row for row in rows if row["outcome"] == "read"]
    for name in ("seconds", "partitura_seconds"):
        if times := [row[name] for row in read if name in row]:
            print(f"{name}: median {statistics.median(times):.3f}, max {max(times):.3f}, sum {sum(times):.1f}")
    compared = [row for row in read if "midi_notes" in row]
    print("difference in notes to the MIDI score, as a share of the MIDI score:")
    for low, high in ((0, 0), (0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 9.0)):
        count = sum(
            1
            for row in compared
            if (share := abs(row["notes"] - row["midi_notes"]) / row["midi_notes"]) <= high
            and (share > low or low == high)
        )
        print(f"  {'exactly' if low == high else 'more than'} {low:.0%} up to {high:.0%}: {count}")
    matched = sum(row["found"] for row in compared) / sum(row["notes"] for row in compared)
    print(f"notes found in the MIDI score at their time and pitch: {matched:.2%}")
    for row in sorted(compared, key=lambda row: row["notes"] - row["midi_notes"]):
        difference = row["notes"] - row["midi_notes"]
        if difference:
            print(
                f"  {row['score']}: {row['notes']} notes, {difference:+d} to MIDI, "
                f"{row['notes'] - row['found']} not found, ends {row['end']:.2f} ({row['midi_end']:.2f})"
            )


if __name__ == "__main__":
    sys.exit(main())

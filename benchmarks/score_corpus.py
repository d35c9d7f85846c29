"""Reads every score of a corpus and compares its note count with the MIDI score beside it.

    python benchmarks/score_corpus.py ../asap [--partitura] [--csv report.csv]

A corpus is a folder with any number of ``xml_score.musicxml``, each with a ``midi_score.mid`` (the layout
of the ASAP dataset). Times are processor time.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import csv
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.reader import ScoreOptions, load_parts, read_score
from score_to_audio.types import ParsedScore

TOLERANCE_QUARTERS = 1 / 4
"""How far a note may be from its place in the MIDI score (grace notes are played before theirs)."""
LARGEST_SHIFT_QUARTERS = 2.0
"""How much longer or shorter the MIDI score may write a measure."""

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
    """Note counts, and how many notes have a MIDI note of their pitch and time.

    Programs write some measures longer in MIDI than on paper, so that each measure is compared at the
    shift, near that of the measure before, at which most of its notes are found.
    """
    onsets = _midi_onsets(midi)
    count = sum(len(times) for times in onsets.values())
    end = max(times[-1] for times in onsets.values())
    notes = list(zip(parsed.notes.onset, parsed.notes.pitch, parsed.notes.id, strict=True))
    by_measure = collections.defaultdict(list)
    for measure, note in zip(parsed.notes.measure, notes, strict=True):
        by_measure[int(measure)].append(note)
    shift, missing = 0.0, []
    for measure in sorted(by_measure):
        shift = _best_shift(by_measure[measure], onsets, shift)
        for onset, pitch, id_ in by_measure[measure]:
            times = onsets.get(int(pitch), [])
            place = _nearest(times, onset + shift)
            if place is None:
                missing.append(id_)
            else:
                del times[place]
    return {
        "midi_notes": count,
        "matched": len(parsed.notes) - len(missing),
        "missing": " ".join(missing),
        "end": float(parsed.notes.onset.max()),
        "midi_end": end,
    }


def _best_shift(notes: list[Any], onsets: dict[int, list[float]], before: float) -> float:
    candidates = {before} | {
        time - onset
        for onset, pitch, _ in notes[:6]
        for time in onsets.get(int(pitch), [])
        if abs(time - onset - before) <= LARGEST_SHIFT_QUARTERS
    }

    def rank(shift: float) -> tuple[int, float]:
        found = sum(
            _nearest(onsets.get(int(pitch), []), onset + shift) is not None for onset, pitch, _ in notes
        )
        return found, -abs(shift - before)

    return max(candidates, key=rank)


def _nearest(times: list[float], time: float) -> int | None:
    """Index of the entry nearest to the time, if it is near enough."""
    place = bisect.bisect_left(times, time)
    near = [k for k in (place - 1, place) if 0 <= k < len(times)]
    best = min(near, key=lambda k: abs(times[k] - time), default=None)
    return None if best is None or abs(times[best] - time) > TOLERANCE_QUARTERS else best


def _midi_onsets(path: Path) -> dict[int, list[float]]:
    """Onsets in quarter notes, sorted, of every pitch."""
    import mido

    file = mido.MidiFile(path)
    onsets: dict[int, list[float]] = collections.defaultdict(list)
    for track in file.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on" and message.velocity:
                onsets[message.note].append(tick / file.ticks_per_beat)
    for times in onsets.values():
        times.sort()
    return onsets


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
            print(
                f"{name}: median {statistics.median(times):.3f}, max {max(times):.3f}, sum {sum(times):.1f}"
            )
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
    matched, notes = (sum(row[key] for row in compared) for key in ("matched", "notes"))
    print(f"notes found in the MIDI score at their pitch and time: {matched / notes:.2%}")
    print("score: notes here, of these not in the MIDI score, notes of the MIDI score not here, last onsets")
    for row in sorted(compared, key=lambda row: row["matched"] - row["notes"]):
        extra, lacking = row["notes"] - row["matched"], row["midi_notes"] - row["matched"]
        if extra or lacking:
            ends = f"{row['end']:.2f} {row['midi_end']:.2f}"
            print(f"  {row['score']}: {row['notes']} {extra} {lacking} {ends} {row['notices']}")


if __name__ == "__main__":
    sys.exit(main())

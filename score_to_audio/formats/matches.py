"""Match files: performances aligned to their scores note by note; those of the (n)ASAP corpus, and our own.

(n)ASAP: Peter et al., "Automatic note-level score-to-performance alignments in the ASAP dataset", TISMIR
6(1), 2023. The corpus is a folder with ``performances.csv`` and the folders that it names.
"""

from __future__ import annotations

import csv
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from score_to_audio.errors import InputError
from score_to_audio.types import (
    HIGHEST_PITCH,
    LOWEST_PITCH,
    Controls,
    ParsedScore,
    Performance,
    TimeSignature,
)

SHORTEST_NOTE = 0.001
"""Seconds: duration of a note that ends before it begins in the match file."""


@dataclass(frozen=True)
class Piece:
    """A score of the corpus and the alignments of its performances."""

    composer: str
    title: str
    split: str
    """ "train", "validation" or "test"."""
    folder: str
    """Relative to the corpus."""
    score: Path
    robust: tuple[Path, ...]
    """Match files that the authors call robust, of performances whose beats match the score."""
    others: tuple[Path, ...]
    """The other match files: right for most notes, but not everywhere."""


def pieces(corpus: Path, split: str) -> tuple[Piece, ...]:
    """The pieces of a split with at least one match file, in the order of their folders.

    Raises ``InputError`` where the corpus is missing.
    """
    table = corpus / "performances.csv"
    if not table.is_file():
        raise InputError(f"{corpus}: no performances.csv here; name the folder of the (n)ASAP corpus")
    of_folder: dict[str, list[dict[str, str]]] = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["split"] == split and row["match"]:
                of_folder[row["folder"]].append(row)
    return tuple(_piece(corpus, folder, rows) for folder, rows in sorted(of_folder.items()))


def _piece(corpus: Path, folder: str, rows: list[dict[str, str]]) -> Piece:
    def match_files(*, robust: bool) -> tuple[Path, ...]:
        chosen = [row for row in rows if _is_robust(row) == robust]
        return tuple(sorted(corpus / folder / row["match"] for row in chosen))

    first = rows[0]
    return Piece(
        composer=first["composer"],
        title=first["title"],
        split=first["split"],
        folder=folder,
        score=corpus / folder / "xml_score.musicxml",
        robust=match_files(robust=True),
        others=match_files(robust=False),
    )


def _is_robust(row: dict[str, str]) -> bool:
    # beats_match_score is blank where it was not measured.
    return row["match_is_robust"] == "1.0" and row["beats_match_score"] != "False"


def read_match(path: Path) -> Performance:
    """The performance in a match file; ``score_ids`` names the score note of each note ("" for none).

    Raises ``InputError`` for a file that is missing or not a match file.
    """
    from score_to_audio.formats.scores.partitura_bridge import import_partitura

    partitura = import_partitura()

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            performance, alignment = partitura.load_match(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except Exception as error:  # partitura raises errors of many types
        raise InputError(f"{path}: no match file, or one without notes ({error}); leave it out") from error
    part = performance.performedparts[0]
    score_note = {one["performance_id"]: one["score_id"] for one in alignment if one["label"] == "match"}
    rows = sorted(
        (
            note["note_on"],
            note["midi_pitch"],
            note["note_off"],
            note["velocity"],
            score_note.get(note["id"], ""),
        )
        for note in part.notes
        if LOWEST_PITCH <= note["midi_pitch"] <= HIGHEST_PITCH and note["velocity"] > 0
    )
    onset, pitch, offset, velocity, ids = zip(*rows, strict=True) if rows else ((),) * 5
    start = np.array(onset, np.float64)
    controls = sorted((event["time"], event["number"], event["value"]) for event in part.controls)
    events = np.array(controls, np.float64).reshape(-1, 3)
    return Performance(
        onset=start,
        offset=np.maximum(np.array(offset, np.float64), start + SHORTEST_NOTE),
        pitch=np.array(pitch, np.int64),
        velocity=np.array(velocity, np.int64),
        controls=Controls(events[:, 0], events[:, 1].astype(np.int64), events[:, 2].astype(np.int64)),
        score_ids=tuple(ids),
    )


# --------------------------------------------------------------------------------------------- writing

DIVISIONS = 10080
"""Per quarter note, of score times in match files: 2^5 * 3^2 * 5 * 7."""


def match_text(score: ParsedScore, performance: Performance) -> str:
    """A match file (Foscarin et al., SMC 2022) of a performance, times on the grid of its MIDI file.

    Notes that are not played are deletions, between the first and the last that are; played notes that the
    score does not have, or has once for several, are insertions. Raises ``ValueError`` where no note has the
    id of a note of the score.
    """
    from score_to_audio.formats.midi import TICKS_PER_QUARTER
    from score_to_audio.formats.scores.partitura_bridge import import_partitura, quiet

    partitura = import_partitura()
    with quiet():
        performed = _performed_part(partitura, performance)
        written = partitura.save_match(
            _alignment(score, performance),
            performed,
            _score_part(partitura, score),
            mpq=500_000,
            ppq=TICKS_PER_QUARTER,
            piece=score.title or None,
            composer=score.composer or None,
        )
    return "".join(f"{line.matchline}\n" for line in written.lines)


def _alignment(score: ParsedScore, performance: Performance) -> list[dict[str, str]]:
    index = {note: number for number, note in enumerate(score.notes.id)}
    found, played = [], set()
    for number, note in enumerate(performance.score_ids or ()):
        if note in index and note not in played:
            played.add(note)
            found.append({"label": "match", "score_id": note, "performance_id": f"n{number}"})
        else:
            found.append({"label": "insertion", "performance_id": f"n{number}"})
    if not played:
        raise ValueError("no note of the performance has the id of a note of the score")
    onsets = [float(score.notes.onset[index[note]]) for note in played]
    found += [
        {"label": "deletion", "score_id": note}
        for note, number in index.items()
        if note not in played and min(onsets) <= score.notes.onset[number] <= max(onsets)
    ]
    return found


def _performed_part(partitura: Any, performance: Performance) -> Any:
    columns = (performance.onset, performance.offset, performance.pitch, performance.velocity)
    notes = [
        {
            "id": f"n{number}",
            "note_on": onset,
            "note_off": offset,
            "sound_off": offset,
            "midi_pitch": pitch,
            "velocity": velocity,
            "track": 0,
            "channel": 0,
        }
        for number, (onset, offset, pitch, velocity) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    ]
    events = performance.controls
    controls = [
        {"time": time, "number": number, "value": value, "track": 0, "channel": 0}
        for time, number, value in zip(
            events.time.tolist(), events.number.tolist(), events.value.tolist(), strict=True
        )
    ]
    return partitura.performance.PerformedPart(notes, controls=controls)


def _score_part(partitura: Any, score: ParsedScore) -> Any:
    """The score in playing order as one part of partitura."""
    structure = partitura.score
    part = structure.Part("P1", score.title or None, quarter_duration=DIVISIONS)

    def place(quarter: float) -> int:
        return round(quarter * DIVISIONS)

    for signature in score.time_signatures or (TimeSignature(0.0, 4, 4),):
        part.add(structure.TimeSignature(signature.beats, signature.beat_type), place(signature.onset))
    for key in score.key_signatures:
        part.add(structure.KeySignature(key.fifths, key.mode or "major"), place(key.onset))
    for number, measure in enumerate(score.measures):
        part.add(structure.Measure(number + 1, measure.number), place(measure.onset), place(measure.end))
    notes = score.notes
    columns = (notes.onset, notes.duration, notes.voice, notes.staff)
    for name, spelling, grace, onset, duration, voice, staff in zip(
        notes.id, notes.spelling, notes.grace, *(column.tolist() for column in columns), strict=True
    ):
        alter = spelling.count("#") - spelling[1:].count("b")
        octave = int(spelling[1:].lstrip("#b"))
        about = {"step": spelling[0], "octave": octave, "alter": alter, "id": name}
        about |= {"voice": voice, "staff": staff}
        note = structure.GraceNote(grace, **about) if grace else structure.Note(**about)
        part.add(note, place(onset), place(onset + duration))
    return part

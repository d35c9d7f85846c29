"""Reads local copies of datasets of piano performances and draws segments from them by seed.

Nothing is downloaded. Folders and tables have the publishers' layout:

    maestro  MAESTRO v3 (Hawthorne et al., ICLR 2019): maestro-v3.0.0.csv, MIDI and WAV below year folders
    atepp    ATEPP (Zhang et al., ISMIR 2022): a CSV with midi_path and score_path; recordings are not
             published: audio is looked for beside the MIDI file, or as audio/PERF_ID
    pijama   PiJAMA (Edwards et al., TISMIR 6(1), 2023): a CSV with midi_filepath and the seconds between
             which a file holds the performance; audio is looked for beside the MIDI file
    asap     (n)ASAP (Peter et al., TISMIR 6(1), 2023): metadata.csv, or performances.csv with splits; scores
             with matched performances; only robust alignments are used
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from score_to_audio.errors import InputError

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
SCORE_SUFFIXES = (".musicxml", ".mxl", ".xml")
MAX_TABLE_SIZE = 64 * 2**20
"""Bytes; ATEPP's table, the largest, has about 4 MB."""


@dataclass(frozen=True)
class Item:
    """A performance of a dataset; its files may be missing on this machine."""

    dataset: str
    name: str
    """Unique within the dataset and equal on every machine."""
    title: str
    split: str
    licence: str
    score: Path | None = None
    performance: Path | None = None
    """MIDI or match file."""
    recording: Path | None = None
    references: tuple[Path, ...] = ()
    """Other humans' performances of the same score, as match files."""
    start: float = 0.0
    end: float | None = None
    """Seconds between which the files hold the performance; None: to their end."""


def read_dataset(dataset: str, folder: Path, split: str = "") -> list[Item]:
    """The performances of one split ("" for all), in the order of the table; performances without a split
    belong to every split. Raises ``InputError`` where the table is missing or has other columns."""
    items = [item for item in _READERS[dataset](folder) if not split or item.split in ("", split)]
    if not items:
        raise InputError(f"{folder}: {dataset} has no performances of the split {split!r}")
    return items


def draw_segments(items: Sequence[Item], *, count: int, seconds: float | None, seed: int) -> list[Item]:
    """``count`` items, cut to segments of ``seconds`` (None: whole).

    The choice depends only on the seed and the items' names: an item that is missing on one machine does not
    change what else is drawn there. Items known to be shorter than ``seconds`` are skipped.
    """
    fitting = [item for item in items if seconds is None or (_length(item) or seconds) >= seconds]
    ranked = sorted(fitting, key=lambda item: _draw(seed, item.name, "rank"))
    return [_cut(item, seconds, seed) for item in ranked[:count]]


def _length(item: Item) -> float | None:
    return None if item.end is None else item.end - item.start


def _cut(item: Item, seconds: float | None, seed: int) -> Item:
    length = _length(item)
    if seconds is None:
        return item
    if length is None:
        return replace(item, end=item.start + seconds)
    room = (length - seconds) * _draw(seed, item.name, "start")
    start = round(item.start + room, 2)  # easier to quote
    return replace(item, start=start, end=start + seconds)


def _draw(seed: int, name: str, what: str) -> float:
    """A number in [0, 1) that depends only on the arguments."""
    digest = hashlib.sha256(f"{seed}:{what}:{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


# ------------------------------------------------------------------------------------------ the readers


def _maestro(folder: Path) -> Iterator[Item]:
    columns = (
        "canonical_composer",
        "canonical_title",
        "split",
        "midi_filename",
        "audio_filename",
        "duration",
    )
    for row in _rows(_table(folder, "maestro*.csv"), columns):
        yield Item(
            dataset="maestro",
            name=row["midi_filename"],
            title=f"{row['canonical_composer']}: {row['canonical_title']}",
            split=row["split"],
            licence="MAESTRO v3: CC BY-NC-SA 4.0",
            performance=_inside(folder, row["midi_filename"]),
            recording=_inside(folder, row["audio_filename"]),
            end=_seconds(row["duration"]),
        )


def _atepp(folder: Path) -> Iterator[Item]:
    for row in _rows(_table(folder, "*ATEPP*.csv", "*.csv"), ("artist", "composer", "midi_path", "perf_id")):
        midi = _inside(folder, row["midi_path"])
        piece = row.get("composition") or row.get("track") or Path(row["midi_path"]).parent.name
        yield Item(
            dataset="atepp",
            name=row["perf_id"] or row["midi_path"],
            title=f"{row['composer']}: {piece} ({row['artist']})",
            split=row.get("split", ""),
            licence="ATEPP: CC BY 4.0 (MIDI and scores)",
            score=_score(folder, row.get("score_path", "")),
            performance=midi,
            recording=_audio(midi, folder / "audio" / row["perf_id"]),
            end=_seconds(row.get("track_duration", "")),
        )


def _pijama(folder: Path) -> Iterator[Item]:
    columns = ("artist", "midi_filepath", "performance_start_sec", "performance_end_sec", "split")
    for row in _rows(_table(folder, "*pijama*.csv", "*.csv"), columns):
        midi = _inside(folder, row["midi_filepath"])
        piece = row.get("track") or row.get("title") or midi.stem
        yield Item(
            dataset="pijama",
            name=row["midi_filepath"],
            title=f"{row['artist']}: {piece}",
            split=row["split"],
            licence="PiJAMA: CC BY-NC-SA 4.0 (MIDI)",
            performance=midi,
            recording=_audio(midi),
            start=_seconds(row["performance_start_sec"]) or 0.0,
            end=_seconds(row["performance_end_sec"]),
        )


def _asap(folder: Path) -> Iterator[Item]:
    rows = list(_asap_rows(folder))
    for row in rows:
        match = row.match
        yield Item(
            dataset="asap",
            name=match.relative_to(folder).as_posix(),
            title=f"{row.title} ({match.stem})",
            split=row.split,
            licence="(n)ASAP: CC BY-NC-SA 4.0",
            score=match.with_name("xml_score.musicxml"),
            performance=match,
            recording=_audio(match),
            references=tuple(
                one.match for one in rows if one.match.parent == match.parent and one is not row
            ),
            end=row.seconds,
        )


@dataclass(frozen=True)
class _AsapRow:
    """A robust alignment."""

    match: Path
    title: str
    split: str
    seconds: float | None


def _asap_rows(folder: Path) -> Iterator[_AsapRow]:
    """From ``performances.csv``, which has splits, else from the published ``metadata.csv``."""
    if (folder / "performances.csv").is_file():
        columns = ("composer", "title", "folder", "split", "match", "match_is_robust", "duration_s")
        for row in _rows(folder / "performances.csv", columns):
            if row["match"] and row["match_is_robust"] == "1.0":
                match = _inside(folder, f"{row['folder']}/{row['match']}")
                title = f"{row['composer']}: {row['title']}"
                yield _AsapRow(match, title, row["split"], _seconds(row["duration_s"]))
        return
    for row in _rows(_table(folder, "metadata.csv"), ("composer", "title", "midi_performance")):
        match = _inside(folder, row["midi_performance"]).with_suffix(".match")
        if match.is_file() and row.get("robust_note_alignment", "1") in ("1", "1.0", "True"):
            yield _AsapRow(match, f"{row['composer']}: {row['title']}", "", None)


_READERS: Mapping[str, Callable[[Path], Iterator[Item]]] = {
    "maestro": _maestro,
    "atepp": _atepp,
    "pijama": _pijama,
    "asap": _asap,
}


def _table(folder: Path, *patterns: str) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the local copy of the dataset")
    for pattern in patterns:
        found = sorted(path for path in folder.iterdir() if fnmatch(path.name.lower(), pattern.lower()))
        if found:
            return found[-1]
    raise InputError(f"{folder}: holds no {patterns[0]}; name the folder that holds the dataset's table")


def _rows(table: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    if table.stat().st_size > MAX_TABLE_SIZE:
        raise InputError(f"{table}: larger than {MAX_TABLE_SIZE >> 20} MB; is it the dataset's table?")
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            absent = [column for column in columns if column not in (reader.fieldnames or ())]
            if absent:
                raise InputError(f"{table}: has no column {', '.join(absent)}; is it the dataset's table?")
            for row in reader:
                yield {key: (value or "").strip() for key, value in row.items() if key}
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: not CSV in UTF-8 ({error})") from error


def _inside(folder: Path, name: str) -> Path:
    """A file of the dataset; tables are not trusted to name files elsewhere."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder}: the table names a file outside it ({name})")
    return path


def _score(folder: Path, name: str) -> Path | None:
    """The score that a table names: a file, or the folder that holds it."""
    if not name:
        return None
    path = _inside(folder, name)
    if path.is_dir():
        return next((file for file in sorted(path.iterdir()) if file.suffix in SCORE_SUFFIXES), None)
    return path


def _audio(midi: Path, *others: Path) -> Path | None:
    """The audio file named like the MIDI file or like one of ``others`` (without suffix), if there is one."""
    places = (
        Path(f"{stem}{suffix}") for stem in (midi.with_suffix(""), *others) for suffix in AUDIO_SUFFIXES
    )
    return next((place for place in places if place.is_file()), None)


def _seconds(text: str) -> float | None:
    """Of "SECONDS" or "MINUTES:SECONDS"; None for other texts."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        return None
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))

"""Readers of dataset tables, on tiny folders of the published layout; segments by seed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import get_args

import pytest

from score_to_audio.comparison.config import DatasetName
from score_to_audio.comparison.datasets import Item, draw_segments, read_dataset
from score_to_audio.errors import InputError


def write_table(path: Path, *rows: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def maestro(folder: Path) -> None:
    row = {
        "canonical_composer": "Franz Schubert",
        "canonical_title": "Sonata in A",
        "split": "test",
        "year": "2018",
        "midi_filename": "2018/a.midi",
        "audio_filename": "2018/a.wav",
        "duration": "60.5",
    }
    write_table(folder / "maestro-v3.0.0.csv", row, row | {"midi_filename": "2018/b.midi", "split": "train"})


def atepp(folder: Path) -> None:
    row = {
        "artist": "Radu Lupu",
        "track": "Intermezzo",
        "track_duration": "3:30",
        "composer": "Brahms",
        "score_path": "Brahms/Op117",
        "midi_path": "Brahms/Op117/00012.mid",
        "perf_id": "12",
        "split": "test",
    }
    write_table(folder / "ATEPP-metadata-1.2.csv", row)
    touch(folder / "Brahms" / "Op117" / "score.musicxml")
    touch(folder / "audio" / "12.mp3")


def pijama(folder: Path) -> None:
    row = {
        "artist": "Art Tatum",
        "title": "Tea for Two",
        "midi_filepath": "live/tatum/tea.midi",
        "performance_start_sec": "4.5",
        "performance_end_sec": "100",
        "split": "test",
    }
    write_table(folder / "pijama.csv", row)
    touch(folder / "live" / "tatum" / "tea.flac")


def asap(folder: Path) -> None:
    row = {
        "composer": "Bach",
        "title": "Fugue",
        "folder": "Bach/Fugue",
        "split": "test",
        "performance": "Shi.mid",
        "duration_s": "80",
        "match": "Shi.match",
        "match_is_robust": "1.0",
    }
    write_table(folder / "performances.csv", row, row | {"match": "Other.match", "match_is_robust": "0.0"})


LAYOUTS = {"maestro": maestro, "atepp": atepp, "pijama": pijama, "asap": asap}


def read(dataset: str, folder: Path) -> list[Item]:
    LAYOUTS[dataset](folder)
    return read_dataset(dataset, folder, "test")


def test_every_dataset_is_tested() -> None:
    assert set(LAYOUTS) == set(get_args(DatasetName))


def test_maestro(tmp_path: Path) -> None:
    (item,) = read("maestro", tmp_path)
    assert (item.title, item.end) == ("Franz Schubert: Sonata in A", 60.5)
    assert item.performance == tmp_path / "2018" / "a.midi"
    assert item.recording == tmp_path / "2018" / "a.wav"
    assert len(read_dataset("maestro", tmp_path)) == 2


def test_atepp(tmp_path: Path) -> None:
    (item,) = read("atepp", tmp_path)
    assert (item.title, item.end, item.name) == ("Brahms: Intermezzo (Radu Lupu)", 210, "12")
    assert item.score == tmp_path / "Brahms" / "Op117" / "score.musicxml"
    assert item.recording == tmp_path / "audio" / "12.mp3"


def test_pijama(tmp_path: Path) -> None:
    (item,) = read("pijama", tmp_path)
    assert (item.start, item.end) == (4.5, 100)
    assert item.recording == tmp_path / "live" / "tatum" / "tea.flac"


def test_asap_gives_robust_matches(tmp_path: Path) -> None:
    (item,) = read("asap", tmp_path)
    assert item.performance == tmp_path / "Bach" / "Fugue" / "Shi.match"
    assert item.score == tmp_path / "Bach" / "Fugue" / "xml_score.musicxml"
    assert item.recording is None


def test_asap_as_published_has_no_splits(tmp_path: Path) -> None:
    row = {"composer": "Bach", "title": "Fugue", "midi_performance": "Bach/Fugue/Shi.mid"}
    rows = [row | {"midi_performance": f"Bach/Fugue/{name}.mid"} for name in ("Shi", "Lee", "Unmatched")]
    write_table(tmp_path / "metadata.csv", *rows)
    matches = [touch(tmp_path / "Bach" / "Fugue" / f"{name}.match") for name in ("Shi", "Lee")]
    found = read_dataset("asap", tmp_path, "test")
    assert [item.performance for item in found] == matches
    assert found[0].references == (matches[1],)


def items(count: int, *, length: float | None = 100.0) -> list[Item]:
    return [Item("d", f"piece-{number}", "", "test", "", end=length) for number in range(count)]


def test_segments_are_the_same_for_the_same_seed_and_lie_inside() -> None:
    drawn = draw_segments(items(50), count=5, seconds=15, seed=3)
    assert drawn == draw_segments(items(50), count=5, seconds=15, seed=3)
    assert drawn != draw_segments(items(50), count=5, seconds=15, seed=4)
    assert len({item.name for item in drawn}) == 5
    assert len({item.start for item in drawn}) == 5
    for item in drawn:
        assert item.end is not None
        assert 0 <= item.start <= item.end - 15 + 1e-9 <= 85.01


def test_what_is_missing_here_does_not_change_the_rest_of_the_draw() -> None:
    drawn = draw_segments(items(50), count=5, seconds=15, seed=3)
    fewer = [item for item in items(50) if item.name != drawn[1].name]
    again = draw_segments(fewer, count=4, seconds=15, seed=3)
    assert again == [drawn[0], *drawn[2:]]


def test_short_items_are_passed_over_and_whole_ones_kept() -> None:
    assert draw_segments(items(3, length=10), count=3, seconds=15, seed=0) == []
    assert draw_segments(items(3, length=None), count=1, seconds=15, seed=0)[0].end == 15
    assert draw_segments(items(3), count=1, seconds=None, seed=0)[0].end == 100


@pytest.mark.parametrize("dataset", get_args(DatasetName))
def test_what_is_no_dataset_is_said(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_dataset(dataset, tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no"):
        read_dataset(dataset, tmp_path)
    LAYOUTS[dataset](tmp_path)
    with pytest.raises(InputError, match="no performances of the split 'tests'"):
        read_dataset(dataset, tmp_path, "tests")
    table = next(tmp_path.glob("*.csv"))
    table.write_text("other,columns\n1,2\n")
    with pytest.raises(InputError, match="has no column"):
        read_dataset(dataset, tmp_path)


def test_a_table_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    maestro(tmp_path)
    table = tmp_path / "maestro-v3.0.0.csv"
    table.write_text(table.read_text().replace("2018/a.wav", "../../etc/passwd"))
    with pytest.raises(InputError, match="outside it"):
        read_dataset("maestro", tmp_path)

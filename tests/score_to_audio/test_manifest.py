"""The record of a run: appended by many, read by all, in order at the end."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from score_to_audio import manifest
from score_to_audio.errors import InputError


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "run": "one", "score": f"{name}.xml", "files": [], "error": None, **more}


def names(output: Path) -> list[str]:
    return [found["name"] for found in manifest.read_manifest(output)]


def test_the_last_entry_about_a_result_counts(tmp_path: Path) -> None:
    manifest.append(tmp_path, [entry("b", error="no"), entry("a")])
    manifest.append(tmp_path, [entry("b")])
    assert [(found["name"], found["error"]) for found in manifest.read_manifest(tmp_path)] == [
        ("a", None),
        ("b", None),
    ]
    before = manifest.read_manifest(tmp_path)
    manifest.tidy(tmp_path)
    lines = (tmp_path / manifest.MANIFEST).read_text().splitlines()
    assert [json.loads(line) for line in lines] == before


@pytest.mark.parametrize("length", [1, 10, 60])
def test_a_line_that_a_killed_process_did_not_finish_is_no_line(tmp_path: Path, length: int) -> None:
    manifest.append(tmp_path, [entry("a")])
    with (tmp_path / manifest.MANIFEST).open("a") as file:
        file.write(json.dumps(entry("torn"))[:length])
    assert names(tmp_path) == ["a"]
    manifest.append(tmp_path, [entry("b")])
    assert names(tmp_path) == ["a", "b"]
    manifest.tidy(tmp_path)
    assert len((tmp_path / manifest.MANIFEST).read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "text",
    [
        *("no manifest\n", "[1, 2]\n", '{"score": "x"}\n', "\0\0\0\n"),
        *('{"name": "a"}\n', '{"name": "a", "files": [5]}\n', '{"name": "a", "files": [], "audio": [1]}\n'),
    ],
)
def test_another_file_of_that_name_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.MANIFEST).write_text(text)
    with pytest.raises(InputError, match=r"manifest\.jsonl: not a manifest"):
        manifest.read_manifest(tmp_path)
    with pytest.raises(InputError, match=r"manifest\.jsonl: not a manifest"):
        manifest.check(tmp_path)


@pytest.mark.parametrize("name", [manifest.MANIFEST, manifest.SUMMARY])
def test_a_folder_in_place_of_the_record_is_found_before_the_work(tmp_path: Path, name: str) -> None:
    manifest.check(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"{name}: is not a file; move it away and run again"):
        manifest.check(tmp_path)


def test_many_writers_and_tidiers_lose_nothing(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        for number in range(20):
            manifest.append(tmp_path, [entry(f"{writer}-{number}")])
            if number % 7 == 0:
                manifest.tidy(tmp_path)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(tmp_path)) == 80


def test_each_run_finds_its_own_entries(tmp_path: Path) -> None:
    assert list(manifest.latest(tmp_path, "one")) == []
    manifest.append(tmp_path, [entry("a"), entry("b", error="lost"), entry("b"), entry("c", run="two")])
    manifest.append(tmp_path, [entry("a", run="two")])
    assert [(e["name"], e["error"]) for e in manifest.latest(tmp_path, "one")] == [("a", None), ("b", None)]
    assert [e["name"] for e in manifest.latest(tmp_path, "two")] == ["a", "c"]


def test_the_summary_is_a_table_that_runs_no_formulas(tmp_path: Path) -> None:
    done = {"seconds": 1.5, "cached": False}
    manifest.append(
        tmp_path,
        [
            entry("=1+1", files=["x.mid", "x.wav"], performance=done, audio=done, sound_seconds=12.25),
            entry("bad", error='no notes, "none"\nat all'),
            entry("not\udcff utf-8", files=["not\udcff utf-8.mid"]),
        ],
    )
    manifest.tidy(tmp_path)
    manifest.summarize(tmp_path)
    with (tmp_path / manifest.SUMMARY).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["result"], row["sound_seconds"]) for row in rows] == [
        ("'=1+1", "made", "12.25"),
        ("bad", "failed", ""),
        ("not\\udcff utf-8", "made", ""),
    ]
    assert rows[0]["files"] == "x.mid x.wav"
    assert rows[1]["error"] == 'no notes, "none"\nat all'

"""The folder of the page and what its data say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from score_to_audio.comparison.cells import Cell
from score_to_audio.comparison.derived import TracedFile
from score_to_audio.comparison.listening import engraving
from score_to_audio.comparison.listening.page import write_page
from score_to_audio.comparison.results import ComparisonResult
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import read_performance, write_performance
from score_to_audio.store import Store
from tests.score_to_audio.comparison.listening.comparisons import with_cells


def data(page: Path, name: str) -> Any:
    text = (page.parent / "data" / f"{name}.js").read_text("ascii")
    return json.loads(text.split(",", 1)[1].rstrip(")\n"))


def test_the_page_says_why_there_is_no_score(
    finished: ComparisonResult, page_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engraving, "can_engrave", lambda: False)
    row = data(write_page(finished, tmp_path / "page", page_store), "row-01")
    assert "score-to-audio[listening]" in row["notice"]
    assert row["pages"] is None
    assert row["cells"][0]["notes"]["on"]


def test_a_score_that_cannot_be_read_costs_the_score_alone(
    finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    (tmp_path / "bad.musicxml").write_text("<score-partwise><part-list>")
    cell = finished.sections[0].cells[0]
    broken = with_cells(finished, replace(cell, row=replace(cell.row, score=tmp_path / "bad.musicxml")))
    row = data(write_page(broken, tmp_path / "page", page_store), "row-01")
    assert "bad.musicxml" in row["notice"]
    assert row["cells"][0]["notes"]["on"]


def test_an_excerpt_shows_the_pages_that_it_plays(
    finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    whole = data(write_page(finished, tmp_path / "whole", page_store), "row-02")
    cell = finished.sections[0].cells[3]
    assert cell.cell
    assert cell.cell.performance
    played = read_performance(cell.cell.performance.path)
    kept = slice(0, 12)
    first = type(played)(
        played.onset[kept],
        played.offset[kept],
        played.pitch[kept],
        played.velocity[kept],
        score_ids=(played.score_ids or ())[kept],
    )
    write_performance(first, tmp_path / "first.mid")
    part = replace(cell, cell=Cell(cell.cell.audio, TracedFile(tmp_path / "first.mid", ())))
    excerpt = data(write_page(with_cells(finished, part), tmp_path / "part", page_store), "row-01")
    assert 1 <= len(excerpt["pages"]["narrow"]) < len(whole["pages"]["narrow"])


def test_an_earlier_page_is_replaced_and_nothing_else_is(
    finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    first = write_page(finished, tmp_path / "page", page_store)
    (first.parent / "data" / "old.js").write_text("")
    write_page(finished, tmp_path / "page", page_store)
    assert not (first.parent / "data" / "old.js").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="holds something else"):
        write_page(finished, mine, page_store)
    assert (mine / "notes.txt").read_text() == "precious"


def test_the_same_comparison_gives_the_same_bytes(
    finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    one, two = (write_page(finished, tmp_path / name, page_store).parent for name in ("one", "two"))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    for path in files:
        assert (one / path).read_bytes() == (two / path).read_bytes(), path

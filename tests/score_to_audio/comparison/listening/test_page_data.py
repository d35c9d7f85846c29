from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from score_to_audio.comparison.listening import engraving
from score_to_audio.comparison.listening.comparison import Cell, Comparison
from score_to_audio.comparison.listening.page import write_page
from score_to_audio.comparison.listening.page_data import DEEPEST_CUT, gains, plain
from score_to_audio.comparison.listening.timeline import timeline
from score_to_audio.errors import InputError
from score_to_audio.formats.scores.reader import read_score
from tests.score_to_audio.comparison.listening.comparisons import SCORES, performance

MINUET = "petzold_minuet_bwv_anh114.musicxml"


def data(page: Path, name: str) -> object:
    text = (page.parent / "data" / f"{name}.js").read_text("ascii")
    return json.loads(text.split(",", 1)[1].rstrip(")\n"))


def test_a_literal_performance_has_a_straight_timeline() -> None:
    pairs = np.array(timeline(read_score(SCORES / MINUET).parsed, performance(MINUET, "score")))
    assert (np.diff(pairs, axis=0) > 0).all()
    periods = np.diff(pairs[:-1, 1]) / np.diff(pairs[:-1, 0])
    late = np.abs(periods / np.median(periods) - 1) > 0.02
    # The appoggiatura takes its time from its main note, in both passes: before that note and after it.
    assert late.sum() == 4


def test_the_timeline_covers_repeats_and_needs_ids() -> None:
    score = read_score(SCORES / MINUET).parsed
    played = performance(MINUET, "kth-rules")
    assert timeline(score, played)[-1][0] == pytest.approx(score.end)
    assert timeline(score, replace(played, score_ids=None)) == ()


def test_louder_recordings_are_turned_down_to_the_softest_within_limits() -> None:
    given = [Cell("a", loudness=level) for level in (-20.0, -26.5, None, -math.inf)]
    assert gains(given) == [-6.5, 0.0, 0.0, 0.0]
    assert gains([Cell("a", loudness=-70.0), Cell("b", loudness=-20.0)]) == [0.0, DEEPEST_CUT]


def test_values_that_json_does_not_know_become_text_or_null() -> None:
    assert plain({"a": (Path("x"), math.nan, 1), 2: None}) == {"a": ["x", None, 1], "2": None}


def test_a_cell_whose_audio_is_damaged_fails_alone(finished: Comparison, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"nothing")
    section = finished.sections[0]
    row = section.rows[0]
    cells = (replace(row.cells[0], audio=bad), *row.cells[1:])
    broken = replace(finished, sections=(replace(section, rows=(replace(row, cells=cells),)),))
    overview = data(write_page(broken, tmp_path / "page"), "page")
    assert isinstance(overview, dict)
    shown = overview["sections"][0]["rows"][0]["cells"]
    assert shown[1]["failure"] == "bad.mp3 is not a readable audio file"
    assert shown[0]["audio"]


def test_the_page_says_why_there_is_no_score(
    finished: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engraving, "can_engrave", lambda: False)
    row = data(write_page(finished, tmp_path / "page"), "row-01")
    assert isinstance(row, dict)
    assert "score-to-audio[listening]" in row["notice"]
    assert row["pages"] is None
    assert row["cells"][0]["notes"]["on"]


def test_an_excerpt_shows_the_pages_that_it_plays(finished: Comparison, tmp_path: Path) -> None:
    section = finished.sections[0]
    row = section.rows[1]
    cells = tuple(replace(cell, timeline=tuple(p for p in cell.timeline if p[0] < 6)) for cell in row.cells)
    whole = data(write_page(finished, tmp_path / "whole"), "row-02")
    excerpt = replace(finished, sections=(replace(section, rows=(replace(row, cells=cells),)),))
    part = data(write_page(excerpt, tmp_path / "part"), "row-01")
    assert isinstance(part, dict)
    assert isinstance(whole, dict)
    assert 1 <= len(part["pages"]["narrow"]) < len(whole["pages"]["narrow"])


def test_an_earlier_page_is_replaced_and_nothing_else_is(finished: Comparison, tmp_path: Path) -> None:
    first = write_page(finished, tmp_path / "page")
    (first.parent / "data" / "old.js").write_text("")
    write_page(finished, tmp_path / "page")
    assert not (first.parent / "data" / "old.js").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="holds something else"):
        write_page(finished, mine)
    assert (mine / "notes.txt").read_text() == "precious"


def test_the_same_comparison_gives_the_same_bytes(finished: Comparison, tmp_path: Path) -> None:
    one, two = (write_page(finished, tmp_path / name).parent for name in ("one", "two"))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    for path in files:
        assert (one / path).read_bytes() == (two / path).read_bytes(), path


def test_a_comparison_that_contradicts_itself_is_refused(finished: Comparison, tmp_path: Path) -> None:
    section = finished.sections[0]
    row = section.rows[0]
    for cells, message in (
        ((row.cells[0], row.cells[0]), "two cells of one condition"),
        ((Cell("strange"),), "unknown condition"),
        ((replace(row.cells[0], audio=Path("x.aiff")),), "browsers play"),
    ):
        wrong = replace(finished, sections=(replace(section, rows=(replace(row, cells=cells),)),))
        with pytest.raises(InputError, match=message):
            write_page(wrong, tmp_path / "page")
    assert not (tmp_path / "page").exists()

"""What the page plays of a comparison: timelines, gains, sounds that cannot be played."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from renderers.expression import Grid, grid
from score_to_audio.comparison.cells import Cell
from score_to_audio.comparison.derived import TracedFile
from score_to_audio.comparison.listening.rows import DEEPEST_CUT, PageCell, gains, lift, page_rows, timeline
from score_to_audio.comparison.plan import Row
from score_to_audio.comparison.results import CellResult, ComparisonResult
from score_to_audio.formats.audio import read_audio
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import Store
from tests.score_to_audio.comparison.listening.comparisons import (
    CONDITIONS,
    SCORES,
    performance,
    with_cells,
)

MINUET = "petzold_minuet_bwv_anh114.musicxml"


def minuet() -> Grid:
    return grid(read_score(SCORES / MINUET).parsed)


def test_a_literal_performance_has_a_straight_timeline() -> None:
    pairs = np.array(timeline(minuet(), performance(MINUET, "score")))
    assert (np.diff(pairs, axis=0) > 0).all()
    periods = np.diff(pairs[:-1, 1]) / np.diff(pairs[:-1, 0])
    late = np.abs(periods / np.median(periods) - 1) > 0.02
    # The appoggiatura takes its time from its main note, in both passes: before that note and after it.
    assert late.sum() == 4


def test_the_timeline_covers_repeats_and_needs_ids() -> None:
    played = performance(MINUET, "kth-rules")
    assert timeline(minuet(), played)[-1][0] == pytest.approx(read_score(SCORES / MINUET).parsed.end)
    assert timeline(minuet(), replace(played, score_ids=None)) == ()


def test_louder_recordings_are_turned_down_to_the_softest_within_limits() -> None:
    def cells(*levels: float | None) -> list[PageCell]:
        values: list[dict[str, float]] = [{} if one is None else {"loudness": one} for one in levels]
        return [PageCell(CellResult(Row("r"), CONDITIONS[0], None, values=one)) for one in values]

    assert gains(cells(-20.0, -26.5, None, -math.inf)) == [-6.5, 0.0, 0.0, 0.0]
    assert gains(cells(-70.0, -20.0)) == [0.0, DEEPEST_CUT]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([(-29.5, -13.3), (-28.2, -12.1)], 10.0),  # to -18.2 LUFS
        ([(-29.5, -13.3), (-28.2, -6.4)], 5.0),  # to -1.4 dBTP
        ([(-17.0, -8.0), (-40.0, -20.0)], 0.0),
        ([(-math.inf, -math.inf), (-28.0, -20.0)], 10.0),
        ([(math.nan, math.nan)], 0.0),
    ],
)
def test_soft_rows_are_made_louder_together(levels: list[tuple[float, float]], expected: float) -> None:
    results = [
        CellResult(Row("r"), CONDITIONS[0], None, values={"loudness": loudness, "true_peak": peak})
        for loudness, peak in levels
    ]
    assert lift(results) == expected


def test_the_page_plays_a_soft_row_louder(finished: ComparisonResult, page_store: Store) -> None:
    def peak(values: dict[str, float]) -> float:
        result = with_cells(finished, replace(finished.sections[0].cells[0], values=values))
        (row,) = page_rows(result, result.sections[0], page_store)
        assert row.cells[0].audio is not None
        return float(np.abs(read_audio(row.cells[0].audio).samples).max())

    louder = peak({"loudness": -24.0, "true_peak": -20.0})
    assert 20 * np.log10(louder / peak({})) == pytest.approx(6, abs=0.5)


def test_a_cell_whose_audio_is_damaged_fails_alone(
    finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"nothing")
    first, second, _ = finished.sections[0].cells[:3]
    broken = with_cells(finished, replace(first, cell=Cell(TracedFile(bad, ()), None)), second)
    (row,) = page_rows(broken, broken.sections[0], page_store)
    assert [cell.failure for cell in row.cells] == ["bad.mp3 is not a readable audio file", ""]
    assert row.cells[1].audio

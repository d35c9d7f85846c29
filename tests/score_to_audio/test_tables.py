from __future__ import annotations

import csv
from pathlib import Path

import pytest

from score_to_audio.tables import cell_text, write_csv


@pytest.mark.parametrize("text", ["=1+1", "+SUM(A1)", "-1+1", "@A1", "\t=1", "\r=1"])
def test_formulas_are_quoted(text: str) -> None:
    assert cell_text(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "text"), [(-23.5, "-23.5"), ("-1e-3", "-1e-3"), (None, ""), ("a=b", "a=b")]
)
def test_numbers_and_other_text_are_not(value: object, text: str) -> None:
    assert cell_text(value) == text


def test_a_table_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for value in ("old", "a,b\n\udcff"):
        write_csv(tmp_path / "table.csv", ("name", "value"), [("=x", value)])
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as lines:
        assert list(csv.reader(lines)) == [["name", "value"], ["'=x", "a,b\n\\udcff"]]
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]

"""Which column is best, and what the sentence says."""

from __future__ import annotations

import numpy as np
import pytest

from score_to_audio.comparison.results import Quantity, Summary
from score_to_audio.comparison.verdict import UNDECIDED, standings, verdict

TEMPO = Quantity("tempo", "tempo", better="higher", claim="nearest to the pianists", aspect="tempo")
PEDAL = Quantity("pedal", "pedal", better="higher", claim="nearest to the pianists", aspect="pedal")
APART = Quantity("apart", "apart", better="lower")
LEVEL = Quantity("level", "level")
LABELS = {"a": "A", "b": "B", "c": "C"}


def rows(*means: float, count: int = 12) -> dict[str, np.ndarray]:
    """Columns of these means, whose differences vary little from row to row."""
    piece, noise = np.random.default_rng(0).normal(size=count), 0.01 * np.sin(np.arange(count))
    return {
        key: mean + piece + np.roll(noise, number)
        for number, (key, mean) in enumerate(zip(LABELS, means, strict=False))
    }


def test_the_best_stands_out_and_ties_are_ties() -> None:
    assert standings(TEMPO, rows(0.2, 0.9, 0.5)) == {"b": "best"}
    assert standings(APART, rows(0.2, 0.9, 0.5)) == {"a": "best"}
    assert set(standings(TEMPO, rows(0.9, 0.2, 0.9)).items()) in (
        {("a", "best"), ("c", "tie")},
        {("a", "tie"), ("c", "best")},
    )
    assert standings(TEMPO, rows(0.9, 0.9, 0.9)) == dict.fromkeys(LABELS, "tie")


def test_nothing_is_best_where_neither_is_better_or_alone() -> None:
    assert standings(LEVEL, rows(0.2, 0.9)) == {}
    assert standings(TEMPO, rows(0.2)) == {}
    assert standings(TEMPO, {"a": np.array([1.0]), "b": np.array([np.nan])}) == {}


def test_few_rows_tie_where_they_look_alike() -> None:
    assert standings(TEMPO, {"a": np.array([0.501]), "b": np.array([0.499])}) == dict.fromkeys("ab", "tie")
    assert standings(TEMPO, {"a": np.array([0.51]), "b": np.array([0.49])}) == {"a": "best"}


@pytest.mark.parametrize(
    ("tempo", "pedal", "count", "sentence"),
    [
        ("best--", "best--", 9, "A is nearest to the pianists in tempo and pedal."),
        ("best-tie-", "--best", 9,
         "A and B are nearest to the pianists in tempo; C is nearest to the pianists in pedal."),
        ("tie-tie-tie", "-best-", 9,
         "No column is clearly nearest to the pianists in tempo; B is nearest to the pianists in pedal."),
        ("best--", "--", 2, "Of 2 rows, too few to be sure: A is nearest to the pianists in tempo."),
        ("--", "--", 9, UNDECIDED),
    ],
)  # fmt: skip
def test_the_sentence(tempo: str, pedal: str, count: int, sentence: str) -> None:
    found = [
        Summary(condition, quantity.key, 0.5, 0.4, 0.6, count, standing)  # type: ignore[arg-type]
        for quantity, marks in ((TEMPO, tempo), (PEDAL, pedal), (LEVEL, "--"))
        for condition, standing in zip(LABELS, marks.split("-"), strict=True)
    ]
    assert verdict([TEMPO, PEDAL, LEVEL], found, LABELS) == sentence
    assert verdict([TEMPO], found, {"a": "A"}) == ""

"""Votes of a blind test: what is refused, and how the others are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from score_to_audio.comparison.votes import count_votes, text
from score_to_audio.errors import InputError

STIMULI = {
    "s1": {"section": "S", "row": "r1", "condition": "a", "label": "A"},
    "s2": {"section": "S", "row": "r1", "condition": "b", "label": "B"},
}


def write_key(folder: Path, kind: str = "pairs") -> Path:
    trials = {f"t{number}": ["s1", "s2"] for number in range(5)}
    key: dict[str, Any] = {"format": "score-to-audio blind key 1", "test": "x", "title": "T", "kind": kind}
    path = folder / "key.json"
    path.write_text(json.dumps(key | {"seed": 0, "stimuli": STIMULI, "trials": trials}))
    return path


def write_votes(
    folder: Path, listener: str, votes: list[dict[str, Any]], kind: str = "pairs", hour: int = 0
) -> Path:
    full = [
        {
            "trial": f"t{number}",
            "stimuli": ["s2", "s1"],
            "seconds": 3.0,
            "time": f"2026-01-01T{hour:02}:00:0{number}Z",
        }
        | vote
        for number, vote in enumerate(votes)
    ]
    content = {
        "format": "score-to-audio votes 1",
        "test": "x",
        "kind": kind,
        "listener": listener,
        "votes": full,
    }
    path = folder / f"{listener}-{hour}.json"
    path.write_text(json.dumps(content))
    return path


def test_preferences_are_counted_by_name(tmp_path: Path) -> None:
    first = write_votes(
        tmp_path, "one", [{"chosen": "s2"}, {"chosen": "s2"}, {"chosen": "s1"}, {"chosen": None}]
    )
    second = write_votes(tmp_path, "two", [{"chosen": "s2"}])
    found = count_votes([first, second], write_key(tmp_path))
    (preference,) = found.preferences
    assert (preference.one, preference.for_one, preference.for_other, preference.undecided) == ("B", 3, 1, 1)
    # Clopper and Pearson for 3 of 4.
    assert (preference.share.low, preference.share.high) == (
        pytest.approx(0.1941, abs=1e-4),
        pytest.approx(0.9937, abs=1e-4),
    )
    assert (found.listeners, found.votes) == (2, 5)
    assert "B 3, A 1, undecided 1: 75% of those decided, 95 % interval 19% to 99%" in text(found)


def test_the_latest_export_of_a_listener_counts(tmp_path: Path) -> None:
    late = write_votes(tmp_path, "one", [{"chosen": "s1"}, {"chosen": "s1"}], hour=5)
    early = write_votes(tmp_path, "one", [{"chosen": "s2"}], hour=3)
    (preference,) = count_votes([late, early], write_key(tmp_path)).preferences
    assert (preference.one, preference.for_one, preference.for_other) == ("A", 2, 0)


def test_ratings_are_means_best_first(tmp_path: Path) -> None:
    votes = [{"ratings": {"s1": 40 + number, "s2": 80}} for number in range(3)]
    file = write_votes(tmp_path, "one", votes, kind="mushra")
    found = count_votes([file], write_key(tmp_path, "mushra"))
    assert [(rating.condition, rating.mean.value) for rating in found.ratings] == [("B", 80), ("A", 41)]
    assert found.ratings[1].mean.high - 41 == pytest.approx(4.3027 / 3**0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"score-to-audio votes 1"', '"other"', "not an export of votes"),
        ('"kind"', '"more": 1, "kind"', "not an export of votes"),
        ('"test": "x"', '"test": "y"', "votes of another test"),
        ('"kind": "pairs"', '"kind": "mushra"', "votes of kind"),
        ('"trial": "t1"', '"trial": "t0"', "answers a trial twice"),
        ('"trial": "t1"', '"trial": "t9"', "no such trial"),
        ('"chosen": "s2"', '"chosen": "s3"', "does not answer"),
    ],
)
def test_exports_that_do_not_fit_the_key_are_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    file = write_votes(tmp_path, "one", [{"chosen": "s2"}, {"chosen": None}])
    count_votes([file], write_key(tmp_path))
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        count_votes([file], write_key(tmp_path))

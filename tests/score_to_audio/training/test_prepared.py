from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from score_to_audio.formats.matches import read_match
from score_to_audio.store import Store
from score_to_audio.training.prepared import Arrays, prepared, prepared_rows, stored_match
from tests.score_to_audio.formats.test_matches import MATCH


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> tuple[Arrays, Sequence[str]]:
        self.calls += 1
        return {"a": np.arange(3), "b": np.array(["x", "yz"])}, ["one problem"]


def test_arrays_and_problems_are_made_once(tmp_path: Path) -> None:
    store, make = Store(tmp_path / "store"), Maker()
    (tmp_path / "input").write_text("content")
    for _ in range(2):
        arrays, problems = prepared([tmp_path / "input"], "test 1", store, make, size=3)
        assert arrays["a"].tolist() == [0, 1, 2]
        assert arrays["b"].tolist() == ["x", "yz"]
        assert problems == ("one problem",)
    assert make.calls == 1


def test_what_determines_the_content_makes_them_anew(tmp_path: Path) -> None:
    store, make = Store(tmp_path / "store"), Maker()
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    a, b = tmp_path / "a", tmp_path / "b"
    prepared([a, b], "test 1", store, make)
    prepared([b, a], "test 1", store, make)
    prepared([a, b], "test 2", store, make)
    prepared([a, b], "test 1", store, make, size=1)
    prepared([a, b], "test 1", store, make, checkpoints={"codec": "0" * 64})
    assert make.calls == 5
    a.write_text("changed")
    prepared([a, b], "test 1", store, make)
    assert make.calls == 6


def test_rows_stay_in_their_file(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("content")
    made = np.zeros(2, [("cells", np.int16, (4,)), ("sound", np.float32, (3,))])
    made["cells"][1] = 7
    rows = prepared_rows([tmp_path / "input"], "test 1", Store(tmp_path / "store"), lambda: made)
    assert isinstance(rows, np.memmap)
    np.testing.assert_array_equal(rows["cells"], made["cells"])


def test_a_stored_match_is_the_same_performance(tmp_path: Path) -> None:
    path, store = tmp_path / "a.match", Store(tmp_path / "store")
    path.write_text(MATCH)
    first, second = (stored_match(path, store) for _ in range(2))
    assert first.score_ids == second.score_ids == read_match(path).score_ids
    np.testing.assert_array_equal(first.onset, second.onset)
    np.testing.assert_array_equal(first.controls.value, second.controls.value)

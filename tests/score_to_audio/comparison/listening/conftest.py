from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from score_to_audio.comparison.listening.comparison import Comparison
from score_to_audio.comparison.listening.page import write_page
from tests.score_to_audio.comparison.listening.browser import browsing
from tests.score_to_audio.comparison.listening.comparisons import comparison

PIECES = ("chopin_prelude_op28_no7.musicxml", "petzold_minuet_bwv_anh114.musicxml")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return comparison(tmp_path_factory.mktemp("audio"), *PIECES)


@pytest.fixture(scope="session")
def page(finished: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(finished, tmp_path_factory.mktemp("listening") / "page")


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    with browsing() as opened:
        yield opened

from __future__ import annotations

from pathlib import Path

import pytest

from score_to_audio.comparison.listening.page import write_page
from score_to_audio.comparison.results import ComparisonResult
from score_to_audio.store import Store
from tests.score_to_audio.comparison.listening.comparisons import finished_comparison

PIECES = ("chopin_prelude_op28_no7.musicxml", "petzold_minuet_bwv_anh114.musicxml")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ComparisonResult:
    return finished_comparison(tmp_path_factory.mktemp("audio"), *PIECES)


@pytest.fixture(scope="session")
def page_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def page(finished: ComparisonResult, page_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(finished, tmp_path_factory.mktemp("listening") / "page", page_store)

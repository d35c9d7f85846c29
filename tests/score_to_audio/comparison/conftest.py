"""The trial renderer and synthesizer, a folder with scores, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from score_to_audio import registry
from score_to_audio.store import Store
from tests.score_to_audio.comparison.listening.browser import browsing
from tests.trial.trial_kit import install_trial_plugins, write_scores


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with three scores below ``scores`` and the trial plug-ins installed."""
    monkeypatch.syspath_prepend(str(install_trial_plugins(tmp_path / "plugins")))
    monkeypatch.setattr(registry, "_built", {})
    registry.entries.cache_clear()
    write_scores(tmp_path / "scores", 3)
    yield tmp_path
    registry.entries.cache_clear()


@pytest.fixture
def store(place: Path) -> Store:
    return Store(place / "store")


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    with browsing() as opened:
        yield opened

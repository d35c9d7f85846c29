"""The examples in docstrings."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

from tests.paths import PROJECT


@pytest.mark.parametrize("module", ["score_to_audio", "score_to_audio.seeding", "score_to_audio.settings"])
def test_examples(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    results = doctest.testmod(import_module(module))
    assert results.attempted > 0
    assert results.failed == 0

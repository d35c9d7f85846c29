"""What the conformance suite catches, on a renderer that misbehaves."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from adapters.score_playback import ScorePlayback
from score_to_audio import testing
from score_to_audio.types import Performance


def check_global_generators(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Run the check on a renderer that also does ``meanwhile``."""
    render = ScorePlayback.render

    def rendered(*arguments: Any, **options: Any) -> Performance:
        meanwhile()
        return render(*arguments, **options)

    monkeypatch.setattr(ScorePlayback, "render", rendered)
    checks = {check.__name__: check for check in testing.renderer_checks("score")}
    checks["global_generators"]()


def test_a_global_generator_must_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="neither seeded nor used"):
        check_global_generators(monkeypatch, random.random)


def test_another_thread_may_draw_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def draw() -> None:
        if not drawn:
            other = threading.Thread(target=lambda: drawn.append(random.random()))
            other.start()
            other.join()

    check_global_generators(monkeypatch, draw)
    assert drawn

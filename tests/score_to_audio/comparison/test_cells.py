from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from score_to_audio.comparison.cells import first_seconds
from score_to_audio.comparison.config import FirstSeconds
from score_to_audio.comparison.plan import Row
from score_to_audio.formats.scores.reader import ScoreOptions
from score_to_audio.store import Store
from tests.score_to_audio.comparison.trial_comparisons import TRIAL, run, write_recording


def test_the_first_seconds_of_the_recording_can_be_the_prompt(place: Path, store: Store) -> None:
    midi, wav = write_recording(place)
    row = Row("r", performance=midi, recording=wav, start=0.5)
    prompt = first_seconds(row, FirstSeconds(first_seconds=0.75), ScoreOptions(), store)
    assert prompt.audio.duration == pytest.approx(0.75)
    assert prompt.performance is not None
    np.testing.assert_allclose(prompt.performance.onset, [0.0, 0.5], atol=1e-3)


def test_a_row_without_a_score_skips_stage_1_and_a_rendering_is_cut_to_the_rows_passage(
    place: Path, store: Store
) -> None:
    midi, _ = write_recording(place)
    played = {"performance": str(midi), "start": 0.5, "seconds": 1.0}
    rows = [played, played | {"score": str(place / "scores" / "score-001.musicxml")}]
    result = run(store, rows, [TRIAL | {"renderer": "score"}])
    own, rendered = (cell.cell for cell in result.sections[0].cells)
    assert own is not None
    assert rendered is not None
    assert [step["stage"] for step in own.audio.history] == ["given", "cut", "synthesize"]
    assert [step["stage"] for step in rendered.audio.history] == ["render", "cut", "synthesize"]

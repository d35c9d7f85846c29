"""Comparisons carried out within this process: cells, references, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from score_to_audio.comparison.report import text
from score_to_audio.store import Store
from tests.score_to_audio.comparison.trial_comparisons import TRIAL, run, scores, write_recording


def test_what_columns_share_is_made_once(place: Path, store: Store) -> None:
    def logged(**options: Any) -> dict[str, Any]:
        return {"log": str(place / "log"), **options}

    first = TRIAL | {"renderer_options": logged(), "synthesizer_options": logged()}
    columns = [first, first | {"synthesizer_options": logged(pause=0.01)}]
    assert not run(store, scores(place)[:1], columns).failures
    done = (place / "log").read_text().splitlines()
    assert sum(line.startswith("rendered") for line in done) == 1
    assert sum(line.startswith("synthesized") for line in done) == 2
    run(store, scores(place)[:1], columns)
    assert (place / "log").read_text().splitlines() == done


def test_a_failing_cell_carries_its_reason_and_stops_nothing(place: Path, store: Store) -> None:
    (place / "scores" / "score-001.musicxml").write_text("<score-partwise><part-list>")
    missing = {"dataset": "maestro", "folder": str(place / "nothing"), "count": 3}
    rows = [*scores(place), {"performance": str(place / "nowhere.mid")}, missing]
    columns = [TRIAL, {"synthesizer": "midi-valle", "renderer": "trial"}, {"recording": True}]
    result = run(store, rows, columns)
    failures = {(cell.row.name, cell.condition.key): cell.failure for cell in result.failures}
    assert len(failures) == 5 + 5 + 3  # all of the last two columns, and three rows of the first
    assert "no such folder" in failures["maestro", "trial-trial"]
    assert "score-001.musicxml" in failures["score-001", "trial-trial"]
    assert "no such performance" in failures["nowhere", "trial-trial"]
    assert "models pull midi-valle" in failures["score-000", "trial-midi-valle"]
    assert failures["score-000", "recording"] == "this row has no recording"
    assert len(result.sections[0].cells) == 15
    assert "2 of 5" in text(result)


def test_sounds_are_measured_against_the_recording_of_the_same_performance(place: Path, store: Store) -> None:
    midi, wav = write_recording(place)
    row = {
        "title": "r",
        "score": str(place / "scores" / "score-001.musicxml"),
        "performance": str(midi),
        "recording": str(wav),
    }
    columns = [{"recording": True}, {"synthesizer": "trial", "label": "own"}, TRIAL | {"label": "rendered"}]
    result = run(store, [row], columns, measures=["distance", "expression"])
    recording, own, rendered = (cell.values for cell in result.sections[0].cells)
    assert own["chroma_distance"] < 0.2
    assert 0 < own["spectrogram_distance"] < 0.2
    assert "chroma_distance" not in recording  # against itself
    assert "chroma_distance" not in rendered  # another performance, not aligned in time
    assert "human_velocity_correlation" not in own  # the only human is itself
    # With a column as the reference, what plays the same performance is measured against that.
    result = run(store, [row], columns, measures=["distance"], of_section={"reference": "own"})
    recording, own, rendered = (cell.values for cell in result.sections[0].cells)
    assert recording["chroma_distance"] < 0.2
    assert "chroma_distance" not in own
    assert "chroma_distance" not in rendered


def test_metrics_that_are_not_installed_are_left_out_and_named(
    place: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from score_to_audio.comparison import metrics

    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    result = run(store, scores(place)[:1], [TRIAL], measures=["transcription", "distance"])
    assert not result.failures
    assert [notice.split(";")[0] for notice in result.notices] == [
        "left out: transcription: needs transkun and mir_eval",
        "left out: distance: needs librosa",
    ]
    assert "pip install 'score-to-audio[evaluation]'" in text(result)


def test_slow_metrics_are_left_out_unless_asked_for(place: Path, store: Store) -> None:
    result = run(store, scores(place)[:1], [TRIAL], measures=None)
    (notice,) = (notice for notice in result.notices if "transcription" in notice)
    assert "--metrics levels,expression,transcription" in notice
    assert "loudness" in {quantity.key for quantity in result.quantities}

"""Hands apart, and match files that partitura reads back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from score_to_audio.exports import hand
from score_to_audio.formats.matches import match_text, read_match
from score_to_audio.testing import example_score
from score_to_audio.types import Controls, Performance


def played() -> Performance:
    """The notes of the example score at 120, the last left out, and one note that it does not have."""
    notes = example_score().parsed.notes
    keep = np.arange(len(notes) - 1)
    onset = np.append(notes.onset[keep] / 2, notes.onset[-1])
    length = np.append(np.maximum(notes.duration[keep], 0.25) / 2, 0.25)
    return Performance(
        onset=onset,
        offset=onset + length,
        pitch=np.append(notes.pitch[keep], 61),
        velocity=np.full(len(onset), 64),
        controls=Controls(np.array([0.5]), np.array([64]), np.array([100])),
        score_ids=(*(notes.id[number] for number in keep), ""),
    )


def test_both_hands_together_are_the_performance() -> None:
    score, performance = example_score().parsed, played()
    right, left = (hand(score, performance, which) for which in ("right", "left"))
    assert len(right) + len(left) == len(performance)
    staff = dict(zip(score.notes.id, score.notes.staff.tolist(), strict=True))
    assert {staff[note] for note in right.score_ids or () if note} == {1}
    assert {staff[note] for note in left.score_ids or ()} == {2}
    assert 61 in right.pitch  # above middle C
    assert left.controls.value.tolist() == right.controls.value.tolist() == [100]


def test_a_hand_without_notes_is_refused() -> None:
    score, performance = example_score().parsed, played()
    right = hand(score, performance, "right")
    with pytest.raises(ValueError, match="left hand"):
        hand(score, right, "left")


def test_partitura_reads_the_match_file_back(tmp_path: Path) -> None:
    score, performance = example_score().parsed, played()
    text = match_text(score, performance)
    (tmp_path / "x.match").write_text(text)
    heard = read_match(tmp_path / "x.match")
    np.testing.assert_allclose(heard.onset, performance.onset, rtol=0, atol=1e-3)
    assert heard.pitch.tolist() == performance.pitch.tolist()
    assert heard.score_ids == performance.score_ids
    assert text.count("insertion") == 1
    assert heard.controls.value.tolist() == [100]
    assert match_text(score, performance) == text


def test_a_performance_without_ids_has_no_match_file() -> None:
    with pytest.raises(ValueError, match="no note of the performance"):
        match_text(example_score().parsed, replace(played(), score_ids=None))

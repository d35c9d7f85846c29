"""Small scores with the essence of a public bug report each, against what is right (cases/expected.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.score_playback import ScorePlayback, ScorePlaybackParameters
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.types import ParsedScore, Performance, Score

CASES = Path(__file__).parent / "cases"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())


def test_every_case_has_an_expectation() -> None:
    assert sorted(path.name for path in CASES.iterdir() if path.suffix != ".json") == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_case(name: str) -> None:
    score = read_score(CASES / name)
    wanted = EXPECTED[name]
    for key, value in wanted.items():
        if key not in ("why", "played"):
            assert CHECKS[key](score, value), (key, value)
    assert len(performed(score))


def performed(score: Score) -> Performance:
    return ScorePlayback(ScorePlaybackParameters(), checkpoints={}, device="cpu").render(score, seed=0)


def listed(parsed: ParsedScore) -> str:
    notes = parsed.notes
    return " ".join(
        f"{spelling}@{onset:g}" for spelling, onset in zip(notes.spelling, notes.onset, strict=True)
    )


def first_tempo(parsed: ParsedScore) -> float | None:
    tempos = [direction.value for direction in parsed.directions if direction.kind == "tempo"]
    return next((tempo for tempo in tempos if tempo), None)


def is_struck_while_held(played: Performance) -> bool:
    keys: dict[int, float] = {}
    for onset, offset, pitch in zip(played.onset, played.offset, played.pitch.tolist(), strict=True):
        if onset < keys.get(pitch, 0) - 1e-6:
            return True
        keys[pitch] = float(offset)
    return False


def seconds_per_quarter(score: Score) -> float:
    onsets, played = score.parsed.notes.onset, performed(score).onset
    return float((played[-1] - played[0]) / (onsets[-1] - onsets[0]))


CHECKS: dict[str, Any] = {
    "measures": lambda score, value: [measure.number for measure in score.parsed.measures] == value,
    "notes": lambda score, value: listed(score.parsed) == value,
    "count": lambda score, value: len(score.parsed.notes) == value,
    "tempo": lambda score, value: first_tempo(score.parsed) == value,
    "notice": lambda score, value: any(value in notice for notice in score.parsed.notices),
    "performed": lambda score, value: len(performed(score)) == value,
    "performed_at_most": lambda score, value: len(performed(score)) <= value,
    "struck_while_held": lambda score, value: is_struck_while_held(performed(score)) == value,
    "tempo_played": lambda score, value: abs(seconds_per_quarter(score) - 60 / value) < 0.005,
    "last_onset_seconds": lambda score, value: abs(performed(score).onset[-1] - value) < 0.02,
    "notes_count": lambda score, value: len(performed(score)) >= value,
}

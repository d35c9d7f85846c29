"""kth-rules against human performances of the corpus: clearly ahead of the score as written."""

from __future__ import annotations

from pathlib import Path

import pytest

from renderers import score_playback
from renderers.expression import agreement, ceiling, grid, mean_expression, measure
from renderers.kth_rules.rendering import render as play
from score_to_audio.formats.matches import read_match
from score_to_audio.formats.scores.reader import read_score
from tests.corpus_piece import corpus_piece


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_piece(tmp_path_factory)


@pytest.mark.slow
def test_the_rules_are_closer_to_humans_than_the_score(piece: Path) -> None:
    score = read_score(piece / "xml_score.musicxml").parsed
    of_score = grid(score)
    humans = [measure(of_score, read_match(path)) for path in sorted(piece.glob("*.match"))]
    mean, highest = mean_expression(humans), ceiling(humans)
    plain = agreement(measure(of_score, score_playback.render(score)), mean)
    ruled = agreement(measure(of_score, play(score)), mean)
    # Measured: 0.75, 0.46, 0.69 and 0.27, against 0.50, 0.04, 0.34 and 0.
    least = {"velocity": 0.7, "local_beat_period": 0.35, "articulation": 0.6, "pedal": 0.15}
    for name, value in least.items():
        assert ruled[name] > max(value, plain[name]), name
        assert ruled[name] < highest[name], name

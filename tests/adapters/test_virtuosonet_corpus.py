"""VirtuosoNet's features of human performances, and the shipped weights on their piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.aligned_corpus import matches_of
from adapters.virtuosonet import VirtuosoNet, VirtuosoNetParameters, note_ids, read_notes
from renderers.expression import agreement, grid, mean_expression, measure
from renderers.kth_rules.rendering import render as render_by_rules
from renderers.virtuosonet import features as columns
from renderers.virtuosonet.decoding import decode
from renderers.virtuosonet.encoding import encode
from renderers.virtuosonet.performance import to_performance
from score_to_audio import checkpoints
from score_to_audio.formats.matches import read_match
from score_to_audio.formats.scores.reader import read_score
from tests.corpus_piece import corpus_piece

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_piece(tmp_path_factory)


def test_real_performances_survive_the_features(piece: Path) -> None:
    """Notes exactly, the pedal approximately."""
    score = read_score(piece / "xml_score.musicxml")
    notes, of_score = read_notes(score), grid(score.parsed)
    ids = note_ids(score, notes)
    of_note = {name: index for index, name in enumerate(ids)}
    has_length = notes.column("duration") > 0
    for path in sorted(piece.glob("*.match")):
        human = read_match(path)
        match = matches_of(ids, human)
        encoded = encode(notes, human, match)
        features = encoded.features.copy()
        features[~encoded.played, columns.VELOCITY] = 64
        features[~encoded.played, columns.ONSET_DEVIATION : columns.ARTICULATION + 1] = 0
        again = to_performance(notes, decode(notes, features), trills=False, note_ids=ids)
        assert again.score_ids is not None
        index = np.array([of_note[name] for name in again.score_ids])
        kept = encoded.played[index] & has_length[index]  # the length of grace notes is not encoded
        assert kept.mean() > 0.95
        own, theirs = np.flatnonzero(kept), match[index[kept]]
        shift = np.median(again.onset[own] - human.onset[theirs])
        np.testing.assert_allclose(again.onset[own] - shift, human.onset[theirs], atol=1e-5)
        # Measured: all ends except those of notes longer than ten seconds.
        ends = np.abs(again.offset[own] - shift - human.offset[theirs])
        assert np.quantile(ends, 0.99) < 1e-5
        np.testing.assert_array_equal(again.velocity[own], human.velocity[theirs])
        alike = agreement(measure(of_score, again), measure(of_score, human))
        # Measured: 0.77 to 0.87, and 0.63 to 0.75 within the beat.
        assert alike["pedal"] > 0.7
        assert alike["pedal_within_beat"] > 0.55


def test_the_shipped_weights_are_closer_to_humans_than_the_rules(piece: Path) -> None:
    score = read_score(piece / "xml_score.musicxml")
    of_score = grid(score.parsed)
    humans = mean_expression([measure(of_score, read_match(path)) for path in sorted(piece.glob("*.match"))])
    shipped = {"checkpoint": checkpoints.find("asap-small")}
    trained = VirtuosoNet(VirtuosoNetParameters(checkpoint="asap-small"), checkpoints=shipped, device="cpu")
    reached = agreement(measure(of_score, trained.render(score, seed=0)), humans)
    ruled = agreement(measure(of_score, render_by_rules(score.parsed)), humans)
    for name in ("local_beat_period", "beat_period", "velocity"):
        assert reached[name] > ruled[name], name

"""The (n)ASAP corpus for training renderers: examples, read once, and validation against humans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers import expression
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import ArtifactStore
from score_to_audio.training.prepared import prepared, stored_match
from score_to_audio.types import Performance, Score

Arrays = dict[str, NDArray[Any]]
ReadPiece = Callable[[Piece, ArtifactStore], tuple[Arrays | None, list[str]]]
"""(piece, store for match files) -> (arrays, None where nothing is usable; a line per problem)."""

FEWEST_PLAYED = 0.8
"""Smallest share of a score's notes that a performance must play where the score has them."""
FARTHEST = 0.6
"""Seconds that a note may lie from the line through its neighbours: more is a wrong alignment."""
CHOSEN_BY = ("velocity", "local_beat_period", "beat_period", "articulation", "pedal_within_beat")
"""Measures whose mean on the validation split decides which checkpoint is best."""


def read_prepared(
    piece: Piece, store: ArtifactStore, preparation: str, read: ReadPiece
) -> tuple[Arrays, tuple[str, ...]]:
    """The arrays of a piece (none: empty) and its problems, from the store where it has them.

    ``preparation``: name and version of what ``read`` does.
    """

    def make() -> tuple[Arrays, list[str]]:
        arrays, problems = read(piece, store)
        return arrays or {}, problems

    inputs = (piece.score, *piece.robust, *piece.others)
    return prepared(inputs, preparation, store, make, folder=piece.folder, robust=len(piece.robust))


def matches_of(ids: Sequence[str], performance: Performance) -> NDArray[np.int64]:
    """[N] index of the first performed note for each score note id, -1 for none."""
    first: dict[str, int] = {}
    for index, name in enumerate(performance.score_ids or ()):
        first.setdefault(name, index)
    return np.array([first.get(name, -1) if name else -1 for name in ids], dtype=np.int64)


def prepare_piece(piece: Piece, store: ArtifactStore, preparation: str, read: ReadPiece) -> tuple[str, ...]:
    """Prepare what a training needs of a piece; returns its problems."""
    if piece.split == "train":
        return read_prepared(piece, store, preparation, read)[1]
    for path in piece.robust or piece.others:
        stored_match(path, store)
    return ()


@dataclass(frozen=True)
class Aligned:
    """A human performance of a score."""

    performance: Performance
    played: NDArray[np.int64]
    """[N] index of the performed note of each note of ``score.parsed.notes``; -1: not played, or wrongly
    aligned."""


def aligned_performances(piece: Piece, score: Score, store: ArtifactStore) -> tuple[list[Aligned], list[str]]:
    """The usable performances of a piece, the robust ones first, and a line for each of the others."""
    grid, notes = expression.grid(score.parsed), score.parsed.notes
    found, problems = [], []
    for path in (*piece.robust, *piece.others):
        try:
            performance = stored_match(path, store)
        except InputError as error:
            problems.append(f"{piece.folder}/{path.name}: {error}")
            continue
        played = matches_of(notes.id, performance)
        quarters, seconds = expression.performed_onsets(grid, performance)
        if len(quarters) > 1:
            expected = np.interp(notes.onset, quarters, seconds)
            played[np.abs(performance.onset[played] - expected) > FARTHEST] = -1
        share = float((played >= 0).mean())
        if len(quarters) < 2 or share < FEWEST_PLAYED:
            problems.append(f"{piece.folder}/{path.name}: only {share:.0%} of the notes are usable")
        else:
            found.append(Aligned(performance, played))
    return found, problems


# ------------------------------------------------------------------------------------------ validation


@dataclass(frozen=True)
class ValidationPiece:
    """A piece of the validation split, and the mean of its human performances."""

    score: Score
    grid: expression.Grid
    humans: expression.Expression


def validation_pieces(corpus: Path, store: ArtifactStore) -> list[ValidationPiece]:
    """The pieces of the split, judged by their robust alignments where they have any."""
    found = []
    for piece in pieces(corpus, "validation"):
        score = read_score(piece.score)
        grid = expression.grid(score.parsed)
        matches = piece.robust or piece.others
        humans = [expression.measure(grid, stored_match(path, store)) for path in matches]
        found.append(ValidationPiece(score, grid, expression.mean_expression(humans)))
    return found


def validated(
    validation: Sequence[ValidationPiece], play: Callable[[Score], Performance]
) -> dict[str, float]:
    """Mean agreement of what ``play`` makes of each score with the mean of the human performances."""
    agreements = [_agreement(piece, play(piece.score)) for piece in validation]
    return {name: expression.nan_average([one[name] for one in agreements]) for name in expression.MEASURES}


def _agreement(piece: ValidationPiece, performance: Performance) -> dict[str, float]:
    """None where the notes of a network that has hardly learnt go backwards: it then has no tempo."""
    try:
        mine = expression.measure(piece.grid, performance)
    except ValueError:
        return dict.fromkeys(expression.MEASURES, 0.0)
    return expression.agreement(mine, piece.humans)


def merit(figures: Mapping[str, float]) -> float:
    """By which the best epoch is chosen: 0 without a validation split."""
    mean = expression.nan_average([figures[name] for name in CHOSEN_BY])
    return mean if np.isfinite(mean) else 0.0


def corpus_examples(
    corpus: Path, split: str, store: ArtifactStore, preparation: str, read: ReadPiece
) -> Iterator[tuple[Piece, Arrays, tuple[str, ...]]]:
    """Every piece of a split with its arrays (none: empty) and its problems."""
    for piece in pieces(corpus, split):
        arrays, problems = read_prepared(piece, store, preparation, read)
        yield piece, arrays, problems

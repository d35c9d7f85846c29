"""The (n)ASAP corpus as training examples: aligned performances as the features of VirtuosoNet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.aligned_corpus import Arrays, matches_of, read_prepared
from adapters.virtuosonet import note_ids, read_notes
from renderers.virtuosonet.encoding import encode
from renderers.virtuosonet.features import composer_named, note_features
from renderers.virtuosonet.training.examples import (
    TrainingExample,
    from_arrays,
    plausible,
    to_arrays,
    within_limits,
)
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import ArtifactStore
from score_to_audio.training.prepared import stored_match

EXAMPLES = "virtuosonet 1"
"""Version of the prepared examples; a change makes them anew."""
FEWEST_KNOWN = 0.8
"""Smallest share of a score's notes that a performance must play plausibly."""


@dataclass(frozen=True)
class TrainingCorpus:
    """The examples of a split, and what was left out and why."""

    examples: tuple[TrainingExample, ...]
    left_out: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """A summary for the terminal."""
        performances = sum(len(one.performances) for one in self.examples)
        notes = sum(len(one.beat) for one in self.examples)
        yield f"{len(self.examples)} scores with {notes} notes, {performances} performances"
        for line in self.left_out:
            yield f"left out {line}"


def prepare(corpus: Path, split: str, store: ArtifactStore) -> TrainingCorpus:
    """Read a split; what is prepared of each piece is kept in the store."""
    examples: list[TrainingExample] = []
    left_out: list[str] = []
    for piece in pieces(corpus, split):
        arrays, problems = read_prepared(piece, store, EXAMPLES, read_arrays)
        left_out += problems
        if arrays:
            examples.append(from_arrays(arrays))
    return TrainingCorpus(tuple(examples), tuple(left_out))


def read_arrays(piece: Piece, store: ArtifactStore) -> tuple[Arrays | None, list[str]]:
    example, problems = read_example(piece, store)
    return (None if example is None else to_arrays(example)), problems


def read_example(piece: Piece, store: ArtifactStore) -> tuple[TrainingExample | None, list[str]]:
    """A piece with its usable performances (None without any), and a line for each problem."""
    try:
        score = read_score(piece.score)
        notes = read_notes(score)
    except InputError as error:
        return None, [f"{piece.folder}: {error}"]
    ids = note_ids(score, notes)
    trill = notes.column("is_trill") > 0
    performances: list[NDArray[np.float32]] = []
    known: list[NDArray[np.bool_]] = []
    problems = []
    for path in (*piece.robust, *piece.others):
        try:
            performance = stored_match(path, store)
            encoded = encode(notes, performance, matches_of(ids, performance))
        except (InputError, ValueError) as error:
            problems.append(f"{piece.folder}/{path.name}: {error}")
            continue
        usable = encoded.played & plausible(encoded.features)
        if usable.mean() < FEWEST_KNOWN:
            problems.append(f"{piece.folder}/{path.name}: only {usable.mean():.0%} of the notes are usable")
            continue
        performances.append(within_limits(encoded.features).astype(np.float32))
        known.append(usable & ~trill)
    if not performances:
        return None, problems
    at = notes.locations
    composer = composer_named(score.parsed.composer) or composer_named(piece.composer)
    example = TrainingExample(
        name=piece.folder,
        features=note_features(notes, composer=composer),
        beat=at.beat - at.beat[0],
        measure=at.measure - at.measure[0],
        voice=at.voice,
        performances=np.stack(performances),
        known=np.stack(known),
    )
    return example, problems

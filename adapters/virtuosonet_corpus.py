"""The (n)ASAP corpus as training examples: aligned performances as the features of VirtuosoNet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from score_to_audio.files import replacing
from score_to_audio.formats.matches import Piece, pieces, read_match_cached
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.types import Performance

FORMAT = 1
"""Version of the cached examples; a change makes them anew."""
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


def prepare(corpus: Path, split: str, cache: Path) -> TrainingCorpus:
    """Read a split; every piece is cached in ``cache`` under a name that depends on its files' content."""
    examples: list[TrainingExample] = []
    left_out: list[str] = []
    for piece in pieces(corpus, split):
        example, problems = _read_cached(piece, cache)
        left_out += problems
        if example is not None:
            examples.append(example)
    return TrainingCorpus(tuple(examples), tuple(left_out))


def _read_cached(piece: Piece, cache: Path) -> tuple[TrainingExample | None, list[str]]:
    cached = cache / "examples" / f"{_key(piece)}.npz"
    if cached.is_file():
        with np.load(cached, allow_pickle=False) as data:
            arrays = dict(data)
    else:
        example, problems = read_example(piece, cache)
        arrays = {} if example is None else to_arrays(example)
        arrays["problems"] = np.array(problems, dtype=np.str_)
        with replacing(cached) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)
    # The first reading, too, returns the cached arrays: their float32 columns change the statistics slightly.
    problems = arrays.pop("problems").tolist()
    return (from_arrays(arrays) if arrays else None), problems


def _key(piece: Piece) -> str:
    digest = hashlib.sha256(f"{FORMAT} {piece.folder}".encode())
    for path in (piece.score, *piece.robust, *piece.others):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read_example(piece: Piece, cache: Path) -> tuple[TrainingExample | None, list[str]]:
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
            performance = read_match_cached(path, cache / "matches")
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


def matches_of(ids: Sequence[str], performance: Performance) -> NDArray[np.int64]:
    """[N] index of the first performed note for each score note id, -1 for none."""
    first: dict[str, int] = {}
    for index, name in enumerate(performance.score_ids or ()):
        first.setdefault(name, index)
    return np.array([first.get(name, -1) if name else -1 for name in ids], dtype=np.int64)

"""The (n)ASAP corpus as examples for training: aligned performances as the features of VirtuosoNet."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.virtuosonet import note_ids, read_notes
from renderers.virtuosonet.encoding import encode
from renderers.virtuosonet.features import composer_named, note_features
from renderers.virtuosonet.score import NoteScore
from renderers.virtuosonet.training.examples import (
    Example,
    Floats,
    from_arrays,
    plausible,
    to_arrays,
    within_limits,
)
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces, read_match_cached
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.types import Performance

log = logging.getLogger(__name__)

FORMAT = 1
"""Of the kept examples; a change makes them anew."""
FEWEST_KNOWN = 0.8
"""Share of a score's notes that a performance must play plausibly to be learnt from."""


@dataclass(frozen=True)
class Prepared:
    """The examples of a split, and what could not be used and why."""

    examples: tuple[Example, ...]
    left_out: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """What was read, for a person."""
        performances = sum(len(one.performances) for one in self.examples)
        notes = sum(len(one.beat) for one in self.examples)
        yield f"{len(self.examples)} scores with {notes} notes, {performances} performances"
        for line in self.left_out:
            yield f"left out {line}"


def prepare(corpus: Path, split: str, cache: Path) -> Prepared:
    """Read a split; every piece is kept in ``cache``, under a name that depends on its files' bytes."""
    examples: list[Example] = []
    left_out: list[str] = []
    for piece in pieces(corpus, split):
        example, problems = _kept(piece, cache)
        left_out += problems
        if example is not None:
            examples.append(example)
    return Prepared(tuple(examples), tuple(left_out))


def _kept(piece: Piece, cache: Path) -> tuple[Example | None, list[str]]:
    kept = cache / "examples" / f"{_key(piece)}.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as data:
            arrays = dict(data)
        problems = arrays.pop("problems").tolist()
        return (from_arrays(arrays) if "features" in arrays else None), problems
    example, problems = read_example(piece, cache)
    arrays = {} if example is None else to_arrays(example)
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_name(f"{kept.stem}.{os.getpid()}.npz")
    np.savez_compressed(unfinished, problems=np.array(problems, dtype=np.str_), **arrays)
    unfinished.replace(kept)
    return example, problems


def _key(piece: Piece) -> str:
    digest = hashlib.sha256(f"{FORMAT} {piece.folder}".encode())
    for path in (piece.score, *piece.robust, *piece.others):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read_example(piece: Piece, cache: Path) -> tuple[Example | None, list[str]]:
    """A piece with those of its performances that can be learnt from; and a line for everything else."""
    try:
        score = read_score(piece.score)
        notes = read_notes(score)
    except InputError as error:
        return None, [f"{piece.folder}: {error}"]
    ids = note_ids(score, notes)
    trill = notes.column("is_trill") > 0
    performances: list[Floats] = []
    known: list[NDArray[np.bool_]] = []
    problems = []
    for path in (*piece.robust, *piece.others):
        try:
            played = read_match_cached(path, cache / "matches")
            encoded = encode(notes, played, matches_of(ids, played))
        except (InputError, ValueError) as error:
            problems.append(f"{piece.folder}/{path.name}: {error}")
            continue
        good = encoded.played & plausible(encoded.features)
        if good.mean() < FEWEST_KNOWN:
            problems.append(f"{piece.folder}/{path.name}: only {good.mean():.0%} of the notes are usable")
            continue
        performances.append(within_limits(encoded.features).astype(np.float32))
        known.append(good & ~trill)
    if not performances:
        return None, problems
    composer = composer_named(score.parsed.composer) or composer_named(piece.composer)
    return _example(piece.folder, notes, composer, performances, known), problems


def _example(
    name: str,
    notes: NoteScore,
    composer: str,
    performances: Sequence[Floats],
    known: Sequence[NDArray[np.bool_]],
) -> Example:
    at = notes.locations
    return Example(
        name=name,
        features=note_features(notes, composer=composer),
        beat=at.beat - at.beat[0],
        measure=at.measure - at.measure[0],
        voice=at.voice,
        performances=np.stack(performances),
        known=np.stack(known),
    )


def matches_of(ids: Sequence[str], performance: Performance) -> NDArray[np.int64]:
    """[N] index of the first performed note for each score note id, -1 for none."""
    first: dict[str, int] = {}
    for index, name in enumerate(performance.score_ids or ()):
        first.setdefault(name, index)
    return np.array([first.get(name, -1) if name else -1 for name in ids], dtype=np.int64)

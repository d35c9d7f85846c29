"""A comparison as a blind test: neutral ids, trials, and the key that says what they stand for."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from score_to_audio.comparison.listening.rows import PageCell, PageRow
from score_to_audio.comparison.votes import KEY_FORMAT, BlindKey, BlindTestKind, Stimulus
from score_to_audio.errors import InputError


@dataclass(frozen=True)
class BlindRow:
    """A row of the test."""

    row: PageRow
    stimuli: Mapping[str, PageCell]
    """Neutral id -> what is heard."""
    trials: Mapping[str, tuple[str, ...]]
    """Neutral id -> stimuli."""


def blind_test(
    title: str, rows: Iterable[PageRow], kind: BlindTestKind, seed: int
) -> tuple[list[BlindRow], BlindKey]:
    """The rows with two sounds or more, and the key. Raises ``InputError`` where there are none.

    "pairs": every two sounds of a row make a trial; "mushra": all sounds of a row make one.
    """
    ids = _ids(random.Random(f"score-to-audio {seed}"))
    tested = [_blind_row(row, kind, ids) for row in rows if len(_heard(row)) > 1]
    if not tested:
        raise InputError("there is nothing to compare blind: no row has recordings of two conditions")
    trials = {trial: stimuli for one in tested for trial, stimuli in one.trials.items()}
    stimuli = {
        stimulus: Stimulus(one.row.section.title, one.row.row.name, condition.key, condition.label)
        for one in tested
        for stimulus, cell in one.stimuli.items()
        for condition in [cell.result.condition]
    }
    test = hashlib.sha256(json.dumps([kind, seed, trials], sort_keys=True).encode()).hexdigest()
    return tested, BlindKey(KEY_FORMAT, test[:12], title, kind, seed, stimuli, trials)


def _blind_row(row: PageRow, kind: BlindTestKind, ids: Iterator[str]) -> BlindRow:
    stimuli = {next(ids): cell for cell in _heard(row)}
    groups = combinations(stimuli, 2) if kind == "pairs" else [tuple(stimuli)]
    return BlindRow(row, stimuli, {next(ids): group for group in groups})


def _heard(row: PageRow) -> list[PageCell]:
    return [cell for cell in row.cells if cell.audio is not None]


def _ids(generator: random.Random) -> Iterator[str]:
    """Distinct random ids without end; their order reveals nothing."""
    given = set()
    while True:
        name = f"{generator.getrandbits(40):010x}"
        if name not in given:
            given.add(name)
            yield name

"""A comparison as a blind test: neutral ids, trials, and the key that undoes them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from score_to_audio.comparison.listening.comparison import Blind, Cell, Comparison, Row, Section
from score_to_audio.comparison.listening.votes import KEY_FORMAT, BlindKey, Stimulus
from score_to_audio.errors import InputError


@dataclass(frozen=True)
class Trial:
    id: str
    stimuli: tuple[str, ...]
    reference: str | None
    """The stimulus that is played openly."""


@dataclass(frozen=True)
class BlindRow:
    """A row of the test: what is heard under which neutral id."""

    row: Row
    stimuli: Mapping[str, Cell]
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class BlindTest:
    rows: tuple[BlindRow, ...]
    key: BlindKey


def blind_test(comparison: Comparison, blind: Blind) -> BlindTest:
    """Raises ``InputError`` where there is nothing to compare, or the reference is no condition."""
    names = _names(random.Random(f"score-to-audio {blind.seed}"))
    rows, stimuli = [], {}
    for section in comparison.sections:
        _check_reference(section, blind)
        for row in section.rows:
            made = _blind_row(section, row, blind, names)
            if not made.trials:
                continue
            rows.append(made)
            labels = {condition.key: condition.label for condition in section.conditions}
            for name, cell in made.stimuli.items():
                stimuli[name] = Stimulus(section.title, row.name, cell.condition, labels[cell.condition])
    if not rows:
        raise InputError("there is nothing to compare blind: no row has recordings of two conditions")
    trials = {trial.id: trial.stimuli for one in rows for trial in one.trials}
    test = hashlib.sha256(json.dumps([blind.kind, blind.seed, trials], sort_keys=True).encode()).hexdigest()
    key = BlindKey(KEY_FORMAT, test[:12], comparison.title, blind.kind, blind.seed, stimuli, trials)
    return BlindTest(tuple(rows), key)


def _names(generator: random.Random) -> Iterator[str]:
    """Neutral ids without end: no order of theirs says anything."""
    given = set()
    while True:
        name = f"{generator.getrandbits(40):010x}"
        if name not in given:
            given.add(name)
            yield name


def _check_reference(section: Section, blind: Blind) -> None:
    if blind.reference is None:
        return
    if blind.kind == "pairs":
        raise InputError("a blind test of pairs has no reference; leave it out, or choose the kind mushra")
    known = [condition.key for condition in section.conditions]
    if blind.reference not in known:
        raise InputError(
            f"the section {section.title!r} has no condition {blind.reference!r} to be the reference; "
            f"it has: {', '.join(known)}"
        )


def _blind_row(section: Section, row: Row, blind: Blind, names: Iterator[str]) -> BlindRow:
    order = [condition.key for condition in section.conditions]
    heard = sorted((cell for cell in row.cells if cell.audio), key=lambda cell: order.index(cell.condition))
    if len(heard) < 2:
        return BlindRow(row, {}, ())
    stimuli = {next(names): cell for cell in heard}
    if blind.kind == "pairs":
        trials = tuple(Trial(next(names), pair, None) for pair in combinations(stimuli, 2))
        return BlindRow(row, stimuli, trials)
    reference = next((cell for cell in heard if cell.condition == blind.reference), None)
    if reference is None and blind.reference is not None:
        return BlindRow(row, {}, ())
    trial = Trial(next(names), tuple(stimuli), next(names) if reference else None)
    openly = {trial.reference: reference} if trial.reference and reference else {}
    return BlindRow(row, stimuli | openly, (trial,))


def shown_trials(rows: Sequence[tuple[BlindRow, str]]) -> list[dict[str, object]]:
    """The trials as the page's script reads them; with each row the name of its data."""
    return [
        {
            "id": trial.id,
            "name": one.row.name,
            "data": data,
            "stimuli": sorted(trial.stimuli),
            "reference": trial.reference,
        }
        for one, data in rows
        for trial in one.trials
    ]

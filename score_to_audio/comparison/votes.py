"""What listeners voted in a blind test, with the names put back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from score_to_audio.comparison.evaluation import statistics
from score_to_audio.comparison.evaluation.statistics import Estimate
from score_to_audio.comparison.listening.votes import (
    BlindKey,
    Vote,
    VoteExport,
    check_votes,
    read_key,
    read_votes,
)


@dataclass(frozen=True)
class Preference:
    """How often one condition was preferred to another."""

    one: str
    """Label of the condition."""
    other: str
    for_one: int
    for_other: int
    undecided: int
    share: Estimate
    """Of the decided votes, those for the one; 95 % interval of Clopper and Pearson."""


@dataclass(frozen=True)
class Rating:
    """How high a condition was rated."""

    condition: str
    """Label."""
    mean: Estimate
    """0..100, over votes; 95 % interval of Student's t."""


@dataclass(frozen=True)
class Tally:
    """The result of a blind test."""

    title: str
    listeners: int
    votes: int
    preferences: tuple[Preference, ...] = ()
    """Of "pairs": one per pair of conditions that met."""
    ratings: tuple[Rating, ...] = ()
    """Of "mushra": best first."""


def count_votes(files: Sequence[Path], key_file: Path) -> Tally:
    """Raises ``InputError`` for a file that is no vote export, or one of another test."""
    key = read_key(key_file)
    exports = []
    for file in files:
        export = read_votes(file)
        check_votes(export, key, str(file))
        exports.append(export)
    return tally(exports, key)


def tally(exports: Iterable[VoteExport], key: BlindKey) -> Tally:
    """Of checked exports; of several by one listener the latest counts."""
    latest: dict[str, VoteExport] = {}
    for export in sorted(exports, key=_last_vote):
        latest[export.listener] = export
    votes = [vote for export in latest.values() for vote in export.votes]
    return Tally(
        title=key.title,
        listeners=len(latest),
        votes=len(votes),
        preferences=tuple(_preferences(votes, key)) if key.kind == "pairs" else (),
        ratings=tuple(_ratings(votes, key)),
    )


def _last_vote(export: VoteExport) -> tuple[str, int]:
    return max((vote.time for vote in export.votes), default=""), len(export.votes)


def _preferences(votes: Sequence[Vote], key: BlindKey) -> Iterator[Preference]:
    wins: Counter[tuple[str, str]] = Counter()
    """(preferred, other)"""
    undecided: Counter[frozenset[str]] = Counter()
    met: set[frozenset[str]] = set()
    for vote in votes:
        a, b = (key.stimuli[stimulus].label for stimulus in vote.stimuli)
        met.add(frozenset((a, b)))
        if vote.chosen is None:
            undecided[frozenset((a, b))] += 1
        else:
            chosen = key.stimuli[vote.chosen].label
            wins[chosen, b if chosen == a else a] += 1
    labels = list(dict.fromkeys(stimulus.label for stimulus in key.stimuli.values()))
    for pair in combinations(labels, 2):
        if frozenset(pair) in met:
            one, other = pair if wins[pair] >= wins[pair[::-1]] else pair[::-1]
            yes, no = wins[one, other], wins[other, one]
            share = statistics.share(yes, yes + no)
            yield Preference(one, other, yes, no, undecided[frozenset(pair)], share)


def _ratings(votes: Sequence[Vote], key: BlindKey) -> list[Rating]:
    of_label: dict[str, list[float]] = defaultdict(list)
    for vote in votes:
        for stimulus, rating in (vote.ratings or {}).items():
            of_label[key.stimuli[stimulus].label].append(rating)
    ratings = [Rating(label, statistics.mean(values)) for label, values in of_label.items()]
    return sorted(ratings, key=lambda rating: -rating.mean.value)


def text(found: Tally) -> str:
    """For a terminal."""
    lines = [f"{found.title}: {found.votes} votes of {found.listeners} listeners"]
    for one in found.preferences:
        share = one.share
        decided = (
            f": {share.value:.0%} of those decided, 95 % interval {share.low:.0%} to {share.high:.0%}"
            if share.count
            else ""
        )
        lines.append(
            f"  {one.one} {one.for_one}, {one.other} {one.for_other}, undecided {one.undecided}{decided}"
        )
    for rating in found.ratings:
        mean = rating.mean
        lines.append(
            f"  {rating.condition}: {mean.value:.1f} ({mean.low:.1f} to {mean.high:.1f}; {mean.count} votes)"
        )
    return "\n".join(lines)

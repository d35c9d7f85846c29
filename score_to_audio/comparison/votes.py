"""The votes of a blind test: the files that listeners send back, read as untrusted, and their count once the
key puts the names back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from score_to_audio.comparison.evaluation import statistics
from score_to_audio.comparison.evaluation.statistics import Estimate
from score_to_audio.errors import InputError
from score_to_audio.wording import counted

MAX_FILE_SIZE = 4 * 2**20
"""Bytes; 10,000 votes take about 2 MB."""
KEY_FORMAT: Literal["score-to-audio blind key 1"] = "score-to-audio blind key 1"

BlindTestKind = Literal["pairs", "mushra"]
"""pairs: which of two is preferred, or neither. mushra: all sounds of a row rated 0..100 beside each other
(after ITU-R BS.1534-3)."""
Id = Annotated[str, Field(min_length=1, max_length=64)]
_STRICT = ConfigDict(extra="forbid")

# ------------------------------------------------------------------------------------------- the files


@dataclass(frozen=True, config=_STRICT)
class Vote:
    """A listener's answer to one trial."""

    trial: Id
    stimuli: tuple[Id, ...]
    """Neutral ids in the order in which they were shown (A, B, ...)."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """From the trial's first sound to the answer."""
    time: str
    """UTC, ISO 8601."""
    chosen: Id | None = None
    """"pairs": the preferred stimulus; None: no preference."""
    ratings: Mapping[Id, Annotated[int, Field(ge=0, le=100)]] | None = None
    """"mushra": stimulus -> 0..100."""


@dataclass(frozen=True, config=_STRICT)
class VoteExport:
    """The file that the page saves for its listener."""

    format: Literal["score-to-audio votes 1"]
    test: Id
    """Id of the test, as in its key."""
    kind: BlindTestKind
    listener: Id
    """Random, made by the browser; the same in every export of one listener."""
    votes: tuple[Vote, ...]
    """At most one per trial."""


@dataclass(frozen=True, config=_STRICT)
class Stimulus:
    """What a neutral id stands for."""

    section: str
    row: str
    condition: str
    """Key of the condition."""
    label: str
    """Label of the condition."""


@dataclass(frozen=True, config=_STRICT)
class BlindKey:
    """The file beside the page's folder that says what the neutral ids stand for."""

    format: Literal["score-to-audio blind key 1"]
    test: Id
    title: str
    kind: BlindTestKind
    seed: int
    stimuli: Mapping[Id, Stimulus]
    trials: Mapping[Id, tuple[Id, ...]]
    """Trial -> its stimuli."""


def read_votes(path: Path) -> VoteExport:
    """Raises ``InputError`` for a file that is no vote export."""
    return _read(path, VoteExport, "an export of votes")


def read_key(path: Path) -> BlindKey:
    """Raises ``InputError`` for a file that is no key."""
    return _read(path, BlindKey, "the key of a blind test")


Content = TypeVar("Content")


def _read(path: Path, kind: type[Content], what: str) -> Content:
    try:
        if path.stat().st_size > MAX_FILE_SIZE:
            raise InputError(f"{path}: larger than {MAX_FILE_SIZE >> 20} MB; it is not {what}")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise InputError(f"{path}: not {what} ({place}: {first['msg']})") from error


def check_votes(export: VoteExport, key: BlindKey, name: str) -> None:
    """Raises ``InputError`` where an export (from the file ``name``) does not answer the test of the key."""
    if export.test != key.test:
        raise InputError(f"{name}: votes of another test ({export.test}); give the key of that test")
    if export.kind != key.kind:
        raise InputError(f"{name}: votes of kind {export.kind!r}, the key is of {key.kind!r}")
    if len({vote.trial for vote in export.votes}) < len(export.votes):
        raise InputError(f"{name}: answers a trial twice; ask the listener for the file as it was saved")
    for number, vote in enumerate(export.votes, start=1):
        if sorted(vote.stimuli) != sorted(key.trials.get(vote.trial, ())):
            raise InputError(f"{name}, vote {number}: no such trial in the key ({vote.trial})")
        answered = set(vote.ratings or ()) if key.kind == "mushra" else {vote.chosen} - {None}
        wanted = set(vote.stimuli)
        if not answered <= wanted or (key.kind == "mushra" and answered != wanted):
            raise InputError(f"{name}, vote {number}: does not answer the trial {vote.trial}")


# ------------------------------------------------------------------------------------------- the result


@plain_dataclass(frozen=True)
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


@plain_dataclass(frozen=True)
class Rating:
    """How high a condition was rated."""

    condition: str
    """Label."""
    mean: Estimate
    """0..100, over votes; 95 % interval of Student's t."""


@plain_dataclass(frozen=True)
class BlindTestResult:
    title: str
    listeners: int
    votes: int
    preferences: tuple[Preference, ...] = ()
    """Of "pairs": one per pair of conditions that met."""
    ratings: tuple[Rating, ...] = ()
    """Of "mushra": best first."""


def count_votes(files: Sequence[Path], key_file: Path) -> BlindTestResult:
    """Of several exports of one listener the latest counts.

    Raises ``InputError`` for a file that is no vote export, or one of another test.
    """
    key = read_key(key_file)
    exports = []
    for file in files:
        export = read_votes(file)
        check_votes(export, key, str(file))
        exports.append(export)
    latest = {export.listener: export for export in sorted(exports, key=_last_vote)}
    votes = [vote for export in latest.values() for vote in export.votes]
    return BlindTestResult(
        title=key.title,
        listeners=len(latest),
        votes=len(votes),
        preferences=tuple(_preferences(votes, key)) if key.kind == "pairs" else (),
        ratings=tuple(_ratings(votes, key)),
    )


def _last_vote(export: VoteExport) -> tuple[str, int]:
    return max((vote.time for vote in export.votes), default=""), len(export.votes)


def _preferences(votes: Iterable[Vote], key: BlindKey) -> Iterator[Preference]:
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
    labels = dict.fromkeys(stimulus.label for stimulus in key.stimuli.values())
    for pair in combinations(labels, 2):
        if frozenset(pair) in met:
            one, other = pair if wins[pair] >= wins[pair[::-1]] else pair[::-1]
            yes, no = wins[one, other], wins[other, one]
            share = statistics.share(yes, yes + no)
            yield Preference(one, other, yes, no, undecided[frozenset(pair)], share)


def _ratings(votes: Iterable[Vote], key: BlindKey) -> list[Rating]:
    of_label: dict[str, list[float]] = defaultdict(list)
    for vote in votes:
        for stimulus, rating in (vote.ratings or {}).items():
            of_label[key.stimuli[stimulus].label].append(rating)
    ratings = [Rating(label, statistics.mean(values)) for label, values in of_label.items()]
    return sorted(ratings, key=lambda rating: -rating.mean.value)


def text(result: BlindTestResult) -> str:
    """For a terminal."""
    votes = counted(result.votes, "vote")
    lines = [f"{result.title}: {votes} of {counted(result.listeners, 'listener')}"]
    for one in result.preferences:
        share = one.share
        decided = f"{share.value:.0%} of those decided, 95 % interval {share.low:.0%} to {share.high:.0%}"
        lines.append(
            f"  {one.one} {one.for_one}, {one.other} {one.for_other}, undecided {one.undecided}"
            + (f": {decided}" if share.count else "")
        )
    for rating in result.ratings:
        mean = rating.mean
        lines.append(
            f"  {rating.condition}: {mean.value:.1f} ({mean.low:.1f} to {mean.high:.1f}; {mean.count} votes)"
        )
    return "\n".join(lines)

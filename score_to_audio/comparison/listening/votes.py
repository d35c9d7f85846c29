"""What a blind test's listeners send back, and the key that says what they heard: JSON, read as untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from score_to_audio.errors import InputError

MAX_FILE_SIZE = 4 * 2**20
"""Bytes; 10,000 votes take about 2 MB."""
EXPORT_FORMAT: Literal["score-to-audio votes 1"] = "score-to-audio votes 1"
KEY_FORMAT: Literal["score-to-audio blind key 1"] = "score-to-audio blind key 1"

Kind = Literal["pairs", "mushra"]
Id = Annotated[str, Field(min_length=1, max_length=64)]
_STRICT = ConfigDict(extra="forbid")


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
    kind: Kind
    listener: Id
    """Random, made by the browser; the same in every export of one listener, of which the latest counts."""
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
    """The file beside the page's folder that turns votes into results."""

    format: Literal["score-to-audio blind key 1"]
    test: Id
    title: str
    kind: Kind
    seed: int
    stimuli: Mapping[Id, Stimulus]
    trials: Mapping[Id, tuple[Id, ...]]
    """Trial -> its stimuli; in "mushra" with the hidden reference among them."""


def read_votes(path: Path) -> VoteExport:
    """Raises ``InputError`` for a file that is no vote export."""
    return _read(path, VoteExport, "an export of votes")


def read_key(path: Path) -> BlindKey:
    """Raises ``InputError`` for a file that is no key."""
    return _read(path, BlindKey, "the key of a blind test")


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


Read = TypeVar("Read")


def _read(path: Path, kind: type[Read], what: str) -> Read:
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

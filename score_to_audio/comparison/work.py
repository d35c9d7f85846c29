"""How the pieces of a comparison's work are carried out: within this process, or by the caller's means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from score_to_audio.errors import EXPECTED_ERRORS, sentence

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why there is no result."""

    reason: str


class Each(Protocol):
    """Calls ``work`` for every item; results in the order of the items. ``name`` names an item's work."""

    def __call__(
        self, work: Callable[[Item], Result], items: Sequence[Item], name: Callable[[Item], str]
    ) -> list[Result | Failure]: ...


def one_by_one(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    name: Callable[[Item], str],  # noqa: ARG001 (see Each)
) -> list[Result | Failure]:
    """``Each`` within this process, one after the other."""
    return [attempt(work, item) for item in items]


def attempt(work: Callable[[Item], Result], item: Item) -> Result | Failure:
    """The result, or the reason of an expected failure."""
    try:
        return work(item)
    except EXPECTED_ERRORS as error:
        return Failure(sentence(error))

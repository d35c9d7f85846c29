"""Texts of files and libraries within our messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def brief(text: object, longest: int = 100) -> str:
    """``text`` on one line of at most ``longest`` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def counted(count: int, noun: str, plural: str = "") -> str:
    """ "1 measure", "2 measures"."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "did you mean 'palette'? ", to be followed by what there is; "" where nothing is like it."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def reason(error: BaseException) -> str:
    """The message of an error, or its type if it has none."""
    return brief(error, 200) or type(error).__name__

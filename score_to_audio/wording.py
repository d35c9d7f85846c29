"""How foreign texts are put into sentences of ours."""

from __future__ import annotations


def brief(text: object, longest: int = 100) -> str:
    """``text`` on one line and not long: what a file or a library says may be neither."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def counted(count: int, noun: str, plural: str = "") -> str:
    """ "1 measure", "2 measures"."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def reason(error: BaseException) -> str:
    """What an error says; its type where it says nothing."""
    return brief(error, 200) or type(error).__name__

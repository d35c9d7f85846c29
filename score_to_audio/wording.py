"""How foreign texts are put into sentences of ours."""

from __future__ import annotations


def brief(text: object, longest: int = 100) -> str:
    """``text`` on one line and not long: what a file or a library says may be neither."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def reason(error: BaseException) -> str:
    """What an error says; its type where it says nothing."""
    return brief(error, 200) or type(error).__name__

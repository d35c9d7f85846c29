"""Long pieces: overlapping windows, each of which begins with tokens that the one before has made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from renderers.pianist_transformer.tokens import NOTE_TOKENS

REMADE = 0.2
"""Share of the overlap, at the end of a window, that the next window makes anew: it hears what follows."""


@dataclass(frozen=True)
class Window:
    """Tokens ``start`` to ``end`` - 1 of the score."""

    start: int
    end: int
    prompt: int
    """Number of its tokens that are performed already."""
    until: int
    """End of the tokens that it makes."""

    @property
    def first_made(self) -> int:
        return self.start + self.prompt


def step(context: int, overlap: float) -> int:
    """Tokens from one window to the next. Raises ``ValueError`` where windows would not advance, or not
    overlap enough to make a token anew."""
    width = NOTE_TOKENS * (context // NOTE_TOKENS)
    found = NOTE_TOKENS * (int(width * (1 - overlap)) // NOTE_TOKENS)
    if found <= 0:
        raise ValueError("the windows overlap so much that they do not advance")
    if int((width - found) * REMADE) == 0:
        raise ValueError("the windows do not overlap")
    return found


def windows(tokens: int, context: int, overlap: float) -> list[Window]:
    """Windows of at most ``context`` tokens, consecutive ones overlapping by a share of ``overlap``.

    Each makes its tokens up to its end, as published, also those that the next one makes anew. Raises
    ``ValueError`` as ``step`` does.
    """
    if tokens <= context:
        return [Window(0, tokens, 0, tokens)]
    width, advance = NOTE_TOKENS * (context // NOTE_TOKENS), step(context, overlap)
    starts = [0]
    while starts[-1] + width < tokens:
        starts.append(starts[-1] + advance)
    kept = width - advance - int((width - advance) * REMADE)
    ends = [min(start + width, tokens) for start in starts]
    return [Window(start, end, kept if start else 0, end) for start, end in zip(starts, ends, strict=True)]


def without_remade(plan: Sequence[Window]) -> list[Window]:
    """The same windows, which make no token that the next one makes anew."""
    return [
        *(replace(window, until=following.first_made) for window, following in pairwise(plan)),
        *plan[-1:],
    ]

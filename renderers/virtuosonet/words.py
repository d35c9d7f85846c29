"""Keywords in the words of a score, and their vectors for VirtuosoNet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from renderers.virtuosonet.vocabulary import DYNAMIC_EMBEDDING, TEMPO_EMBEDDING

TEMPO_WIDTH = 5
DYNAMIC_WIDTH = 4
SHORTEST_SUBSTRING_KEYWORD = 3
"""Length from which a keyword also matches inside other words."""
SHORTEST_SUBSTRING_KEY = 5
"""Length from which a key of the embedding tables also matches inside other words."""

_REGULARISED = str.maketrans({",": " ", ".": " ", "\n": " ", "(": None, ")": None})


def regularised(text: str) -> str:
    """Lower case, punctuation as spaces, no brackets; pairs of spaces are replaced once by one space."""
    return text.translate(_REGULARISED).replace("  ", " ").lower()


@lru_cache(maxsize=4096)
def has_keyword(text: str, keywords: tuple[str, ...]) -> bool:
    """Whether a keyword equals the text or one of its tokens or, if long enough, occurs anywhere in it."""
    plain = regularised(text)
    if plain in keywords or any(token in keywords for token in plain.split(" ")):
        return True
    return any(len(word) >= SHORTEST_SUBSTRING_KEYWORD and word in plain for word in keywords)


@lru_cache(maxsize=4096)
def tempo_vector(text: str) -> tuple[float, ...]:
    """[5] vector of tempo words."""
    return _vector(text, TEMPO_EMBEDDING, TEMPO_WIDTH)


@lru_cache(maxsize=4096)
def dynamic_vector(text: str) -> tuple[float, ...]:
    """[4] vector of dynamic words and marks."""
    return _vector(text, DYNAMIC_EMBEDDING, DYNAMIC_WIDTH)


def _vector(text: str, table: Sequence[tuple[str, int, float]], width: int) -> tuple[float, ...]:
    """Values of the words in the text; a word inside a longer one does not count, of two words with one index
    the later counts."""
    entries = {word: (index, value) for word, index, value in table}
    plain = regularised(text)
    found = [plain] if plain in entries else _words_in(plain, list(entries))
    vector = [0.0] * width
    for word in found:
        index, value = entries[word]
        vector[index] = value
    return tuple(vector)


def _words_in(plain: str, keys: Sequence[str]) -> list[str]:
    found = [token for token in plain.split(" ") if token in keys]
    found += [key for key in keys if len(key) >= SHORTEST_SUBSTRING_KEY and key in plain]
    return [
        word
        for word in found
        if len(word) < SHORTEST_SUBSTRING_KEY or not any(word != other and word in other for other in found)
    ]

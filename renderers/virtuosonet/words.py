"""The words of a score as VirtuosoNet understands them: keywords, and vectors for what they say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from renderers.virtuosonet.vocabulary import DYNAMIC_EMBEDDING, TEMPO_EMBEDDING

TEMPO_WIDTH = 5
DYNAMIC_WIDTH = 4
SHORTEST_SUBSTRING_KEYWORD = 3
"""Characters from which on a keyword also counts inside other words."""
SHORTEST_SUBSTRING_KEY = 5
"""Characters from which on a key of the embedding tables also counts inside other words."""

_REGULARISED = str.maketrans({",": " ", ".": " ", "\n": " ", "(": None, ")": None})


def regularised(text: str) -> str:
    """Lower case, punctuation as spaces, no brackets; pairs of spaces are made one, once."""
    return text.translate(_REGULARISED).replace("  ", " ").lower()


@lru_cache(maxsize=4096)
def has_keyword(text: str, keywords: tuple[str, ...]) -> bool:
    """Whether the words hold one of the keywords: as a whole, as a token, or (if long enough) anywhere."""
    plain = regularised(text)
    if plain in keywords or any(token in keywords for token in plain.split(" ")):
        return True
    return any(len(word) >= SHORTEST_SUBSTRING_KEYWORD and word in plain for word in keywords)


@lru_cache(maxsize=4096)
def tempo_vector(text: str) -> tuple[float, ...]:
    """[5] what the tempo words say."""
    return _vector(text, TEMPO_EMBEDDING, TEMPO_WIDTH)


@lru_cache(maxsize=4096)
def dynamic_vector(text: str) -> tuple[float, ...]:
    """[4] what the dynamic words and marks say."""
    return _vector(text, DYNAMIC_EMBEDDING, DYNAMIC_WIDTH)


def _vector(text: str, table: Sequence[tuple[str, int, float]], width: int) -> tuple[float, ...]:
    """Values of the words that the text holds; of two that contain each other the longer counts, of two
    with one index the later."""
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

"""Voices, and the order of main notes within them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import ScoreNotes


def is_grace(notes: ScoreNotes) -> NDArray[np.bool_]:
    """[N] True for grace notes."""
    return np.array([kind != "" for kind in notes.grace], dtype=bool)


def voice_numbers(notes: ScoreNotes) -> NDArray[np.int64]:
    """[N] number of the voice, unique in the score; notes without a voice form one voice per staff."""
    if not len(notes):
        return np.zeros(0, np.int64)
    nameless = np.where(notes.voice > 0, 0, notes.staff)
    key = np.zeros(len(notes), np.int64)
    for column in (notes.part, notes.voice, nameless):
        values, inverse = np.unique(column, return_inverse=True)
        key = key * len(values) + inverse
    return np.asarray(np.unique(key, return_inverse=True)[1], np.int64)


def neighbours(notes: ScoreNotes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[N] index of a main note of the previous and of the next chord in the same voice; -1 for none.

    For a grace note: the last chord that starts before it, and the chord that it belongs to.
    """
    n = len(notes)
    if not n:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    voice, grace = voice_numbers(notes), is_grace(notes)
    order = np.lexsort((~grace, notes.onset, voice))
    voice, onset, grace = voice[order], notes.onset[order], grace[order]
    positions = np.arange(n)
    voice_starts = np.r_[True, voice[1:] != voice[:-1]]
    chord_starts = voice_starts | np.r_[True, onset[1:] != onset[:-1]]

    last_main = np.r_[-1, np.maximum.accumulate(np.where(grace, -1, positions))]
    before = last_main[_starts(chord_starts)]
    before = np.where(before >= _starts(voice_starts), before, -1)

    next_main = np.r_[np.minimum.accumulate(np.where(grace, n, positions)[::-1])[::-1], n]
    after = np.where(grace, next_main[:n], next_main[_ends(chord_starts)])
    after = np.where(after < _ends(voice_starts), after, -1)

    preceding, following = np.empty(n, np.int64), np.empty(n, np.int64)
    preceding[order] = np.where(before >= 0, order[before], -1)
    following[order] = np.where(after >= 0, order[after], -1)
    return preceding, following


def _starts(starts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N] for every element the index of the first element of its run; ``starts`` marks where runs begin."""
    return np.asarray(np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0)), np.int64)


def _ends(starts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N] for every element the index after the end of its run; ``starts`` marks where runs begin."""
    bounds = np.append(np.flatnonzero(starts), len(starts))
    return np.asarray(np.repeat(bounds[1:], np.diff(bounds)), np.int64)

"""When keys are released: staccato, portato, tenuto, slurs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.voices import is_grace, neighbours, voice_numbers
from score_to_audio.types import ScoreNotes, Slur

Floats = NDArray[np.float64]

STACCATO, STACCATISSIMO, PORTATO = 0.5, 0.25, 0.75
"""Sounding part of the written value. Staccato takes half and staccatissimo a quarter of it, notes with
dots under a slur three quarters: C.P.E. Bach (1753, III §17) and Türk (1789, VI.3 §36); the defaults of
LilyPond's ``articulate`` script."""

MARK_FRACTIONS = {
    "staccatissimo": STACCATISSIMO,
    "spiccato": STACCATO,
    "staccato": STACCATO,
    "detached-legato": PORTATO,
    "breath-mark": PORTATO,
}
"""Mark -> sounding part of the written value; of several the shortest. Unmarked and tenuto notes sound in
full."""

LEGATO_OVERLAP = 0.03
"""Seconds for which a slurred note is held into the next one: the low end of what pianists do in legato
scales (Repp 1995, JASA 97(6))."""


def sounding_fractions(notes: ScoreNotes, slurs: tuple[Slur, ...]) -> Floats:
    """[N] sounding part of the written value in (0, 1]."""
    slurred = under_slur(notes, slurs, with_last=True)
    return np.array(
        [_fraction(marks, bool(joined)) for marks, joined in zip(notes.marks, slurred, strict=True)]
    ).reshape(-1)


def _fraction(marks: frozenset[str], slurred: bool) -> float:
    detached = [MARK_FRACTIONS[mark] for mark in marks if mark in MARK_FRACTIONS]
    if not detached:
        return 1.0
    # Dots under a slur, or a dot with a line, are portato: separate, but long.
    carried = slurred or "tenuto" in marks
    return max(min(detached), PORTATO) if carried else min(detached)


def is_detached(notes: ScoreNotes, slurs: tuple[Slur, ...]) -> NDArray[np.bool_]:
    """[N] True where a note is played staccato, staccatissimo or spiccato."""
    return sounding_fractions(notes, slurs) <= STACCATO


def releases(notes: ScoreNotes, slurs: tuple[Slur, ...], onset: Floats, end: Floats) -> Floats:
    """[N] seconds at which the keys are released.

    ``onset`` and ``end``: [N] seconds at which the written values begin and end. Marked notes sound for
    their fraction, others as written; within a slur they reach ``LEGATO_OVERLAP`` (but no more than half of
    the next note) into a following note of another pitch.
    """
    fraction = sounding_fractions(notes, slurs)
    release = onset + (end - onset) * fraction
    following = neighbours(notes)[1]
    adjacent = np.abs(onset[following] - end) < 1e-3
    repeated = notes.pitch[following] == notes.pitch
    legato = under_slur(notes, slurs) & (following >= 0) & adjacent & ~repeated & (fraction == 1.0)
    overlap = np.minimum(LEGATO_OVERLAP, (end[following] - onset[following]) / 2)
    return np.where(legato & ~is_grace(notes), release + overlap, release)


def under_slur(notes: ScoreNotes, slurs: tuple[Slur, ...], *, with_last: bool = False) -> NDArray[np.bool_]:
    """[N] True for notes joined to what follows by a slur in their voice (``with_last``: and for the last
    one).

    A slur belongs to the voice in which it starts, and from that it may pass into the voice in which it ends.
    """
    voice = voice_numbers(notes)
    order = np.lexsort((notes.onset, voice))
    bounds = np.searchsorted(voice[order], np.arange(voice.max(initial=-1) + 2))
    depth = np.zeros(len(notes) + 1, np.int64)
    for slur in slurs:
        for number in {int(voice[slur.start]), int(voice[slur.end])}:
            low, high = bounds[number], bounds[number + 1]
            onsets = notes.onset[order[low:high]]
            first = low + np.searchsorted(onsets, notes.onset[slur.start])
            last = low + np.searchsorted(onsets, notes.onset[slur.end], side="right" if with_last else "left")
            depth[first] += 1
            depth[max(first, last)] -= 1
    covered = np.empty(len(notes), dtype=bool)
    covered[order] = np.cumsum(depth[:-1]) > 0
    return covered

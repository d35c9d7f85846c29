"""Key releases from articulation marks and slurs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.voices import is_grace, neighbours, voice_numbers
from score_to_audio.types import ScoreNotes, Slur

Floats = NDArray[np.float64]

STACCATO, STACCATISSIMO, PORTATO = 0.5, 0.25, 0.75
"""Sounding part of the written value (C.P.E. Bach 1753, III §17; Türk 1789, VI.3 §36; the defaults of
LilyPond's ``articulate`` script). Portato: notes with dots under a slur."""

MARK_FRACTIONS = {
    "staccatissimo": STACCATISSIMO,
    "spiccato": STACCATO,
    "staccato": STACCATO,
    "detached-legato": PORTATO,
    "breath-mark": PORTATO,
}
"""Mark -> sounding part of the written value; of several marks the shortest counts. Others sound in full."""

LEGATO_OVERLAP = 0.03
"""Seconds for which a slurred note overlaps the next one: at the low end of pianists' legato scales (Repp
1995, JASA 97(6))."""


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
    # Dots under a slur, or a dot with a line, mean portato.
    portato = slurred or "tenuto" in marks
    return max(min(detached), PORTATO) if portato else min(detached)


def releases(notes: ScoreNotes, slurs: tuple[Slur, ...], onset: Floats, end: Floats) -> Floats:
    """[N] seconds at which the keys are released.

    ``onset`` and ``end``: [N] seconds at which the written values begin and end. Within a slur, notes without
    marks overlap a following note of another pitch by ``LEGATO_OVERLAP``, but at most by half of that note.
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
    """[N] True for notes that a slur joins to the next note of their voice; ``with_last``: and for its last
    note.

    A slur may start in one voice and end in another: it then belongs to both.
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

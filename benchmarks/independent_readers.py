"""Other programs' reading of a score, compared with ours note by note: music21 and verovio.

Neither is a dependency; install what is wanted (``pip install music21``, extra ``listening`` for verovio).
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from score_to_audio.types import ParsedScore, Score

TOLERANCE_QUARTERS = 0.02
MOST_EXAMPLES = 4

Row = dict[str, Any]
_Note = tuple[int, int, float]
"""Written measure, pitch, quarter notes from the start of the measure."""


# ------------------------------------------------------------------------------------------- music21


def against_music21(score: Score) -> Row:
    """Notes at their pitch and place in the written measures, grace notes counted; the playing order.

    Ties are merged on both sides. music21's playing order is left out where it finds none.
    """
    try:
        theirs = _music21_notes(score.path)
    except Exception as error:
        return {"music21": f"refused: {type(error).__name__}"}
    notes, grace, order = theirs
    ours, our_grace = _written_notes(score.parsed)
    only_here, only_there = _unmatched(ours, notes)
    our_order = [measure.written for measure in score.parsed.measures]
    differing = [i for i, pair in enumerate(zip_longest(our_order, order or our_order)) if len(set(pair)) > 1]
    return {
        "music21": "compared",
        "only_here": len(only_here),
        "only_there": len(only_there),
        "grace": our_grace - grace,
        "order": len(differing),
        "examples": [only_here[:MOST_EXAMPLES], only_there[:MOST_EXAMPLES]],
        "orders": [our_order, order] if differing else [],
    }


def _music21_notes(path: Path) -> tuple[list[_Note], int, list[int] | None]:
    """Notes, number of grace notes, and the written measures in playing order."""
    from music21 import converter, harmony, stream

    warnings.simplefilter("ignore")
    read = converter.parse(path, format="musicxml", forceSource=True)
    read = read.toSoundingPitch() if isinstance(read, stream.Score) else read
    notes: list[_Note] = []
    grace = 0
    for part in read.parts:
        for index, measure in enumerate(part.getElementsByClass(stream.Measure)):
            measure.number, measure.numberSuffix = index, None
            for element in measure.recurse().notes:
                if isinstance(element, harmony.Harmony):
                    continue
                offset = float(element.getOffsetInHierarchy(measure))
                for note in element.notes if element.isChord else [element]:
                    if not hasattr(note, "pitch"):
                        continue
                    tie = note.tie or element.tie
                    if element.duration.isGrace:
                        grace += 1
                    elif tie is None or tie.type not in ("stop", "continue"):
                        notes.append((index, note.pitch.midi, offset))
    return notes, grace, _music21_order(read)


def _music21_order(read: Any) -> list[int] | None:
    from music21 import repeat, stream

    try:
        expander = repeat.Expander(read.parts[0])
        if expander.isExpandable() is False:
            return None
        played = expander.process()
    except Exception:
        return None
    return [measure.number for measure in played.getElementsByClass(stream.Measure)]


def _written_notes(parsed: ParsedScore) -> tuple[list[_Note], int]:
    """Every note where it is played first, without grace notes, and the number of these."""
    notes: list[_Note] = []
    seen: set[str] = set()
    grace = 0
    for id_, onset, pitch, index, kind in zip(
        parsed.notes.id,
        parsed.notes.onset.tolist(),
        parsed.notes.pitch.tolist(),
        parsed.notes.measure.tolist(),
        parsed.notes.grace,
        strict=True,
    ):
        written, measure = id_.rpartition("-")[0], parsed.measures[index]
        if written in seen:
            continue
        seen.add(written)
        if kind:
            grace += 1
        else:
            notes.append((measure.written, pitch, onset - measure.onset))
    return notes, grace


def _unmatched(ours: Sequence[_Note], theirs: Sequence[_Note]) -> tuple[list[_Note], list[_Note]]:
    """The notes of either side that the other does not have within the tolerance."""
    waiting: dict[tuple[int, int], list[float]] = collections.defaultdict(list)
    for measure, pitch, offset in theirs:
        waiting[measure, pitch].append(offset)
    only_here = []
    for measure, pitch, offset in ours:
        others = waiting[measure, pitch]
        near = [other for other in others if abs(other - offset) <= TOLERANCE_QUARTERS]
        if near:
            others.remove(near[0])
        else:
            only_here.append((measure, pitch, offset))
    return only_here, sorted((*key, offset) for key, offsets in waiting.items() for offset in offsets)

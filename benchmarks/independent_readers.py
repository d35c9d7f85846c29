"""Other programs' reading of a score, compared with ours note by note: music21 and verovio.

Neither is a dependency; install what is wanted (``pip install music21``, extra ``listening`` for verovio).
"""

from __future__ import annotations

import collections
import json
import warnings
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from score_to_audio.formats.scores.files import open_xml
from score_to_audio.formats.scores.mei_values import XML_ID, measures_ahead, reference
from score_to_audio.formats.scores.musicxml_values import ties, written_pitch
from score_to_audio.formats.scores.reader import notation
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
        return {"outcome_there": f"refused: {type(error).__name__}"}
    notes, grace, order = theirs
    ours, our_grace = _written_notes(score.parsed)
    only_here, only_there = _unmatched(ours, notes)
    unplayed, tied = _special_notes(open_xml(score.content, str(score.path)))
    open_here = [note for note in only_here if note[:2] not in tied]
    open_there = [note for note in only_there if note[:2] not in unplayed | tied]
    our_order = [measure.written for measure in score.parsed.measures]
    differing = [i for i, pair in enumerate(zip_longest(our_order, order or our_order)) if len(set(pair)) > 1]
    return {
        "outcome_there": "read",
        "only_here": len(open_here),
        "explained_here": len(only_here) - len(open_here),
        "only_there": len(open_there),
        "explained_there": len(only_there) - len(open_there),
        "grace": our_grace - grace,
        "order": len(differing),
        "examples": [open_here[:MOST_EXAMPLES], open_there[:MOST_EXAMPLES]],
        "orders": [our_order, order] if differing else [],
    }


def _special_notes(root: Any) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Measures and written pitches of notes that are hidden, small or rhythm slashes, and of ends of ties.

    music21 plays the former, which stand for an ornament or for nothing, and knows no ties over gaps, between
    voices, or into a passage that is not the next on paper.
    """
    unplayed, tied = set(), set()
    for part in root.iterfind("part"):
        for index, measure in enumerate(part.findall("measure")):
            for note in measure.findall("note"):
                pitch = written_pitch(note)
                if pitch is None:
                    continue
                is_small = note.find("cue") is not None or note.get("print-object") == "no"
                if is_small or note.findtext("notehead") == "slash":
                    unplayed.add((index, pitch))
                if ties(note, note.findall("notations"))[1]:
                    tied.add((index, pitch))
    return unplayed, tied


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
                    if element.duration.isGrace:
                        grace += 1
                    elif note.tie is None or note.tie.type not in ("stop", "continue"):
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


# ------------------------------------------------------------------------------------------- verovio


def against_verovio(score: Score) -> Row:
    """MEI: notes by their ids, onsets within their measures.

    verovio gives tied noteheads that it cannot join as notes of their own, and grace notes a time of their
    own, so that both are left out of the comparison.
    """
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions({"mdivAll": True, "breaks": "none", "expandNever": True, "xmlIdSeed": 1})
    text, _ = notation(score)
    if not toolkit.loadData(text):
        return {"outcome_there": "refused"}
    timemap = toolkit.renderToTimemap({"includeMeasures": True})
    theirs: dict[str, tuple[int, float]] = {}
    begin, count = 0.0, -1
    for event in timemap if isinstance(timemap, list) else json.loads(timemap):
        if "measureOn" in event:
            begin, count = event["qstamp"], count + 1
        for id_ in event.get("on", []):
            theirs.setdefault(id_, (count, event["qstamp"] - begin))
    parsed = score.parsed
    ours: dict[str, tuple[int, float]] = {}
    grace = set()
    for id_, onset, measure, kind in zip(
        parsed.notes.id, parsed.notes.onset, parsed.notes.measure, parsed.notes.grace, strict=True
    ):
        name, played = id_.rpartition("-")[0], parsed.measures[measure]
        ours.setdefault(name, (played.written, float(onset) - played.onset))
        grace |= {name} if kind else set()
    tied = _tied(open_xml(score.content, str(score.path)))
    both = [name for name in ours if name in theirs and name not in grace]
    moved = [name for name in both if abs(ours[name][1] - theirs[name][1]) > TOLERANCE_QUARTERS]
    return {
        "outcome_there": "read",
        "only_here": len(set(ours) - set(theirs)),
        "only_there": len(set(theirs) - set(ours) - tied),
        "other_onset": len(moved),
        "examples": [(name, ours[name], theirs[name]) for name in moved[:MOST_EXAMPLES]],
    }


def _tied(document: Any) -> set[str]:
    """Ids of the notes that continue another, or may do so by the time stamp of a tie."""
    ends = {reference(tie.get("endid")) for tie in document.iter("{*}tie")}
    measures = list(document.iter("{*}measure"))
    for index, measure in enumerate(measures):
        for tie in measure.iterfind("{*}tie"):
            ahead = None if tie.get("endid") else measures_ahead(tie.get("tstamp2"))
            for staff in measures[index + ahead[0]].iterfind("{*}staff") if ahead else ():
                if staff.get("n") == tie.get("staff"):
                    ends |= {note.get(XML_ID) for note in staff.iter("{*}note")}
    for note in document.iter("{*}note"):
        if set((note.get("tie") or "") + (note.getparent().get("tie") or "")) & set("mt"):
            ends.add(note.get(XML_ID))
    return ends

"""Ornaments that a score plays out in hidden small notes beside the visible note that they adorn.

MuseScore scores of ornamented music often hold such notes so that the program's own playback trills. They
are not played here, since renderers realise ornaments themselves; what they say goes to the visible note.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from score_to_audio.formats.scores.written import WrittenNote

ORNAMENTS = frozenset(
    [
        "trill-mark",
        "mordent",
        "inverted-mordent",
        "turn",
        "inverted-turn",
        "delayed-turn",
        "delayed-inverted-turn",
        "wavy-line",
        "shake",
        "schleifer",
    ]
)
_TREMOLOS = frozenset(
    f"tremolo-{kind}{count}" for kind in ("", "start-", "stop-", "unmeasured-") for count in range(1, 5)
)
_ARPEGGIOS = frozenset(["arpeggiate", "arpeggiate-down"])
MOST_COMPARISONS = 10**7
"""A measure with more hidden times visible notes is not music, and would take long."""
SHORTEST_TRILL = 4
"""Notes that alternate at least this long are a trill."""
WIDEST_STEP = 4
"""Semitones between a note and the others of its ornament, at most: two steps."""


class PlacedNote(NamedTuple):
    offset: int
    duration: int
    pitch: int
    staff: int
    voice: str
    marks: frozenset[str]
    element: Any = None
    """The <note>."""


def plays_out_an_ornament(group: Sequence[PlacedNote], visible: Sequence[PlacedNote]) -> bool:
    """Whether hidden notes of one voice, one after the other, are a visible note's ornament in playback.

    They are where that note has the sign of an ornament, tremolo or arpeggio, or where they strike its key
    while it sounds in the figure of an ornament. Other hidden notes are music whose printing would disturb.
    """
    pitches = {note.pitch for note in group}
    if len(group) < 2:
        return False
    sounding = [note for note in visible if note.offset <= group[0].offset < note.offset + note.duration]
    held = [note for note in sounding if note.staff == group[0].staff]
    trembling = _chords_with(_TREMOLOS, visible)
    rolled = {note.pitch for note in held} & _chords_with(_ARPEGGIOS, sounding)
    is_in_turn = len({note.offset for note in group}) > 1
    if pitches <= trembling and pitches & {note.pitch for note in held}:
        return True
    if pitches <= rolled and is_in_turn:
        return True
    adorned = {(note.staff, note.offset) for note in sounding if note.marks & ORNAMENTS}
    mains = [note for note in sounding if (note.staff, note.offset) in adorned]
    near = {note.pitch for note in mains if note in held or note.pitch in pitches}
    if near and all(min(abs(pitch - main) for main in near) <= WIDEST_STEP for pitch in pitches):
        return True
    upper_line = list({note.offset: note for note in group}.values())
    return any(
        _pattern(upper_line, note.pitch) is not None
        and any(struck.pitch == note.pitch and struck.offset > note.offset for struck in group)
        for note in held
    )


def _chords_with(marks: frozenset[str], notes: Sequence[PlacedNote]) -> set[int]:
    """The pitches of the chords of which a note has one of the marks."""
    places = {(note.staff, note.voice, note.offset) for note in notes if note.marks & marks}
    return {note.pitch for note in notes if (note.staff, note.voice, note.offset) in places}


def mark_played_out(hidden: Sequence[PlacedNote], notes: Sequence[WrittenNote]) -> None:
    """Adds to the visible notes of a measure the ornaments that its hidden notes carry or play out."""
    if len(hidden) * len(notes) > MOST_COMPARISONS:
        return
    for group in consecutive(hidden):
        adorned = _adorned(group, notes)
        if adorned is None:
            continue
        written = frozenset().union(*(note.marks for note in group))
        adorned.marks |= written
        if not adorned.marks & ORNAMENTS and (ornament := _pattern(group, adorned.pitch)) is not None:
            adorned.marks.add(ornament)


def consecutive(hidden: Sequence[PlacedNote]) -> Iterator[list[PlacedNote]]:
    """Notes of one voice that follow each other without a gap (up to the rounding of their tuplets)."""
    group: list[PlacedNote] = []
    for note in sorted(hidden, key=lambda note: (note.staff, note.voice, note.offset)):
        if group:
            last = group[-1]
            same_voice = (last.staff, last.voice) == (note.staff, note.voice)
            if not same_voice or note.offset - last.offset > 2 * last.duration:
                yield group
                group = []
        group.append(note)
    if group:
        yield group


def _adorned(group: Sequence[PlacedNote], notes: Sequence[WrittenNote]) -> WrittenNote | None:
    """The visible note that sounds while the group begins and whose pitch it plays, the lowest of them."""
    first = group[0]
    pitches = {note.pitch for note in group}
    sounding = [
        note
        for note in notes
        if note.staff == first.staff
        and not note.grace
        and note.offset <= first.offset < note.offset + note.duration
        and note.pitch in pitches
    ]
    return min(sounding, key=lambda note: (-note.offset, note.pitch), default=None)


def _pattern(group: Sequence[PlacedNote], main: int) -> str | None:
    """The ornament on ``main`` that the pitches of the group play."""
    steps = [note.pitch - main for note in group]
    tail = steps[-SHORTEST_TRILL:]
    middle = steps[len(steps) // 2 - 2 : len(steps) // 2 + 2]
    for alternating in (tail, middle):
        if len(alternating) == SHORTEST_TRILL and len(set(alternating)) == 2:
            low, high = sorted(set(alternating))
            if high - low <= 2 and alternating[0] == alternating[2] != alternating[1] == alternating[3]:
                return "trill-mark"
    if len(steps) in (2, 3) and steps[0] == 0 and steps[-1] in (0, steps[1]) and 0 < abs(steps[1]) <= 2:
        return "inverted-mordent" if steps[1] > 0 else "mordent"
    if len(steps) in (3, 4, 5):
        turning = [step for step in steps if step != 0]
        if len(turning) == 2 and max(map(abs, turning)) <= 2:
            if turning[0] > 0 > turning[1]:
                return "turn"
            if turning[0] < 0 < turning[1]:
                return "inverted-turn"
    return None

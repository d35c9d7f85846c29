"""From the notes of a document to the notes that VirtuosoNet plays.

Numbers grace notes, merges ties, and resolves unisons, rests, trills and slurs, in the order of the
preparation of the model's training data (fact sheet of the golden vectors, section 2, steps 1 to 8)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from renderers.virtuosonet import official
from renderers.virtuosonet.lookup import binary_index
from renderers.virtuosonet.notation import Compatibility, PlaybackTempo, XmlDocument, XmlNote, XmlPart

VOICES_PER_PART = 10
"""Added to the voice numbers of a part, times the part's index."""
TIE_GAP = 4
"""Largest gap in quarter notes of a tie within a voice."""
TRILL_REACH = 3
"""Largest distance in semitones between a trill's written note and the note that carries its mark."""


def read_notes(document: XmlDocument, compatibility: Compatibility) -> list[XmlNote]:
    """The notes of all parts, sorted by position, grace notes first and in their order, high before low."""
    tempos = _NotatedClock(document)
    notes: list[XmlNote] = []
    for index, part in enumerate(document.parts):
        notes += _notes_of_part(part, index, tempos, compatibility)
    notes.sort(key=_playing_order)
    return notes


def _playing_order(note: XmlNote) -> tuple[float, int, int]:
    return note.position, note.grace_order, -(note.pitch or 0)


def _notes_of_part(
    part: XmlPart, index: int, tempos: _NotatedClock, compatibility: Compatibility
) -> list[XmlNote]:
    written = [note for measure in part.measures for note in measure.notes]
    for note in written:
        note.voice += VOICES_PER_PART * index
    tempos.place(written)
    pitched = [note for note in written if note.pitch is not None]
    rests = [note for note in written if note.pitch is None and not note.is_hidden]
    _number_grace_notes(pitched)
    notes = official.merged_ties(pitched) if compatibility == "official" else _merged_ties(pitched)
    notes.sort(key=_playing_order)
    _mark_unisons(notes)
    _attach_rests(notes, _merge_rests(rests))
    notes = _resolved_trills(notes)
    _mark_slurs(notes)
    return notes


# ---------------------------------------------------------------------------------------- notated time


@dataclass(slots=True)
class _NotatedTempo:
    start: float
    time: float
    qpm: float
    seconds_per_division: float


class _NotatedClock:
    """Notated time: the playback tempos of the first part apply to all parts."""

    def __init__(self, document: XmlDocument) -> None:
        events = [tempo for measure in document.parts[0].measures for tempo in measure.tempos]
        events.sort(key=lambda tempo: tempo.position)
        if not events:
            events = [PlaybackTempo(0, document.last_qpm, document.last_divisions)]
        elif events[0].position != 0:
            events.insert(0, PlaybackTempo(0, 120.0, events[0].divisions))
        self.segments: list[_NotatedTempo] = []
        time = 0.0
        for index, event in enumerate(events):
            if index:
                previous = self.segments[-1]
                time += (event.position - previous.start) * previous.seconds_per_division
            per_division = 60 / event.qpm / event.divisions
            self.segments.append(_NotatedTempo(event.position, time, event.qpm, per_division))
        self.starts = [segment.start for segment in self.segments]

    def place(self, notes: list[XmlNote]) -> None:
        """Fill in ``qpm``, ``time_position`` and ``seconds``."""
        for note in notes:
            segment = self.segments[binary_index(self.starts, note.position)]
            note.qpm = segment.qpm
            note.time_position = segment.time + (note.position - segment.start) * segment.seconds_per_division
            note.seconds = note.duration * segment.seconds_per_division


# ------------------------------------------------------------------------------------------ grace notes


def _number_grace_notes(notes: list[XmlNote]) -> None:
    """Set ``grace_order``: -1, -2, ... backwards from the principal note; the notes of a grace chord share
    one.

    Grace notes of other voices are kept in reversed order for a later note, so they can end up numbered
    backwards; the weights were trained with this.
    """
    waiting: list[XmlNote] = []
    principals: set[tuple[float, int]] = set()
    for note in notes:
        if note.is_grace:
            waiting.append(note)
            continue
        if not waiting:
            continue
        own = [grace for grace in reversed(waiting) if grace.voice == note.voice]
        waiting = [grace for grace in reversed(waiting) if grace.voice != note.voice]
        order = -1
        for grace in own:
            grace.grace_order = order
            if grace.chord_index == 0:
                order -= 1
        if own:
            principals.add((note.position, note.voice))
            for grace in own:
                grace.num_grace = -own[-1].grace_order
    for note in notes:
        if not note.is_grace and (note.position, note.voice) in principals:
            note.preceded_by_grace = True


# ------------------------------------------------------------------------------------------------- ties


def _merged_ties(notes: list[XmlNote]) -> list[XmlNote]:
    """The notes with ties merged.

    A tie continues in a note that begins where it ends, also in one note of each of two voices; or, within a
    voice, after a gap (chords whose rolling is written out). A note that no tie reaches is played.
    """
    kept: list[XmlNote] = []
    waiting: dict[int | None, list[XmlNote]] = defaultdict(list)
    continued: dict[tuple[int | None, float], XmlNote] = {}
    for note in notes:
        onset = (note.pitch, note.position)
        first = _tied_to(waiting[note.pitch], note) or continued.get(onset) if note.tied_stop else None
        if first is None:
            kept.append(note)
        else:
            waiting[note.pitch] = [each for each in waiting[note.pitch] if each is not first]
            continued[onset] = first
            first.extend(note, max(first.duration, note.end - first.position))
        if note.tied_start:
            waiting[note.pitch].append(first or note)
    return kept


def _tied_to(candidates: list[XmlNote], note: XmlNote) -> XmlNote | None:
    """The candidate that a note continues: preferably of its own voice, then of another, then after a gap."""
    reached = [each for each in candidates if _gap(each, note) < 1 / 16]
    own = [each for each in candidates if each.voice == note.voice and _gap(each, note) <= TIE_GAP]
    chosen = [each for each in own if each in reached] or reached or own
    return chosen[-1] if chosen else None


def _gap(first: XmlNote, note: XmlNote) -> float:
    """Quarter notes between the end of one note and the beginning of the other."""
    return abs(note.position - first.end) / note.divisions


# ---------------------------------------------------------------------------------------------- unisons


def _mark_unisons(notes: list[XmlNote]) -> None:
    """Mark the shorter of notes with one onset and pitch as overlapped (of equal ones the earlier)."""
    for _, group in groupby(notes, key=lambda note: note.position):
        first_of: dict[int | None, XmlNote] = {}
        for note in group:
            if note.is_grace:
                continue
            first = first_of.setdefault(note.pitch, note)
            if first is note:
                continue
            if note.duration < first.duration:
                note.is_overlapped = True
            else:
                first.is_overlapped = True


# ------------------------------------------------------------------------------------------------ rests


def _merge_rests(rests: list[XmlNote]) -> list[XmlNote]:
    """Merge rests that follow each other in a voice."""
    count = len(rests)
    for index, rest in enumerate(rests):
        for other in range(index + 1, count - 1):
            later = rests[other]
            if later.duration == 0:
                break
            if later.position == rest.end and later.voice == rest.voice:
                rest.duration += later.duration
                rest.is_fermata |= later.is_fermata
                later.duration = 0
            elif later.position > rest.end:
                break
    return [rest for rest in rests if rest.duration != 0]


def _attach_rests(notes: list[XmlNote], rests: list[XmlNote]) -> None:
    """Set the rest fields of notes that end where a rest of their voice begins."""
    voices: dict[int, list[XmlNote]] = defaultdict(list)
    for note in notes:
        voices[note.voice].append(note)
    positions = {voice: [note.position for note in members] for voice, members in voices.items()}
    for rest in rests:
        if rest.voice not in voices:
            continue
        members = voices[rest.voice]
        for index in range(bisect_right(positions[rest.voice], rest.position) - 1, -1, -1):
            note = members[index]
            if note.end == rest.position:
                note.following_rest_duration = rest.duration
                if rest.is_fermata:
                    note.followed_by_fermata_rest = True
            elif note.end < rest.position:
                break


# ----------------------------------------------------------------------------------------------- trills


@dataclass(slots=True)
class _WavyLine:
    note: XmlNote
    kind: str
    number: str
    end: float | None = None


def _resolved_trills(notes: list[XmlNote]) -> list[XmlNote]:
    """The notes with trills on the top note of their chord, without hidden notes (written-out trills)."""
    groups = [list(group) for _, group in groupby(notes, key=lambda note: note.position)]
    hidden_trills: list[XmlNote] = []
    wavy_lines: list[_WavyLine] = []
    for group in groups:
        for note in group:
            if note.is_trill:
                _move_trill_up(note, group)
            if note.is_hidden and note.is_trill:
                hidden_trills.append(note)
            if note.wavy_lines:
                wavy_lines.append(_WavyLine(note, *note.wavy_lines[-1]))
    visible = [note for note in notes if not note.is_hidden]
    positions = [note.position for note in visible]
    for hidden in hidden_trills:
        _move_trill_to_visible(hidden, visible, positions)
    return _extend_trills(visible, positions, _closed(wavy_lines))


def _move_trill_up(note: XmlNote, group: list[XmlNote]) -> None:
    for other in group:
        if other.voice == note.voice and (other.pitch or 0) > (note.pitch or 0) and not other.is_grace:
            other.is_trill = True
            other.trill_alter = note.trill_alter
            note.is_trill = False


def _move_trill_to_visible(hidden: XmlNote, notes: list[XmlNote], positions: list[float]) -> None:
    start, stop = bisect_left(positions, hidden.position), bisect_right(positions, hidden.position)
    for note in notes[start:stop]:
        if not note.is_grace and _distance(note, hidden) <= TRILL_REACH:
            note.is_trill = True
            return


def _distance(a: XmlNote, b: XmlNote) -> int:
    return abs((a.pitch or 0) - (b.pitch or 0))


def _closed(wavy_lines: list[_WavyLine]) -> list[_WavyLine]:
    """The starts of wavy lines that have an end: the earliest matching stop."""
    for index in range(len(wavy_lines) - 1, -1, -1):
        stop = wavy_lines[index]
        if stop.kind != "stop":
            continue
        for start in reversed(wavy_lines[:index]):
            if start.kind == "start" and start.number == stop.number:
                start.end = stop.note.position
                break
    return [line for line in wavy_lines if line.kind == "start" and line.end is not None]


def _extend_trills(notes: list[XmlNote], positions: list[float], lines: list[_WavyLine]) -> list[XmlNote]:
    """The notes with trills as long as their wavy lines, without the notes that these cover."""
    covered: set[int] = set()
    for line in lines:
        assert line.end is not None
        if not notes:
            break
        index = binary_index(positions, line.note.position)
        while (
            _distance(notes[index], line.note) > TRILL_REACH
            and index > 0
            and positions[index - 1] == positions[index]
        ):
            index -= 1
        trill = notes[index]
        trill.duration = line.end - line.note.position
        for later in range(index + 1, bisect_left(positions, line.end)):
            if notes[later].pitch == trill.pitch:
                covered.add(later)
    return [note for index, note in enumerate(notes) if index not in covered]


# ------------------------------------------------------------------------------------------------ slurs


@dataclass(slots=True)
class _Slur:
    number: str
    voice: int
    start: float
    end: float | None = None


def _mark_slurs(notes: list[XmlNote]) -> None:
    """Set the slur flags: from a note's own slur marks if it has any, else from the slurs around it."""
    slurs: list[_Slur] = []
    open_slurs: list[_Slur] = []
    for note in notes:
        for kind, number in reversed(note.slurs):
            if kind == "start":
                note.is_slur_start = True
                open_slurs.append(_Slur(number, note.voice, note.position))
                slurs.append(open_slurs[-1])
            elif kind == "stop":
                note.is_slur_stop = True
                for slur in open_slurs:
                    if slur.number == number and slur.voice == note.voice:
                        slur.end = note.position
                        open_slurs.remove(slur)
                        break
    voices: dict[int, list[_Slur]] = defaultdict(list)
    for slur in slurs:
        if slur.end is not None:
            voices[slur.voice].append(slur)
    for voice, closed in voices.items():
        _spread_slurs(closed, [note for note in notes if note.voice == voice and not note.slurs])


def _spread_slurs(slurs: Sequence[_Slur], notes: list[XmlNote]) -> None:
    positions = [note.position for note in notes]
    for slur in slurs:
        assert slur.end is not None
        for note in notes[bisect_left(positions, slur.start) : bisect_right(positions, slur.end)]:
            if note.position == slur.start:
                note.is_slur_start = True
            elif note.position == slur.end:
                note.is_slur_stop = True
            else:
                note.is_slur_continue = True

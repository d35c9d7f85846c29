"""From the written score to the score as played: notes with ties merged, and all that goes along."""

from __future__ import annotations

import bisect
import collections
import heapq
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.playing_order import playing_order
from score_to_audio.formats.scores.written import (
    ROUNDING_QUARTERS,
    Place,
    UniqueNames,
    WrittenDirection,
    WrittenNote,
    WrittenScore,
)
from score_to_audio.types import (
    Direction,
    KeySignature,
    Measure,
    ParsedScore,
    ScoreNotes,
    Slur,
    TimeSignature,
)

T = TypeVar("T")

TIE_GAP_QUARTERS = 4
"""Longest gap between the two ends of a tie in one voice; between voices it is shorter."""
MOST_UNISONS = 16
"""Tied notes of one pitch that may end at one place."""
MAX_PLAYED_QUARTERS = 400_000
"""Longest score as played, in quarter notes; 67 hours at 100 per minute."""
MAX_PLAYED_NOTES = 500_000
"""Most noteheads, slurs or directions as played; the longest score of the ASAP corpus has 9,000 notes."""


@dataclass(frozen=True)
class _Run:
    """Measures that follow each other on paper as in play."""

    first: int
    stop: int
    """Written measures first..stop-1."""
    onset: int
    """Tick at which it starts in play."""
    position: int
    """Index of its first measure in the playing order."""


def _runs(order: Sequence[int], lengths: Sequence[int]) -> list[_Run]:
    runs = []
    onset = tick = begin = 0
    for position, measure in enumerate(order):
        tick += lengths[measure]
        if position + 1 == len(order) or order[position + 1] != measure + 1:
            runs.append(_Run(order[begin], measure + 1, onset, begin))
            onset, begin = tick, position + 1
    return runs


@dataclass(slots=True)
class _Played:
    """A notehead, or a tied group of them, in play."""

    written: int
    onset: int
    duration: int
    position: int
    """Index of its measure in the playing order."""
    marks: set[str]
    id: str
    """That of its first notehead."""


def unfold(score: WrittenScore, *, repeats: bool, name: str) -> ParsedScore:
    """The score in playing order. ``name`` stands for the file in messages."""
    played_order = playing_order(score.measures, repeats=repeats, name=name, expansions=score.expansions)
    order = played_order.measures
    lengths = [measure.length for measure in score.measures]
    if sum(lengths[measure] for measure in order) > MAX_PLAYED_QUARTERS * score.ticks:
        raise InputError(
            f"{name}: with its repeats it is longer than {MAX_PLAYED_QUARTERS:,} quarter notes; "
            "correct its durations, or split it"
        )
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    runs = _runs(order, lengths)
    played, heads = _play_notes(score, order, runs, starts, name)
    ranks = _sorted_ranks(score, played)
    slurs = _play_slurs(score, heads, ranks, runs, name)
    passes = _passes(order) if repeats else None
    return ParsedScore(
        title=score.title,
        composer=score.composer,
        parts=tuple(score.parts),
        notes=_columns(score, played, ranks, passes),
        slurs=slurs,
        directions=_play_directions(score, runs, starts, name),
        measures=_play_measures(score, order),
        time_signatures=_time_signatures(score, order),
        key_signatures=_key_signatures(score, order),
        notices=(*score.notices, *played_order.notices),
    )


def _passes(order: Sequence[int]) -> list[int]:
    """For every played measure: which time it is that it is played, from 1."""
    count: dict[int, int] = defaultdict(int)
    result = []
    for measure in order:
        count[measure] += 1
        result.append(count[measure])
    return result


def _play_notes(
    score: WrittenScore, order: Sequence[int], runs: Sequence[_Run], starts: Sequence[int], name: str
) -> tuple[list[_Played], dict[tuple[int, int], int]]:
    """The notes in play with ties merged, and where each (run, written note) went among them.

    A tie joins two noteheads of one pitch and part where one ends and the other begins in play, so that
    ties into a second ending or across a jump are right.
    """
    by_measure: list[list[int]] = [[] for _ in score.measures]
    for index, note in enumerate(score.notes):
        by_measure[note.measure].append(index)
    _check_size(sum(len(by_measure[measure]) for measure in order), "notes", name)
    events = []
    for number, run in enumerate(runs):
        for measure in range(run.first, run.stop):
            onset = run.onset + starts[measure] - starts[run.first]
            position = run.position + measure - run.first
            for index in by_measure[measure]:
                note = score.notes[index]
                events.append((onset + note.offset, note.grace == "", position, index, number))
    events.sort()
    played: list[_Played] = []
    heads: dict[tuple[int, int], int] = {}
    ties = _OpenTies(score, played)
    for onset, _, position, index, number in events:
        note = score.notes[index]
        head = ties.take(note, onset) if note.tied_from else None
        if head is None:
            ties.strike(note, onset)
            head = len(played)
            played.append(_Played(index, onset, note.duration, position, set(note.marks), note.id))
        else:
            group = played[head]
            if score.notes[group.written].grace:
                # A grace note that is held is the main note, rolled in with the others of its chord.
                group.written, group.onset, group.position = index, onset, position
                group.marks.add("arpeggiate")
            group.duration = max(group.duration, onset + note.duration - group.onset)
            group.marks |= note.marks
        heads[number, index] = head
        if note.tied_on:
            ties.add(note, onset + note.duration, head)
    return played, heads


class _OpenTies:
    """Ties whose other end is still to come, by part and pitch, the one that is due first on top.

    A tie may lead over a gap to a later note of its voice: chords that are rolled in writing, or that are
    held while another note of the voice moves.
    """

    def __init__(self, score: WrittenScore, played: Sequence[_Played]) -> None:
        self._notes = score.notes
        self._played = played
        self._tolerance = score.ticks * ROUNDING_QUARTERS
        self._widest_gap = score.ticks * TIE_GAP_QUARTERS
        self._waiting: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        self._taken: dict[tuple[int, int], tuple[int, int]] = {}
        self._struck: dict[tuple[int, int], int] = {}

    def add(self, note: WrittenNote, end: int, head: int) -> None:
        heapq.heappush(self._waiting[note.part, note.pitch], (end, head))

    def take(self, note: WrittenNote, onset: int) -> int | None:
        """The group that the note continues: one of its own voice if there is one.

        Over a gap another voice serves where the own one has none (a rolled chord that is held in writing).
        """
        key = (note.part, note.pitch)
        waiting = self._waiting[key]
        begun: list[tuple[int, int]] = []
        while waiting and waiting[0][0] <= onset + self._tolerance and len(begun) < MOST_UNISONS:
            begun.append(heapq.heappop(waiting))
        due = [(end, head) for end, head in begun if end >= onset - self._tolerance]
        own = [(end, head) for end, head in begun if self._voice(head) == note.voice]
        silent_from = max(onset - self._widest_gap, self._struck.get(key, 0) + self._tolerance)
        held = [] if note.grace else [found for found in begun if found[0] >= silent_from]
        nearby = [found for found in held if found[0] > onset - self._widest_gap]
        in_order = [*_both(due, own), *due, *_both(held, own), *nearby]
        chosen = in_order[0] if in_order else None
        for candidate in begun:
            if candidate != chosen and candidate[0] >= onset - self._widest_gap:
                heapq.heappush(waiting, candidate)
        if chosen is not None:
            self._taken[key] = (onset, chosen[1])
        elif self._taken.get(key, (None, 0))[0] == onset:
            # A second voice goes on from the same key.
            return self._taken[key][1]
        return None if chosen is None else chosen[1]

    def strike(self, note: WrittenNote, onset: int) -> None:
        """A new note on the same key ends the ties that wait over a gap."""
        self._struck[note.part, note.pitch] = onset
        waiting = self._waiting.get((note.part, note.pitch))
        while waiting and waiting[0][0] < onset - self._tolerance:
            heapq.heappop(waiting)

    def _voice(self, head: int) -> int:
        return self._notes[self._played[head].written].voice


def _both(first: Sequence[T], second: Sequence[T]) -> list[T]:
    return [element for element in first if element in second]


def _sorted_ranks(score: WrittenScore, played: Sequence[_Played]) -> list[int]:
    """Indices of ``played`` in the order of ``ScoreNotes``: onset, grace notes first, pitch."""

    def key(index: int) -> tuple[int, ...]:
        group = played[index]
        note = score.notes[group.written]
        if note.grace:
            return (group.onset, 0, group.position, group.written, 0)
        return (group.onset, 1, note.pitch, note.part, group.written)

    return sorted(range(len(played)), key=key)


def _columns(
    score: WrittenScore, played: Sequence[_Played], ranks: Sequence[int], passes: Sequence[int] | None
) -> ScoreNotes:
    groups = [played[rank] for rank in ranks]
    notes = [score.notes[group.written] for group in groups]
    ids = tuple(group.id if passes is None else f"{group.id}-{passes[group.position]}" for group in groups)
    return ScoreNotes(
        id=_distinct(ids),
        onset=np.array([group.onset for group in groups], np.float64) / score.ticks,
        duration=np.array([group.duration for group in groups], np.float64) / score.ticks,
        pitch=np.array([note.pitch for note in notes], np.int64),
        spelling=tuple(note.spelling for note in notes),
        voice=np.array([note.voice for note in notes], np.int64),
        staff=np.array([note.staff for note in notes], np.int64),
        part=np.array([note.part for note in notes], np.int64),
        measure=np.array([group.position for group in groups], np.int64),
        grace=tuple(note.grace for note in notes),
        marks=tuple(frozenset(group.marks) for group in groups),
    )


def _distinct(ids: tuple[str, ...]) -> tuple[str, ...]:
    """The ids; where the score's own ids look like repeated ones ("n1-1"), the later one gets a suffix."""
    unique = UniqueNames()
    return tuple(unique(id_) for id_ in ids)


def _play_slurs(
    score: WrittenScore,
    heads: dict[tuple[int, int], int],
    ranks: Sequence[int],
    runs: Sequence[_Run],
    name: str,
) -> tuple[Slur, ...]:
    """Every slur, each time that its first note is played; cut where a jump comes before its end."""
    place = {index: rank for rank, index in enumerate(ranks)}
    runs_of: dict[int, list[int]] = defaultdict(list)
    for number, run in enumerate(runs):
        for measure in range(run.first, run.stop):
            runs_of[measure].append(number)
    by_voice = _notes_by_voice(score)
    times_played = collections.Counter(score.notes[slur.start].measure for slur in score.slurs)
    _check_size(sum(len(runs_of[measure]) * count for measure, count in times_played.items()), "slurs", name)
    result = set()
    for slur in score.slurs:
        for number in runs_of[score.notes[slur.start].measure]:
            end = heads.get((number, slur.end))
            if end is None:
                end = heads[number, _last_in_run(score, by_voice, slur.start, runs[number])]
            first, second = place[heads[number, slur.start]], place[end]
            if second > first or slur.start == slur.end:
                result.add(Slur(first, second))
    return tuple(sorted(result, key=lambda slur: (slur.start, slur.end)))


def _notes_by_voice(score: WrittenScore) -> dict[tuple[int, int], list[int]]:
    voices: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, note in enumerate(score.notes):
        voices[note.part, note.voice].append(index)
    for indices in voices.values():
        indices.sort(key=lambda index: (score.notes[index].measure, score.notes[index].offset, index))
    return voices


def _last_in_run(
    score: WrittenScore, by_voice: dict[tuple[int, int], list[int]], start: int, run: _Run
) -> int:
    """The last note of the voice of ``start`` in the run."""
    note = score.notes[start]
    indices = by_voice[note.part, note.voice]
    after = bisect.bisect_left(indices, run.stop, key=lambda index: score.notes[index].measure)
    return indices[after - 1]


def _play_directions(
    score: WrittenScore, runs: Sequence[_Run], starts: Sequence[int], name: str
) -> tuple[Direction, ...]:
    """Every direction each time that its place is played; extents are cut at jumps and resumed after them."""
    by_measure: list[list[WrittenDirection]] = [[] for _ in score.measures]
    for direction in score.directions:
        by_measure[direction.start.measure].append(direction)
    long = [direction for direction in score.directions if direction.end.measure > direction.start.measure]
    going_on: dict[int, list[WrittenDirection]] = {}
    result: dict[Direction, None] = {}
    count = 0
    for run in runs:
        if run.first not in going_on:
            going_on[run.first] = [
                direction
                for direction in long
                if direction.start.measure < run.first and _tick(direction.end, starts) > starts[run.first]
            ]
        here = [*going_on[run.first], *itertools.chain(*by_measure[run.first : run.stop])]
        count += len(here)
        _check_size(count, "directions", name)
        result.update((_play_direction(direction, run, starts, score.ticks), None) for direction in here)
    order = {"tempo": 0, "tempo-reset": 1}
    return tuple(sorted(result, key=lambda direction: (direction.onset, order.get(direction.kind, 2))))


def _play_direction(written: WrittenDirection, run: _Run, starts: Sequence[int], ticks: int) -> Direction:
    """The part of the direction that lies in the run."""
    run_begin, run_end = starts[run.first], starts[run.stop]
    shift = run.onset - run_begin
    onset = max(_tick(written.start, starts), run_begin)
    end = max(onset, min(_tick(written.end, starts), run_end))
    return Direction(
        kind=written.kind,
        onset=(onset + shift) / ticks,
        end=(end + shift) / ticks,
        text=written.text,
        value=written.value,
        part=written.part,
        staff=written.staff,
    )


def _check_size(count: int, what: str, name: str) -> None:
    if count > MAX_PLAYED_NOTES:
        raise InputError(
            f"{name}: with its repeats more than {MAX_PLAYED_NOTES:,} {what} are to be played; "
            "split the score, or set the score option repeats=False"
        )


def _tick(place: Place, starts: Sequence[int]) -> int:
    return starts[place.measure] + place.offset


def _play_measures(score: WrittenScore, order: Sequence[int]) -> tuple[Measure, ...]:
    result = []
    tick = 0
    for index in order:
        measure = score.measures[index]
        result.append(
            Measure(tick / score.ticks, (tick + measure.length) / score.ticks, measure.number, index)
        )
        tick += measure.length
    return tuple(result)


def _time_signatures(score: WrittenScore, order: Sequence[int]) -> tuple[TimeSignature, ...]:
    changes = _signatures([measure.times for measure in score.measures], score, order)
    return tuple(TimeSignature(onset, *signature) for onset, signature in changes)


def _key_signatures(score: WrittenScore, order: Sequence[int]) -> tuple[KeySignature, ...]:
    changes = _signatures([measure.keys for measure in score.measures], score, order)
    return tuple(KeySignature(onset, *signature) for onset, signature in changes)


def _signatures(
    written: Sequence[Sequence[tuple[int, T]]], score: WrittenScore, order: Sequence[int]
) -> list[tuple[float, T]]:
    """(onset in quarter notes, signature) wherever the signature in force changes in play."""
    in_force: list[T | None] = []
    current: T | None = None
    for changes in written:
        in_force.append(current)
        if changes:
            current = changes[-1][1]
    result: list[tuple[float, T]] = []
    tick = 0
    for index in order:
        before = in_force[index]
        changes = [] if before is None else [(0, before)]
        for offset, signature in sorted([*changes, *written[index]], key=lambda change: change[0]):
            onset = (tick + offset) / score.ticks
            if result and result[-1][0] == onset:
                result.pop()
            if not result or result[-1][1] != signature:
                result.append((onset, signature))
        tick += score.measures[index].length
    return result

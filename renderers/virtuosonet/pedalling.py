"""The pedal of a performance: from five values and two times per note to controller events.

Each note has the depth of the pedal at its onset and its end, and may lift it briefly after the onset
("refresh") or the end ("cut"). Events of simultaneous notes are merged; lifts that come too close to the next
press are moved (fact sheet of the golden vectors, section 5, 4d)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet.lookup import binary_index

LEAD = 0.03
"""Seconds before an onset or a note's end at which the pedal takes its value; closer events are merged."""
MARGIN = 0.15
"""Seconds for which the pedal must be up before it is pressed again."""
HALF = 64
"""Controller value from which the dampers are off."""
LIFTED, PRESSED = 20, 68
"""Values of a lift that had to be moved, and of the press before it."""
LOOK_BACK = 19
"""Number of preceding notes that are checked for sounding beyond a note's end."""


@dataclass(slots=True)
class PedalEvent:
    position: float
    """In the score, divisions."""
    time: float
    """Seconds."""
    value: int
    """0..127"""


@dataclass(frozen=True)
class PedalledNotes:
    """The pedal values and times of N notes in playing order."""

    position: NDArray[np.float64]
    """Divisions."""
    end_position: NDArray[np.float64]
    """Written end, divisions."""
    start: NDArray[np.float64]
    """Seconds."""
    end: NDArray[np.float64]
    """Seconds."""
    at_start: NDArray[np.int64]
    at_end: NDArray[np.int64]
    soft: NDArray[np.int64]
    refresh: NDArray[np.int64]
    cut: NDArray[np.int64]
    """Controller values."""
    refresh_time: NDArray[np.float64]
    """Seconds after the onset."""
    cut_time: NDArray[np.float64]
    """Seconds after the end."""


Merge = Callable[[Sequence[PedalEvent]], list[PedalEvent]]
"""Fewer events from events sorted by (position, time)."""


def merged_values(events: Sequence[PedalEvent]) -> list[PedalEvent]:
    """Events of one position and nearly one time merged into one with their mean value."""
    groups: list[list[PedalEvent]] = []
    for event in events:
        if groups and event.position == groups[-1][0].position and event.time - groups[-1][0].time < LEAD:
            groups[-1].append(event)
        else:
            groups.append([event])
    return [
        PedalEvent(group[0].position, group[0].time, round(sum(event.value for event in group) / len(group)))
        for group in groups
    ]


def earliest_events(events: Sequence[PedalEvent]) -> list[PedalEvent]:
    """The earliest event of each position."""
    return [next(group) for _, group in groupby(events, key=lambda event: event.position)]


def pedal_events(
    notes: PedalledNotes, *, merge: Merge = merged_values, earliest: Merge = earliest_events
) -> tuple[list[PedalEvent], list[PedalEvent]]:
    """Events of the sustain pedal and of the soft pedal, each in score order."""
    all_notes = np.ones(len(notes.start), dtype=bool)
    ends = merge(_events(notes.end_position, notes.end - LEAD, notes.at_end, all_notes))
    starts = merge(_events(notes.position, notes.start - LEAD, notes.at_start, all_notes))
    soft = merge(_events(notes.position, notes.start - LEAD, notes.soft, all_notes))
    refreshes = earliest(
        _events(notes.position, notes.start + notes.refresh_time, notes.refresh, _refreshed(notes))
    )
    cuts = earliest(_events(notes.end_position, notes.end + notes.cut_time, notes.cut, _cut(notes)))
    sustain = _in_order([*_without_ends(starts, ends), *ends])
    sustain = _with_lifts(sustain, refreshes)
    return _with_lifts(sustain, cuts), soft


def _events(
    position: NDArray[np.float64],
    time: NDArray[np.float64],
    value: NDArray[np.int64],
    chosen: NDArray[np.bool_],
) -> list[PedalEvent]:
    rows = zip(
        position[chosen].tolist(), time[chosen].tolist(), value[chosen].clip(0, 127).tolist(), strict=True
    )
    return _in_order([PedalEvent(*row) for row in rows])


def _in_order(events: list[PedalEvent]) -> list[PedalEvent]:
    return sorted(events, key=lambda event: (event.position, event.time))


def _refreshed(notes: PedalledNotes) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = (
        (notes.refresh < HALF) & (notes.at_start > HALF) & (notes.at_end > notes.refresh)
    )
    return chosen


def _cut(notes: PedalledNotes) -> NDArray[np.bool_]:
    """Notes after which the pedal may be lifted: it is down, and no note sounds or starts at their end."""
    positions, ends = notes.position.tolist(), notes.end_position.tolist()
    chosen = (notes.at_end >= HALF) & (notes.cut <= HALF)
    for index in np.flatnonzero(chosen).tolist():
        before = ends[max(0, index - LOOK_BACK) : index]
        following = bisect_left(positions, ends[index], lo=index + 1)
        chosen[index] = (
            max(before, default=ends[index]) <= ends[index]
            and following < len(positions)
            and positions[following] > ends[index]
        )
    return chosen


def _without_ends(starts: Sequence[PedalEvent], ends: Sequence[PedalEvent]) -> list[PedalEvent]:
    """The events of onsets that do not coincide with the event of a note's end."""
    positions = [event.position for event in ends]
    return [
        start
        for start in starts
        if abs(ends[binary_index(positions, start.position)].time - start.time) >= LEAD
    ]


def _with_lifts(events: list[PedalEvent], lifts: Sequence[PedalEvent]) -> list[PedalEvent]:
    """The events and those lifts that are needed before the pedal is pressed again."""
    positions = [event.position for event in events]
    pressed = [index for index, event in enumerate(events) if event.value > HALF]
    inserted = []
    for lift in lifts:
        index = binary_index(positions, lift.position)
        before = events[index]
        if before.value < HALF:
            continue
        following = bisect_right(pressed, index)
        if following == len(pressed):
            inserted.append(lift)
            continue
        next_time = events[pressed[following]].time
        if lift.time + LEAD > next_time:
            time = before.time + LEAD
        elif lift.time + MARGIN > next_time:
            time = min(before.time + 2 * LEAD, lift.time)
        else:
            continue
        inserted.append(replace(lift, time=time, value=LIFTED))
        if before.value == HALF:
            insort(pressed, index)
        before.value = PRESSED
    return _in_order([*inserted, *events])

"""The pedal of a performance: from five values and two times per note to controller events.

Every note says how far the pedal is down at its onset and at its end, and whether it is lifted for a moment
after the onset ("refresh") or the end ("cut"). The events of simultaneous notes are merged, and liftings that
come too close to the next pressing are moved (fact sheet of the golden vectors, section 5, 4d).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet.lookup import binary_index
from renderers.virtuosonet.notation import Compatibility

LEAD = 0.03
"""Seconds before an onset or a note's end at which the pedal takes its value; events closer are merged."""
MARGIN = 0.15
"""Seconds by which the pedal has to be up before it is pressed again."""
HALF = 64
"""Controller value from which on the dampers are off."""
LIFTED, PRESSED = 20, 68
"""Values of a lifting that had to be moved, and of the pressing before it."""
LOOK_BACK = 19
"""Notes before a note that may still sound beyond its end."""


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
    """What the notes in playing order say about the pedal; columns of length N."""

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


def pedal_events(
    notes: PedalledNotes, compatibility: Compatibility
) -> tuple[list[PedalEvent], list[PedalEvent]]:
    """Events of the sustain pedal and of the soft pedal, each in the order of the score."""
    everyone = np.ones(len(notes.start), dtype=bool)
    merge = _Merge(compatibility)
    ends = merge.values(_events(notes.end_position, notes.end - LEAD, notes.at_end, everyone))
    starts = merge.values(_events(notes.position, notes.start - LEAD, notes.at_start, everyone))
    softs = merge.values(_events(notes.position, notes.start - LEAD, notes.soft, everyone))
    refreshes = merge.earliest(
        _events(notes.position, notes.start + notes.refresh_time, notes.refresh, _refreshed(notes))
    )
    cuts = merge.earliest(_events(notes.end_position, notes.end + notes.cut_time, notes.cut, _cut(notes)))
    sustain = _in_order([*_without_ends(starts, ends), *ends])
    sustain = _with_liftings(sustain, refreshes)
    sustain = _with_liftings(sustain, cuts)
    return sustain, softs


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
    """Notes after which the pedal may go up: it is down, and nothing else sounds or starts at their end."""
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


@dataclass(frozen=True)
class _Merge:
    """Merges events of one position. The published code looks less and less far, and merges nothing in the
    second half of a piece."""

    compatibility: Compatibility

    def _stop(self, index: int, count: int) -> int:
        return count - index if self.compatibility == "official" else count

    def values(self, events: Sequence[PedalEvent]) -> list[PedalEvent]:
        """Events of one position and nearly one time become one with their mean value."""
        merged = []
        index = 0
        while index < len(events):
            first = events[index]
            joined = [first]
            for other in range(index + 1, self._stop(index, len(events))):
                if events[other].position > first.position:
                    break
                if abs(events[other].time - first.time) < LEAD:
                    joined.append(events[other])
            value = round(sum(event.value for event in joined) / len(joined))
            merged.append(PedalEvent(joined[-1].position, min(event.time for event in joined), value))
            index += len(joined)
        return merged

    def earliest(self, events: Sequence[PedalEvent]) -> list[PedalEvent]:
        """Of the events of one position the earliest."""
        kept = []
        index = 0
        while index < len(events):
            first = events[index]
            stop = self._stop(index, len(events))
            same = [first]
            for other in range(index + 1, stop):
                if events[other].position > first.position:
                    index = other - 1
                    break
                same.append(events[other])
            else:
                if self.compatibility == "none":
                    index = stop - 1
            kept.append(min(same, key=lambda event: event.time))
            index += 1
        return kept


def _without_ends(starts: Sequence[PedalEvent], ends: Sequence[PedalEvent]) -> list[PedalEvent]:
    """The events of onsets that do not coincide with that of a note's end."""
    positions = [event.position for event in ends]
    return [
        start
        for start in starts
        if abs(ends[binary_index(positions, start.position)].time - start.time) >= LEAD
    ]


def _with_liftings(events: list[PedalEvent], liftings: Sequence[PedalEvent]) -> list[PedalEvent]:
    """The events and those liftings of the pedal that are needed before it is pressed again."""
    positions = [event.position for event in events]
    pressed = [index for index, event in enumerate(events) if event.value > HALF]
    inserted = []
    for lifting in liftings:
        index = binary_index(positions, lifting.position)
        before = events[index]
        if before.value < HALF:
            continue
        following = bisect_right(pressed, index)
        if following == len(pressed):
            inserted.append(lifting)
            continue
        next_time = events[pressed[following]].time
        if lifting.time + LEAD > next_time:
            time = before.time + LEAD
        elif lifting.time + MARGIN > next_time:
            time = min(before.time + 2 * LEAD, lifting.time)
        else:
            continue
        inserted.append(replace(lifting, time=time, value=LIFTED))
        if before.value == HALF:
            insort(pressed, index)
        before.value = PRESSED
    return _in_order([*inserted, *events])

"""Mistakes of the published code that ``compatibility="official"`` reproduces.

Section numbers are those of the fact sheet of the golden vectors.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from renderers.virtuosonet.notation import XmlMeasure, XmlNote
from renderers.virtuosonet.pedalling import LEAD, PedalEvent
from score_to_audio.errors import InputError

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

MAX_UNROLLED_MEASURES = 20_000
"""More than in any piano piece with its repeats; stops repeats that would never end."""

State = TypeVar("State")


def unrolled_measures(
    elements: Sequence[Element],
    shared: State,
    read: Callable[[Element, int, int, State], XmlMeasure],
    name: str,
) -> list[XmlMeasure]:
    """The measures of a part with forward and backward repeats, first endings, da capo and fine (section 2).

    ``read(element, written index, number, state)`` reads a measure and changes the reader's state. When a
    first ending is skipped, the state from before it applies to the rest of this part; ``shared``, from which
    the next part starts, stays as it is there. Raises ``InputError`` for too many measures."""
    state = shared
    measures: list[XmlMeasure] = []
    ending_starts: list[int] = []
    ending_stops: list[int] = []
    forward_repeats: list[int] = []
    used_repeats: set[int] = set()
    fine_counts = False
    index = 0
    while index < len(elements):
        if len(measures) > MAX_UNROLLED_MEASURES:
            raise InputError(f"{name}: its repeats give more than {MAX_UNROLLED_MEASURES} measures")
        snapshot = copy.copy(state)
        measure = read(elements[index], index, len(measures) + 1, state)
        if measure.first_ending_starts:
            if index in ending_starts:
                state = snapshot
                nth = ending_starts.index(index)
                stop = ending_stops[nth] if nth < len(ending_stops) else index
                index = max(stop, index) + 1
                continue
            ending_starts.append(index)
        measures.append(measure)
        if measure.first_ending_stops:
            ending_stops.append(index)
        if measure.repeat == "forward":
            forward_repeats.append(index)
            index += 1
        elif measure.repeat == "backward" and index not in used_repeats:
            used_repeats.add(index)
            if len(ending_starts) != len(ending_stops):
                ending_stops.append(index)
            index = forward_repeats.pop() if forward_repeats else 0
        elif measure.is_dacapo and not fine_counts:
            index, fine_counts = 0, True
        elif measure.is_fine and fine_counts:
            break
        else:
            index += 1
    return measures


def merged_ties(notes: Sequence[XmlNote]) -> list[XmlNote]:
    """The notes with ties merged: a tie continues the latest earlier tied note of its pitch, however far
    away; where there is none, the note is lost (section 2)."""
    kept: list[XmlNote] = []
    latest: dict[int | None, XmlNote] = {}
    for note in notes:
        if note.tied_stop:
            if first := latest.get(note.pitch):
                first.extend(note, first.duration + note.duration)
            continue
        kept.append(note)
        if note.tied_start:
            latest[note.pitch] = note
    return kept


def merged_values(events: Sequence[PedalEvent]) -> list[PedalEvent]:
    """``pedalling.merged_values`` over a range that shrinks, so that nothing is merged in the second half of
    a piece (section 5, 4d)."""
    merged = []
    index = 0
    while index < len(events):
        first = events[index]
        joined = [first]
        for other in range(index + 1, len(events) - index):
            if events[other].position > first.position:
                break
            if abs(events[other].time - first.time) < LEAD:
                joined.append(events[other])
        value = round(sum(event.value for event in joined) / len(joined))
        merged.append(PedalEvent(joined[-1].position, min(event.time for event in joined), value))
        index += len(joined)
    return merged


def earliest_events(events: Sequence[PedalEvent]) -> list[PedalEvent]:
    """``pedalling.earliest_events`` over the same shrinking range."""
    kept = []
    index = 0
    while index < len(events):
        same = [events[index]]
        for other in range(index + 1, len(events) - index):
            if events[other].position > same[0].position:
                index = other - 1
                break
            same.append(events[other])
        kept.append(min(same, key=lambda event: event.time))
        index += 1
    return kept

"""What the published program does around the network, losses of music included, for comparisons with it.

It writes every segment to a MIDI file and reads it back, and its results depend on that. Here the files are
imitated in memory. The default of this project is ``segments`` instead.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, Controls
from synthesizers.midi_valle.tokens import TICKS_PER_QUARTER, Notes, Ticks, Tokens, rounded, tokens_of_grid

FILE_TICKS_PER_QUARTER = 220
"""Resolution of the files, at 120 quarter notes per minute."""
SECONDS_PER_FILE_TICK = 60 / (120 * FILE_TICKS_PER_QUARTER)
SHORTEST_SEGMENT, LONGEST_SEGMENT = 15.0, 20.0
"""Seconds: segment lengths are drawn uniformly from this range."""
SEGMENT_SEED = 42
"""Of NumPy's legacy generator, the same for every piece."""


@dataclass(frozen=True)
class Events:
    """The note events of a MIDI track, as columns in the order of the file."""

    tick: Ticks
    pitch: Ticks
    velocity: Ticks
    """0 for a note-off."""
    channel: Ticks


def cut_points(end: float) -> list[float]:
    """Where a piece that ends at ``end`` seconds is cut; what comes after the last point is never played."""
    generator = np.random.RandomState(SEGMENT_SEED)
    points = [0.0]
    while (point := points[-1] + generator.uniform(SHORTEST_SEGMENT, LONGEST_SEGMENT)) < end:
        points.append(point)
    return points


def segment_notes(notes: Notes, start: float, end: float) -> Notes:
    """The notes of the stretch [start, end) seconds, from its start on.

    A note that sounds at ``start`` begins there and is not cut at ``end``; a note that starts inside and ends
    at or after ``end`` is lost.
    """
    carried = (notes.onset < start) & (notes.offset > start)
    inside = (notes.onset >= start) & (notes.offset < end)
    onset = np.where(carried, 0.0, notes.onset - start)
    kept = carried | inside
    return Notes(onset[kept], notes.offset[kept] - start, notes.pitch[kept], notes.velocity[kept])


def segment_controls(controls: Controls, start: float, end: float) -> Controls:
    """The controller events of the stretch [start, end) seconds, from its start on."""
    kept = (controls.time >= start) & (controls.time < end)
    return Controls(controls.time[kept] - start, controls.number[kept], controls.value[kept])


def as_written(notes: Notes) -> Notes:
    """The notes after writing them to a file and reading it with pretty_midi, in the order of their ends.

    There a note-off ends all open notes of its pitch that began earlier. Notes that begin at the same tick
    stay open if it ended any, and are lost otherwise, so that notes of no length vanish or grow.
    """
    events = file_events(notes)
    sounding: dict[int, list[tuple[int, int]]] = defaultdict(list)
    found = []
    for tick, pitch, velocity in zip(
        events.tick.tolist(), events.pitch.tolist(), events.velocity.tolist(), strict=True
    ):
        if velocity > 0:
            sounding[pitch].append((tick, velocity))
            continue
        ended = [note for note in sounding[pitch] if note[0] != tick]
        found += [(start, tick, pitch, loudness) for start, loudness in ended]
        sounding[pitch] = [note for note in sounding[pitch] if note[0] == tick] if ended else []
    start, end, pitches, velocities = np.array(found, dtype=np.int64).reshape(-1, 4).T
    return Notes(_seconds(start), _seconds(end), pitches, velocities)


def _seconds(ticks: Ticks) -> NDArray[np.float64]:
    return ticks.astype(np.float64) * SECONDS_PER_FILE_TICK


def file_ticks(seconds: NDArray[np.float64]) -> Ticks:
    return np.rint(seconds / SECONDS_PER_FILE_TICK).astype(np.int64)


def file_events(notes: Notes) -> Events:
    """The events of the file that the notes are written to: by tick, pitch and velocity."""
    tick = np.concatenate([file_ticks(notes.onset), file_ticks(notes.offset)])
    pitch = np.concatenate([notes.pitch, notes.pitch])
    velocity = np.concatenate([notes.velocity, np.zeros_like(notes.velocity)])
    order = np.lexsort((velocity, pitch, tick))
    return Events(tick[order], pitch[order], velocity[order], np.zeros_like(tick))


def tokens_of_file(notes: Notes) -> Tokens:
    """Tokens of the file that the notes are written to."""
    return tokens_of_events(file_events(notes), FILE_TICKS_PER_QUARTER)


def tokens_of_events(events: Events, ticks_per_quarter: int) -> Tokens:
    """Tokens of a MIDI track; its tempo is ignored, and so are notes outside the piano's range."""
    start, end, pitch, velocity = _paired(events)
    order = np.lexsort((pitch, start))
    order = order[(pitch[order] >= LOWEST_PITCH) & (pitch[order] <= HIGHEST_PITCH)]

    def on_grid(ticks: Ticks) -> Ticks:
        return rounded(ticks[order].astype(np.float64) * TICKS_PER_QUARTER / ticks_per_quarter)

    return tokens_of_grid(on_grid(start), on_grid(end - start), pitch[order], velocity[order])


def _paired(events: Events) -> tuple[Ticks, Ticks, Ticks, Ticks]:
    """Start, end, pitch and velocity of the notes.

    At each tick note-offs come before note-ons; a note-off closes the oldest open note of its channel and
    pitch; a note-off without a note and a note without a note-off count for nothing.
    """
    is_on = events.velocity > 0
    order = np.lexsort((is_on, events.tick))
    columns = (events.tick, events.pitch, events.velocity, events.channel)
    sounding: dict[tuple[int, int], deque[tuple[int, int, int]]] = defaultdict(deque)
    found = []
    for index, (tick, pitch, velocity, channel) in enumerate(
        zip(*(column[order].tolist() for column in columns), strict=True)
    ):
        if velocity > 0:
            sounding[channel, pitch].append((index, tick, velocity))
        elif sounding[channel, pitch]:
            begun, start, loudness = sounding[channel, pitch].popleft()
            found.append((begun, start, tick, pitch, loudness))
    rows = np.array(sorted(found), dtype=np.int64).reshape(-1, 5)
    return rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4]

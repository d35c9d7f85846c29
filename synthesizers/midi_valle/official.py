"""What the published program does around the network, lost music included, for comparisons with it.

It writes every segment to a MIDI file and reads it back, which changes the notes; here the files are imitated
in memory. ``segments`` holds the default of this project.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH
from synthesizers.midi_valle.segments import SegmentRequest
from synthesizers.midi_valle.tokens import (
    BARS,
    MAX_SEQUENCE_SECONDS,
    SPECIALS,
    TICKS_PER_QUARTER,
    NoteArray,
    Ticks,
    Tokens,
    rounded,
    tokens_of_grid,
)

FILE_TICKS_PER_QUARTER = 220
"""Resolution of the files, at 120 quarter notes per minute."""
SECONDS_PER_FILE_TICK = 60 / (120 * FILE_TICKS_PER_QUARTER)
MIN_SEGMENT, MAX_SEGMENT = 15.0, 20.0
"""Seconds: segment lengths are drawn uniformly from this range."""
SEGMENT_SEED = 42
"""Of NumPy's legacy generator, the same for every piece."""
FRAMES_PER_ROW = 16
"""A segment stops after this many frames per row of tokens, and one."""

# ------------------------------------------------------------------------------------------- segments


def segment_requests(
    notes: NoteArray, end: float, prompt: NoteArray, prompt_end: float
) -> list[SegmentRequest]:
    """Requests for segments that are joined end to end; ``end``: seconds to the piece's last event;
    ``prompt_end``: the same of the prompt.

    Raises ``ValueError`` where prompt and segment are longer than the model can take.
    """
    requests = []
    for start, stop in pairwise(cut_points(end)):
        segment = as_written(segment_notes(notes, start, stop))
        tokens = tokens_of_file(NoteArray.joined(prompt, segment.shifted(prompt_end)))
        if (tokens[:, 5] >= BARS + SPECIALS).any():
            raise ValueError(f"prompt and segment exceed {MAX_SEQUENCE_SECONDS:.0f} seconds together")
        requests.append(SegmentRequest(0, tokens, 0, max_frames(len(tokens))))
    return requests


def max_frames(rows: int) -> int:
    """Frames after which a segment stops, for so many rows of tokens."""
    return FRAMES_PER_ROW * rows + 1


def cut_points(end: float) -> list[float]:
    """Seconds at which a piece that lasts ``end`` seconds is cut; the rest after the last is not played."""
    generator = np.random.RandomState(SEGMENT_SEED)
    points = [0.0]
    while (point := points[-1] + generator.uniform(MIN_SEGMENT, MAX_SEGMENT)) < end:
        points.append(point)
    return points


def segment_notes(notes: NoteArray, start: float, end: float) -> NoteArray:
    """The notes of [start, end) seconds, with times from ``start`` on.

    A note that sounds at ``start`` begins there and is not cut at ``end``; a note that starts inside and ends
    at or after ``end`` is lost.
    """
    carried = (notes.onset < start) & (notes.offset > start)
    inside = (notes.onset >= start) & (notes.offset < end)
    onset = np.where(carried, 0.0, notes.onset - start)
    kept = carried | inside
    return NoteArray(onset[kept], notes.offset[kept] - start, notes.pitch[kept], notes.velocity[kept])


def sample_range(start: float, end: float, rate: int) -> range:
    """The samples of a recording that belong to [start, end) seconds."""
    return range(int(rate * start), int(rate * end))


# --------------------------------------------------------------------------------------- MIDI files


@dataclass(frozen=True)
class TrackEvents:
    """The note events of a MIDI track, as columns in the order of the file."""

    tick: Ticks
    pitch: Ticks
    velocity: Ticks
    """0 for a note-off."""
    channel: Ticks


def as_written(notes: NoteArray) -> NoteArray:
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
    rows = np.array(found, dtype=np.int64).reshape(-1, 4)
    seconds = rows[:, :2].astype(np.float64) * SECONDS_PER_FILE_TICK
    return NoteArray(seconds[:, 0], seconds[:, 1], rows[:, 2], rows[:, 3])


def file_ticks(seconds: NDArray[np.float64]) -> Ticks:
    return np.rint(seconds / SECONDS_PER_FILE_TICK).astype(np.int64)


def file_events(notes: NoteArray) -> TrackEvents:
    """The events of the file that the notes are written to: by tick, pitch and velocity."""
    tick = np.concatenate([file_ticks(notes.onset), file_ticks(notes.offset)])
    pitch = np.concatenate([notes.pitch, notes.pitch])
    velocity = np.concatenate([notes.velocity, np.zeros_like(notes.velocity)])
    order = np.lexsort((velocity, pitch, tick))
    return TrackEvents(tick[order], pitch[order], velocity[order], np.zeros_like(tick))


def tokens_of_file(notes: NoteArray) -> Tokens:
    """Tokens of the file that the notes are written to."""
    return tokens_of_events(file_events(notes), FILE_TICKS_PER_QUARTER)


def tokens_of_events(events: TrackEvents, ticks_per_quarter: int) -> Tokens:
    """Tokens of a MIDI track; its tempo and notes outside the piano's range are ignored."""
    start, end, pitch, velocity = _paired(events)
    order = np.lexsort((pitch, start))
    order = order[(pitch[order] >= LOWEST_PITCH) & (pitch[order] <= HIGHEST_PITCH)]

    def on_grid(ticks: Ticks) -> Ticks:
        return rounded(ticks[order].astype(np.float64) * TICKS_PER_QUARTER / ticks_per_quarter)

    return tokens_of_grid(on_grid(start), on_grid(end - start), pitch[order], velocity[order])


def _paired(events: TrackEvents) -> tuple[Ticks, Ticks, Ticks, Ticks]:
    """Start, end, pitch and velocity of the notes.

    At each tick note-offs come before note-ons; a note-off closes the oldest open note of its channel and
    pitch; a note-off without a note and a note without a note-off are ignored.
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
            note_on, start, loudness = sounding[channel, pitch].popleft()
            found.append((note_on, start, tick, pitch, loudness))
    rows = np.array(sorted(found), dtype=np.int64).reshape(-1, 5)
    return rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4]


# -------------------------------------------------------------------------------------------- joins

Sound = NDArray[np.float32]
"""[samples] at 32 kHz."""

CROSSFADE, FADE = 640, 1600
"""Samples that overlap in the joins of these names: 20 and 50 ms."""
SEARCH = 2560
"""Samples that ``_aligned`` compares: 80 ms."""
MIN_PIECE = 4096
"""Samples of a piece that ``_aligned`` takes."""


def _crossfaded(pieces: Sequence[Sound], overlap: int) -> Sound:
    rising = np.linspace(0.0, 1.0, overlap)
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = _overlapped(joined, piece, rising[::-1], rising)
    return joined


def _aligned(pieces: Sequence[Sound]) -> Sound:
    """Overlapped where one piece's end correlates best with the next one's start; drops short later pieces.

    Raises ``ValueError`` where the first piece is shorter than ``MIN_PIECE``.
    """
    from scipy.signal import correlate

    if len(pieces[0]) < MIN_PIECE:
        raise ValueError(f"the first segment is shorter than {MIN_PIECE} samples")
    joined = pieces[0]
    for piece in pieces[1:]:
        if len(piece) >= MIN_PIECE:
            lag = int(np.argmax(correlate(joined[-SEARCH:], piece[:SEARCH], mode="same"))) - SEARCH // 2
            overlap = SEARCH - lag
            weights = np.hanning(2 * overlap)
            joined = _overlapped(joined, piece, weights[overlap:], weights[:overlap])
    return joined


def _overlapped(
    joined: Sound, piece: Sound, falling: NDArray[np.float64], rising: NDArray[np.float64]
) -> Sound:
    overlap = len(rising)
    middle = joined[-overlap:] * falling + piece[:overlap] * rising
    return np.concatenate([joined[:-overlap], middle.astype(np.float32), piece[overlap:]])


JOINS: dict[str, Callable[[Sequence[Sound]], Sound]] = {
    "naive": np.concatenate,
    "crossfade": lambda pieces: _crossfaded(pieces, CROSSFADE),
    "fade": lambda pieces: _crossfaded(pieces, FADE),
    "concat": _aligned,
}
"""The sounds of segments as one; all but ``naive`` shorten the piece."""

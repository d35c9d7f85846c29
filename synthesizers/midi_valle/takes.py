"""What has to be generated for a performance: segments with what the model reads and their bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from synthesizers.midi_valle import official
from synthesizers.midi_valle.segments import cut, notes_between
from synthesizers.midi_valle.tokens import (
    LONGEST_SEQUENCE,
    TICKS_PER_SECOND,
    Notes,
    Tokens,
    tokens_of_notes,
)

TAIL = 3.0
"""Seconds that the sound may ring on after the last note before a rest or the end; the model ends it sooner
by itself."""
CONTEXT = 2.0
"""Seconds of the previous take that a continuation reads, after the prompt."""
SAFETY = 1 / TICKS_PER_SECOND
"""Seconds kept free at the end of the longest sequence: onsets are rounded to the tokens' grid."""


@dataclass(frozen=True)
class Take:
    """A segment to generate. Frames are the codec's."""

    start: int
    """Frame of the piece with which it begins."""
    tokens: Tokens
    """Of the prompt, of the context where there is one, and of the segment."""
    least_frames: int
    most_frames: int
    """Equal where the next take follows at once, so that every take begins at its time."""
    context: int = 0
    """Frames before ``start`` whose codes follow the prompt's."""


def takes_of(
    notes: Notes,
    prompt: Notes,
    prompt_frames: int,
    frame_rate: float,
    *,
    segment_length: float,
    continuation: bool,
) -> list[Take]:
    """Takes that together play all of the notes (any number, sorted or not), each at its time.

    ``prompt``: notes heard in the prompt, none later than its ``prompt_frames`` frames. ``segment_length``:
    seconds, the wish. ``continuation``: each take that follows another at once also reads its end.
    """
    if not len(notes):
        return []
    prompt_length = prompt_frames / frame_rate
    context_length = CONTEXT if continuation else 0.0
    room = LONGEST_SEQUENCE - prompt_length - context_length - SAFETY
    frames = ceil(float(notes.offset.max()) * frame_rate)
    segments = cut(notes, frames, frame_rate, wished=segment_length, longest=room)
    sounding = [
        segment
        for segment in segments
        if len(notes_between(notes, segment.start / frame_rate, segment.end / frame_rate))
    ]
    takes: list[Take] = []
    for index, segment in enumerate(sounding):
        follows = index > 0 and sounding[index - 1].end == segment.start
        previous = sounding[index - 1].frames if follows else 0
        context = min(round(context_length * frame_rate), previous)
        part = notes_between(notes, (segment.start - context) / frame_rate, segment.end / frame_rate)
        least, most = segment.frames, segment.frames
        next_start = sounding[index + 1].start if index + 1 < len(sounding) else None
        if next_start != segment.end:
            last = float(part.offset.max()) * frame_rate - context
            rest = round(TAIL * frame_rate)
            most += rest if next_start is None else min(rest, next_start - segment.end)
            least = min(ceil(last), segment.frames)
        tokens = tokens_of_notes(Notes.joined(prompt, part.shifted(prompt_length)))
        takes.append(Take(segment.start, tokens, least, most, context))
    return takes


def official_takes(
    notes: Notes, end: float, prompt: Notes, prompt_end: float, frames_per_row: int
) -> list[Take]:
    """Takes as the published program makes them, its losses included; each starts where the last one ends.

    ``end``: seconds, with the last event of the piece; ``prompt_end``: the same of the prompt.
    Raises ``ValueError`` where prompt and segment are longer than the model can take.
    """
    takes = []
    points = official.cut_points(end)
    for start, stop in pairwise(points):
        segment = official.as_written(official.segment_notes(notes, start, stop))
        tokens = official.tokens_of_file(Notes.joined(prompt, segment.shifted(prompt_end)))
        if (tokens[:, 5] >= 20).any():
            raise ValueError(f"prompt and segment are together longer than {LONGEST_SEQUENCE:.0f} seconds")
        takes.append(Take(0, tokens, 0, frames_per_row * len(tokens) + 1))
    return takes


def runs(takes: Sequence[Take]) -> list[list[Take]]:
    """Takes grouped by what follows without a rest."""
    found: list[list[Take]] = []
    for take in takes:
        if found and found[-1][-1].start + found[-1][-1].most_frames == take.start:
            found[-1].append(take)
        else:
            found.append([take])
    return found

"""Segments of recordings as tokens and codes, and batches of them (section 4.2 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH
from synthesizers.midi_valle import official
from synthesizers.midi_valle.segments import TAIL, notes_between
from synthesizers.midi_valle.tokens import NoteArray, Tokens, notes_of_tokens, tokens_of_notes
from synthesizers.midi_valle.training.network import Batch

SHORTEST, LONGEST = 3.0, 20.0
"""Seconds of the segments that are trained on."""
QUADRATIC = 10.0
"""Seconds of a segment that counts twice in a batch: attention grows with the square of the length."""
PROMPT = 3.0
"""Seconds."""
BUCKETS = 10
"""Groups of segments of similar length, among which batches are formed; fewer for a few segments."""


@dataclass(frozen=True)
class TrainingSegment:
    """What is played in a few seconds, and how it sounds."""

    tokens: Tokens
    """[N + 2, 6]"""
    codes: NDArray[np.int64]
    """[frames, codebooks]"""


@dataclass(frozen=True)
class Cut:
    """A segment of a recording before its sound is encoded."""

    samples: range
    """Of the recording."""
    tokens: Tokens


def cuts(notes: NoteArray, end: float, length: int, rate: int) -> list[Cut]:
    """A recording of ``length`` samples in segments of 15 to 20 seconds; the last has ``SHORTEST`` at least,
    and the sound after the notes. Notes that sound across a cut end there and go on after it.

    ``end``: seconds to the last event of the MIDI file.
    """
    notes = notes.where((notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH))
    last = max(end, float(notes.offset.max(initial=0.0)))
    points = official.cut_points(last)
    found = []
    for start, stop in pairwise([*points, min(last + TAIL, length / rate)]):
        if SHORTEST <= stop - start <= LONGEST:
            part = notes_between(notes, start, stop)
            samples = official.sample_range(start, stop, rate)
            found.append(Cut(samples, tokens_of_notes(part)))
    return _usable(found, length, rate)


def official_cuts(notes: NoteArray, end: float, length: int, rate: int) -> list[Cut]:
    """As published: notes that end after their segment are lost, and what follows the last cut."""
    found = []
    for start, stop in pairwise(official.cut_points(end)):
        samples = official.sample_range(start, stop, rate)
        found.append(Cut(samples, official.tokens_of_file(official.segment_notes(notes, start, stop))))
    return _usable(found, length, rate)


def _usable(found: Sequence[Cut], length: int, rate: int) -> list[Cut]:
    """Those with notes, and with sound enough."""
    return [
        cut
        for cut in found
        if len(cut.tokens) > 2 and min(cut.samples.stop, length) - cut.samples.start >= SHORTEST * rate
    ]


def prompted(
    segment: TrainingSegment, frame_rate: float, longest: float, random: np.random.Generator
) -> TrainingSegment:
    """Two random parts of a segment, one after the other, as the model reads a prompt and writes a segment.

    The first has ``PROMPT`` seconds, the second half of ``longest`` seconds to ``longest``; both are shorter
    where the segment is. Notes that sound across an end are cut there.
    """
    notes, whole = notes_of_tokens(segment.tokens), len(segment.codes)
    parts = []
    for wanted in (PROMPT, random.uniform(longest / 2, longest)):
        frames = min(round(wanted * frame_rate), whole)
        start = int(random.integers(whole - frames + 1))
        part = notes_between(notes, start / frame_rate, (start + frames) / frame_rate)
        parts.append((part, segment.codes[start : start + frames]))
    (prompt, prompt_codes), (rest, codes) = parts
    joined = NoteArray.joined(prompt, rest.shifted(len(prompt_codes) / frame_rate))
    return TrainingSegment(tokens_of_notes(joined), np.concatenate([prompt_codes, codes]))


def batches(
    durations: Sequence[float], limit: float, random: np.random.Generator | None = None
) -> list[list[int]]:
    """Indices of segments in batches of at most ``limit`` seconds, or of one segment.

    With ``random`` for training: shuffled among segments of similar length, long ones counted as longer.
    Without: in the given order.
    """
    if random is None:
        return _filled(range(len(durations)), durations, limit)
    costs = [seconds + seconds**2 / QUADRATIC for seconds in durations]
    order = np.argsort(durations, kind="stable")
    buckets = max(1, min(BUCKETS, int(sum(costs) / limit)))
    made = [
        batch
        for bucket in np.array_split(order, buckets)
        for batch in _filled(random.permutation(bucket).tolist(), costs, limit)
    ]
    return [made[index] for index in random.permutation(len(made))]


def _filled(order: Sequence[int], costs: Sequence[float], limit: float) -> list[list[int]]:
    made: list[list[int]] = []
    room = 0.0
    for index in order:
        if not made or costs[index] > room:
            made.append([])
            room = limit
        made[-1].append(index)
        room -= costs[index]
    return made


def collate(segments: Sequence[TrainingSegment], device: str) -> Batch:
    """Padded with zeros."""

    def padded(arrays: Sequence[NDArray[np.int64]]) -> torch.Tensor:
        rows = [torch.from_numpy(one.astype(np.int64)) for one in arrays]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)

    def lengths(arrays: Sequence[NDArray[np.int64]]) -> torch.Tensor:
        return torch.tensor([len(one) for one in arrays], device=device)

    tokens, codes = [one.tokens for one in segments], [one.codes for one in segments]
    return Batch(padded(tokens), lengths(tokens), padded(codes), lengths(codes))

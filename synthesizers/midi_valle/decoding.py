"""From notes and a prompt to codes: the first codebook frame by frame, many segments at a time.

What a segment becomes depends on its own notes, prompt and generator, never on the segments beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from synthesizers.midi_valle.network import MidiValle
from synthesizers.midi_valle.sampling import Sampling, draw, probabilities, race
from synthesizers.midi_valle.slots import Slots, slots_for

OFFICIAL_FRAMES_PER_ROW = 16
"""The published program stops a segment after this many frames per row of tokens, and one."""


@dataclass(frozen=True)
class Request:
    """A segment to generate."""

    tokens: Tensor
    """[X, 6] of prompt and segment together."""
    prompt: Tensor
    """[P, codebooks]: the codes of the prompt's sound."""
    generator: Generator
    """Of this segment alone, on the CPU."""
    least_frames: int
    """The sequence cannot end before."""
    most_frames: int
    """It ends there at the latest."""

    @property
    def longest(self) -> int:
        """Positions that the sequence can come to."""
        return len(self.tokens) + len(self.prompt) + self.most_frames + 1

    @staticmethod
    def official(tokens: Tensor, prompt: Tensor, generator: Generator) -> Request:
        """With the published program's bounds."""
        return Request(tokens, prompt, generator, 0, OFFICIAL_FRAMES_PER_ROW * len(tokens) + 1)


@dataclass(eq=False)
class _Sequence:
    """A segment while its first codebook is written."""

    index: int
    request: Request
    logits: Tensor
    """[codes + 1] of the next frame."""
    frames: list[int] = field(default_factory=list)


Choose = Callable[[Tensor, Sequence[Request]], list[int]]
"""Tokens for logits [rows, codes + 1] and the requests behind the rows."""
OnFrames = Callable[[int], None]
"""Told after every step how many frames came out of it."""


def sampler(sampling: Sampling) -> Choose:
    """Draws with each request's own generator."""

    def choose(logits: Tensor, requests: Sequence[Request]) -> list[int]:
        races = torch.stack([race(logits.shape[-1], request.generator) for request in requests])
        drawn: list[int] = draw(probabilities(logits, sampling), races.to(logits.device)).tolist()
        return drawn

    return choose


@torch.inference_mode()
def first_codebooks(
    model: MidiValle,
    requests: Sequence[Request],
    choose: Choose,
    *,
    batch_size: int,
    on_frames: OnFrames | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """The first codebook [F] of every request with the request's index, in the order in which they end.

    Up to ``batch_size`` are written at a time; where one ends, the next begins.
    """
    if not requests:
        return
    slots = slots_for(model, batch_size, max(request.longest for request in requests))
    rows: list[_Sequence | None] = [None] * slots.count
    waiting = list(range(len(requests)))[::-1]
    while waiting or any(rows):
        while waiting and sum(row is not None for row in rows) < batch_size:
            # The row of its index, if that is free, so that it meets the same kernels in every run.
            row = waiting[-1] % slots.count
            if rows[row]:
                break
            index = waiting.pop()
            rows[row] = _begun(slots, row, index, requests[index])
        active = [sequence for sequence in rows if sequence]
        ended = _extend(model, active, choose)
        if on_frames:
            on_frames(len(active) - len(ended))
        for sequence in ended:
            row = rows.index(sequence)
            rows[row] = None
            slots.free(row)
            yield sequence.index, torch.tensor(sequence.frames, dtype=torch.long, device=model.device)
        if any(rows):
            logits = slots.step([sequence.frames[-1] if sequence else None for sequence in rows])
            for row, one in enumerate(rows):
                if one:
                    one.logits = logits[row]


def _begun(slots: Slots, row: int, index: int, request: Request) -> _Sequence:
    logits = slots.start(row, request.tokens, request.prompt[:, 0], request.most_frames + 1)
    return _Sequence(index, request, logits)


def _extend(model: MidiValle, active: list[_Sequence], choose: Choose) -> list[_Sequence]:
    """Add a frame to each sequence; returns those that end instead."""
    logits = torch.stack([sequence.logits for sequence in active])
    for row, sequence in enumerate(active):
        if len(sequence.frames) < sequence.request.least_frames:
            logits[row, model.end] = float("-inf")
    likeliest = logits.argmax(dim=-1).tolist()
    drawn = choose(logits, [sequence.request for sequence in active])
    ended = []
    for sequence, best, token in zip(active, likeliest, drawn, strict=True):
        if model.end in (best, token) or len(sequence.frames) >= sequence.request.most_frames:
            ended.append(sequence)
        else:
            sequence.frames.append(token)
    return ended

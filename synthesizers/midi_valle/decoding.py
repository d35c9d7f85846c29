"""From notes and a prompt to codes: the first codebook frame by frame, many segments at a time.

What a segment becomes depends on its own notes, prompt and generator, never on the segments beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from synthesizers.midi_valle.layers import ROW_TILE, KeyValueCache
from synthesizers.midi_valle.network import MidiValle
from synthesizers.midi_valle.sampling import Sampling, draw, probabilities, race

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

    @staticmethod
    def official(tokens: Tensor, prompt: Tensor, generator: Generator) -> Request:
        """With the published program's bounds."""
        return Request(tokens, prompt, generator, 0, OFFICIAL_FRAMES_PER_ROW * len(tokens) + 1)


@dataclass
class _Sequence:
    """A segment while its first codebook is written."""

    index: int
    request: Request
    cache: KeyValueCache
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
    slots: list[_Sequence | None] = [None] * (-(-batch_size // ROW_TILE) * ROW_TILE)
    waiting = list(range(len(requests)))[::-1]
    while waiting or any(slots):
        _seat(model, requests, waiting, slots, batch_size)
        active = [sequence for sequence in slots if sequence]
        ended = _extend(model, active, choose)
        if on_frames:
            on_frames(len(active) - len(ended))
        for sequence in ended:
            slots[slots.index(sequence)] = None
            yield sequence.index, torch.tensor(sequence.frames, dtype=torch.long, device=model.device)
        _advance(model, slots)


def _seat(
    model: MidiValle,
    requests: Sequence[Request],
    waiting: list[int],
    slots: list[_Sequence | None],
    batch_size: int,
) -> None:
    """Begin waiting requests while there is room. A request always takes the row of its index, as far as it
    is free, so that it meets the same rows of the same kernels in every run."""
    while waiting and sum(slot is not None for slot in slots) < batch_size:
        index = waiting[-1]
        row = index % len(slots)
        if slots[row] is not None:
            return
        request = requests[waiting.pop()]
        logits, cache = model.start(request.tokens, request.prompt[:, 0], request.most_frames + 1)
        slots[row] = _Sequence(index, request, cache, logits)


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


def _advance(model: MidiValle, slots: list[_Sequence | None]) -> None:
    """Compute the logits of every sequence's next frame."""
    if not any(slots):
        return
    frames = torch.tensor([slot.frames[-1] if slot else 0 for slot in slots], device=model.device)
    places = torch.tensor(
        [len(slot.request.prompt) + len(slot.frames) - 1 if slot else 0 for slot in slots],
        device=model.device,
    )
    logits = model.step(frames, places, [slot.cache if slot else None for slot in slots])
    for row, slot in enumerate(slots):
        if slot:
            slot.logits = logits[row]

"""Notes and a prompt to codes: the first codebook frame by frame, many segments at a time.

A segment depends on its own notes, prompt and generator, never on the rest of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from synthesizers.midi_valle.decoder_batch import DecoderBatch, decoder_batch
from synthesizers.midi_valle.network import MidiValle
from synthesizers.midi_valle.sampling import Sampling, draw, exponential_noise, probabilities


@dataclass(frozen=True)
class DecodingRequest:
    """The network's input for a segment, and its limits."""

    tokens: Tensor
    """[X, 6] of prompt and segment together."""
    prompt: Tensor
    """[P, codebooks]: the codes of the prompt's sound."""
    generator: torch.Generator
    """Of this segment alone, on the CPU."""
    min_frames: int
    """The sequence cannot end before."""
    max_frames: int
    """It ends there at the latest."""

    @property
    def max_positions(self) -> int:
        """Of the whole sequence."""
        return len(self.tokens) + len(self.prompt) + self.max_frames + 1


@dataclass(eq=False)
class _OpenSegment:
    """A segment whose first codebook is being written."""

    index: int
    request: DecodingRequest
    logits: Tensor
    """[codes + 1] of the next frame."""
    frames: list[int] = field(default_factory=list)


Sampler = Callable[[Tensor, Sequence[DecodingRequest]], list[int]]
"""Tokens for logits [rows, codes + 1] and the requests of the rows."""


def sampler(sampling: Sampling) -> Sampler:
    """Draws with each request's own generator."""

    def choose(logits: Tensor, requests: Sequence[DecodingRequest]) -> list[int]:
        noise = torch.stack([exponential_noise(logits.shape[-1], one.generator) for one in requests])
        drawn: list[int] = draw(probabilities(logits, sampling), noise.to(logits.device)).tolist()
        return drawn

    return choose


@torch.inference_mode()
def first_codebooks(
    model: MidiValle,
    requests: Sequence[DecodingRequest],
    choose: Sampler,
    *,
    batch_size: int,
    on_frames: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """The first codebook [F] of every request with the request's index, in the order in which they end.

    Up to ``batch_size`` are written at a time; where one ends, the next begins. ``on_frames`` is called after
    every step with the number of frames that it wrote.
    """
    if not requests:
        return
    batch = decoder_batch(model, batch_size, max(request.max_positions for request in requests))
    rows: list[_OpenSegment | None] = [None] * batch.rows
    waiting = list(range(len(requests)))[::-1]
    while waiting or any(rows):
        while waiting and sum(row is not None for row in rows) < batch_size:
            # The row of its index, if that is free, so that it meets the same kernels in every run.
            row = waiting[-1] % batch.rows
            if rows[row]:
                break
            index = waiting.pop()
            rows[row] = _OpenSegment(index, requests[index], _started(batch, row, requests[index]))
        active = [segment for segment in rows if segment]
        ended = _extend(model, active, choose)
        if on_frames:
            on_frames(len(active) - len(ended))
        for segment in ended:
            row = rows.index(segment)
            rows[row] = None
            batch.free(row)
            yield segment.index, torch.tensor(segment.frames, dtype=torch.long, device=model.device)
        if any(rows):
            logits = batch.step([segment.frames[-1] if segment else None for segment in rows])
            for row, one in enumerate(rows):
                if one:
                    one.logits = logits[row]


def _started(batch: DecoderBatch, row: int, request: DecodingRequest) -> Tensor:
    return batch.start(row, request.tokens, request.prompt[:, 0], request.max_frames + 1)


def _extend(model: MidiValle, active: list[_OpenSegment], choose: Sampler) -> list[_OpenSegment]:
    """Add a frame to each segment; returns those that end instead."""
    logits = torch.stack([segment.logits for segment in active])
    for row, segment in enumerate(active):
        if len(segment.frames) < segment.request.min_frames:
            logits[row, model.end] = float("-inf")
    likeliest = logits.argmax(dim=-1).tolist()
    drawn = choose(logits, [segment.request for segment in active])
    ended = []
    for segment, best, token in zip(active, likeliest, drawn, strict=True):
        if model.end in (best, token) or len(segment.frames) >= segment.request.max_frames:
            ended.append(segment)
        else:
            segment.frames.append(token)
    return ended

"""Convolutions over sequences of any length, block by block, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import ceil

import torch
from torch import Tensor


def regular_blocks(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The sequence of the blocks [..., any length] in blocks of ``size``; the last may be shorter."""
    pending: list[Tensor] = []
    length = 0
    for block in blocks:
        pending.append(block)
        length += block.shape[-1]
        if length >= size:
            joined = torch.cat(pending, dim=-1)
            whole = length // size * size
            yield from joined[..., :whole].split(size, dim=-1)
            pending, length = [joined[..., whole:]], length - whole
    if length:
        yield torch.cat(pending, dim=-1)


def windowed(
    blocks: Iterable[Tensor],
    function: Callable[[Tensor], Tensor],
    *,
    context: int,
    unit_in: int = 1,
    unit_out: int = 1,
) -> Iterator[Tensor]:
    """``function`` of the whole sequence, block by block.

    The function maps units of ``unit_in`` values to units of ``unit_out`` values; a unit of its output
    depends on ``context`` units of input on either side. All blocks but the last need whole units, and at
    least that many.
    """
    source = iter(blocks)
    current = next(source, None)
    before: Tensor | None = None
    reach = context * unit_in
    for after in chain(source, [None]):
        if current is None:
            return
        left = [] if before is None else [before[..., max(0, before.shape[-1] - reach) :]]
        right = [] if after is None else [after[..., :reach]]
        with torch.inference_mode():
            result = function(torch.cat([*left, current, *right], dim=-1))
        start = sum(part.shape[-1] for part in left) // unit_in * unit_out
        yield result[..., start : start + ceil(current.shape[-1] / unit_in) * unit_out]
        before, current = current, after

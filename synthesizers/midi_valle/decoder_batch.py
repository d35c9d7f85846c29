"""Sequences that are extended together, frame by frame, each in a row of its own.

A row's logits depend on its own sequence only. On a CPU every row reads only its own positions; on a GPU all
rows read as many, so that every step has the same shape and can be replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from synthesizers.midi_valle.layers import has_fast_fused_attention
from synthesizers.midi_valle.network import MidiValle

ROW_TILE = 8
"""Rows of a step on a CPU are a multiple of this, used or not, so that batches of different sizes use the
same kernels: one to eight sequences give the same numbers, bit by bit (more on AMD Zen 4, torch 2.13)."""
GPU_ROW_TILE = 16
"""The same on a GPU, where rows cost nothing."""
CAPACITY_TILE = 256
"""Positions: the shared cache's length is a multiple of this, for the same reason."""
WARM_UP_STEPS = 3
"""Before a step is recorded, as CUDA graphs need."""
VALUE_BLOCK = 64
"""Positions per block of ``KeyValueCache``."""


class DecoderBatch(Protocol):
    """Rows that hold sequences."""

    rows: int
    """Used or not."""

    def start(self, row: int, tokens: Tensor, prompt: Tensor, frames: int) -> Tensor:
        """Put a sequence into a row: notes [X, 6], the prompt's first codebook [P], and room for ``frames``
        more. Returns the logits [codes + 1] of the next frame."""

    def step(self, frames: Sequence[int | None]) -> Tensor:
        """Extend the sequences by a frame each (None for unused rows): logits [rows, codes + 1]."""

    def free(self, row: int) -> None:
        """Remove the sequence of a row."""


def decoder_batch(model: MidiValle, count: int, max_positions: int) -> DecoderBatch:
    """Rows for ``count`` sequences of at most ``max_positions`` positions."""
    if model.device != "cpu":
        return SharedCache(model, count, max_positions)
    if has_fast_fused_attention():
        return FusedCaches(model, count, max_positions)
    return SeparateCaches(model, count)


class SeparateCaches:
    """Rows with a cache each."""

    def __init__(self, model: MidiValle, count: int) -> None:
        self.rows = -(-count // ROW_TILE) * ROW_TILE
        self._model = model
        self._caches: list[KeyValueCache | None] = [None] * self.rows
        self._places = [0] * self.rows

    def start(self, row: int, tokens: Tensor, prompt: Tensor, frames: int) -> Tensor:
        decoder = self._model.ar_decoder
        self._model.reserve(len(prompt) + frames)
        capacity = len(tokens) + len(prompt) + frames
        cache = KeyValueCache(len(decoder.layers), decoder.heads, decoder.head_width, capacity)
        self._caches[row], self._places[row] = cache, len(prompt)
        return self._model.start(tokens, prompt, cache)

    def step(self, frames: Sequence[int | None]) -> Tensor:
        logits = self._model.step(
            torch.tensor([frame or 0 for frame in frames]), torch.tensor(self._places), self._attend
        )
        for row, cache in enumerate(self._caches):
            if cache is not None:
                cache.length += 1
                self._places[row] += 1
        return logits

    def free(self, row: int) -> None:
        self._caches[row], self._places[row] = None, 0

    def _attend(self, layer: int, projected: Tensor) -> Tensor:
        projected = projected.float()
        attended = torch.zeros_like(projected[:, 0])
        for row, cache in enumerate(self._caches):
            if cache is not None:
                attended[row] = cache.attend(layer, *projected[row])
        return attended


class FusedCaches:
    """Rows whose keys and values lie side by side, each attended to by PyTorch's fused kernel.

    Rows of different lengths are not padded to one call, which would make a row's rounding depend on the
    others, and read more.
    """

    def __init__(self, model: MidiValle, count: int, max_positions: int) -> None:
        self.rows = -(-count // ROW_TILE) * ROW_TILE
        self._model = model
        decoder = model.ar_decoder
        shape = (len(decoder.layers), self.rows, decoder.heads, max_positions, decoder.head_width)
        model.reserve(max_positions)
        self._keys = torch.empty(shape, dtype=decoder.attention_dtype)
        self._values = torch.empty_like(self._keys)
        self._row_numbers = torch.arange(self.rows)
        self._places, self._lengths = torch.zeros_like(self._row_numbers), torch.zeros_like(self._row_numbers)
        self._used = torch.zeros_like(self._row_numbers)

    def start(self, row: int, tokens: Tensor, prompt: Tensor, frames: int) -> Tensor:
        keys, values = (part[:, row].transpose(1, 2) for part in (self._keys, self._values))
        logits = self._model.start(tokens, prompt, _CacheRow(keys, values))
        self._places[row], self._lengths[row] = len(prompt), len(tokens) + len(prompt)
        self._used[row] = 1
        return logits

    def step(self, frames: Sequence[int | None]) -> Tensor:
        read = {row: self._filled(row) for row in self._used.nonzero()[:, 0].tolist()}

        def attend(layer: int, projected: Tensor) -> Tensor:
            query, key, value = projected.unbind(1)
            self._keys[layer][self._row_numbers, :, self._lengths] = key
            self._values[layer][self._row_numbers, :, self._lengths] = value
            attended = torch.zeros_like(query)
            queries = query[:, None, :, None].unbind()
            for row, (keys, values) in read.items():
                attended[row] = functional.scaled_dot_product_attention(
                    queries[row], keys[layer], values[layer]
                )[0, :, 0]
            return attended

        logits = self._model.step(torch.tensor([frame or 0 for frame in frames]), self._places, attend)
        self._places += self._used
        self._lengths += self._used
        return logits

    def free(self, row: int) -> None:
        self._used[row] = self._places[row] = self._lengths[row] = 0

    def _filled(self, row: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Keys and values [1, heads, positions, head width] of every layer, the next position included."""
        count = int(self._lengths[row]) + 1
        return self._keys[:, row, None, :, :count].unbind(), self._values[:, row, None, :, :count].unbind()


class SharedCache:
    """Rows with one cache of a fixed shape; on a GPU a step is recorded once and replayed."""

    def __init__(self, model: MidiValle, count: int, max_positions: int) -> None:
        self.rows = -(-count // GPU_ROW_TILE) * GPU_ROW_TILE
        self._model, self._device = model, model.device
        decoder = model.ar_decoder
        capacity = -(-max_positions // CAPACITY_TILE) * CAPACITY_TILE
        shape = (len(decoder.layers), self.rows, capacity, decoder.heads, decoder.head_width)
        model.reserve(capacity)
        self._keys = torch.zeros(shape, dtype=decoder.attention_dtype, device=self._device)
        self._values = torch.zeros_like(self._keys)
        self._row_numbers = torch.arange(self.rows, device=self._device)
        self._columns = torch.arange(capacity, device=self._device)
        self._frames, self._places, self._lengths = (torch.zeros_like(self._row_numbers) for _ in range(3))
        self._used = torch.zeros_like(self._row_numbers)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits: Tensor | None = None

    def start(self, row: int, tokens: Tensor, prompt: Tensor, frames: int) -> Tensor:
        logits = self._model.start(tokens, prompt, _CacheRow(self._keys[:, row], self._values[:, row]))
        self._places[row], self._lengths[row] = len(prompt), len(tokens) + len(prompt)
        self._used[row] = 1
        return logits

    def step(self, frames: Sequence[int | None]) -> Tensor:
        self._frames.copy_(torch.tensor([frame or 0 for frame in frames]))
        if self._device == "cpu":
            return self._extend()
        if self._graph is None:
            self._record()
        assert self._graph is not None
        assert self._logits is not None
        self._graph.replay()
        return self._logits

    def free(self, row: int) -> None:
        self._used[row] = self._places[row] = self._lengths[row] = 0

    def _extend(self) -> Tensor:
        logits = self._model.step(self._frames, self._places, self._attend)
        self._places += self._used
        self._lengths += self._used
        return logits

    def _attend(self, layer: int, projected: Tensor) -> Tensor:
        query, key, value = projected.unbind(1)  # [rows, heads, head width]
        self._keys[layer][self._row_numbers, self._lengths] = key
        self._values[layer][self._row_numbers, self._lengths] = value
        seen = self._columns <= self._lengths[:, None]
        return functional.scaled_dot_product_attention(
            query[:, :, None],
            self._keys[layer].transpose(1, 2),
            self._values[layer].transpose(1, 2),
            seen[:, None, None],
        )[:, :, 0]

    def _record(self) -> None:
        """Record a step. Warm-up steps have no effect: the next step overwrites what they write."""
        state = self._places.clone(), self._lengths.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                self._extend()
                self._places.copy_(state[0])
                self._lengths.copy_(state[1])
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = self._extend()


class _CacheRow:
    """One row of a cache: keys and values [layers, capacity, heads, head width]."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values

    def fill(self, layer: int, keys: Tensor, values: Tensor) -> None:
        count = keys.shape[1]
        self._keys[layer, :count] = keys.transpose(0, 1)
        self._values[layer, :count] = values.transpose(0, 1)


class KeyValueCache:
    """The keys and values of one sequence on a CPU, in memory that is reserved once, and attention to them.

    Values lie in blocks with the positions innermost, so that both products of a single query are many short
    dot products over contiguous memory. For a single query, which only reads, that is twice as fast as fused
    attention on AMD Zen 5.
    """

    def __init__(self, layers: int, heads: int, head_width: int, capacity: int) -> None:
        blocks = -(-capacity // VALUE_BLOCK)
        self.keys = torch.zeros(layers, heads, blocks * VALUE_BLOCK, head_width)
        self.values = torch.zeros(layers, blocks, heads, head_width, VALUE_BLOCK)
        self.length = 0
        """Positions filled in every layer."""

    def fill(self, layer: int, keys: Tensor, values: Tensor) -> None:
        heads, count, width = keys.shape
        self.keys[layer, :, :count] = keys
        blocks = functional.pad(values, (0, 0, 0, -count % VALUE_BLOCK)).view(heads, -1, VALUE_BLOCK, width)
        self.values[layer, : blocks.shape[1]] = blocks.permute(1, 0, 3, 2)
        self.length = count

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store the next position's key and value [heads, head width] and return the attention of its query
        [heads, head width]: [heads, head width]. The caller then raises ``length``."""
        place, count = self.length, self.length + 1
        heads, width = query.shape
        self.keys[layer, :, place] = key
        self.values[layer, place // VALUE_BLOCK, :, :, place % VALUE_BLOCK] = value
        blocks = -(-count // VALUE_BLOCK)
        scores = _dot_products(self.keys[layer, :, : blocks * VALUE_BLOCK], query * width**-0.5)
        scores[:, count:] = float("-inf")
        weights = scores.softmax(dim=-1)
        weights = weights.view(heads, blocks, VALUE_BLOCK).transpose(0, 1).reshape(-1, VALUE_BLOCK)
        parts = _dot_products(self.values[layer, :blocks].view(-1, width, VALUE_BLOCK), weights)
        return parts.view(blocks, heads, width).sum(dim=0)


def _dot_products(rows: Tensor, vectors: Tensor) -> Tensor:
    """Of rows [batch, n, width] with a vector [batch, width] each: [batch, n].

    The vectors are passed as transposed rows, because other layouts are four times slower (torch 2.13, MKL).
    """
    return torch.bmm(rows, vectors[:, None].transpose(1, 2))[:, :, 0]

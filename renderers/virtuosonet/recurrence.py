"""Gated recurrent units in numpy, fast on one CPU core.

Hidden states are small (256), so a step is a few matrix-vector products and short vector operations, for
which numpy needs a third of the time of ``torch.nn.GRU``. More threads only add barriers. Products over all
steps go through PyTorch, whose threads can be limited (``single_thread``); those of one step are below the
size from which numpy's OpenBLAS uses several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from score_to_audio.packed_linear import PackedLinear

Floats = NDArray[np.float32]

RunGru = Callable[[nn.GRU, Tensor, Sequence[Tensor] | None], Tensor]
"""Runs a bidirectional GRU over rows [T, features] -> [T, 2 H]. The sequences are given as indices of their
rows, which together contain every row once; None: all rows are one sequence."""


@contextmanager
def single_thread() -> Iterator[None]:
    """Within the block PyTorch uses one thread, in the whole process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def product(weights: Floats) -> Callable[[Floats], Floats]:
    """The product of rows [T, inputs] with ``weights`` [inputs, outputs], by PyTorch."""
    dense = PackedLinear(torch.from_numpy(weights.T), None, torch.float32, "cpu")

    def multiply(rows: Floats) -> Floats:
        result: Floats = dense(torch.from_numpy(rows)).numpy()
        return result

    return multiply


def torch_gru(gru: nn.GRU, inputs: Tensor, sequences: Sequence[Tensor] | None = None) -> Tensor:
    """``RunGru`` by PyTorch itself: with gradients, on any device."""
    if sequences is None:
        output: Tensor = gru(inputs.unsqueeze(0))[0].squeeze(0)
        return output
    packed, _ = gru(pack_sequence([inputs[rows] for rows in sequences], enforce_sorted=False))
    result = inputs.new_empty(len(inputs), 2 * gru.hidden_size)
    return result.index_copy(0, torch.cat(list(sequences)), torch.cat(unpack_sequence(packed)))


@dataclass(frozen=True)
class GruCell:
    """One direction of one layer with H hidden units. Gates are in PyTorch's order: reset, update, new.

    Weights and biases of reset and update are negated, for 1 / (1 + exp(-x)).
    """

    input_weights: Floats
    """[inputs, 3 H]"""
    input_bias: Floats
    """[3 H]; for reset and update it includes the hidden bias."""
    hidden_weights: Floats
    """[H, 3 H]"""
    new_hidden_bias: Floats
    """[H]"""

    @property
    def size(self) -> int:
        return len(self.new_hidden_bias)

    def project(self, inputs: Floats) -> Floats:
        """[T, inputs] -> [T, 3 H]: the contributions of the inputs to the gates, for all steps at once."""
        projected = self._product(inputs)
        projected += self.input_bias
        return projected

    @cached_property
    def _product(self) -> Callable[[Floats], Floats]:
        return product(self.input_weights)

    def split_inputs(self, first: int, count: int) -> tuple[GruCell, Floats]:
        """The cell without ``count`` inputs from ``first`` on, and the weights of these [count, 3 H]."""
        weights = self.input_weights
        rest = np.concatenate([weights[:first], weights[first + count :]])
        taken = np.ascontiguousarray(weights[first : first + count])
        return GruCell(rest, self.input_bias, self.hidden_weights, self.new_hidden_bias), taken


def gru_cell(gru: nn.GRU, layer: int = 0, *, reverse: bool = False) -> GruCell:
    """The weights of one layer and direction."""
    suffix = f"l{layer}_reverse" if reverse else f"l{layer}"
    input_weights, hidden_weights, input_bias, hidden_bias = (
        getattr(gru, f"{name}_{suffix}").detach().numpy()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    size = gru.hidden_size
    sign = np.ones(3 * size, np.float32)
    sign[: 2 * size] = -1
    bias = input_bias.copy()
    bias[: 2 * size] += hidden_bias[: 2 * size]
    return GruCell(
        input_weights=np.ascontiguousarray((input_weights * sign[:, None]).T),
        input_bias=bias * sign,
        hidden_weights=np.ascontiguousarray((hidden_weights * sign[:, None]).T),
        new_hidden_bias=hidden_bias[2 * size :].copy(),
    )


class GruStepper:
    """Steps of D cells over B sequences, in buffers of its own (not thread-safe).

    Use it within ``np.errstate(over="ignore")``: the exponential of a closed gate may overflow.
    """

    def __init__(self, cells: Sequence[GruCell], batch: int = 1) -> None:
        size = cells[0].size
        by_gate = [cell.hidden_weights.reshape(size, 3, size).transpose(1, 0, 2) for cell in cells]
        # One product per gate, cell and sequence: OpenBLAS is several times slower for a few rows at once.
        self._weights: Floats = np.stack(by_gate, axis=1)[:, :, None]
        self._new_bias = np.stack([cell.new_hidden_bias for cell in cells])[:, None]
        gates = np.empty((3, len(cells), batch, size), np.float32)
        self._products, self._reset_update = gates[..., None, :], gates[:2]
        self._reset, self._update, self._new = gates

    def step(self, projected: Floats, hidden: Floats, out: Floats) -> None:
        """``projected`` [3, D, B, H], ``hidden`` [D, B, H] -> ``out`` [D, B, H], which may be ``hidden``."""
        np.matmul(hidden[..., None, :], self._weights, out=self._products)
        gates, new = self._reset_update, self._new
        gates += projected[:2]
        np.exp(gates, out=gates)
        gates += 1.0
        np.reciprocal(gates, out=gates)
        new += self._new_bias
        new *= self._reset
        new += projected[2]
        np.tanh(new, out=new)
        np.subtract(hidden, new, out=out)
        out *= self._update
        out += new


class FrozenGrus:
    """``RunGru`` in numpy on the CPU, without gradients, for constant weights."""

    def __init__(self) -> None:
        self._cells: dict[nn.GRU, list[tuple[GruCell, GruCell]]] = {}

    def __call__(self, gru: nn.GRU, inputs: Tensor, sequences: Sequence[Tensor] | None = None) -> Tensor:
        rows = [np.arange(len(inputs))] if sequences is None else [each.numpy() for each in sequences]
        rows.sort(key=len, reverse=True)
        values: Floats = np.ascontiguousarray(inputs.numpy())
        for cells in self._layers(gru):
            values = _run(cells, values, rows)
        return torch.from_numpy(values)

    def _layers(self, gru: nn.GRU) -> list[tuple[GruCell, GruCell]]:
        if gru not in self._cells:
            self._cells[gru] = [
                (gru_cell(gru, layer), gru_cell(gru, layer, reverse=True)) for layer in range(gru.num_layers)
            ]
        return self._cells[gru]


def _run(cells: tuple[GruCell, GruCell], inputs: Floats, sequences: Sequence[NDArray[np.int64]]) -> Floats:
    """One layer over all sequences, sorted by falling length, as one batch: [T, inputs] -> [T, 2 H].

    Sequences leave the batch when they end.
    """
    size = cells[0].size
    projected = [cell.project(inputs).reshape(-1, 3, size) for cell in cells]
    both = [[sequence, sequence[::-1]] for sequence in sequences]
    output = np.empty((len(inputs), 2, size), np.float32)
    active = [sum(len(rows) > step for rows in sequences) for step in range(len(sequences[0]))]
    hidden = np.zeros((2, len(sequences), size), np.float32)
    step = 0
    with np.errstate(over="ignore"):
        for batch, group in groupby(active):
            count = len(list(group))
            gates = np.empty((count, 3, 2, batch, size), np.float32)
            states = np.empty((count, 2, batch, size), np.float32)
            rows = np.array([[each[step : step + count] for each in pair] for pair in both[:batch]])
            for direction, projection in enumerate(projected):
                gates[:, :, direction] = projection[rows[:, direction].T].transpose(0, 2, 1, 3)
            hidden = hidden[:, :batch]
            stepper = GruStepper(cells, batch)
            for projection, state in zip(gates, states, strict=True):
                stepper.step(projection, hidden, state)
                hidden = state
            for direction in range(2):
                output[rows[:, direction].T, direction] = states[:, direction]
            step += count
    return output.reshape(len(inputs), 2 * size)

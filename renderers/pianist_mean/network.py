"""The network: notes, slices and beats, each read in both directions, without recurrence.

Notes see their neighbours in the voice, slices and beats a stack of dilated convolutions (van den Oord et
al., "WaveNet", arXiv:1609.03499, without causality and gates).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from renderers.expression import PEDAL_PLACES

NOTE_OUTPUTS = ("velocity", "articulation", "lead")
"""Per note, relative to the mean of the piece and divided by ``Scale``'s."""
BEAT_OUTPUTS = ("period", *(f"pedal_{k}" for k in range(PEDAL_PLACES)))
"""Per beat."""


@dataclass(frozen=True)
class Sizes:
    """Widths and depths."""

    note_inputs: int
    beat_inputs: int
    width: int = 96
    slice_layers: int = 6
    beat_layers: int = 6
    joint_layers: int = 2


@dataclass(frozen=True)
class Batch:
    """C excerpts side by side; S and B are the largest numbers of slices and beats.

    Notes of all excerpts lie one after the other.
    """

    notes: Tensor
    """[N, inputs]"""
    beats: Tensor
    """[C, B, inputs]; 0 beyond the end of an excerpt."""
    slice_of: Tensor
    """[N] index into C * S."""
    beat_of_slice: Tensor
    """[C, S] index into C * B."""
    preceding: Tensor
    """[N]"""
    following: Tensor
    """[N]"""
    slice_mask: Tensor
    """[C, S, 1] 1 for slices."""
    beat_mask: Tensor
    """[C, B, 1] 1 for beats."""


gelu = nn.GELU("tanh")


class Convolution(nn.Module):
    """A residual layer over [C, T, width]: kernel of three, dilated."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout1d(dropout)  # of whole channels, as neighbours are alike

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        d, length = self.dilation, x.shape[1]
        here, before, after = self.mix(self.norm(x) * mask).chunk(3, dim=2)
        hidden = here + pad(before, (0, 0, d, 0))[:, :length] + pad(after, (0, 0, 0, d))[:, d:]
        hidden = gelu(hidden)
        kept = self.dropout(hidden.new_ones(*hidden.shape[::2], 1)).transpose(1, 2)
        return torch.as_tensor(x + self.out(hidden * kept))


class Network(nn.Module):
    """Score features to the outputs of ``NOTE_OUTPUTS`` and ``BEAT_OUTPUTS``."""

    def __init__(self, sizes: Sizes, dropout: float = 0.0) -> None:
        super().__init__()
        width = sizes.width
        self.note = nn.Linear(sizes.note_inputs, width)
        self.voice = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(2))
        self.slice = nn.Linear(3 * width, width)
        self.beat = nn.Linear(sizes.beat_inputs, width)
        self.joined = nn.Linear(2 * width, width)
        self.down = nn.Linear(width, width)
        self.slices = _stack(width, sizes.slice_layers, dropout)
        self.beats = _stack(width, sizes.beat_layers, dropout)
        self.joint = _stack(width, sizes.joint_layers, dropout)
        self.of_note = _head(2 * width, width, len(NOTE_OUTPUTS), dropout)
        self.of_beat = _head(2 * width, width, len(BEAT_OUTPUTS), dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[N, note outputs], [C, B, beat outputs]"""
        note = self.dropout(gelu(self.note(batch.notes)))
        for layer in self.voice:
            near = torch.cat(
                [note, note.index_select(0, batch.preceding), note.index_select(0, batch.following)], dim=1
            )
            note = note + self.dropout(gelu(layer(near)))
        shape, width = batch.slice_mask.shape[:2], note.shape[1]
        slices = shape[0] * shape[1]
        mean = _mean_by(note, batch.slice_of, slices)
        # The notes of a slice are sorted by pitch: its lowest and its highest note.
        index = torch.arange(slices)
        bass = torch.searchsorted(batch.slice_of, index).clamp(max=len(note) - 1)
        top = (torch.searchsorted(batch.slice_of, index, right=True) - 1).clamp(min=0)
        x = self.slice(torch.cat([mean, note.index_select(0, bass), note.index_select(0, top)], dim=1)).view(
            *shape, width
        )
        x = x * batch.slice_mask
        given = self.beat(batch.beats)
        flat = given.flatten(0, 1)
        x = x + _rows(self.down(flat), batch.beat_of_slice)
        for layer in self.slices:
            x = layer(x, batch.slice_mask)
        beat = self.joined(torch.cat([flat, self._by_beat(x, batch)], dim=1)).view(given.shape)
        for layer in self.beats:
            beat = layer(beat, batch.beat_mask)
        x = x + _rows(beat.flatten(0, 1), batch.beat_of_slice)
        for layer in self.joint:
            x = layer(x, batch.slice_mask)
        by_note = self.of_note(torch.cat([note, x.flatten(0, 1).index_select(0, batch.slice_of)], dim=1))
        by_beat = torch.cat([beat.flatten(0, 1), self._by_beat(x, batch)], dim=1)
        return by_note, self.of_beat(by_beat).view(*given.shape[:2], -1)

    def _by_beat(self, x: Tensor, batch: Batch) -> Tensor:
        """[C * B, width] mean of the slices of each beat."""
        inside = batch.slice_mask.flatten().bool()
        count = batch.beats.shape[0] * batch.beats.shape[1]
        return _mean_by(x.flatten(0, 1)[inside], batch.beat_of_slice.flatten()[inside], count)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """[C, S, width] rows of [K, width]; ``index_select``, whose gradient is faster than that of indexing."""
    return values.index_select(0, index.flatten()).view(*index.shape, -1)


def _mean_by(values: Tensor, index: Tensor, count: int) -> Tensor:
    """[count, width] mean of the rows of each index; 0 where there is none."""
    total = values.new_zeros(count, values.shape[1]).index_add(0, index, values)
    size = values.new_zeros(count).index_add(0, index, values.new_ones(len(index)))
    return total / size.clamp(min=1)[:, None]


def _stack(width: int, layers: int, dropout: float) -> nn.ModuleList:
    return nn.ModuleList(Convolution(width, 2**k, dropout) for k in range(layers))


def _head(inputs: int, width: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(inputs),
        nn.Linear(inputs, width),
        nn.GELU("tanh"),
        nn.Dropout(dropout),
        nn.Linear(width, outputs),
    )

"""Gated recurrent units over batches of sequences, with gradients, fast on one CPU core.

With ``torch.nn.GRU`` most of the training time is bookkeeping in backward steps (which for packed sequences
grows with the square of their length). Here the steps of both directions run together, and the gradients (of
the unit of Cho et al., arXiv:1406.1078) are explicit; those of the weights are one product over all steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import dropout
from torch.nn.utils.rnn import pad_sequence


def run_gru(gru: nn.GRU, rows: Tensor, sequences: Sequence[Tensor]) -> Tensor:
    """``torch.nn.GRU`` over rows [T, features] -> [T, directions x H]. The sequences are indices of rows,
    which together contain every row once."""
    lengths = torch.tensor([len(one) for one in sequences])
    # Padding points to an additional row; steps after the end of a sequence do not affect those before.
    forward = pad_sequence(list(sequences), padding_value=len(rows))
    backward = pad_sequence([one.flip(0) for one in sequences], padding_value=len(rows))
    step_rows = torch.stack([forward, backward][: 1 + gru.bidirectional], dim=1)
    valid = step_rows < len(rows)
    assert int(valid[:, 0].sum()) == int(lengths.sum()) == len(rows)
    for layer in range(gru.num_layers):
        if layer and gru.dropout:
            rows = dropout(rows, gru.dropout, gru.training)
        rows = _layer(gru, layer, rows, step_rows, valid)
    return rows


def _layer(gru: nn.GRU, layer: int, rows: Tensor, step_rows: Tensor, valid: Tensor) -> Tensor:
    """One layer. ``step_rows`` [L, directions, S]: row of each step; ``valid``: False for padding."""
    names = [f"l{layer}{direction}" for direction in ("", "_reverse")[: step_rows.shape[1]]]

    def weights(kind: str) -> Tensor:
        return torch.stack([getattr(gru, f"{kind}_{name}") for name in names])

    rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
    projected = torch.stack(
        [
            (rows @ weight.T + bias)[step_rows[:, direction]]
            for direction, (weight, bias) in enumerate(
                zip(weights("weight_ih"), weights("bias_ih"), strict=True)
            )
        ],
        dim=1,
    )
    states: Tensor = _Scan.apply(projected, weights("weight_hh"), weights("bias_hh"))
    outputs = [
        states.new_empty(len(rows) - 1, states.shape[-1]).index_copy(
            0, step_rows[:, direction][valid[:, direction]], states[:, direction][valid[:, direction]]
        )
        for direction in range(step_rows.shape[1])
    ]
    return torch.cat(outputs, dim=1)


class _Scan(torch.autograd.Function):
    """[L, D, S, 3 H] contributions of the inputs, [D, 3 H, H] and [D, 3 H] -> hidden states [L, D, S, H],
    from zeros. Gates in PyTorch's order: reset, update, new."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        steps, directions, batch, width = projected.shape
        size = width // 3
        states = projected.new_zeros(steps + 1, directions, batch, size)
        gates = projected.new_empty(steps, directions, batch, width)
        """Reset, update, and the contribution of the hidden state to new."""
        new = projected.new_empty(steps, directions, batch, size)
        across = weight.transpose(1, 2).contiguous()
        offset = bias[:, None].expand(directions, batch, width)
        for step in range(steps):
            before, gate = states[step], gates[step]
            torch.baddbmm(offset, before, across, out=gate)
            opening = gate[..., : 2 * size]
            opening += projected[step, ..., : 2 * size]
            opening.sigmoid_()
            now = torch.addcmul(
                projected[step, ..., 2 * size :], gate[..., :size], gate[..., 2 * size :], out=new[step]
            ).tanh_()
            torch.lerp(now, before, gate[..., size : 2 * size], out=states[step + 1])
        ctx.save_for_backward(states, gates, new, weight)
        return states[1:].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, gates, new, weight = ctx.saved_tensors
        steps, directions, batch, size = new.shape
        reset, update, hidden_part = gates.split(size, dim=-1)
        to_new = (1 - update) * (1 - new * new)
        to_update = (states[:-1] - new) * update * (1 - update)
        to_reset = hidden_part * reset * (1 - reset)
        through = torch.empty_like(gates)
        """Gradients of reset, update, and of the contribution of the hidden state to new."""
        of_new = torch.empty_like(new)
        total = torch.zeros_like(states[0])
        for step in reversed(range(steps)):
            total += gradient[step]
            now, own = through[step], torch.mul(total, to_new[step], out=of_new[step])
            torch.mul(own, to_reset[step], out=now[..., :size])
            torch.mul(total, to_update[step], out=now[..., size : 2 * size])
            torch.mul(own, reset[step], out=now[..., 2 * size :])
            total *= update[step]
            total.baddbmm_(now, weight)
        by_direction = through.transpose(0, 1).reshape(directions, steps * batch, 3 * size)
        before = states[:-1].transpose(0, 1).reshape(directions, steps * batch, size)
        of_weight = by_direction.transpose(1, 2) @ before
        of_bias = by_direction.sum(dim=1)
        of_projected = torch.cat([through[..., : 2 * size], of_new], dim=-1)
        return of_projected, of_weight, of_bias

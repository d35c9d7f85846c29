"""The loss: squared errors in parts of the piece's variance, of levels and of local shapes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from renderers.expression import LOCAL_BEATS
from renderers.pianist_mean.training.batches import Excerpts

PARTS = {
    **{"velocity": 1.0, "articulation": 1.0, "lead": 0.4},
    **{"period": 0.4, "local_period": 1.0, "pedal": 0.3, "pedal_within_beat": 0.8},
}
"""Part of the loss -> its weight."""


def loss(notes: Tensor, beats: Tensor, target: Excerpts) -> tuple[Tensor, Tensor]:
    """The loss, and its seven parts as shares of the variance that remain."""
    excerpts = len(beats)
    by_note = ((notes - target.note_targets) ** 2 * target.note_weights).sum(0) / excerpts
    by_beat = _beat_errors(beats - target.beat_targets, target)
    parts = torch.cat([by_note, by_beat])
    shares = torch.tensor(tuple(PARTS.values()))
    return (parts * shares).sum(), parts.detach()


def _beat_errors(error: Tensor, target: Excerpts) -> Tensor:
    """[4]"""
    known = target.beat_known
    error = error * known
    period, on = error[:, :, 0], known[:, :, 0]
    local = (period - _moving(period) / _moving(on).clamp(min=1e-3)) * on
    pedal, pedal_on = error[:, :, 1:], known[:, :, 1:]
    within = pedal - pedal.mean(2, keepdim=True)
    size, pedal_size = on.sum(1).clamp(min=1), pedal_on.sum((1, 2)).clamp(min=1)
    squares = [
        (period**2).sum(1) / size,
        (local**2).sum(1) / size,
        (pedal**2).sum((1, 2)) / pedal_size,
        ((within * pedal_on) ** 2).sum((1, 2)) / pedal_size,
    ]
    return (torch.stack(squares, 1) * target.beat_weights).mean(0)


def _moving(values: Tensor) -> Tensor:
    width = 2 * LOCAL_BEATS + 1
    return avg_pool1d(values[:, None], width, stride=1, padding=LOCAL_BEATS)[:, 0]

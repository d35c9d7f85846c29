"""The losses of both networks (section 3 of the paper), summed over frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthesizers.midi_valle.training.network import Batch, TrainingNetwork

PREFIX = 0.25
"""Share of the shortest segment's frames that the second network gets with all codebooks, at least; at most
twice as many."""
LONGEST_PREFIX = 150
"""Frames."""
TOP = 10


@dataclass(frozen=True)
class Loss:
    """Of one network on a batch."""

    total: Tensor
    """Sum over the frames, in nats."""
    nll: Tensor
    """[B, frames] of each, 0 where it does not count."""
    accuracy: Tensor
    """Share of frames whose code is among the ``TOP`` likeliest."""


def first_loss(network: TrainingNetwork, batch: Batch) -> Loss:
    """Of the first codebook. The end token is the target at all padded frames, which count, as published."""
    codes = batch.codes[..., 0].masked_fill(batch.audio_padding, network.config.codes)
    targets = first_targets(network, batch)
    logits = network.first_logits(batch, codes).float()
    nll = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return Loss(nll.sum(), nll, _accuracy(logits, targets, targets != network.config.codes))


def first_targets(network: TrainingNetwork, batch: Batch) -> Tensor:
    """[B, T] the code after each frame, the end token after the last."""
    codes = batch.codes[..., 0].masked_fill(batch.audio_padding, network.config.codes)
    return functional.pad(codes, (0, 1), value=network.config.codes)[:, 1:]


def other_loss(network: TrainingNetwork, batch: Batch, stage: int, prefix: int) -> Loss:
    """Of codebook ``stage`` + 1, over the frames after the prefix, scaled to all frames."""
    counted = ~batch.audio_padding[:, prefix:]
    targets = batch.codes[:, prefix:, stage]
    logits = network.other_logits(batch, stage, prefix).float()
    nll = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none") * counted
    scale = batch.frames / (batch.frames - prefix * len(batch.codes))
    return Loss(nll.sum() * scale, nll, _accuracy(logits, targets, counted))


def draw_prefix(batch: Batch, random: torch.Generator) -> int:
    """Frames of the prefix."""
    least = int(PREFIX * int(batch.code_lengths.min()))
    drawn = torch.randint(least, max(2 * least, 1), (), generator=random)
    return min(int(drawn), LONGEST_PREFIX)


def _accuracy(logits: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    hits = (logits.detach().topk(TOP, dim=-1).indices == targets[..., None]).any(dim=-1)
    return (hits & counted).sum() / counted.sum()

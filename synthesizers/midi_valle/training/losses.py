"""The losses of both networks (section 3 of the paper), summed over frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthesizers.midi_valle.tokens import BAR, SPECIALS, TICKS_PER_SECOND
from synthesizers.midi_valle.training.network import Batch, TrainingNetwork

PREFIX = 0.25
"""Share of the shortest segment's frames that the second network gets with all codebooks, at least; at most
twice as many."""
LONGEST_PREFIX = 150
"""Frames."""
TOP = 10
REACHES = (3.0, 30.0)
"""Frames after which a note counts 1/e to each of the guided heads."""


@dataclass(frozen=True)
class Loss:
    """Of one network on a batch."""

    total: Tensor
    """Sum over the frames, in nats."""
    nll: Tensor
    """[B, frames] of each, 0 where it does not count."""
    accuracy: Tensor
    """Share of frames whose code is among the ``TOP`` likeliest."""


def first_loss(network: TrainingNetwork, batch: Batch, watched: list[Tensor] | None = None) -> Loss:
    """Of the first codebook. The end token is the target at all padded frames, which count, as published."""
    codes = batch.codes[..., 0].masked_fill(batch.audio_padding, network.config.codes)
    targets = first_targets(network, batch)
    logits = network.first_logits(batch, codes, watched).float()
    nll = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return Loss(nll.sum(), nll, _accuracy(logits, targets, targets != network.config.codes))


def first_targets(network: TrainingNetwork, batch: Batch) -> Tensor:
    """[B, T] the code after each frame, the end token after the last."""
    codes = batch.codes[..., 0].masked_fill(batch.audio_padding, network.config.codes)
    return functional.pad(codes, (0, 1), value=network.config.codes)[:, 1:]


def other_loss(
    network: TrainingNetwork, batch: Batch, stage: int, prefix: int, watched: list[Tensor] | None = None
) -> Loss:
    """Of codebook ``stage`` + 1, over the frames after the prefix, scaled to all frames."""
    counted = ~batch.audio_padding[:, prefix:]
    targets = batch.codes[:, prefix:, stage]
    logits = network.other_logits(batch, stage, prefix, watched).float()
    nll = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none") * counted
    scale = batch.frames / (batch.frames - prefix * len(batch.codes))
    return Loss(nll.sum() * scale, nll, _accuracy(logits, targets, counted))


def alignment_loss(batch: Batch, scores: Tensor, frame_rate: float, ahead: int) -> Tensor:
    """How far the first heads' attention is from the notes struck last: mean over frames, in nats.

    From nothing a network takes very long to find the notes of a frame by itself (guided attention: Tachibana
    et al., "Efficiently trainable text-to-speech system", ICASSP 2018, has the idea). ``scores``: logits
    [B, heads, T, S] of frames for notes; ``ahead``: 1 where a frame predicts the next one.
    """
    heads = min(len(REACHES), scores.shape[1])
    position, bar = (batch.tokens[..., field] - SPECIALS for field in (4, 5))
    onset = (bar * BAR + position) * (frame_rate / TICKS_PER_SECOND)  # [B, S]
    real = (batch.tokens[..., 0] >= SPECIALS) & ~batch.text_padding
    time = torch.arange(scores.shape[2], device=onset.device) + ahead
    age = time[None, :, None] - onset[:, None]  # [B, T, S]
    struck = (age > -0.5) & real[:, None]
    counted = struck.any(dim=-1) & ~batch.audio_padding
    attended = scores[:, :heads].float().masked_fill(batch.text_padding[:, None, None], -torch.inf)
    logarithms = attended.log_softmax(dim=-1).masked_fill(~real[:, None, None], 0.0)
    terms = []
    for head in range(heads):
        wanted = torch.exp(-age.clamp(min=0) / REACHES[head]) * struck
        wanted = wanted / wanted.sum(dim=-1, keepdim=True).clamp(min=1e-9)
        terms.append(-(wanted * logarithms[:, head]).sum(dim=-1)[counted].mean())
    return torch.stack(terms).mean()


def draw_prefix(batch: Batch, random: torch.Generator) -> int:
    """Frames of the prefix."""
    least = int(PREFIX * int(batch.code_lengths.min()))
    drawn = torch.randint(least, max(2 * least, 1), (), generator=random)
    return min(int(drawn), LONGEST_PREFIX)


def _accuracy(logits: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    hits = (logits.detach().topk(TOP, dim=-1).indices == targets[..., None]).any(dim=-1)
    return (hits & counted).sum() / counted.sum()

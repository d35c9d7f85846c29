"""A pass of the acoustic model as in training: the decoder reads the true frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthesizers.m2a.decoding import padding_mask
from synthesizers.m2a.network import AcousticConfig, AcousticModel
from synthesizers.m2a.piano_roll import END_OF_SEGMENT


@dataclass(frozen=True)
class Batch:
    """B segments, padded with zeros."""

    cells: Tensor
    """[B, T, roll_bins] velocities of the keys."""
    cell_counts: Tensor
    """[B] int64"""
    frames: Tensor
    """[B, F, feature_bins] normalised spectrum."""
    frame_counts: Tensor
    """[B] int64"""
    audio: Tensor
    """[B, samples]"""


@dataclass(frozen=True)
class Spectra:
    """What the acoustic model makes of a batch: S steps of r frames."""

    before: Tensor
    """[B, S r, feature_bins] before the postnet."""
    after: Tensor
    stop: Tensor
    """[B, S r] logits."""
    attention: list[Tensor]
    """Per decoder layer its weights of the source, [B, heads, S, T + 1]."""
    inputs: Tensor
    """[B] rows of the encoder's input."""
    steps: Tensor
    """[B] of each segment."""
    frames: Tensor
    """[B] of each segment, r per step."""


def encoder_inputs(cells: Tensor, counts: Tensor) -> Tensor:
    """[B, T, keys] -> [B, T + 1, keys]: velocities divided by 127, and the row that ends each segment."""
    rows = functional.pad(cells / 127, (0, 0, 0, 1))
    at = torch.arange(rows.shape[1], device=rows.device) == counts[:, None]
    return rows.masked_fill(at[..., None], END_OF_SEGMENT)


def spectra(model: AcousticModel, batch: Batch, masks: Sequence[Tensor]) -> Spectra:
    """``masks``: per prenet layer the factors of its dropout [B, S, units]."""
    r = model.config.reduction_factor
    inputs, steps = batch.cell_counts + 1, batch.frame_counts // r
    rows = encoder_inputs(batch.cells, batch.cell_counts)
    source_mask = padding_mask(inputs, rows.shape[1])
    memory = model.memory(rows, mask=source_mask)
    before, stop, attention = teacher_forced(
        model, memory, batch.frames, masks, steps=steps, source_mask=source_mask
    )
    return Spectra(before, model.postnet(before), stop, attention, inputs, steps, r * steps)


def teacher_forced(
    model: AcousticModel,
    memory: Tensor,
    frames: Tensor,
    masks: Sequence[Tensor],
    *,
    steps: Tensor | None = None,
    source_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Memory [B, T, width] and true frames [B, F, feature_bins] -> (frames before the postnet
    [B, S r, feature_bins], stop logits [B, S r], weights of the source per layer), S = F // r.

    Each step reads the last true frame of the one before. ``steps``: [B] of each segment; None: all have S.
    """
    r = model.config.reduction_factor
    last = frames[:, r - 1 :: r]
    inputs = functional.pad(last[:, :-1], (0, 0, 1, 0))
    count = inputs.shape[1]
    mask = torch.full((count, count), -torch.inf, device=frames.device).triu(1)
    if steps is not None:
        mask = mask + padding_mask(steps, count)
    x, attention = model.decoder.embedded(inputs, masks), []
    for layer in model.decoder.layers():
        source = layer.src_attn.keys_values(memory)
        x, weights = layer(x, layer.keys_values(x), source, mask=mask, source_mask=source_mask)
        attention.append(weights)
    x = model.decoder.after_norm(x)
    before = model.feat_out(x).unflatten(2, (r, -1)).flatten(1, 2)
    return before, model.prob_out(x).flatten(1), attention


def prenet_masks(
    config: AcousticConfig, batch: int, steps: int, random: torch.Generator, device: torch.device
) -> list[Tensor]:
    """Factors of the prenet's dropout, 0 or 1 / (1 - p), per layer [batch, steps, units]."""
    p, shape = config.prenet_dropout, (batch, steps, config.prenet_units)
    drawn = (torch.rand(shape, generator=random) for _ in range(config.prenet_layers))
    return [((values >= p).float() / (1 - p)).to(device) for values in drawn]

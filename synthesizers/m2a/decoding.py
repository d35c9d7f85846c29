"""Encoder output to spectrum, step by step, many segments at once.

The decoder reads its own last frame through a prenet whose dropout of 0.99 stays active at inference. Two
ways of drawing its masks:

"frame"  one mask per frame, kept for all later steps. That is the distribution of training, where a sequence
         passes the decoder once. All keys and values can be cached.
"step"   the published inference: every step draws new masks for all frames so far. The first layer's keys and
         values then change at every step; those of the other layers belong to cached outputs and do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from synthesizers.m2a.network import AcousticConfig, AcousticModel, KeysValues

Redraw = Literal["frame", "step"]
Masks = Callable[[int], Sequence[Tensor]]
"""Step, from 1 -> per prenet layer the factors [B, frames, units]: of the step's newest frame for "frame", of
all frames so far for "step"."""

STOP_THRESHOLD = 0.5
"""Probability from which the stop rule ends a segment."""


@dataclass(frozen=True)
class StepLimits:
    """Steps before and after which the stop rule does not count; ``minimum`` wins over ``maximum``."""

    minimum: int
    maximum: int


@dataclass(frozen=True)
class Decoded:
    """The decoder's output for one segment, S steps of r frames."""

    frames: Tensor
    """[S r, feature_bins] normalised spectrum, after the postnet."""
    stop: Tensor
    """[S r] probability that the segment ends here."""

    def first_stop(self, reduction_factor: int) -> int | None:
        """The first step, from 1, at which the stop rule fires; None where it never does."""
        stops = torch.nonzero(self.stop >= STOP_THRESHOLD)
        return int(stops[0]) // reduction_factor + 1 if len(stops) else None


def decode(
    model: AcousticModel,
    memories: Sequence[Tensor],
    masks: Masks,
    limits: Sequence[StepLimits],
    *,
    redraw: Redraw = "frame",
) -> list[Decoded]:
    """Decode segments together; each memory is [T, width], of any length."""
    memory, source_mask = _padded(memories)
    longest = max(max(one.minimum, one.maximum) for one in limits)
    decoder = _IncrementalDecoder(model, memory, source_mask, longest, redraw)
    steps: list[int] = [0] * len(memories)
    outputs, stops = [], []
    step = 0
    while not all(steps):
        step += 1
        frames, stop = decoder.advance(step, masks(step))
        outputs.append(frames)
        stops.append(stop)
        ends = (stop >= STOP_THRESHOLD).any(dim=1).tolist()
        for index, limit in enumerate(limits):
            if not steps[index] and step >= limit.minimum and (ends[index] or step >= limit.maximum):
                steps[index] = step
    frames, stop = torch.cat(outputs, dim=1), torch.cat(stops, dim=1)
    lengths = [count * model.config.reduction_factor for count in steps]
    return [
        Decoded(model.postnet(frames[index : index + 1, :length])[0], stop[index, :length])
        for index, length in enumerate(lengths)
    ]


class _IncrementalDecoder:
    """The decoder with its keys, values and inputs of all steps so far."""

    def __init__(
        self, model: AcousticModel, memory: Tensor, source_mask: Tensor | None, steps: int, redraw: Redraw
    ) -> None:
        config, batch = model.config, len(memory)
        self.model, self.source_mask, self.redraw = model, source_mask, redraw
        self.sources: list[KeysValues] = []
        for layer in model.decoder.layers():
            keys, values = layer.src_attn.keys_values(memory)
            self.sources.append((keys.contiguous(), values.contiguous()))  # else copied at every step
        shape = (batch, config.heads, steps, config.width // config.heads)
        self.past: list[KeysValues] = [
            (memory.new_empty(shape), memory.new_empty(shape)) for _ in range(config.decoder_layers)
        ]
        self.inputs = memory.new_zeros(batch, steps + 1, config.feature_bins)
        """A frame of zeros, then the last frame of each step."""

    def advance(self, step: int, masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(frames before the postnet [B, r, bins], stop probabilities [B, r])."""
        model, decoder = self.model, self.model.decoder
        first = step - 1 if self.redraw == "frame" else 0
        masks = [mask.to(self.inputs) for mask in masks]
        x = decoder.embedded(self.inputs[:, first:step], masks, first)
        for layer, (keys, values), source in zip(decoder.layers(), self.past, self.sources, strict=True):
            rows = slice(step - x.shape[1], step)
            keys[:, :, rows], values[:, :, rows] = layer.keys_values(x)
            past = keys[:, :, :step], values[:, :, :step]
            x, _ = layer(x[:, -1:], past, source, source_mask=self.source_mask)
        x = decoder.after_norm(x[:, 0])
        frames = model.feat_out(x).unflatten(1, (model.config.reduction_factor, -1))
        self.inputs[:, step] = frames[:, -1]
        return frames, torch.sigmoid(model.prob_out(x))


def _padded(memories: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """[B, longest, width], and a mask [B, 1, 1, longest] where lengths differ."""
    lengths = torch.tensor([len(memory) for memory in memories])
    memory = pad_sequence(list(memories), batch_first=True)
    if (lengths == lengths[0]).all():
        return memory, None
    return memory, padding_mask(lengths, memory.shape[1]).to(memory)


def padding_mask(lengths: Tensor, longest: int) -> Tensor:
    """[B] -> [B, 1, 1, longest], 0 up to each length and minus infinity beyond."""
    beyond = torch.arange(longest, device=lengths.device) >= lengths[:, None]
    return torch.zeros(beyond.shape, device=lengths.device).masked_fill(beyond, -torch.inf)[:, None, None]


def drawn_masks(
    config: AcousticConfig, generators: Sequence[torch.Generator], max_steps: Sequence[int], redraw: Redraw
) -> Masks:
    """Masks from one generator per segment, so that a segment does not depend on its batch."""
    if redraw == "step":
        return lambda step: _stacked([_draw(config, generator, step) for generator in generators])
    whole = _stacked([_draw(config, *one) for one in zip(generators, max_steps, strict=True)])
    return lambda step: [mask[:, step - 1 : step] for mask in whole]


def _draw(config: AcousticConfig, generator: torch.Generator, rows: int) -> list[Tensor]:
    """Per prenet layer [rows, units]: 0, or with probability 1 - p the factor 1 / (1 - p)."""
    p = config.prenet_dropout
    shape = (rows, config.prenet_units)
    drawn = (torch.rand(shape, generator=generator) for _ in range(config.prenet_layers))
    return [(values >= p).float() / (1 - p) for values in drawn]


def _stacked(masks: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Per layer [B, longest, units]; zeros beyond a segment's own length, where nothing is used."""
    return [pad_sequence(list(layer), batch_first=True) for layer in zip(*masks, strict=True)]

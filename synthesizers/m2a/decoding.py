"""From the encoder's memory to a spectrum, step by step, many segments at once.

The decoder is fed its own last frame through a prenet whose dropout of 0.99 stays active at inference. Two
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

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from synthesizers.m2a.network import AcousticConfig, AcousticModel, KeysValues

Redraw = Literal["frame", "step"]
Masks = Callable[[int], Sequence[Tensor]]
"""Step, from 1 -> per prenet layer the factors [B, frames, units]: of the step's newest frame for "frame", of
all frames so far for "step"."""

STOP_THRESHOLD = 0.5
LONGEST = 10.0
"""Frames per encoder frame at which the published decoder gives up (``maxlenratio``)."""


@dataclass(frozen=True)
class Limits:
    """When a segment may stop, in steps: not before ``least``, whatever the stop rule says; at ``most`` at
    the latest. ``least`` wins where the two contradict each other."""

    least: int
    most: int


def exactly(steps: int) -> Limits:
    return Limits(steps, steps)


def published_limits(inputs: int, config: AcousticConfig, *, shortest: float = 0.0) -> Limits:
    """Those of the official code for an encoder input of so many rows."""
    r = config.reduction_factor
    return Limits(int(inputs * shortest / r), int(inputs * LONGEST / r))


@dataclass(frozen=True)
class Decoded:
    """What the decoder said of one segment, S steps of r frames."""

    frames: Tensor
    """[S r, feature_bins] normalised spectrum, after the postnet."""
    stop: Tensor
    """[S r] probability that the segment ends here."""
    attention: Tensor | None = None
    """[layers, heads, S, inputs] weights on the encoder's memory, where asked for."""

    def first_stop(self, reduction_factor: int) -> int | None:
        """The step, from 1, at which the stop rule fires first; None where it never does."""
        fired = torch.nonzero(self.stop >= STOP_THRESHOLD)
        return int(fired[0]) // reduction_factor + 1 if len(fired) else None


def decode(
    model: AcousticModel,
    memories: Sequence[Tensor],
    masks: Masks,
    limits: Sequence[Limits],
    *,
    redraw: Redraw = "frame",
    threshold: float = STOP_THRESHOLD,
    with_attention: bool = False,
) -> list[Decoded]:
    """Decode segments together; each memory is [T, width], of any length."""
    memory, source_mask = _padded(memories)
    state = _State(model, memory, source_mask, max(max(one.least, one.most) for one in limits), redraw)
    steps: list[int] = [0] * len(memories)
    outputs, stops, attention = [], [], []
    step = 0
    while not all(steps):
        step += 1
        frames, stop, weights = state.advance(step, masks(step))
        outputs.append(frames)
        stops.append(stop)
        if with_attention:
            attention.append(weights)
        fired = (stop >= threshold).any(dim=1).tolist()
        for index, limit in enumerate(limits):
            if not steps[index] and step >= limit.least and (fired[index] or step >= limit.most):
                steps[index] = step
    frames, stop = torch.cat(outputs, dim=1), torch.cat(stops, dim=1)
    r = model.config.reduction_factor
    return [
        Decoded(
            frames=model.postnet(frames[index : index + 1, : count * r])[0],
            stop=stop[index, : count * r],
            attention=_attention(attention, index, count, len(memories[index])),
        )
        for index, count in enumerate(steps)
    ]


def teacher_forced(
    model: AcousticModel, memory: Tensor, frames: Tensor, masks: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass as in training: memory [B, T, width] and true frames [B, F, feature_bins] -> (frames after and
    before the postnet [B, S r, feature_bins], stop logits [B, S r]), S = F // r; masks per prenet layer
    [B, S, units]."""
    r = model.config.reduction_factor
    last = frames[:, r - 1 :: r]
    inputs = functional.pad(last[:, :-1], (0, 0, 1, 0))
    count = inputs.shape[1]
    causal = torch.full((count, count), -torch.inf, device=frames.device).triu(1)
    x = model.decoder.embedded(inputs, masks)
    for layer in model.decoder.layers():
        x, _ = layer(x, layer.keys_values(x), layer.src_attn.keys_values(memory), mask=causal)
    x = model.decoder.after_norm(x)
    before = model.feat_out(x).unflatten(2, (r, -1)).flatten(1, 2)
    return model.postnet(before), before, model.prob_out(x).flatten(1)


class _State:
    """Everything that one step leaves for the next."""

    def __init__(
        self, model: AcousticModel, memory: Tensor, source_mask: Tensor | None, most: int, redraw: Redraw
    ) -> None:
        config, batch = model.config, len(memory)
        self.model, self.source_mask, self.redraw = model, source_mask, redraw
        self.sources: list[KeysValues] = []
        for layer in model.decoder.layers():
            keys, values = layer.src_attn.keys_values(memory)
            self.sources.append((keys.contiguous(), values.contiguous()))  # else copied at every step
        shape = (batch, config.heads, most, config.width // config.heads)
        self.past: list[KeysValues] = [
            (memory.new_empty(shape), memory.new_empty(shape)) for _ in range(config.decoder_layers)
        ]
        self.inputs = memory.new_zeros(batch, most + 1, config.feature_bins)
        """The frames fed so far: one of silence, then the last of each step."""

    def advance(self, step: int, masks: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(frames before the postnet [B, r, bins], stop probabilities [B, r], source weights
        [layers, B, heads, T])."""
        model, decoder = self.model, self.model.decoder
        first = step - 1 if self.redraw == "frame" else 0
        masks = [mask.to(self.inputs) for mask in masks]
        x = decoder.embedded(self.inputs[:, first:step], masks, first)
        weights = []
        for index, layer in enumerate(decoder.layers()):
            keys, values = self.past[index]
            rows = slice(step - x.shape[1], step)
            keys[:, :, rows], values[:, :, rows] = layer.keys_values(x)
            past = keys[:, :, :step], values[:, :, :step]
            x, attended = layer(x[:, -1:], past, self.sources[index], source_mask=self.source_mask)
            weights.append(attended[:, :, 0])
        x = decoder.after_norm(x[:, 0])
        frames = model.feat_out(x).unflatten(1, (model.config.reduction_factor, -1))
        self.inputs[:, step] = frames[:, -1]
        return frames, torch.sigmoid(model.prob_out(x)), torch.stack(weights)


def _padded(memories: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """[B, longest, width], and a mask [B, 1, 1, longest] where lengths differ."""
    lengths = torch.tensor([len(memory) for memory in memories])
    memory = torch.nn.utils.rnn.pad_sequence(list(memories), batch_first=True)
    if (lengths == lengths[0]).all():
        return memory, None
    beyond = torch.arange(memory.shape[1])[None] >= lengths[:, None]
    mask = torch.zeros(beyond.shape).masked_fill(beyond, -torch.inf)
    return memory, mask[:, None, None].to(memory)


def _attention(steps: Sequence[Tensor], index: int, count: int, inputs: int) -> Tensor | None:
    if not steps:
        return None
    return torch.stack([weights[:, index, :, :inputs] for weights in steps[:count]], dim=2)


# ----------------------------------------------------------------------------------------------- masks


def generators(seed: int, segments: Sequence[int]) -> list[torch.Generator]:
    """One per segment of a piece, so that its sound does not depend on what it is decoded together with."""
    states = [np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0] for index in segments]
    return [torch.Generator().manual_seed(int(state >> np.uint64(1))) for state in states]


def drawn_masks(
    config: AcousticConfig, sources: Sequence[torch.Generator], steps: Sequence[int], redraw: Redraw
) -> Masks:
    """Masks from one generator per segment; ``steps``: the most that each will take."""
    if redraw == "step":
        return lambda step: _stacked([_draw(config, source, step) for source in sources])
    whole = _stacked([_draw(config, source, most) for source, most in zip(sources, steps, strict=True)])
    return lambda step: [mask[:, step - 1 : step] for mask in whole]


def _draw(config: AcousticConfig, source: torch.Generator, rows: int) -> list[Tensor]:
    """Per prenet layer [rows, units]: 0, or with probability 1 - p the factor 1 / (1 - p)."""
    p = config.prenet_dropout
    shape = (rows, config.prenet_units)
    drawn = (torch.rand(shape, generator=source) for _ in range(config.prenet_layers))
    return [(values >= p).float() / (1 - p) for values in drawn]


def _stacked(masks: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Per layer [B, longest, units]; zeros beyond a segment's own length, where nothing is used."""
    layers = zip(*masks, strict=True)
    return [torch.nn.utils.rnn.pad_sequence(list(layer), batch_first=True) for layer in layers]

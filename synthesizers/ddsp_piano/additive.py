"""The additive synthesizer: partials that follow the frames' frequencies and amplitudes.

A partial's phase grows with its frequency, which changes linearly from frame to frame; its amplitude is
crossfaded. While a voice keeps its pitch the frequencies are constant, and the samples of a frame are a
product of matrices: amplitudes and phases of its partials, and a table of sines for each pitch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthesizers.ddsp_piano.network import HOP, PARTIALS, STRINGS
from synthesizers.ddsp_piano.partials import NYQUIST, SAMPLE_RATE, Partials

GLIDES_AT_ONCE = 32
"""Frames with a change of pitch that are computed together; bounds the memory (3 MB an array)."""


class AdditiveSynthesizer:
    """The partials of V voices, in blocks that follow each other; phases in double precision."""

    def __init__(self, partials: Partials, voices: int) -> None:
        self._turns = partials.frequency.double() / SAMPLE_RATE  # per sample
        self._count = partials.audible.sum(1).tolist()
        self._phase = torch.zeros(voices, STRINGS, PARTIALS, dtype=torch.float64)
        self._fade = crossfade()
        self._tables: dict[int, Tensor] = {}

    def block(self, pitch: Tensor, amplitude: Tensor) -> Tensor:
        """int64 [V, n + 1] and [V, n + 1, 96] at the starts of n frames and of the next -> samples [n, 64].

        The block after it begins with the last frame of this one.
        """
        spans = _spans(pitch)
        starts = self._phases(pitch, spans)
        sound = torch.zeros(pitch.shape[1] - 1, HOP)
        before, after = pitch[:, :-1], pitch[:, 1:]
        self._add_steady(sound, torch.where(before == after, before, 0), amplitude, spans, starts)
        changes = (before != after).nonzero()
        for some in changes.split(GLIDES_AT_ONCE):
            self._add_glides(sound, some, pitch, amplitude, spans, starts)
        return sound

    def _phases(self, pitch: Tensor, spans: Spans) -> Tensor:
        """[S, 2, 96] turns where each span of constant pitch begins; moves the phases to the block's end.

        From one frame to the next a phase grows by 32.5 times the first frequency and 31.5 times the second:
        the sum of 64 samples between them.
        """
        own = self._turns[pitch[spans.voice, spans.first]]
        grown = HOP * (own * spans.length[:, None, None]).cumsum(0)
        grown = torch.cat([torch.zeros_like(grown[:1]), grown])
        leading = spans.first_of_voice  # index of the first span of each voice
        base = self._phase - (HOP - 1) / 2 * own[leading] - grown[leading]
        starts = base[spans.voice] + grown[:-1] + (HOP - 1) / 2 * own
        ends = torch.cat([leading[1:], torch.tensor([len(own)])]) - 1
        # The last frame of a block is the first of the next one.
        last = base + grown[ends + 1] - HOP * own[ends] + (HOP - 1) / 2 * own[ends]
        self._phase = last - last.floor()
        return starts

    def _add_steady(
        self, sound: Tensor, pitch: Tensor, amplitude: Tensor, spans: Spans, starts: Tensor
    ) -> None:
        """Frames [V, n] that keep their pitch; 0 for others and for silence."""
        for one in pitch.unique().tolist():
            if not (count := self._count[one]) or not one:
                continue
            voice, frame = (pitch == one).nonzero(as_tuple=True)
            since = frame - spans.first[spans.index[voice, frame]]
            turns = self._turns[one, :, :count] * (HOP * since)[:, None, None]
            turns += starts[spans.index[voice, frame], :, :count]
            angle = (2 * math.pi * (turns - turns.floor())).float()
            waves = torch.cat([angle.cos(), angle.sin()], 1)  # [N, 4, K]
            both = torch.stack([amplitude[voice, frame, :count], amplitude[voice, frame + 1, :count]], 1)
            weighted = (both[:, :, None] * waves[:, None]).flatten(1)
            sound.index_add_(0, frame, weighted @ self._table(one))

    def _table(self, pitch: int) -> Tensor:
        """[2 * 4 * K, 64]: (frame before or after) * (cosines of both strings, sines of both) * partials."""
        if pitch not in self._tables:
            turns = self._turns[pitch, :, : self._count[pitch]]
            angle = 2 * math.pi * turns[..., None] * torch.arange(1, HOP + 1)
            waves = torch.cat([angle.cos(), -angle.sin()]) * (turns < 0.5).repeat(2, 1)[..., None]
            fades = torch.stack([1 - self._fade, self._fade]).double()
            self._tables[pitch] = (fades[:, None, None] * waves).flatten(0, 2).float()
        return self._tables[pitch]

    def _add_glides(
        self, sound: Tensor, places: Tensor, pitch: Tensor, amplitude: Tensor, spans: Spans, starts: Tensor
    ) -> None:
        """Frames [G, 2] (voice, frame) whose pitch differs from the next frame's."""
        voice, frame = places.unbind(1)
        one, other = pitch[voice, frame], pitch[voice, frame + 1]
        span = spans.index[voice, frame]
        begin, end = self._turns[one], self._turns[other]
        start = starts[span] + begin * (HOP * (frame - spans.first[span]))[:, None, None]
        step = torch.arange(HOP, dtype=torch.float64)
        slope = (end - begin)[..., None]
        turns = start[..., None] + begin[..., None] * (step + 1) + slope * (step * (step + 1) / (2 * HOP))
        waves = (2 * math.pi * (turns - turns.floor())).float().cos()
        waves *= begin[..., None] + slope * (step / HOP) < NYQUIST / SAMPLE_RATE
        before, after = amplitude[voice, frame, :, None], amplitude[voice, frame + 1, :, None]
        faded = before * (1 - self._fade) + after * self._fade
        sound.index_add_(0, frame, (waves.sum(1) * faded).sum(1))


@dataclass(frozen=True)
class Spans:
    """S spans of constant pitch in a block, voice after voice."""

    voice: Tensor
    """[S]"""
    first: Tensor
    """[S] frame."""
    length: Tensor
    """[S] frames."""
    index: Tensor
    """[V, n + 1] number of the span that a frame belongs to."""
    first_of_voice: Tensor
    """[V] number of the first span of each voice."""


def _spans(pitch: Tensor) -> Spans:
    begins = torch.ones_like(pitch, dtype=torch.bool)
    begins[:, 1:] = pitch[:, 1:] != pitch[:, :-1]
    index = (begins.flatten().cumsum(0) - 1).view_as(pitch)
    voice, first = begins.nonzero(as_tuple=True)
    length = torch.diff(begins.flatten().nonzero()[:, 0], append=torch.tensor([pitch.numel()]))
    return Spans(voice, first, length, index, index[:, 0])


def crossfade() -> Tensor:
    """[64] weight of the next frame's amplitudes."""
    return (0.5 - 0.5 * torch.cos(math.pi * torch.arange(HOP, dtype=torch.float64) / HOP)).float()

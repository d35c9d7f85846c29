"""The published oscillators: phases in single precision, which drift away from exact ones.

Needed to reproduce the published sound sample by sample; ``additive`` is faster and exact.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthesizers.ddsp_piano.additive import crossfade
from synthesizers.ddsp_piano.network import HOP, PARTIALS, STRINGS
from synthesizers.ddsp_piano.partials import NYQUIST, SAMPLE_RATE, Partials

CHUNK = 1000
"""Samples whose increments are added one after the other before the phase is wrapped."""
TURN = np.float32(2 * np.pi)
FRAMES_AT_ONCE = 125
"""Of one voice; more would not fit into the processor's cache."""
POLYPHONY = 16
"""Of the pitches that sound at once, as many of the highest are heard."""

Floats = NDArray[np.float32]


class PublishedOscillators:
    """The partials of V voices, in blocks that follow each other; as ``AdditiveSynthesizer``."""

    def __init__(self, partials: Partials, voices: int) -> None:
        self._frequency = partials.frequency.numpy()
        self._voices = [_Phases() for _ in range(voices)]
        self._fade = crossfade().numpy()

    def block(self, pitch: Tensor, amplitude: Tensor) -> Tensor:
        """int64 [V, n + 1] and [V, n + 1, 96] -> samples [n, 64]."""
        sound = np.zeros((pitch.shape[1] - 1, HOP), np.float32)
        for first in range(0, len(sound), FRAMES_AT_ONCE):
            frames, ends = slice(first, first + FRAMES_AT_ONCE), slice(first, first + FRAMES_AT_ONCE + 1)
            for phases, one, loudness in zip(
                self._voices, pitch[:, ends].numpy(), amplitude[:, ends].numpy(), strict=True
            ):
                sound[frames] += self._voice(phases, self._frequency[one], loudness)
        return torch.from_numpy(sound)

    def _voice(self, phases: _Phases, frequency: Floats, loudness: Floats) -> Floats:
        """Frames [n + 1, 2, 96] and [n + 1, 96] -> [n, 64]"""
        heard = np.asarray(loudness.any(axis=0), bool)
        by_sample = _by_sample(frequency)
        angle = phases.advance(by_sample * TURN / np.float32(SAMPLE_RATE), heard)
        waves = np.where(by_sample[:, heard] < NYQUIST, np.cos(angle), 0).sum(0)
        before, after = loudness[:-1, heard].T[..., None], loudness[1:, heard].T[..., None]
        faded = before * (1 - self._fade) + after * self._fade
        voice: Floats = (waves.reshape(faded.shape) * faded).sum(0)
        return voice


def _by_sample(frames: Floats) -> Floats:
    """Frequencies [n + 1, 2, 96] at the starts of frames -> [2, 96, n * 64] in between."""
    fraction = np.arange(HOP, dtype=np.float32) / np.float32(HOP)
    before, steps = (x.transpose(1, 2, 0)[..., None] for x in (frames[:-1], np.diff(frames, axis=0)))
    return (before + steps * fraction).reshape(STRINGS, PARTIALS, -1)


class _Phases:
    """The phases of one voice's partials."""

    def __init__(self) -> None:
        self._within = np.zeros((STRINGS, PARTIALS, 1), np.float32)
        """Sum of the increments since the chunk began."""
        self._before = np.zeros((STRINGS, PARTIALS, 1), np.float32)
        """Sum of the wrapped sums of earlier chunks."""
        self._position = 0
        """Samples of the chunk that are done."""

    def advance(self, increments: Floats, heard: NDArray[np.bool_]) -> Floats:
        """Radians per sample [2, 96, S] -> phases [2, K, S] of the K partials that are ``heard`` [96]."""
        parts = []
        start = 0
        while start < increments.shape[2]:
            part = increments[..., start : start + CHUNK - self._position]
            summed = np.cumsum(np.concatenate([self._within, part], 2), 2, dtype=np.float32)[..., 1:]
            parts.append(_wrapped(summed[:, heard] + _wrapped(self._before[:, heard])))
            self._within, start = summed[..., -1:], start + part.shape[2]
            self._position += part.shape[2]
            if self._position == CHUNK:
                self._before = self._before + _wrapped(self._within)
                self._within, self._position = np.zeros_like(self._within), 0
        return np.concatenate(parts, 2)


def _wrapped(angle: Floats) -> Floats:
    """The remainder after whole turns, exact: a single-precision one needs no more than double precision."""
    wide = angle.astype(np.float64)
    return (wide - np.floor(wide / TURN) * np.float64(TURN)).astype(np.float32)

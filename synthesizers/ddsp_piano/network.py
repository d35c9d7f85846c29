"""The networks: from what is played to the controls of the synthesizers, frame by frame.

Kernels are [inputs, outputs], as published. T frames, R rows (voices, or parts of voices side by side).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthesizers.ddsp_piano.conditioning import (
    CONTROLLERS,
    FRAME_RATE,
    FULL_PEDAL,
    FULL_VELOCITY,
    VOICES,
)

PIANOS, EMBEDDING = 10, 16
CONTEXT, CONTEXT_UNITS = 32, 64
VOICE_INPUT, VOICE_UNITS = 128, 192
PARTIALS, NOISE_BANDS = 96, 64
CONTROLS = 1 + PARTIALS + NOISE_BANDS
"""Of a voice: amplitude, partials, noise bands, in this order."""
PITCHES = 128
STRINGS = 2
HOP = 64
"""Samples per frame, at 16 kHz."""
REVERB_SAMPLES = 24000
LEAK = 0.2
"""Slope of every LeakyReLU below 0."""
NORM_EPSILON = 1e-5


class Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]"""
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.kernel).unflatten(0, x.shape[:-1])


def leaky(x: Tensor) -> Tensor:
    """LeakyReLU in place."""
    return functional.leaky_relu_(x, LEAK)


class Gru(nn.Module):
    """Gated recurrent unit, gates in the order update, reset, new; one bias each for inputs and state."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(inputs, 3 * units))
        self.recurrent_kernel = nn.Parameter(torch.empty(units, 3 * units))
        self.bias = nn.Parameter(torch.empty(2, 3 * units))
        self.units = units

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """[T, R, inputs] and the state [R, units] before -> states [T, R, units].

        The input's part of all frames is computed at once, and each frame adds the state's part in place.
        The candidate, tanh(a), is 2 sigmoid(2 a) - 1: torch's tanh takes three times as long.
        """
        units = self.units
        doubled = torch.ones(3 * units)
        doubled[2 * units :] = 2
        kernel, recurrent_kernel, bias = (
            parameter * doubled for parameter in (self.kernel, self.recurrent_kernel, self.bias)
        )
        gates = torch.mm(x.reshape(-1, x.shape[-1]), kernel).unflatten(0, x.shape[:2])
        new_input = gates[..., 2 * units :] + bias[0, 2 * units :]
        gates[..., : 2 * units] += bias.sum(0)[: 2 * units]
        gates[..., 2 * units :] = bias[1, 2 * units :]
        states = x.new_empty(*x.shape[:2], units)
        views = (gates, gates[..., : 2 * units], *gates.split(units, -1), new_input, states)
        for gate, both, update, reset, recurrent, new, out in zip(*(v.unbind(0) for v in views), strict=True):
            gate.addmm_(state, recurrent_kernel)
            both.sigmoid_()
            candidate = new.addcmul_(reset, recurrent).sigmoid_().mul_(2).sub_(1)
            state = torch.lerp(candidate, state, update, out=out)
        return states


class Norm(nn.Module):
    """Normalisation over time and channels together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(1, 1, 1, channels))
        self.shift = nn.Parameter(torch.empty(1, 1, 1, channels))

    def forward(self, x: Tensor, moments: Tensor) -> Tensor:
        """[..., R, channels], in place; ``moments`` [2, R]: mean and variance over the whole piece."""
        mean, variance = moments.to(x.dtype)
        factor = torch.rsqrt(variance + NORM_EPSILON)[:, None] * self.scale.flatten()
        return x.mul_(factor).add_(self.shift.flatten() - mean[:, None] * factor)


class Moments:
    """Sums over the frames of a piece, from which mean and variance come."""

    def __init__(self, rows: int) -> None:
        self._sums = torch.zeros(2, rows, dtype=torch.float64)
        self._count = 0

    def add(self, x: Tensor) -> None:
        """[T, R, channels]"""
        self._sums += torch.stack([x.sum((0, 2)), x.square().sum((0, 2))])
        self._count += x.shape[0] * x.shape[2]

    def result(self) -> Tensor:
        """float64 [2, R]: mean and population variance over time and channels."""
        mean, square = self._sums / self._count
        return torch.stack([mean, square - mean * mean])


class Context(nn.Module):
    """What all voices hear of the whole: pitches, velocities, pedals and the piano -> [T, 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.dense_in = Dense(2 * VOICES + len(CONTROLLERS) + EMBEDDING, CONTEXT)
        self.gru = Gru(CONTEXT, CONTEXT_UNITS)
        self.norm = Norm(CONTEXT_UNITS)
        self.dense_out = Dense(CONTEXT_UNITS, CONTEXT)

    def inputs(self, pitch: Tensor, velocity: Tensor, pedal: Tensor, embedding: Tensor) -> Tensor:
        """uint8 [T, 16], [T, 16] and [T, 4] as in ``Conditioning``, float [16] -> [T, 52]."""
        played = torch.stack([pitch.float(), velocity / FULL_VELOCITY], -1).flatten(1)
        return torch.cat([played, pedal / FULL_PEDAL, embedding.expand(len(pitch), -1)], 1)

    def hidden(self, inputs: Tensor, state: Tensor) -> Tensor:
        """[T, 52], [1, 64] -> states [T, 1, 64]"""
        return self.gru(leaky(self.dense_in(inputs))[:, None], state)


class Voice(nn.Module):
    """One voice's controls from what it plays and the context; all voices share the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.dense_in = Dense(3 + CONTEXT, VOICE_INPUT)
        self.gru = Gru(VOICE_INPUT, VOICE_UNITS)
        self.dense_mid = Dense(VOICE_UNITS, VOICE_UNITS)
        self.norm = Norm(VOICE_UNITS)
        self.dense_out = Dense(VOICE_UNITS, CONTROLS)

    def inputs(self, played: Tensor, context: Tensor) -> Tensor:
        """uint8 [3, T, R] (pitch with its release, pitch, velocity at the start), float [T, R or 1, 32]
        -> [T, R, 35]"""
        scaled = played.movedim(0, -1) / torch.tensor([PITCHES, PITCHES, FULL_VELOCITY])
        return torch.cat([scaled, context.expand(-1, scaled.shape[1], -1)], -1)

    def states(self, inputs: Tensor, state: Tensor) -> Tensor:
        """[T, R, 35], [R, 192] -> [T, R, 192]"""
        return self.gru(leaky(self.dense_in(inputs)), state)

    def hidden(self, states: Tensor) -> Tensor:
        """[..., R, 192] -> what is normalised over the piece, [..., R, 192]"""
        return leaky(self.dense_mid(states))

    def controls(self, hidden: Tensor, moments: Tensor) -> Tensor:
        """[..., R, 192], [2, R] -> [..., R, 161]; overwrites ``hidden``."""
        return self.dense_out(self.norm(hidden, moments))


class Pianos(nn.Module):
    """What the pianos differ in, a row for each."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(PIANOS, EMBEDDING))
        self.inharmonicity = nn.Parameter(torch.empty(PIANOS, 1))
        self.detuning = nn.Parameter(torch.empty(PIANOS, 1))
        self.reverb_ir = nn.Parameter(torch.empty(PIANOS, REVERB_SAMPLES))


class Inharmonicity(nn.Module):
    """How much the partials of a string are stretched; a treble and a bass bridge."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes, self.slopes_modifier = nn.Parameter(torch.empty(2)), nn.Parameter(torch.empty(2))
        self.offsets, self.offsets_modifier = nn.Parameter(torch.empty(2)), nn.Parameter(torch.empty(2))
        self.piano_weight = nn.Parameter(torch.empty(1))

    def forward(self, pitch: Tensor, piano: Tensor) -> Tensor:
        """MIDI pitches [...], the piano's inharmonicity [1] -> coefficients B [...]"""
        slopes, offsets = self.slopes + self.slopes_modifier, self.offsets + self.offsets_modifier
        lines = slopes * (pitch[..., None] / PITCHES + offsets)
        treble, bass = lines.unbind(-1)
        return treble.exp() + (bass + self.piano_weight * 10 * piano).exp()


class Detuner(nn.Module):
    """The frequencies of a note's two strings."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(1, STRINGS))
        self.bias = nn.Parameter(torch.empty(STRINGS))

    def forward(self, pitch: Tensor, piano: Tensor) -> Tensor:
        """MIDI pitches [...], the piano's detuning [1] -> Hz [..., 2]"""
        semitones = torch.tanh(self.kernel[0] * (pitch[..., None] / PITCHES) + self.bias) + torch.tanh(piano)
        return 440 * 2 ** ((pitch[..., None] + semitones - 69) / 12)


class NoteRelease(nn.Module):
    """How long a voice keeps the pitch of a note that has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = nn.Parameter(torch.empty(1))

    @property
    def frames(self) -> int:
        """That a note lasts longer; the time is a whole number of frames."""
        return round(FRAME_RATE * float(self.seconds)) + 1

    def forward(self, pitch: Tensor) -> Tensor:
        """uint8 [T, V] -> uint8 [T, V]: a voice's last pitch, until the release is over or a note begins."""
        frame = torch.arange(len(pitch), dtype=torch.int32)[:, None]
        last = torch.where(pitch > 0, frame, -1).cummax(0).values
        held = pitch.gather(0, last.clamp(min=0).long())
        return torch.where((last >= 0) & (frame - last <= self.frames), held, 0)


class DdspPiano(nn.Module):
    """All weights; see ``playing`` for how they work together."""

    def __init__(self) -> None:
        super().__init__()
        self.context = Context()
        self.mono = Voice()
        self.piano = Pianos()
        self.inharm = Inharmonicity()
        self.detuner = Detuner()
        self.note_release = NoteRelease()

    @property
    def tail(self) -> int:
        """Frames after the last note until the room is silent."""
        return self.note_release.frames + REVERB_SAMPLES // HOP

    def coefficients(self, pitch: Tensor, piano: int) -> Tensor:
        """Inharmonicity [...] of MIDI pitches [...]."""
        return self.inharm(pitch, self.piano.inharmonicity[piano])

    def frequencies(self, pitch: Tensor, piano: int) -> Tensor:
        """Hz [..., 2] of the strings of MIDI pitches [...]."""
        return self.detuner(pitch, self.piano.detuning[piano])


def squashed(x: Tensor) -> Tensor:
    """2 sigmoid(x)^ln(10) + 1e-7, in place: how raw controls become amplitudes. (``pow_`` is slower.)"""
    return x.sigmoid_().log_().mul_(math.log(10)).exp_().mul_(2).add_(1e-7)

"""A whole piece: the networks hear all of it, then its sound is made block by block.

The networks normalise over the whole piece, so nothing can sound before they have heard its end. What they
computed on the way is kept for the first minutes; beyond, only the voices' states at the start of each block
are, from which a block is computed again when it is played. So memory grows by 45 kB per second of music.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from synthesizers.ddsp_piano.additive import AdditiveSynthesizer
from synthesizers.ddsp_piano.conditioning import FRAME_RATE, VOICES, Conditioning
from synthesizers.ddsp_piano.network import (
    CONTEXT_UNITS,
    PARTIALS,
    VOICE_UNITS,
    DdspPiano,
    Moments,
)
from synthesizers.ddsp_piano.noise import FilteredNoise, White, magnitudes
from synthesizers.ddsp_piano.partials import amplitudes, partials
from synthesizers.ddsp_piano.reverb import Reverb

BLOCK = FRAME_RATE
"""Frames of which the voices' states are kept, and that the networks hear at once in each row."""
BLOCKS_AT_ONCE = 4
"""That are played together, as rows beside each other."""
MOST_KEPT = 2**28
"""Bytes of hidden layers that are kept: two to three minutes of music."""


class Oscillators(Protocol):
    def block(self, pitch: Tensor, amplitude: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Heard:
    """A piece as the networks have heard it: T frames, V voices."""

    played: Tensor
    """uint8 [3, T, V]: the pitch with its release, without it (0 for silence), the velocity at its start."""
    context: Tensor
    """[T, 32]"""
    moments: Tensor
    """[2, V]: mean and variance of each voice."""
    states: Tensor
    """[blocks, V, 192] at the start of each block."""
    kept: list[Tensor]
    """Of the first blocks: hidden layers [N, 192] before normalisation, at the places that sound."""
    sounding: Tensor
    """bool [T, V]: the places that sound."""

    @property
    def held(self) -> Tensor:
        """uint8 [T, V]: the pitch with its release."""
        return self.played[0]


@torch.inference_mode()
def hear(
    model: DdspPiano,
    given: Conditioning,
    piano: int,
    *,
    mute: bool = True,
    progress: Callable[[float], None] = lambda _done: None,
) -> Heard:
    """What the networks make of a piece, before its sound. Voices without a note are silent if ``mute``, else
    they make the noise that the model has for them. ``progress`` is told the part that is done, up to 1.

    Voices beyond the 16 that were trained together stand still where they are silent.
    """
    pitch, velocity = torch.from_numpy(given.pitch), torch.from_numpy(given.velocity)
    played = torch.stack([model.note_release(pitch), pitch, velocity])
    sounding = played[0] > 0
    if not mute:
        sounding[:, :VOICES] = True
    context = _context(model, given, piano)
    state, moments, states = torch.zeros(given.voices, VOICE_UNITS), Moments(VOICES), []
    kept: list[Tensor] = []
    room = MOST_KEPT
    for part in _parts(len(given)):
        states.append(state.clone())
        rows = sounding[part].any(0)
        rows[:VOICES] = True
        found = model.mono.states(model.mono.inputs(played[:, part, rows], context[part, None]), state[rows])
        state[rows] = found[-1]
        hidden = model.mono.hidden(found)
        moments.add(hidden[:, :VOICES])
        places = sounding[part][:, rows]
        room -= int(places.sum()) * hidden[0, 0].nbytes
        if room >= 0:
            kept.append(hidden[places])
        progress(min(part.stop, len(given)) / len(given))
    averages = _of_all(moments.result(), given.voices)
    return Heard(played, context, averages, torch.stack(states), kept, sounding)


def _of_all(moments: Tensor, voices: int) -> Tensor:
    """[2, 16] -> [2, V]: voices beyond the 16 play too little to have an average of their own."""
    further = moments.mean(1, keepdim=True).expand(-1, voices - VOICES)
    return torch.cat([moments, further], 1)


def _parts(frames: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, frames, BLOCK))


def _context(model: DdspPiano, given: Conditioning, piano: int) -> Tensor:
    pitch, velocity = (torch.from_numpy(rows[:, :VOICES]) for rows in (given.pitch, given.velocity))
    pedal, embedding = torch.from_numpy(given.pedal), model.piano.embedding[piano]
    hidden = torch.empty(len(given), 1, CONTEXT_UNITS)
    state, moments = torch.zeros(1, CONTEXT_UNITS), Moments(1)
    for part in _parts(len(given)):
        inputs = model.context.inputs(pitch[part], velocity[part], pedal[part], embedding)
        hidden[part] = model.context.hidden(inputs, state)
        state = hidden[part][-1]
        moments.add(hidden[part])
    return model.context.dense_out(model.context.norm(hidden, moments.result()))[:, 0]


# ------------------------------------------------------------------------------------------- the sound


class Playing:
    """The sound of a piece that has been heard, in blocks that follow each other."""

    def __init__(
        self, model: DdspPiano, heard: Heard, piano: int, white: White, oscillators: Oscillators
    ) -> None:
        self._model, self._heard, self._white = model, heard, white
        self._partials = partials(model, piano)
        self._oscillators = oscillators
        self._noise = FilteredNoise()
        voices = heard.held.shape[1]
        self._last_pitch = torch.zeros(voices, 0, dtype=torch.int64)
        self._last_amplitude = torch.zeros(voices, 0, PARTIALS)

    @torch.inference_mode()
    def block(self, first: int, count: int) -> Tensor:
        """The sound [samples] of ``count`` network blocks, one frame behind."""
        start = first * BLOCK
        held = self._heard.held[start : start + count * BLOCK].t().long()
        frame, voice = self._heard.sounding[start : start + count * BLOCK].nonzero(as_tuple=True)
        raw = self.controls(first, count, frame, voice)
        tones = self._tones(held, frame, voice, raw[:, : 1 + PARTIALS])
        magnitude = magnitudes(raw[:, 1 + PARTIALS :])
        noise = self._noise.block(frame, magnitude, self._white(start, frame, voice), held.shape[1])
        return (tones + noise[-len(tones) :]).flatten()

    @torch.inference_mode()
    def rest(self) -> Tensor:
        """The last frame, whose frequencies and amplitudes stand still."""
        tones = self._oscillators.block(
            self._last_pitch.expand(-1, 2), self._last_amplitude.expand(-1, 2, -1)
        )
        return (tones + self._noise.rest()).flatten()

    def _tones(self, held: Tensor, frame: Tensor, voice: Tensor, raw: Tensor) -> Tensor:
        """[n, 64], or one row less in the first block."""
        amplitude = torch.zeros(*held.shape, PARTIALS)
        amplitude[voice, frame] = amplitudes(raw, held[voice, frame], self._partials).partials
        pitch = torch.cat([self._last_pitch, held], 1)
        amplitude = torch.cat([self._last_amplitude, amplitude], 1)
        self._last_pitch, self._last_amplitude = pitch[:, -1:].clone(), amplitude[:, -1:].clone()
        return self._oscillators.block(pitch, amplitude)

    def controls(self, first: int, count: int, frame: Tensor, voice: Tensor) -> Tensor:
        """Raw controls [N, 161] at the places that sound, frames [N] of ``count`` blocks and voices [N]."""
        if first + count <= len(self._heard.kept):
            hidden = torch.cat(self._heard.kept[first : first + count])
        else:
            hidden = self._hidden_again(first, count, frame, voice)
        return self._model.mono.controls(hidden, self._heard.moments[:, voice])

    def _hidden_again(self, first: int, count: int, frame: Tensor, voice: Tensor) -> Tensor:
        """[N, 192] from the states at the start of each block; blocks and voices are rows side by side."""
        heard, mono = self._heard, self._model.mono
        voices, start = heard.held.shape[1], first * BLOCK
        rows, row = (frame // BLOCK * voices + voice).unique(return_inverse=True)

        def cut(x: Tensor) -> Tensor:
            """[..., T, C] -> [..., frames of a block, blocks, C]"""
            found = x[..., start : start + count * BLOCK, :]
            padded = functional.pad(found, (0, 0, 0, count * BLOCK - found.shape[-2]))
            return padded.unflatten(-2, (count, BLOCK)).transpose(-3, -2)

        played = cut(heard.played).flatten(-2)[..., rows]
        inputs = mono.inputs(played, cut(heard.context)[:, rows // voices])
        states = mono.states(inputs, heard.states[first : first + count].flatten(0, 1)[rows])
        return mono.hidden(states[frame % BLOCK, row])


def play(
    model: DdspPiano,
    heard: Heard,
    piano: int,
    white: White,
    *,
    oscillators: Oscillators | None = None,
    reverb: bool = True,
) -> Iterator[NDArray[np.float32]]:
    """The sound of the whole piece, [samples] per block; without ``reverb`` most of the direct sound is
    missing too."""
    exact = oscillators or AdditiveSynthesizer(partials(model, piano), heard.held.shape[1])
    playing = Playing(model, heard, piano, white, exact)
    room = Reverb(model.piano.reverb_ir[piano])
    blocks = len(heard.states)
    for first in range(0, blocks, BLOCKS_AT_ONCE):
        sound = playing.block(first, min(BLOCKS_AT_ONCE, blocks - first))
        if first + BLOCKS_AT_ONCE >= blocks:
            sound = torch.cat([sound, playing.rest()])
        yield (room.block(sound) if reverb else sound).numpy()

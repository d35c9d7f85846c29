"""The sum of a performance's voices, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import Performance
from synthesizers.sampled_piano.instrument import Recordings
from synthesizers.sampled_piano.pedals import Damping
from synthesizers.sampled_piano.resonance import Resonance
from synthesizers.sampled_piano.room import in_room
from synthesizers.sampled_piano.voices import RESTRIKE_DAMPING, SIXTY_DB, Noises, Voices, plan

STEP = 48
"""Samples between two points of an envelope, which is linear in between (1 ms at 48 kHz)."""
BLOCK = 1000 * STEP
"""Samples per block."""

Block = NDArray[np.float32]


def play(
    performance: Performance, recordings: Recordings, *, gain: float, room: str = "off"
) -> Iterator[Block]:
    """The sound of a performance from time 0 until the last string is silent: [2, samples] per block.

    ``gain`` is applied to everything; the result may exceed [-1, 1]. ``room``: one of ``ROOMS``, which also
    adds the resonance of the strings and the noise of the pedal; or "off" for the recordings alone. Memory is
    bounded by the recordings in use, not by the performance's length.
    """
    voices, noises, pedal = plan(performance, recordings.instrument)
    rate = recordings.instrument.sample_rate
    blocks = _dry(voices, noises, pedal, recordings, gain, None if room == "off" else Resonance(pedal, rate))
    return blocks if room == "off" else in_room(blocks, room, rate)


def _dry(
    voices: Voices,
    noises: Noises,
    pedal: Damping,
    recordings: Recordings,
    gain: float,
    resonance: Resonance | None,
) -> Iterator[Block]:
    recordings.prepare(_needed(voices, recordings.instrument.sample_rate))
    mixer = _Mixer(recordings, pedal)
    end = int(max(voices.end.max(initial=0), noises.end.max(initial=0)))
    for begin in range(0, end, BLOCK):
        block = mixer.mix(voices, noises, begin)
        block *= np.float32(gain)
        if resonance:
            resonance.add(block, begin)
        yield block[:, : end - begin]


def _needed(voices: Voices, sample_rate: int) -> dict[tuple[int, int], float]:
    """(pitch, strength) -> the longest time in seconds that it sounds."""
    seconds = (voices.end - voices.start) / sample_rate
    needed: dict[tuple[int, int], float] = {}
    for layer in (0, 1):
        for index in np.flatnonzero(voices.gain[:, layer] > 0):
            which = int(voices.pitch[index]), int(voices.strength[index]) + layer
            needed[which] = max(needed.get(which, 0.0), float(seconds[index]))
    return needed


class _Mixer:
    """Sums the voices of one block at a time, in buffers that are used again."""

    def __init__(self, recordings: Recordings, pedal: Damping) -> None:
        self._recordings = recordings
        self._pedal = pedal
        self._rate = recordings.instrument.sample_rate
        self._voice, self._layer = np.empty((2, BLOCK), np.float32), np.empty((2, BLOCK), np.float32)
        self._ramp = (np.arange(STEP) / STEP).astype(np.float32)

    def mix(self, voices: Voices, noises: Noises, begin: int) -> Block:
        out = np.zeros((2, BLOCK), np.float32)
        time = (begin + STEP * np.arange(BLOCK // STEP + 1)) / self._rate
        damped = self._pedal.at(time)
        for index in _sounding(voices.start, voices.end, begin):
            a, b = max(begin, int(voices.start[index])), min(begin + BLOCK, int(voices.end[index]))
            sound = self._layers(voices, index, a, b)
            envelope = self._envelope(voices, index, time, damped)
            if envelope is not None:
                sound *= envelope[a - begin : b - begin]
            out[:, a - begin : b - begin] += sound
        for index in _sounding(noises.start, noises.end, begin):
            a, b = max(begin, int(noises.start[index])), min(begin + BLOCK, int(noises.end[index]))
            from_start = a - int(noises.start[index])
            noise = self._recordings.noise(int(noises.pitch[index]))[:, from_start : from_start + b - a]
            out[:, a - begin : a - begin + noise.shape[1]] += noise * noises.gain[index]
        return out

    def _layers(self, voices: Voices, index: int, a: int, b: int) -> Block:
        """The voice from sample a to b, before damping; a view of a buffer."""
        from_start, length = a - int(voices.start[index]), b - a
        sound = self._voice[:, :length]
        sound[:] = 0
        for layer, gain in enumerate(voices.gain[index]):
            if gain == 0:
                continue
            which = int(voices.pitch[index]), int(voices.strength[index]) + layer
            recording = self._recordings.note(*which, from_start + length)
            part = recording[:, from_start : from_start + length]
            scaled = self._layer[:, : part.shape[1]]
            np.multiply(part, gain, out=scaled)
            sound[:, : part.shape[1]] += scaled
        return sound

    def _envelope(
        self, voices: Voices, index: int, time: NDArray[np.float64], damped: NDArray[np.float64]
    ) -> NDArray[np.float32] | None:
        """[BLOCK] factor of dampers and of a new blow on the voice; None where it is 1 throughout."""
        released, restruck = voices.released[index], voices.restruck[index]
        if damped[-1] <= released and time[-1] <= restruck:
            return None
        nepers = voices.damping[index] * np.maximum(damped - released, 0)
        if restruck < time[-1]:
            nepers += SIXTY_DB / RESTRIKE_DAMPING * np.maximum(time - restruck, 0)
        points = np.exp(-nepers).astype(np.float32)
        return (points[:-1, None] + np.diff(points)[:, None] * self._ramp).reshape(-1)


def _sounding(start: NDArray[np.int64], end: NDArray[np.int64], begin: int) -> NDArray[np.int64]:
    """Indices of the voices in the block that starts at ``begin``."""
    up_to = int(np.searchsorted(start, begin + BLOCK))
    return np.flatnonzero(end[:up_to] > begin)

"""Strings that sound in sympathy while the pedal is down, and the noise of the pedal that wakes them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import LOWEST_PITCH
from synthesizers.sampled_piano.pedals import FIRST_UNDAMPED_PITCH, Damping
from synthesizers.sampled_piano.room import fast_length, white

Block = NDArray[np.float32]
Floats = NDArray[np.float64]

LEVEL = 10 ** (-25 / 20)
"""Of the strings' answer (root of its energy) relative to the sound that excites them."""
DAMPER = 28.0
"""Nepers per second that the full dampers take from the resonance: 60 dB in 0.25 s."""
SECONDS = 1.5
"""Length of the answer."""
DECAY = 3.0
"""Seconds in which a string's answer falls by 60 dB."""
PARTIALS, HIGHEST = 10, 5000.0
"""Partials per string, and Hz above which they are left out."""
STEP = 48
"""Samples between two values of the dampers, which are linear in between."""
STEPS = 2
"""Parts of a block: within a part the dampers may take no more than double precision resolves."""
THUMP = 10 ** (-62 / 20)
"""Peak of the pedal's noise when it goes down; when it comes up, ``LIFT`` times that."""
LIFT = 0.5
DOWN = 0.5
"""Part of the full damping below which the pedal counts as down."""


class Resonance:
    """Adds the answer of the undamped strings to a dry piano, block by block.

    What a string received at time s decays with the dampers' work D between s and t, by exp(D(s) - D(t)). So
    the answer is exp(-D) times the convolution of exp(D) times the sound with the response of free strings.
    """

    def __init__(self, pedal: Damping, rate: int) -> None:
        self._pedal, self._rate = pedal, rate
        self._pending = np.zeros((2, round(SECONDS * rate) - 1))
        self._thumps = _thumps(pedal, rate)

    def add(self, block: Block, begin: int) -> None:
        """Add pedal noise and the strings' answer to the block [2, n] that starts at sample ``begin``."""
        self._add_thumps(block, begin)
        for part in np.array_split(np.arange(block.shape[1]), STEPS):
            self._add_answer(block[:, part[0] : part[-1] + 1], begin + int(part[0]))

    def _add_thumps(self, block: Block, begin: int) -> None:
        sound = thump(self._rate)
        for start, gain in self._thumps:
            a, b = max(start, begin), min(start + len(sound), begin + block.shape[1])
            if a < b:
                block[:, a - begin : b - begin] += np.float32(gain) * sound[a - start : b - start]

    def _add_answer(self, block: Block, begin: int) -> None:
        length, kept = block.shape[1], self._pending.shape[1]
        points = np.arange(0, length + STEP, STEP)
        time, samples = (begin + points) / self._rate, np.arange(length + 1)
        work = DAMPER * np.interp(samples, points, self._pedal.at(time) - self._pedal.at(time[:1]))
        lifted = 1 - np.interp(samples[:-1], points, self._pedal.rate_at(time))
        sent = block.mean(axis=0) * lifted * np.exp(work[:-1])
        answer = np.zeros((2, length + kept))
        if sent.any():
            size = fast_length(length + kept)
            spectrum = np.fft.rfft(sent, size) * _spectrum(self._rate, size)
            answer += np.fft.irfft(spectrum, size)[:, : length + kept]
        answer[:, :kept] += self._pending
        block += (answer[:, :length] * np.exp(-work[:-1])).astype(np.float32)
        self._pending = answer[:, length:] * np.exp(-work[-1])


def _thumps(pedal: Damping, rate: int) -> list[tuple[int, float]]:
    """(sample, gain) of each movement of the pedal."""
    down = pedal.rate < DOWN
    moved = np.flatnonzero(np.diff(down.astype(int), prepend=0))
    return [(round(float(pedal.time[k]) * rate), THUMP * (1.0 if down[k] else LIFT)) for k in moved]


@cache
def thump(rate: int) -> NDArray[np.float32]:
    """[samples] a soft knock of 0.15 s, at most 1."""
    time = np.arange(round(0.15 * rate)) / rate
    knock = np.fft.irfft(np.fft.rfft(white(8, len(time))) * _band(len(time), rate), len(time))
    knock *= (1 - np.exp(-time / 0.004)) * np.exp(-time / 0.03)
    return (knock / np.abs(knock).max()).astype(np.float32)


def _band(length: int, rate: int) -> Floats:
    frequency = np.fft.rfftfreq(length, 1 / rate)
    return (frequency > 40) / (1 + (frequency / 250) ** 2)


@cache
def _spectrum(rate: int, size: int) -> NDArray[np.complex128]:
    return np.asarray(np.fft.rfft(strings(rate), size))


@cache
def strings(rate: int) -> Floats:
    """[2, samples] response of all damped strings when free: decaying partials of each, in any phase."""
    length, bins = round(SECONDS * rate), 1 << 18
    width = np.log(1000) / DECAY / (2 * np.pi)
    spectra = np.zeros((2, bins // 2 + 1), complex)
    for pitch in range(LOWEST_PITCH, FIRST_UNDAMPED_PITCH):
        fundamental = 440 * 2 ** ((pitch - 69) / 12)
        rotations = np.exp(2j * np.pi * white(100 * pitch, 2 * PARTIALS).reshape(PARTIALS, 2, 1))
        for partial in range(1, PARTIALS + 1):
            frequency = fundamental * partial
            if frequency > HIGHEST:
                break
            centre = round(frequency * bins / rate)
            near = np.arange(max(centre - 300, 1), centre + 300)
            peak = 1 / (partial * (width + 1j * (near * rate / bins - frequency)))
            spectra[:, near] += rotations[partial - 1] * peak
    response = np.fft.irfft(spectra, bins)[:, :length] * np.cos(np.linspace(0, np.pi / 2, length)) ** 2
    return response * LEVEL / np.sqrt((response**2).sum(axis=1, keepdims=True))

"""The room around the piano: early reflections, a diffuse tail and a noise floor, computed, not recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]
Floats = NDArray[np.float64]

SOUND = 343.0
"""Metres per second."""
BAND_EDGES = (250.0, 1000.0, 4000.0)
"""Hz between the bands of the diffuse tail, each of which has its own reverberation time."""
FLOOR = 10 ** (-84 / 20)
"""RMS of the noise floor below the level of the samples; in delivered music about -72 dBFS."""
FLOOR_SECONDS, FLOOR_FADE = 7.0, 0.25
"""Period of the noise floor; and how long it takes to come and go."""


@dataclass(frozen=True)
class Room:
    """A shoebox with the piano and two microphones in it."""

    size: tuple[float, float, float]
    """Metres: length, width, height."""
    reflection: float
    """Part of the pressure that a wall reflects."""
    reverberation: tuple[float, float, float, float]
    """Seconds in which each band of the tail loses 60 dB, from low to high."""
    early: float
    tail: float
    """dB of the energy of the early reflections and of the tail relative to the direct sound."""
    onset: float
    """Seconds after which the tail has risen."""


ROOMS = {
    "small": Room((7.5, 5.5, 3.4), 0.75, (0.6, 0.55, 0.45, 0.3), -11.0, -14.0, 0.012),
    "hall": Room((26.0, 15.0, 9.0), 0.8, (2.2, 2.0, 1.6, 0.9), -12.0, -9.5, 0.04),
}


def in_room(blocks: Iterable[Block], room: str, rate: int) -> Iterator[Block]:
    """Blocks [2, n] of a dry piano, with the room's answer and noise; as much longer as the tail rings.

    Overlap-add convolution, so memory depends on the room only.
    """
    response = impulse_response(room, rate)
    length = response.shape[-1] - 1
    pending, done, fade = np.zeros((2, length), np.float32), 0, round(FLOOR_FADE * rate)
    for block in blocks:
        if not block.shape[1]:
            continue
        wet = _convolved(block, room, rate)
        wet[:, : block.shape[1]] += block
        wet[:, :length] += pending
        now, pending = wet[:, : block.shape[1]], wet[:, block.shape[1] :]
        rise = np.minimum((done + np.arange(block.shape[1])) / fade, 1).astype(np.float32)
        yield now + rise * _floor(rate, done, block.shape[1])
        done += block.shape[1]
    if done:
        fall = np.minimum(np.arange(length, 0, -1) / fade, 1).astype(np.float32)
        yield (pending + _floor(rate, done, length)) * fall


def _convolved(block: Block, room: str, rate: int) -> Block:
    """[2, n] -> [2, n + length of the response - 1]"""
    size = block.shape[1] + impulse_response(room, rate).shape[-1] - 1
    fast = fast_length(size)
    spectrum = np.fft.rfft(block, fast)
    answer = np.fft.irfft((_response_spectrum(room, rate, fast) * spectrum).sum(axis=1), fast)
    return np.asarray(answer[:, :size])


@cache
def fast_length(size: int) -> int:
    """The next length of a fast Fourier transform, without prime factors above 5."""
    odd = (3**b * 5**c for b, c in product(range(14), range(9)))
    return min(factor << (-(-size // factor) - 1).bit_length() for factor in odd)


@cache
def _response_spectrum(room: str, rate: int, size: int) -> NDArray[np.complex64]:
    return np.asarray(np.fft.rfft(impulse_response(room, rate), size))


@cache
def impulse_response(room: str, rate: int) -> NDArray[np.float32]:
    """[microphone, channel of the piano, samples]: what the room adds to the direct sound."""
    one = ROOMS[room]
    length = round(max(one.reverberation) * rate)
    answer = np.empty((2, 2, length))
    for microphone, channel in product((0, 1), (0, 1)):
        early = _early(one, microphone, channel, rate, length)
        tail = _tail(one, 2 * microphone + channel, rate, length)
        # Half of the energy comes from each channel of the piano.
        answer[microphone, channel] = _at(early, one.early - 3) + _at(tail, one.tail - 3)
    return answer.astype(np.float32)


def _at(response: Floats, decibels: float) -> Floats:
    """The response with this energy."""
    return response * 10 ** (decibels / 20) / np.sqrt((response**2).sum())


def _early(room: Room, microphone: int, channel: int, rate: int, length: int) -> Floats:
    """Reflections of up to two walls by image sources (Allen & Berkley 1979, JASA 65(4))."""
    size = np.array(room.size)
    source = size * (0.37, 0.43, 0) + np.array([0.0, 1.2 * channel - 0.6, 0.9])
    heard_at = size * (0.63, 0.52, 0) + np.array([0.0, 0.8 * microphone - 0.4, 1.5])
    response = np.zeros(length)
    direct = float(np.linalg.norm(source - heard_at))
    for cell in product((-1, 0, 1), repeat=3):
        for mirrored in product((0, 1), repeat=3):
            walls = int(sum(abs(2 * n - m) for n, m in zip(cell, mirrored, strict=True)))
            if not 1 <= walls <= 2:
                continue
            image = 2 * np.array(cell) * size + np.where(mirrored, -source, source)
            distance = float(np.linalg.norm(image - heard_at))
            place = round((distance - direct) / SOUND * rate)
            if place < length:
                response[place] += room.reflection**walls * direct / distance
    return np.convolve(response, (0.25, 0.5, 0.25))[:length]


def _tail(room: Room, stream: int, rate: int, length: int) -> Floats:
    """Noise whose bands decay, as the answer of a diffuse field (Moorer 1979, CMJ 3(2))."""
    spectrum = np.fft.rfft(white(stream, length))
    frequency = np.fft.rfftfreq(length, 1 / rate)
    time = np.arange(length) / rate
    below = [np.ones(len(frequency)), *(1 / (1 + (frequency / edge) ** 4) for edge in reversed(BAND_EDGES))]
    low_passed = [np.fft.irfft(spectrum * part, length) for part in below]
    bands = [a - b for a, b in zip(low_passed, [*low_passed[1:], np.zeros(length)], strict=True)]
    decays = [np.exp(-np.log(1000) * time / seconds) for seconds in reversed(room.reverberation)]
    tail = sum((band * decay for band, decay in zip(bands, decays, strict=True)), np.zeros(length))
    closing = np.minimum(1, (length - np.arange(length)) / (0.1 * rate))
    return tail * (1 - np.exp(-time / room.onset)) ** 2 * closing


def _floor(rate: int, start: int, length: int) -> NDArray[np.float32]:
    period = noise_floor(rate)
    return period[:, np.arange(start, start + length) % period.shape[1]]


@cache
def noise_floor(rate: int) -> NDArray[np.float32]:
    """[2, samples] one period of a quiet room: noise that falls by 6 dB per octave from 100 Hz on."""
    length = round(FLOOR_SECONDS * rate)
    frequency = np.fft.rfftfreq(length, 1 / rate)
    shape = np.where(frequency > 20, 1 / np.sqrt(1 + (frequency / 100) ** 2), 0)
    noise = np.fft.irfft(np.fft.rfft(white(4, length)) * shape, length)
    noise = (FLOOR * noise / noise.std()).astype(np.float32)
    return np.stack([noise, np.roll(noise, length // 2)])  # as good as another noise for the ear


def white(stream: int, length: int) -> Floats:
    """Uniform noise in -0.5..0.5, always the same: NumPy guarantees the bits of PCG64 alone."""
    return np.random.PCG64(stream).random_raw(length) / 2.0**64 - 0.5

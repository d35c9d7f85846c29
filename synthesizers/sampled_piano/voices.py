"""A performance as voices: which recordings sound when, how loud, and how they decay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import LOWEST_PITCH, SUSTAIN, Performance
from synthesizers.restrikes import next_onset
from synthesizers.sampled_piano.dynamics import SOFT_PEDAL_VELOCITY, blend
from synthesizers.sampled_piano.instrument import FULL_SCALE, Instrument
from synthesizers.sampled_piano.pedals import (
    FIRST_UNDAMPED_PITCH,
    Damping,
    damping,
    damping_part,
    released,
    soft_pedal,
    value_at,
)

SILENCE = np.log(10.0) * 100 / 20
"""Nepers of damping (100 dB) after which a voice is over."""
BASS_DAMPING, TREBLE_DAMPING = 0.45, 0.12
"""Seconds in which the full damper takes 60 dB from the lowest and from the highest damped string."""
RESTRIKE_DAMPING = 0.12
"""Seconds in which a new blow takes 60 dB from what still sounds of the same string."""
SIXTY_DB = np.log(1000.0)

NOISE_LEVEL = -37.0
"""dB of a release noise relative to notes at their recorded level (the instrument's definition file:
volume=-37, amp_veltrack=82, rt_decay=2)."""
NOISE_VELOCITY_PART = 0.82
NOISE_DECAY = 2.0
"""dB per second that the key was held."""
NOISE_FLOOR = -90.0
"""dB; a quieter noise is left out."""


@dataclass(frozen=True)
class Voices:
    """V sounding notes as columns, sorted by start."""

    start: NDArray[np.int64]
    """[V] sample at which the recording starts."""
    end: NDArray[np.int64]
    """[V] sample at which the voice is silent."""
    pitch: NDArray[np.int64]
    strength: NDArray[np.int64]
    """[V] index of the softer of two recordings."""
    gain: NDArray[np.float32]
    """[V, 2] factors on the two recordings' integers."""
    released: NDArray[np.float64]
    """[V] seconds of full damping (``Damping.at``) when the key's own damper falls."""
    damping: NDArray[np.float64]
    """[V] nepers per second of full damping; 0 for strings without damper."""
    restruck: NDArray[np.float64]
    """[V] seconds at which the same key is struck again; infinite for its last note."""


@dataclass(frozen=True)
class Noises:
    """Noises of keys that are released, as columns sorted by start."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    pitch: NDArray[np.int64]
    gain: NDArray[np.float32]
    """On the recording's integers."""


def plan(performance: Performance, instrument: Instrument) -> tuple[Voices, Noises, Damping]:
    controls = performance.controls
    pedal = damping(controls)
    fall = released(controls, performance.onset, performance.offset)
    softness = soft_pedal(controls, performance.onset)
    velocity = performance.velocity * (1 - (1 - SOFT_PEDAL_VELOCITY) * softness)
    voices = _voices(performance, instrument, pedal, fall, velocity)
    noises = _noises(performance, instrument, fall)
    return voices, noises, pedal


def _voices(
    performance: Performance,
    instrument: Instrument,
    pedal: Damping,
    fall: NDArray[np.float64],
    velocity: NDArray[np.float64],
) -> Voices:
    rate = instrument.sample_rate
    blended = blend(instrument, performance.pitch, velocity)
    nepers = damping_rate(performance.pitch)
    restruck = next_onset(performance)
    start_of_fall = pedal.at(fall)
    with np.errstate(divide="ignore"):
        damped = pedal.reached(start_of_fall + SILENCE / nepers)
    recorded = performance.onset + _recorded_seconds(instrument, performance.pitch, blended.strength)
    over = np.minimum(np.minimum(damped, recorded), restruck + RESTRIKE_DAMPING * SILENCE / SIXTY_DB)
    start = np.rint(performance.onset * rate).astype(np.int64)
    return Voices(
        start=start,
        end=np.maximum(np.floor(over * rate).astype(np.int64), start),
        pitch=performance.pitch,
        strength=blended.strength,
        gain=blended.gain,
        released=start_of_fall,
        damping=nepers,
        restruck=restruck,
    )


def _recorded_seconds(
    instrument: Instrument, pitch: NDArray[np.int64], strength: NDArray[np.int64]
) -> NDArray[np.float64]:
    softer, louder = (instrument.duration(pitch, strength + step) for step in (0, 1))
    return np.maximum(softer, louder)


def damping_rate(pitch: NDArray[np.int64]) -> NDArray[np.float64]:
    """[N] nepers per second under the full damper, geometric between bass and treble."""
    position = (pitch - LOWEST_PITCH) / (FIRST_UNDAMPED_PITCH - LOWEST_PITCH)
    seconds = BASS_DAMPING * (TREBLE_DAMPING / BASS_DAMPING) ** position
    return np.where(pitch >= FIRST_UNDAMPED_PITCH, 0.0, SIXTY_DB / seconds)


def _noises(performance: Performance, instrument: Instrument, fall: NDArray[np.float64]) -> Noises:
    order = np.argsort(fall, kind="stable")
    order = order[np.isfinite(fall[order])]
    time, pitch = fall[order], performance.pitch[order]
    softest = 1 - NOISE_VELOCITY_PART
    velocity_part = softest + NOISE_VELOCITY_PART * (performance.velocity[order] / 127) ** 2
    decibels = NOISE_LEVEL - NOISE_DECAY * (time - performance.onset[order])
    dampers = damping_part(value_at(performance.controls, SUSTAIN, time))
    key = pitch - LOWEST_PITCH
    gain = instrument.noise_gains[key] * velocity_part * dampers * 10 ** (decibels / 20) / FULL_SCALE
    start = np.rint(time * instrument.sample_rate).astype(np.int64)
    length = np.floor(instrument.noise_seconds[key] * instrument.sample_rate).astype(np.int64)
    audible = gain * FULL_SCALE > 10 ** (NOISE_FLOOR / 20)
    return Noises(start[audible], (start + length)[audible], pitch[audible], gain.astype(np.float32)[audible])

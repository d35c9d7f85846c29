"""Velocity to level, and to a blend of recorded strengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import LOWEST_PITCH
from synthesizers.sampled_piano.instrument import FULL_SCALE, Instrument

MAX_VELOCITY = 127
DYNAMIC_RANGE = 50.0
"""dB between velocity 1 and 127."""
STRENGTH_VELOCITIES = (36.0, 57.0, 83.0, 110.0)
"""Velocities at which the four recorded strengths sound alone, softest first; ``level`` gives them -20, -13,
-7 and -2.5 dB, and they were recorded at -21, -13, -7 and 0 dB."""
MIDDLE, BASS_RISE, TREBLE_FALL = 60, 0.12, 0.03
"""MIDI pitch, and dB per semitone below and above it: corrects the recorded balance, because the microphones
were 12 cm above the strings, where the bass is weaker than for a listener."""
# These values and those of the dampers in pedals.py were chosen on the validation split so that a transcriber
# recovers the velocities and pedals of the performance (docs/measurements.md).
SOFT_PEDAL_VELOCITY = 0.85
"""Factor on the velocity with the soft pedal fully down: about 2 dB and a duller tone."""


def level(velocity: NDArray[np.float64]) -> NDArray[np.float64]:
    """dB relative to velocity 127; smooth and strictly rising.

    The amplitude is the square of a linear function of the velocity, as in most instruments (R. Dannenberg,
    "The interpretation of MIDI velocity", ICMC 2006).
    """
    softest = 10 ** (-DYNAMIC_RANGE / 40)
    slope = (1 - softest) / (MAX_VELOCITY - 1)
    return np.asarray(40 * np.log10(1 - slope * (MAX_VELOCITY - np.asarray(velocity))))


def register_balance(pitch: NDArray[np.int64]) -> NDArray[np.float64]:
    """dB to add to the recorded level of each key."""
    above = pitch - MIDDLE
    return np.asarray(np.where(above < 0, -BASS_RISE, -TREBLE_FALL) * above)


@dataclass(frozen=True)
class Blend:
    """Two neighbouring strengths for each of N notes, and their factors."""

    strength: NDArray[np.int64]
    """[N] index of the softer one; the other is the next."""
    gain: NDArray[np.float32]
    """[N, 2] factors on stored integers; 0 where one strength alone sounds."""


def blend(instrument: Instrument, pitch: NDArray[np.int64], velocity: NDArray[np.float64]) -> Blend:
    """Recordings and factors that give each note exactly the level of its velocity and key.

    The two strengths are in phase, so their amplitudes are blended linearly; the measured correlation
    corrects for the little that cancels.
    """
    anchors = np.array(STRENGTH_VELOCITIES)
    softer = np.clip(np.searchsorted(anchors, velocity, side="right") - 1, 0, len(anchors) - 2)
    part = np.clip((velocity - anchors[softer]) / (anchors[softer + 1] - anchors[softer]), 0, 1)
    key = instrument.nearest_key(pitch)
    correlation = instrument.coherence[key, softer]
    loudness = np.sqrt((1 - part) ** 2 + part**2 + 2 * part * (1 - part) * correlation)
    wanted = level(velocity) + instrument.key_levels[pitch - LOWEST_PITCH] + register_balance(pitch)
    stored = np.stack([instrument.levels[key, softer], instrument.levels[key, softer + 1]], axis=1)
    shares = np.stack([1 - part, part], axis=1) / loudness[:, None]
    gain = shares * 10 ** ((wanted[:, None] - stored) / 20) / FULL_SCALE
    return Blend(softer, gain.astype(np.float32))

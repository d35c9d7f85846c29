"""From velocity to level and to a blend of recorded strengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import LOWEST_PITCH
from synthesizers.sampled_piano.instrument import FULL_SCALE, Instrument

MAX_VELOCITY = 127
DYNAMIC_RANGE = 41.0
"""dB between velocity 1 and 127. With it the curve below puts the recorded strengths 2, 5 and 11 of 16 at the
velocities 31, 54 and 84; the instrument's own mapping has them at 27..34, 44..46 and 81..88."""
KEY_TILT, MIDDLE = -0.075, 60
"""dB per semitone from middle C on: the microphones hung 12 cm above the strings, where the treble is louder
than at a listener's place. Chosen on the validation split, so that a transcriber trained on recordings from
further away hears the same velocity in every register."""
SOFT_PEDAL_VELOCITY = 0.85
"""Factor on the velocity with the soft pedal fully down: about 2 dB and a duller tone."""


def level(velocity: NDArray[np.float64]) -> NDArray[np.float64]:
    """dB relative to velocity 127; smooth and strictly rising.

    The amplitude is the square of a line through the velocity, which is what R. Dannenberg, "The
    interpretation of MIDI velocity" (ICMC 2006), found most instruments to follow.
    """
    slope, intercept = _line()
    return np.asarray(40 * np.log10(slope * np.asarray(velocity) + intercept))


def velocity_of(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of ``level``."""
    slope, intercept = _line()
    return np.asarray((10 ** (level / 40) - intercept) / slope)


def _line() -> tuple[float, float]:
    softest = 10 ** (-DYNAMIC_RANGE / 40)
    slope = (1 - softest) / (MAX_VELOCITY - 1)
    return slope, 1 - MAX_VELOCITY * slope


@dataclass(frozen=True)
class Blend:
    """For each of N notes two neighbouring strengths and their factors."""

    strength: NDArray[np.int64]
    """[N] index of the softer one; the other is the next."""
    gain: NDArray[np.float32]
    """[N, 2] factors on stored integers; 0 where one strength alone sounds."""


def blend(instrument: Instrument, pitch: NDArray[np.int64], velocity: NDArray[np.float64]) -> Blend:
    """Recordings and factors that give each note exactly the level of its velocity and key.

    The two strengths are in phase, so their amplitudes are blended linearly; what little their waves cancel
    is made up for with the measured correlation.
    """
    anchors = velocity_of(instrument.strength_levels)
    softer = np.clip(np.searchsorted(anchors, velocity, side="right") - 1, 0, len(anchors) - 2)
    part = np.clip((velocity - anchors[softer]) / (anchors[softer + 1] - anchors[softer]), 0, 1)
    key = instrument.nearest_key(pitch)
    correlation = instrument.coherence[key, softer]
    loudness = np.sqrt((1 - part) ** 2 + part**2 + 2 * part * (1 - part) * correlation)
    wanted = level(velocity) + instrument.key_levels[pitch - LOWEST_PITCH] + KEY_TILT * (pitch - MIDDLE)
    stored = np.stack([instrument.levels[key, softer], instrument.levels[key, softer + 1]], axis=1)
    shares = np.stack([1 - part, part], axis=1) / loudness[:, None]
    gain = shares * 10 ** ((wanted[:, None] - stored) / 20) / FULL_SCALE
    return Blend(softer, gain.astype(np.float32))

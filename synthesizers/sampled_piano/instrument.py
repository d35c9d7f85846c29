"""Measurements of the recordings, and the recordings at every pitch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.typing import NDArray

from score_to_audio.types import LOWEST_PITCH

FULL_SCALE = 2**15
"""Recordings are stored as 16-bit integers: half the memory, with noise 93 dB below a sample's peak."""
LENGTH_STEP = 0.5
"""Seconds to which the length of a cached recording is rounded up, so that it is seldom computed again."""

AHEAD = 1.0
"""Seconds of a recording that are decoded at first beyond what is needed; then follows all of it."""


@dataclass(frozen=True)
class Instrument:
    """K sampled keys, each recorded at S strengths of blow."""

    sample_rate: int
    """Hz."""
    keys: NDArray[np.int64]
    """[K] MIDI pitches that were recorded, ascending."""
    seconds: NDArray[np.float64]
    """[K, S] lengths of the recordings."""
    levels: NDArray[np.float64]
    """[K, S] dB, K-weighted level of the first 0.4 s of the recording as it is stored."""
    coherence: NDArray[np.float64]
    """[K, S - 1] correlation between a strength and the next, over the same window."""
    key_levels: NDArray[np.float64]
    """[88] dB, level of each key at the strongest blow."""
    noise_gains: NDArray[np.float64]
    """[88] factor that gives a stored release noise its recorded level."""
    noise_seconds: NDArray[np.float64]
    """[88]"""
    read_note: Callable[[int, int, int], NDArray[np.float32]] = field(repr=False)
    """(index of key, index of strength, samples) -> [samples or fewer, 2], the recording's beginning."""
    read_noise: Callable[[int], NDArray[np.float32]] = field(repr=False)
    """(index of key, 0..87) -> [samples, 2]."""

    def nearest_key(self, pitch: NDArray[np.int64]) -> NDArray[np.int64]:
        """[N] index of the recorded key that is nearest to each pitch."""
        return np.abs(pitch[:, None] - self.keys[None, :]).argmin(axis=1)

    def duration(self, pitch: NDArray[np.int64], strength: NDArray[np.int64]) -> NDArray[np.float64]:
        """[N] seconds that a recording lasts at a pitch: a semitone up is 6 % shorter."""
        key = self.nearest_key(pitch)
        return self.seconds[key, strength] / pitch_ratio(pitch - self.keys[key])


def pitch_ratio(semitones: NDArray[np.int64] | int) -> NDArray[np.float64]:
    return np.asarray(2.0 ** (np.asarray(semitones) / 12))


class Recordings:
    """The notes of an instrument at every pitch, computed when first needed and cached.

    Between the recorded keys a recording is resampled, by at most a semitone.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._notes: dict[tuple[int, int], NDArray[np.int16]] = {}
        self._lengths: dict[tuple[int, int], int] = {}
        self._noises: dict[int, NDArray[np.int16]] = {}

    def prepare(self, needed: Mapping[tuple[int, int], float]) -> None:
        """Announce (pitch, strength) -> seconds; all other recordings leave the cache."""
        self._notes = {which: kept for which, kept in self._notes.items() if which in needed}
        self._lengths = {which: self._length(*which, seconds) for which, seconds in needed.items()}

    def note(self, pitch: int, strength: int, samples: int) -> NDArray[np.int16]:
        """[2, length], full scale ``FULL_SCALE``; as long as prepared, or at least ``samples`` long.

        Decoded when first used: the beginning alone at first, so that the first sound comes soon.
        """
        length = self._lengths[pitch, strength]
        kept = self._notes.get((pitch, strength))
        if kept is None or kept.shape[1] < min(samples, length):
            if kept is None:
                length = min(length, samples + round(AHEAD * self.instrument.sample_rate))
            kept = self._notes[pitch, strength] = self._make(pitch, strength, length)
        return kept

    def noise(self, pitch: int) -> NDArray[np.int16]:
        """[2, samples], full scale ``FULL_SCALE``: the noise of the key's release."""
        if pitch not in self._noises:
            self._noises[pitch] = _as_integers(self.instrument.read_noise(pitch - LOWEST_PITCH))
        return self._noises[pitch]

    def _length(self, pitch: int, strength: int, seconds: float) -> int:
        whole = self.instrument.duration(np.array([pitch]), np.array([strength]))[0]
        wanted = min(np.ceil(seconds / LENGTH_STEP) * LENGTH_STEP, whole)
        return int(wanted * self.instrument.sample_rate)

    def _make(self, pitch: int, strength: int, length: int) -> NDArray[np.int16]:
        key = int(self.instrument.nearest_key(np.array([pitch]))[0])
        ratio = float(pitch_ratio(pitch - int(self.instrument.keys[key])))
        margin = 1024  # for the resampling filter
        samples = self.instrument.read_note(key, strength, int(length * ratio) + margin)
        if ratio != 1:
            samples = soxr.resample(samples, ratio, 1.0, quality="HQ")
        return _as_integers(samples[:length])


def _as_integers(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled = np.clip(np.rint(samples.T * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return np.ascontiguousarray(scaled, dtype=np.int16)

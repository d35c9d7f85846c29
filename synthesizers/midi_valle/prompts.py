"""Prompts: how well a recording and its notes agree, and where to cut both so that no note is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthesizers.midi_valle.segments import loudness_at_frames
from synthesizers.midi_valle.tokens import NoteArray

MAX_LAG = 0.3
"""Seconds: the largest lag between notes and sound that is searched for."""
STEP = 0.005
"""Seconds between the values of the onset strength."""
WINDOW = 0.032
"""Seconds of sound per spectrum."""
DELAY = 0.012
"""Seconds from a note's onset to the peak of the spectral flux (measured with decaying tones of 0.5 to 5 ms
attack)."""
TOLERANCE = 0.03
"""Seconds between a note's onset and a rise of the sound that agree. Detected onsets of piano notes are
usually judged at 50 ms (MIREX); a prompt needs more."""

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Alignment:
    """How well a recording and its notes agree."""

    lag: float
    """Seconds by which the sound comes after the notes; add it to the notes to align them."""
    agreement: float
    """0..1: the part of the onsets, after the correction, near which the sound rises clearly."""


def align(sound: Sound, sample_rate: int, notes: NoteArray) -> Alignment:
    """Compare mono sound [samples] with its notes."""
    strength = onset_strength(sound, sample_rate)
    reach = round(MAX_LAG / STEP)
    padded = np.pad(strength, reach)
    places = np.unique(np.round(notes.onset / STEP).astype(np.int64))
    places = places[(places >= 0) & (places < len(strength))]
    if not len(places) or not strength.any():
        return Alignment(0.0, 0.0)
    lags = np.arange(-reach, reach + 1)
    scores = padded[places[None, :] + reach + lags[:, None]].mean(axis=1)
    lag = int(lags[np.argmax(scores)])
    near = round(TOLERANCE / STEP)
    clear = float(strength.mean() + strength.std())
    around = padded[np.clip(places[:, None] + reach + lag + np.arange(-near, near + 1), 0, len(padded) - 1)]
    return Alignment(lag * STEP, float((around.max(axis=1) > clear).mean()))


def onset_strength(sound: Sound, sample_rate: int) -> NDArray[np.float64]:
    """[ceil(seconds / STEP)] spectral flux of compressed magnitudes (Bello et al., "A Tutorial on Onset
    Detection in Music Signals", 2005)."""
    hop, width = round(STEP * sample_rate), round(WINDOW * sample_rate)
    padded = np.pad(sound.astype(np.float64), (width, width))
    count = -(-len(sound) // hop)
    starts = np.arange(count) * hop + round(DELAY * sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[starts] * np.hanning(width)
    spectra = np.log1p(1000 * np.abs(np.fft.rfft(frames, axis=1)) / width)
    earlier = np.concatenate([np.zeros((2, spectra.shape[1])), spectra[:-2]])
    return np.asarray(np.maximum(spectra - earlier, 0).mean(axis=1))


def cut_point(
    notes: NoteArray, frames: int, frame_rate: float, *, target_length: float, max_length: float
) -> int:
    """The frame at which a prompt of ``frames`` frames is cut: the quietest near the target.

    Lengths in seconds. A prompt of up to one and a half times the target, and of up to ``max_length``, is
    used whole.
    """
    limit = min(1.5 * target_length, max_length) * frame_rate
    if frames <= limit:
        return frames
    places = np.arange(int(0.5 * target_length * frame_rate), int(limit) + 1)
    loudness = loudness_at_frames(notes, frames, frame_rate)[places]
    distance = np.abs(places / (target_length * frame_rate) - 1)
    return int(places[np.argmin(loudness + 0.1 * distance)])

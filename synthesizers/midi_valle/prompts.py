"""Prompts: whether a recording and its notes agree, and where to cut them so that no note is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthesizers.midi_valle.segments import loudness_at_frames
from synthesizers.midi_valle.tokens import Notes

LARGEST_LAG = 0.3
"""Seconds by which notes and sound may be apart for the lag to be found."""
STEP = 0.005
"""Seconds between the values of the onset strength."""
WINDOW = 0.032
"""Seconds of sound behind each spectrum."""
DELAY = 0.012
"""Seconds that a window reaches past the time it speaks for: the flux of a sudden note peaks that late
(measured with decaying tones of 0.5 to 5 ms attack)."""
NEARBY = 0.03
"""Seconds between a note's onset and the rise of the sound that count as agreement; detected onsets of piano
notes are usually judged at 50 ms (MIREX), and a prompt needs better."""

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Alignment:
    """How well a recording and its notes agree."""

    lag: float
    """Seconds by which the sound comes after the notes; add it to the notes to align them."""
    agreement: float
    """0..1: the part of the onsets, after the lag, near which the sound rises clearly."""


def align(sound: Sound, sample_rate: int, notes: Notes) -> Alignment:
    """Compare mono sound [samples] with the notes heard in it."""
    strength = onset_strength(sound, sample_rate)
    reach = round(LARGEST_LAG / STEP)
    padded = np.pad(strength, reach)
    places = np.unique(np.round(notes.onset / STEP).astype(np.int64))
    places = places[(places >= 0) & (places < len(strength))]
    if not len(places) or not strength.any():
        return Alignment(0.0, 0.0)
    lags = np.arange(-reach, reach + 1)
    scores = padded[places[None, :] + reach + lags[:, None]].mean(axis=1)
    lag = int(lags[np.argmax(scores)])
    near = round(NEARBY / STEP)
    clear = float(strength.mean() + strength.std())
    around = padded[np.clip(places[:, None] + reach + lag + np.arange(-near, near + 1), 0, len(padded) - 1)]
    return Alignment(lag * STEP, float((around.max(axis=1) > clear).mean()))


def onset_strength(sound: Sound, sample_rate: int) -> NDArray[np.float64]:
    """[ceil(seconds / STEP)] how much the spectrum grows at each time: spectral flux of compressed magnitudes
    (Bello et al., "A Tutorial on Onset Detection in Music Signals", 2005)."""
    hop, width = round(STEP * sample_rate), round(WINDOW * sample_rate)
    padded = np.pad(sound.astype(np.float64), (width, width))
    count = -(-len(sound) // hop)
    starts = np.arange(count) * hop + round(DELAY * sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[starts] * np.hanning(width)
    spectra = np.log1p(1000 * np.abs(np.fft.rfft(frames, axis=1)) / width)
    earlier = np.concatenate([np.zeros((2, spectra.shape[1])), spectra[:-2]])
    return np.asarray(np.maximum(spectra - earlier, 0).mean(axis=1))


def cut_point(notes: Notes, frames: int, frame_rate: float, *, wished: float, longest: float) -> int:
    """The frame at which a prompt of ``frames`` frames ends: the quietest near ``wished`` seconds.

    The whole prompt where it is no longer than that by half; never more than ``longest`` seconds.
    """
    if frames <= min(1.5 * wished, longest) * frame_rate:
        return frames
    first, last = int(0.5 * wished * frame_rate), int(min(1.5 * wished, longest) * frame_rate)
    places = np.arange(first, last + 1)
    sounding = loudness_at_frames(notes, frames, frame_rate)[places]
    distance = np.abs(places / (wished * frame_rate) - 1)
    return int(places[np.argmin(sounding + 0.1 * distance)])

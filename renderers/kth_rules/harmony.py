"""Keys, chords, and the melodic and harmonic charge of notes and chords."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import KeySignature

Floats = NDArray[np.float64]

MELODIC_CHARGE = np.array([0, 6.5, 2, 4.5, 4, 2.5, 6, 1, 5.5, 3, 3.5, 5], np.float64)
"""Charge of a pitch class by its semitones above the root of the chord: its distance from the root along the
circle of fifths, larger on the subdominant side (Sundberg, Friberg & Frydén 1989; Friberg 1991, DPC 1B)."""

MAJOR_PROFILE = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR_PROFILE = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
"""Stability of the pitch classes in a key, by semitones above the tonic (Krumhansl & Kessler 1982)."""

TRIADS = np.zeros((24, 12))
"""Pitch classes of the 12 major and the 12 minor triads, by root."""
for _root in range(12):
    TRIADS[_root, [_root, (_root + 4) % 12, (_root + 7) % 12]] = 1.0
    TRIADS[12 + _root, [_root, (_root + 3) % 12, (_root + 7) % 12]] = 1.0


def tonic(weights: Floats, candidates: NDArray[np.int64] | None = None) -> tuple[int, bool]:
    """Pitch class of the tonic and whether the key is minor, for pitch-class weights [12].

    Krumhansl & Schmuckler's algorithm: the key whose profile correlates best (Krumhansl 1990, ch. 4).
    ``candidates``: keys to choose from, 0..11 major, 12..23 minor; all where None.
    """
    profiles = np.stack(
        [np.roll(profile, root) for profile in (MAJOR_PROFILE, MINOR_PROFILE) for root in range(12)]
    )
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    fit = centred @ (weights - weights.mean()) / np.linalg.norm(centred, axis=1)
    chosen = np.arange(24) if candidates is None else candidates
    key = int(chosen[np.argmax(fit[chosen])])
    return key % 12, key >= 12


def keys_of(signature: KeySignature | None) -> NDArray[np.int64] | None:
    """The keys that a signature allows, as candidates for ``tonic``: the major, the minor, or both."""
    if signature is None:
        return None
    major = 7 * signature.fifths % 12
    minor = 12 + (major + 9) % 12
    chosen = {"major": [major], "minor": [minor], "": [major, minor]}[signature.mode]
    return np.array(chosen, np.int64)


def chords(weights: Floats) -> NDArray[np.int64]:
    """[S] triad (0..11 major, 12..23 minor, by root) that covers most of each row of [S, 12] weights."""
    return np.argmax(weights @ TRIADS.T, axis=1)


def harmonic_charge(chord: NDArray[np.int64], tonic_class: NDArray[np.int64]) -> Floats:
    """[S] harmonic charge: the sum of the melodic charges of the chord's notes relative to the tonic, minus
    that of the tonic triad, at least 0 (after Sundberg 1988; Friberg 1991, DPC 2A)."""
    relative = (np.arange(12)[None, :] - tonic_class[:, None]) % 12
    total = (TRIADS[chord] * MELODIC_CHARGE[relative]).sum(axis=1)
    return np.maximum(total - MELODIC_CHARGE[[0, 4, 7]].sum(), 0.0)

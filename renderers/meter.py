"""The positions of beats, and the metrical strength of score positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import Measure, ParsedScore, TimeSignature

Floats = NDArray[np.float64]

_SAME = 1e-6
"""Quarter notes within which two positions are equal."""


def beat_length(signature: TimeSignature) -> float:
    """Quarter notes per beat: the note value of the lower number, or three of it in compound meters (6, 9, 12
    over 8 or more)."""
    unit = 4.0 / signature.beat_type
    compound = signature.beats > 3 and signature.beats % 3 == 0 and signature.beat_type >= 8
    return 3 * unit if compound else unit


def signature_at(signatures: Sequence[TimeSignature], onset: float) -> TimeSignature:
    """The time signature in force at a position (quarter notes); 4/4 before the first."""
    before = [sign for sign in signatures if sign.onset <= onset + _SAME]
    return before[-1] if before else TimeSignature(0.0, 4, 4)


def beats(score: ParsedScore) -> Floats:
    """[B] quarter notes of all beats and of the end of the score, strictly increasing.

    Beats count from the barline; those of a short first measure (pickup) backwards from the next barline.
    """
    if not score.measures:
        return np.array([0.0, 1.0])
    positions = [
        _beats_of(measure, beat_length(signature_at(score.time_signatures, measure.onset)), pickup=index == 0)
        for index, measure in enumerate(score.measures)
    ]
    joined = np.concatenate([*positions, [score.end]])
    return joined[np.r_[True, np.diff(joined) > _SAME]]


def _beats_of(measure: Measure, length: float, *, pickup: bool) -> Floats:
    span = measure.end - measure.onset
    counted = np.arange(0.0, span - _SAME, length)
    if not pickup:
        return measure.onset + counted
    return np.unique(np.r_[measure.onset, np.round(measure.end - length - counted, 9)].clip(measure.onset))


def levels(score: ParsedScore, quarters: Floats) -> Floats:
    """Metrical level of positions (any number, increasing): 3 on a barline, 2 in the middle of a measure with
    an even number of beats, 1 on another beat, 0 elsewhere (after Lerdahl & Jackendoff 1983, ch. 4)."""
    starts = np.array([measure.onset for measure in score.measures])
    if not len(starts):
        return np.zeros(len(quarters))
    measure = np.clip(np.searchsorted(starts, quarters + _SAME, side="right") - 1, 0, len(starts) - 1)
    signs = [signature_at(score.time_signatures, onset) for onset in starts]
    length = np.array([beat_length(sign) for sign in signs])[measure]
    whole = np.array([4.0 * sign.beats / sign.beat_type for sign in signs])
    spans = np.array([one.end - one.onset for one in score.measures])
    # In a pickup the barline that counts is the next one.
    shift = np.where(np.arange(len(starts)) == 0, np.maximum(whole - spans, 0.0), 0.0)
    place = quarters - starts[measure] + shift[measure]
    per_measure = np.round(whole[measure] / length)
    beat = place / length
    on_beat = np.abs(beat - np.round(beat)) < 1e-3
    halved = (per_measure % 2 == 0) & (np.abs(beat - per_measure / 2) < 1e-3) & (per_measure > 2)
    return np.where(np.abs(place) < 1e-3, 3.0, np.where(halved, 2.0, np.where(on_beat, 1.0, 0.0)))

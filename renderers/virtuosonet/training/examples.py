"""Training examples: scores as features, with human performances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet import features as columns
from renderers.virtuosonet.features import NORMALISED, OUTPUT_KEYS, WIDTHS, NoteFeatures

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

PLAUSIBLE = {
    columns.BEAT_TEMPO: (0.9, 2.9),
    columns.ONSET_DEVIATION: (-0.5, 0.5),
    columns.ARTICULATION: (-1.5, 1.0),
}
"""Column of a performance -> range outside of which a note counts as wrongly aligned: 8 to 800 quarter notes
per minute, half a quarter note, a thirtieth to ten times the written length."""
LIMITS = {columns.PEDAL_REFRESH_TIME: (0.0, 2.0), columns.PEDAL_CUT_TIME: (0.0, 2.0)}
"""Column -> limits of its values: a pedal that moves seconds later belongs to other notes."""
SMALLEST_DEVIATION = 1e-3
"""Standard deviation below which a feature counts as constant."""


@dataclass(frozen=True)
class TrainingExample:
    """A score of N notes with P performances."""

    name: str
    features: NoteFeatures
    beat: Indices
    """[N], as ``network.GroupIndices``."""
    measure: Indices
    voice: Indices
    performances: Floats
    """[P, N, 11] in the units of ``features.OUTPUT_KEYS``."""
    known: Flags
    """[P, N] False where there is no target: not played, wrongly aligned, or a trill."""


def plausible(performance: Array) -> Flags:
    """[N] False for notes of a performance [N, 11] with values that only an alignment error explains."""
    result: Flags = np.asarray(np.isfinite(performance).all(axis=1))
    for column, (lowest, highest) in PLAUSIBLE.items():
        result &= (performance[:, column] >= lowest) & (performance[:, column] <= highest)
    return result


def within_limits(performance: Array) -> Array:
    """The performance [N, 11] within ``LIMITS``."""
    result = performance.copy()
    for column, (lowest, highest) in LIMITS.items():
        result[:, column] = result[:, column].clip(lowest, highest)
    return result


def mean_performance(example: TrainingExample) -> tuple[Floats, Flags]:
    """[N, 11] the mean over performances, and [N] True for notes in any performance.

    Each performance is first shifted to the mean of all, so that a note that only some have played is not
    biased towards their tempo, loudness and pedal."""
    known = example.known[:, :, None]
    own = example.performances.sum(axis=1, where=known) / np.maximum(known.sum(axis=1), 1)
    shifted = example.performances - own[:, None] + own.mean(axis=0)
    count = example.known.sum(axis=0)
    total = shifted.sum(axis=0, where=known)
    return (total / np.maximum(count, 1)[:, None]).astype(np.float32), count > 0


def measure_means(values: Floats, known: Flags, measure: Indices) -> tuple[Floats, Flags]:
    """[M, 2] mean tempo and velocity of the known notes of each measure, and [M] True where there are any."""
    count = np.bincount(measure[known], minlength=int(measure[-1]) + 1)
    sums = [
        np.bincount(measure[known], weights=values[known, column], minlength=len(count))
        for column in (columns.BEAT_TEMPO, columns.VELOCITY)
    ]
    means = np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
    return means.astype(np.float32), count > 0


def statistics_of(examples: Sequence[TrainingExample]) -> dict[str, dict[str, float]]:
    """Feature -> mean and standard deviation over all notes (of performances: all known notes)."""
    written = {
        key: np.concatenate([one.features.columns[key].ravel() for one in examples]) for key in NORMALISED
    }
    played = np.concatenate([one.performances[one.known] for one in examples]).astype(np.float64)
    values = {**written, **dict(zip(OUTPUT_KEYS, played.T, strict=True))}
    return {key: _moments(column) for key, column in values.items()}


def _moments(values: Array) -> dict[str, float]:
    return {"mean": float(values.mean()), "stds": max(float(values.std()), SMALLEST_DEVIATION)}


# ------------------------------------------------------------------------------------ arrays and back


def to_arrays(example: TrainingExample) -> dict[str, NDArray[np.generic]]:
    """An example as arrays for a file."""
    return {
        "name": np.array(example.name),
        "features": example.features.matrix(tuple(WIDTHS)).astype(np.float32),
        "beat": example.beat.astype(np.int32),
        "measure": example.measure.astype(np.int32),
        "voice": example.voice.astype(np.int32),
        "performances": example.performances,
        "known": example.known,
    }


def from_arrays(arrays: dict[str, NDArray[np.generic]]) -> TrainingExample:
    """The inverse of ``to_arrays``."""
    matrix = arrays["features"].astype(np.float64)
    bounds = np.cumsum([0, *WIDTHS.values()])
    parts = {key: matrix[:, start:end] for key, start, end in zip(WIDTHS, bounds, bounds[1:], strict=False)}
    return TrainingExample(
        name=str(arrays["name"]),
        features=NoteFeatures(parts),
        beat=arrays["beat"].astype(np.int64),
        measure=arrays["measure"].astype(np.int64),
        voice=arrays["voice"].astype(np.int64),
        performances=arrays["performances"].astype(np.float32),
        known=arrays["known"].astype(np.bool_),
    )

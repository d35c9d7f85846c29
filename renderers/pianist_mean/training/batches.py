"""Excerpts of pieces as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renderers.expression import LOCAL_BEATS, moving_mean
from renderers.pianist_mean.features import Features
from renderers.pianist_mean.model import PEDAL_MIDDLE, SCALE, Statistics
from renderers.pianist_mean.network import NOTE_OUTPUTS, Batch
from renderers.pianist_mean.texture import Floats
from renderers.pianist_mean.training.targets import Targets

FURTHEST = 4.0
"""Standard deviations within the piece to which targets are limited."""
SMALLEST_SPREAD = 0.2
"""Of a piece, in units of ``SCALE``: below it, deviations are mostly noise and count less."""
OMITTED = {
    **{"dynamic": 0.15, "mark": 0.1, "slur": 0.15, "tempo": 0.15, "composer": 0.3, "pedal": 0.3},
    **{"key": 0.1, "rules": 0.1},
}
"""Group of features -> share of the excerpts that lack it: scores differ in what they write."""
TRANSPOSED = 3
"""Semitones up or down by which excerpts are transposed at most."""
ABSOLUTE_PITCH = ("key_pitch", "grid_low", "grid_high")
"""Columns that a transposition changes, in octaves."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Material:
    """A piece, or an excerpt of one, with N notes and B beats."""

    features: Features
    note_targets: Floats
    """[N, note outputs] in units of ``SCALE``; nan where unknown."""
    beat_targets: Floats
    """[B, beat outputs] the same."""
    note_weight: Floats
    """[3] of the squared errors: one over the piece's variance."""
    beat_weight: Floats
    """[4] the same, of period, local period, pedal, and pedal within the beat."""


@dataclass(frozen=True)
class Excerpts:
    """A batch with its targets; unknown targets are 0."""

    batch: Batch
    note_targets: Tensor
    """[N, note outputs]"""
    note_weights: Tensor
    """[N, note outputs] 0 where unknown."""
    beat_targets: Tensor
    """[C, B, beat outputs]"""
    beat_known: Tensor
    """[C, B, beat outputs] 1 where known."""
    beat_weights: Tensor
    """[C, 4]"""


def material(features: Features, targets: Targets) -> Material:
    """A piece for the training; pieces with more pianists, whose mean is surer, count more."""
    weight = targets.performances / (targets.performances + 1)
    notes = np.stack([getattr(targets, name) / SCALE[name] for name in NOTE_OUTPUTS], axis=1)
    period = targets.period / SCALE["period"]
    pedal = (targets.pedal - PEDAL_MIDDLE) / SCALE["pedal"]
    local = period - moving_mean(period, LOCAL_BEATS)
    within = pedal - pedal.mean(axis=1, keepdims=True)
    return Material(
        features=features,
        note_targets=np.stack([_limited(column) for column in notes.T], axis=1),
        beat_targets=np.concatenate([_limited(period)[:, None], pedal], axis=1),
        note_weight=weight * np.array([_inverse_variance(column) for column in notes.T]),
        beat_weight=weight * np.array([_inverse_variance(one) for one in (period, local, pedal, within)]),
    )


def _inverse_variance(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(1 / max(known.std(), SMALLEST_SPREAD) ** 2) if len(known) and known.std() > 1e-6 else 0.0


def _limited(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    if not len(known):
        return values
    middle, reach = float(np.median(known)), FURTHEST * float(known.std())
    return values.clip(middle - reach, middle + reach)


def excerpt_count(pieces: Sequence[Material], settings: Any) -> int:
    """Per epoch."""
    return sum(_count(piece, settings) for piece in pieces)


def _count(piece: Material, settings: Any) -> int:
    slices = len(piece.features.beat_of_slice)
    return int(min(-(-slices // settings.excerpt_slices), settings.most_excerpts))


def batches(
    pieces: Sequence[Material], statistics: Statistics, settings: Any, generator: np.random.Generator
) -> Iterator[Excerpts]:
    """The excerpts of an epoch, at random places and in random order.

    ``settings``: as ``loop.TrainingSettings``."""
    chosen = []
    for index, piece in enumerate(pieces):
        latest = max(len(piece.features.beat_of_slice) - settings.excerpt_slices, 0)
        starts = generator.integers(0, latest + 1, _count(piece, settings))
        chosen += [(index, int(start)) for start in starts]
    order = generator.permutation(len(chosen))
    for low in range(0, len(order), settings.batch_excerpts):
        group = [chosen[i] for i in order[low : low + settings.batch_excerpts]]
        cut = [excerpt(pieces[i], start, start + settings.excerpt_slices) for i, start in group]
        yield joined([varied(one, statistics, generator, augment=settings.augmented) for one in cut])


def excerpt(piece: Material, low: int, high: int) -> Material:
    """The slices from ``low`` to before ``high``, and their beats."""
    f = piece.features
    high = min(high, len(f.beat_of_slice))
    first, last = f.beat_of_slice[low], f.beat_of_slice[high - 1] + 1
    inside = np.flatnonzero((f.slice_of >= low) & (f.slice_of < high))
    place = np.full(len(f.slice_of), -1)
    place[inside] = np.arange(len(inside))

    def moved(index: Array) -> Array:
        new = place[index[inside]]
        return np.where(new >= 0, new, np.arange(len(inside)))

    cut = Features(
        notes=f.notes[inside],
        beats=f.beats[first:last],
        slice_of=f.slice_of[inside] - low,
        beat_of_slice=f.beat_of_slice[low:high] - first,
        preceding=moved(f.preceding),
        following=moved(f.following),
        note_names=f.note_names,
        beat_names=f.beat_names,
    )
    targets = piece.note_targets[inside], piece.beat_targets[first:last]
    return Material(cut, *targets, piece.note_weight, piece.beat_weight)


def varied(
    piece: Material, statistics: Statistics, generator: np.random.Generator, *, augment: bool = True
) -> Material:
    """Standardised; with ``augment`` transposed, and without groups of features chosen at random."""
    f = piece.features
    octaves = generator.integers(-TRANSPOSED, TRANSPOSED + 1) / 12 if augment else 0.0
    notes = f.notes + octaves * np.isin(f.note_names, ABSOLUTE_PITCH)
    beats = f.beats + octaves * np.isin(f.beat_names, ABSOLUTE_PITCH)
    notes, beats = statistics.standardised(notes, beats)
    for group, share in OMITTED.items():
        if augment and generator.random() < share:
            notes[:, [name.startswith(f"{group}_") for name in f.note_names]] = 0
            beats[:, [name.startswith(f"{group}_") for name in f.beat_names]] = 0
    changed = Features(
        notes, beats, f.slice_of, f.beat_of_slice, f.preceding, f.following, f.note_names, f.beat_names
    )
    targets = piece.note_targets, piece.beat_targets
    return Material(changed, *targets, piece.note_weight, piece.beat_weight)


def joined(parts: Sequence[Material]) -> Excerpts:
    """Excerpts side by side; their features are standardised."""
    f = [one.features for one in parts]
    slices, beats = max(len(one.beat_of_slice) for one in f), max(len(one.beats) for one in f)
    starts = np.cumsum([0, *(len(one.notes) for one in f)])[:-1]
    numbered = list(enumerate(f))
    of_voice = list(zip(f, starts, strict=True))
    batch = Batch(
        notes=_flat([one.notes for one in f]),
        beats=_stacked([one.beats for one in f], beats),
        slice_of=_flat([one.slice_of + k * slices for k, one in numbered], np.int64),
        beat_of_slice=_stacked([one.beat_of_slice + k * beats for k, one in numbered], slices, np.int64),
        preceding=_flat([one.preceding + start for one, start in of_voice], np.int64),
        following=_flat([one.following + start for one, start in of_voice], np.int64),
        slice_mask=_stacked([np.ones((len(one.beat_of_slice), 1)) for one in f], slices),
        beat_mask=_stacked([np.ones((len(one.beats), 1)) for one in f], beats),
    )
    weights = [np.isfinite(one.note_targets) * one.note_weight / len(one.note_targets) for one in parts]
    return Excerpts(
        batch=batch,
        note_targets=_flat([np.nan_to_num(one.note_targets) for one in parts]),
        note_weights=_flat(weights),
        beat_targets=_stacked([np.nan_to_num(one.beat_targets) for one in parts], beats),
        beat_known=_stacked([np.isfinite(one.beat_targets) for one in parts], beats),
        beat_weights=torch.from_numpy(np.stack([one.beat_weight for one in parts])).float(),
    )


def _stacked(columns: Sequence[Array], length: int, dtype: Any = np.float32) -> Tensor:
    """[C, length, ...] padded with zeros."""
    result = np.zeros((len(columns), length, *columns[0].shape[1:]), dtype)
    for row, column in zip(result, columns, strict=True):
        row[: len(column)] = column
    return torch.from_numpy(result)


def _flat(columns: Sequence[Array], dtype: Any = np.float32) -> Tensor:
    return torch.from_numpy(np.concatenate(columns).astype(dtype))

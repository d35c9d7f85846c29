"""Slices of several pieces as one batch.

The rows of a batch are those of its slices one after the other, with consecutive numbers for beats, measures
and voices. The network processes it like one piece; only the recurrences must know where slices begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renderers.virtuosonet.features import pitch_vectors
from renderers.virtuosonet.generation import residual_info
from renderers.virtuosonet.network import GroupIndices
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.training.examples import (
    Flags,
    Floats,
    Indices,
    TrainingExample,
    mean_performance,
    measure_means,
)
from renderers.virtuosonet.vocabulary import COMPOSERS

HIGHEST_TRANSPOSITION = 3
"""Semitones up or down by which slices are transposed at most."""
UNKNOWN_COMPOSER = 0.3
"""Share of slices without their composer, because scores often name none."""


@dataclass(frozen=True)
class Target:
    """A target performance, normalised."""

    notes: Floats
    """[N, 11]"""
    known: Flags
    """[N]"""
    measures: Floats
    """[M, 2]"""
    known_measures: Flags
    """[M]"""


@dataclass(frozen=True)
class TrainingPiece:
    """A training example as inputs and targets of the network."""

    inputs: Floats
    """[N, columns]"""
    residuals: Floats
    """[M, 8]"""
    beat: Indices
    measure: Indices
    voice: Indices
    mean: Target
    """The mean of all performances."""
    single: tuple[Target, ...]
    """Each performance."""


@dataclass(frozen=True)
class Slice:
    """Whole measures, notes ``start`` to ``end`` of a piece, with one target."""

    piece: int
    start: int
    end: int
    performance: int
    """Index of the target performance; -1 for the mean of all."""
    transposition: int
    hides_composer: bool


@dataclass(frozen=True)
class Batch:
    """S slices with T notes, B beats and M measures in all."""

    inputs: Tensor
    """[T, columns]"""
    residuals: Tensor
    """[M, 8]"""
    groups: GroupIndices
    note_counts: list[int]
    """[S] notes of each slice."""
    beat_counts: list[int]
    measure_counts: list[int]
    of_mean: Tensor
    """[S] True where the target is the mean of all performances."""
    target: Tensor
    """[T, 11]"""
    known: Tensor
    """[T] bool"""
    measure_target: Tensor
    """[M, 2]"""
    measure_known: Tensor
    """[M] bool"""


def piece_of(example: TrainingExample, statistics: Statistics) -> TrainingPiece:
    """Normalise an example."""
    inputs = statistics.inputs(example.features)
    residuals = residual_info(torch.from_numpy(inputs), statistics, int(example.measure[-1]) + 1).numpy()

    def target(values: Floats, known: Flags) -> Target:
        notes = statistics.normalised(values.astype(np.float64))
        notes[~known] = 0
        of_measures, known_measures = measure_means(notes, known, example.measure)
        return Target(notes, known, of_measures, known_measures)

    return TrainingPiece(
        inputs=inputs,
        residuals=residuals,
        beat=example.beat,
        measure=example.measure,
        voice=example.voice,
        mean=target(*mean_performance(example)),
        single=tuple(target(*one) for one in zip(example.performances, example.known, strict=True)),
    )


def slices(
    pieces: Sequence[TrainingPiece], notes: int, mean_share: float, random: np.random.Generator
) -> list[Slice]:
    """All pieces cut into slices of about ``notes`` notes from a random position on, in random order.

    ``mean_share``: probability that the target of a slice is the mean of all performances.
    """
    drawn = []
    for index, piece in enumerate(pieces):
        starts = np.flatnonzero(np.diff(piece.measure, prepend=-1))
        # The position of the first cut is random, so that cuts differ between epochs.
        ideal = np.arange(random.integers(notes // 4, notes + 1), len(piece.measure) - notes // 4, notes)
        cuts = np.unique([0, *starts[np.searchsorted(starts, ideal, side="right") - 1], len(piece.measure)])
        for start, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            single = len(piece.single) > 1 and random.random() >= mean_share
            drawn.append(
                Slice(
                    piece=index,
                    start=start,
                    end=end,
                    performance=int(random.integers(len(piece.single))) if single else -1,
                    transposition=int(random.integers(-HIGHEST_TRANSPOSITION, HIGHEST_TRANSPOSITION + 1)),
                    hides_composer=bool(random.random() < UNKNOWN_COMPOSER),
                )
            )
    random.shuffle(drawn)
    return drawn


def grouped(chosen: Sequence[Slice], size: int) -> list[list[Slice]]:
    """The slices of each batch, at most ``size``; of each 8 batches, similar lengths are put together."""
    window = 8 * size
    groups = []
    for begin in range(0, len(chosen), window):
        near = sorted(chosen[begin : begin + window], key=lambda one: one.end - one.start)
        groups += [near[start : start + size] for start in range(0, len(near), size)]
    return groups


def batch(pieces: Sequence[TrainingPiece], chosen: Sequence[Slice], statistics: Statistics) -> Batch:
    """The slices as one batch."""
    parts = [_arrays(pieces[one.piece], one, statistics) for one in chosen]
    columns = {name: [part[name] for part in parts] for name in parts[0]}
    groups = [columns.pop(name) for name in ("beat", "measure", "voice")]
    beats, measures, _ = groups
    return Batch(
        groups=GroupIndices(*(_numbered_on(indices) for indices in groups)),
        note_counts=[len(beat) for beat in beats],
        beat_counts=[int(beat[-1]) + 1 for beat in beats],
        measure_counts=[int(measure[-1]) + 1 for measure in measures],
        of_mean=torch.tensor([one.performance < 0 for one in chosen]),
        **{name: torch.from_numpy(np.concatenate(arrays)) for name, arrays in columns.items()},
    )


def _arrays(piece: TrainingPiece, one: Slice, statistics: Statistics) -> dict[str, NDArray[Any]]:
    """The arrays of a slice: fields of ``Batch``, and its beats, measures and voices."""
    notes = slice(one.start, one.end)
    measures = slice(int(piece.measure[one.start]), int(piece.measure[one.end - 1]) + 1)
    target = piece.mean if one.performance < 0 else piece.single[one.performance]
    return {
        "inputs": _varied(piece.inputs[notes], one, statistics),
        "residuals": piece.residuals[measures],
        "target": target.notes[notes],
        "known": target.known[notes],
        "measure_target": target.measures[measures],
        "measure_known": target.known_measures[measures],
        "beat": _from_zero(piece.beat[notes]),
        "measure": _from_zero(piece.measure[notes]),
        "voice": piece.voice[notes],
    }


def _from_zero(index: Indices) -> Indices:
    """Counted from 0, without gaps."""
    return np.cumsum(np.diff(index, prepend=index[0]) != 0)


def _numbered_on(indices: Sequence[Indices]) -> Tensor:
    offset, parts = 0, []
    for index in indices:
        parts.append(index + offset)
        offset += int(index.max()) + 1
    return torch.from_numpy(np.concatenate(parts))


def _varied(inputs: Floats, one: Slice, statistics: Statistics) -> Floats:
    """The inputs of a slice, transposed and perhaps without the composer."""
    result = inputs.copy()
    if one.hides_composer:
        composer = statistics.columns("composer_vec")
        result[:, composer.start : composer.stop] = 0
        result[:, composer.start + len(COMPOSERS)] = 1
    if one.transposition:
        pitch = statistics.columns("midi_pitch").start
        unnormalised = sum(len(statistics.columns(key)) for key in statistics.input_keys)
        vector = statistics.columns("pitch").start
        midi = np.rint(result[:, pitch] * statistics.deviation["midi_pitch"] + statistics.mean["midi_pitch"])
        midi = midi.astype(np.int64) + one.transposition
        result[:, pitch] = (midi - statistics.mean["midi_pitch"]) / statistics.deviation["midi_pitch"]
        result[:, unnormalised] = midi
        result[:, vector : vector + 13] = pitch_vectors(midi)
    return result

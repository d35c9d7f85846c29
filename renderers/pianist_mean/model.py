"""The trained model: networks whose outputs are averaged, the level of tempo and dynamics, and the gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from renderers.pianist_mean import inference, level
from renderers.pianist_mean.features import Features
from renderers.pianist_mean.inference import Weights
from renderers.pianist_mean.performance import Shape
from renderers.pianist_mean.texture import Floats
from score_to_audio.types import ParsedScore

SCALE = {"velocity": 12.0, "articulation": 0.9, "lead": 0.015, "period": 0.25, "pedal": 0.35}
"""Units of the network's outputs: about a pianist's standard deviation."""
PEDAL_MIDDLE = 0.5

LIMIT = 5.0
"""Standard deviations to which inputs are limited."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the input columns."""

    note_mean: Floats
    note_std: Floats
    beat_mean: Floats
    beat_std: Floats

    @staticmethod
    def of(pieces: Sequence[Features]) -> Statistics:
        notes = np.concatenate([one.notes for one in pieces])
        beats = np.concatenate([one.beats for one in pieces])
        floor = 1e-3  # of a column that hardly varies
        return Statistics(notes.mean(0), notes.std(0) + floor, beats.mean(0), beats.std(0) + floor)

    def standardised(self, notes: Floats, beats: Floats) -> tuple[Floats, Floats]:
        """The columns in standard deviations, limited."""
        return (
            ((notes - self.note_mean) / self.note_std).clip(-LIMIT, LIMIT),
            ((beats - self.beat_mean) / self.beat_std).clip(-LIMIT, LIMIT),
        )


@dataclass(frozen=True)
class Outputs:
    """Of the networks, in the units of the performance, relative to the means of the piece."""

    velocity: Floats
    """[N]"""
    articulation: Floats
    """[N]"""
    lead: Floats
    """[N]"""
    period: Floats
    """[B]"""
    pedal: Floats
    """[B, places]"""


@dataclass(frozen=True)
class Model:
    """K networks, each with the statistics of its inputs."""

    networks: tuple[Weights, ...]
    statistics: tuple[Statistics, ...]
    level: level.Level
    gains: Mapping[str, float]
    """Factor of each output: a mean varies less than a pianist."""

    def shape(
        self,
        score: ParsedScore,
        features: Features,
        *,
        default_tempo: float | None = None,
        speed: float = 1.0,
    ) -> Shape:
        """What is played.

        ``default_tempo``: quarter notes per minute of a score without tempo marks, None: as its texture
        suggests; ``speed`` multiplies the tempo."""
        out, gain = self.outputs(features), self.gains
        mean = self.level.of(score, features, default_tempo)
        quarters = 2.0 ** features.beats[:, features.beat_names.index("meter_beat_quarters")]
        period = gain["period"] * out.period
        # The level is that of the whole piece, slow beats included.
        period = period - np.log2(np.average(2.0**period, weights=quarters))
        return Shape(
            velocity=mean.velocity + gain["velocity"] * (out.velocity - out.velocity.mean()),
            articulation=widened(out.articulation, gain["articulation"]),
            lead=gain["lead"] * out.lead,
            period=mean.period + period - np.log2(speed),
            pedal=widened(out.pedal.mean(axis=1, keepdims=True), gain["pedal"])
            + gain["pedal_within_beat"] * (out.pedal - out.pedal.mean(axis=1, keepdims=True)),
        )

    def outputs(self, features: Features) -> Outputs:
        """The mean of the networks' outputs."""
        return mean_outputs(
            [
                outputs_of(weights, statistics, features)
                for weights, statistics in zip(self.networks, self.statistics, strict=True)
            ]
        )


def mean_outputs(each: Sequence[Outputs]) -> Outputs:
    """The mean of several networks' outputs."""
    return Outputs(*(np.mean([getattr(one, name) for one in each], axis=0) for name in vars(each[0])))


def outputs_of(weights: Weights, statistics: Statistics, features: Features) -> Outputs:
    """The outputs of one network."""
    note_inputs, beat_inputs = statistics.standardised(features.notes, features.beats)
    results = inference.outputs(
        weights,
        note_inputs.astype(np.float32),
        beat_inputs.astype(np.float32),
        slice_of=features.slice_of,
        beat_of_slice=features.beat_of_slice,
        preceding=features.preceding,
        following=features.following,
    )
    notes, beats = (np.asarray(one, np.float64) for one in results)
    return Outputs(
        velocity=SCALE["velocity"] * notes[:, 0],
        articulation=SCALE["articulation"] * notes[:, 1],
        lead=SCALE["lead"] * notes[:, 2],
        period=SCALE["period"] * beats[:, 0],
        pedal=PEDAL_MIDDLE + SCALE["pedal"] * beats[:, 1:],
    )


def widened(values: Floats, gain: float) -> Floats:
    """The values with their distance from their mean multiplied."""
    mean = values.mean()
    return np.asarray(mean + gain * (values - mean))


# --------------------------------------------------------------------------------------------- as arrays


def to_arrays(model: Model) -> tuple[dict[str, Any], dict[str, object]]:
    """Arrays (weights in half precision) and plain values."""
    arrays: dict[str, Any] = {}
    for k, (weights, statistics) in enumerate(zip(model.networks, model.statistics, strict=True)):
        arrays |= {f"{k}.network.{name}": np.asarray(value, np.float16) for name, value in weights.items()}
        arrays |= {
            f"{k}.statistics.{name}": np.asarray(value, np.float32)
            for name, value in vars(statistics).items()
        }
    plain: dict[str, object] = {"networks": len(model.networks), "gains": dict(model.gains)}
    return arrays, plain | {"level": asdict(model.level)}


def from_arrays(arrays: Mapping[str, Any], plain: Mapping[str, Any]) -> Model:
    """The inverse of ``to_arrays``. Raises ``KeyError`` or ``TypeError`` for others."""
    networks, statistics = [], []
    for k in range(int(plain["networks"])):
        start = f"{k}.network."
        own = {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}
        networks.append({name: np.asarray(value, np.float32) for name, value in own.items()})
        columns = ("note_mean", "note_std", "beat_mean", "beat_std")
        statistics.append(
            Statistics(*(np.asarray(arrays[f"{k}.statistics.{name}"], np.float64) for name in columns))
        )
    return Model(tuple(networks), tuple(statistics), level.Level(**plain["level"]), dict(plain["gains"]))

"""The trained model: several networks whose outputs are averaged, the tempo level, and the gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from renderers.pianist_mean import level
from renderers.pianist_mean.features import Features
from renderers.pianist_mean.network import Batch, Network, Sizes
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
    articulation: Floats
    lead: Floats
    period: Floats
    pedal: Floats


@dataclass(frozen=True)
class Model:
    """K networks with the statistics of their inputs."""

    networks: tuple[Network, ...]
    statistics: tuple[Statistics, ...]
    level: level.Level
    gains: Mapping[str, float]
    """Factor of each output: a mean varies less than a pianist."""

    def shape(self, score: ParsedScore, features: Features, *, speed: float = 1.0) -> Shape:
        """What is played; ``speed`` multiplies the tempo."""
        out, gain = self.outputs(features), self.gains
        mean = self.level.of(score, features)
        quarters = 2.0 ** features.beats[:, features.beat_names.index("meter_beat_quarters")]
        period = gain["period"] * out.period
        # The level is that of the whole piece, slow beats included.
        period = period - np.log2(np.average(2.0**period, weights=quarters))
        return Shape(
            velocity=mean.velocity + gain["velocity"] * (out.velocity - out.velocity.mean()),
            articulation=_widened(out.articulation, gain["articulation"]),
            lead=gain["lead"] * out.lead,
            period=mean.period + period - np.log2(speed),
            pedal=_widened(out.pedal, gain["pedal"]),
        )

    def outputs(self, features: Features) -> Outputs:
        """The mean of the networks' outputs."""
        with torch.inference_mode():
            each = [
                network(batch_of(features, statistics))
                for network, statistics in zip(self.networks, self.statistics, strict=True)
            ]
        notes = torch.stack([one[0] for one in each]).mean(0).double().numpy()
        beats = torch.stack([one[1][0] for one in each]).mean(0).double().numpy()
        return Outputs(
            velocity=SCALE["velocity"] * notes[:, 0],
            articulation=SCALE["articulation"] * notes[:, 1],
            lead=SCALE["lead"] * notes[:, 2],
            period=SCALE["period"] * beats[:, 0],
            pedal=PEDAL_MIDDLE + SCALE["pedal"] * beats[:, 1:],
        )


def _widened(values: Floats, gain: float) -> Floats:
    """The values with their distance from their mean multiplied."""
    mean = values.mean()
    return np.asarray(mean + gain * (values - mean))


def batch_of(features: Features, statistics: Statistics) -> Batch:
    """A whole piece as a batch of one."""
    notes, beats = statistics.standardised(features.notes, features.beats)
    return Batch(
        notes=torch.from_numpy(notes).float(),
        beats=torch.from_numpy(beats).float()[None],
        slice_of=torch.from_numpy(features.slice_of),
        beat_of_slice=torch.from_numpy(features.beat_of_slice)[None],
        preceding=torch.from_numpy(features.preceding),
        following=torch.from_numpy(features.following),
        slice_mask=torch.ones(1, len(features.beat_of_slice), 1),
        beat_mask=torch.ones(1, len(beats), 1),
    )


# -------------------------------------------------------------------------------------------- as tensors


def to_tensors(model: Model, sizes: Sizes) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors (weights in half precision) and plain values."""
    tensors: dict[str, Tensor] = {}
    for k, (network, statistics) in enumerate(zip(model.networks, model.statistics, strict=True)):
        tensors |= {f"{k}.network.{name}": value.half() for name, value in network.state_dict().items()}
        tensors |= {
            f"{k}.statistics.{name}": torch.from_numpy(np.asarray(value, np.float32))
            for name, value in vars(statistics).items()
        }
    plain = {"sizes": asdict(sizes), "networks": len(model.networks), "gains": dict(model.gains)}
    return tensors, plain | {"level": asdict(model.level)}


def from_tensors(tensors: Mapping[str, Tensor], plain: Mapping[str, object]) -> Model:
    """The inverse of ``to_tensors``. Raises ``KeyError``, ``TypeError`` or ``RuntimeError`` for others."""
    sizes = Sizes(**plain["sizes"])  # type: ignore[arg-type]
    networks, statistics = [], []
    for k in range(int(plain["networks"])):  # type: ignore[call-overload]
        network = Network(sizes)
        start = f"{k}.network."
        own = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        network.load_state_dict({name: value.float() for name, value in own.items()})
        networks.append(network.eval().requires_grad_(False))
        columns = ("note_mean", "note_std", "beat_mean", "beat_std")
        statistics.append(Statistics(*(tensors[f"{k}.statistics.{name}"].double().numpy() for name in columns)))
    return Model(
        tuple(networks),
        tuple(statistics),
        level.Level(**plain["level"]),  # type: ignore[arg-type]
        plain["gains"],  # type: ignore[arg-type]
    )

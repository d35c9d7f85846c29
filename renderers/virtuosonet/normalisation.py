"""Normalisation of features by the statistics of a checkpoint, and its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet.features import NORMALISED, OUTPUT_KEYS, WIDTHS, NoteFeatures


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of features, and their order in the network's inputs."""

    mean: Mapping[str, float]
    deviation: Mapping[str, float]
    input_keys: tuple[str, ...]
    """Features in the order of the input columns; the unnormalised copies follow."""

    @classmethod
    def from_checkpoint(cls, stats: Mapping[str, Any]) -> Statistics:
        """From the ``stats`` of a checkpoint. Raises ``ValueError`` for features that this model lacks."""
        keys = tuple(str(key) for key in stats["input_keys"])
        if unknown := [key for key in keys if key not in WIDTHS]:
            raise ValueError(f"unknown input features {', '.join(unknown)}")
        if tuple(stats["output_keys"]) != OUTPUT_KEYS:
            raise ValueError(f"outputs other than {', '.join(OUTPUT_KEYS)}")
        values = stats["stats"]
        if absent := [key for key in (*NORMALISED, *OUTPUT_KEYS) if key not in values]:
            raise ValueError(f"no statistics for {', '.join(absent)}")
        return cls(
            mean={str(key): float(entry["mean"]) for key, entry in values.items()},
            deviation={str(key): float(entry["stds"]) for key, entry in values.items()},
            input_keys=keys,
        )

    def columns(self, key: str) -> range:
        """Input columns of a feature."""
        start = sum(WIDTHS[name] for name in self.input_keys[: self.input_keys.index(key)])
        return range(start, start + WIDTHS[key])

    def inputs(self, features: NoteFeatures) -> NDArray[np.float32]:
        """[N, columns] the network's normalised inputs."""
        matrix = features.matrix(self.input_keys)
        for key in self.input_keys:
            if key in NORMALISED:
                column = self.columns(key).start
                matrix[:, column] = (matrix[:, column] - self.mean[key]) / self.deviation[key]
        return matrix.astype(np.float32)

    def denormalised(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, 11] performance features in their units, from the network's outputs."""
        result = outputs * self._output(self.deviation)
        result += self._output(self.mean)
        return result

    def normalised(self, performance: NDArray[np.float64]) -> NDArray[np.float32]:
        """The inverse of ``denormalised``."""
        values = (performance - self._output(self.mean)) / self._output(self.deviation)
        return values.astype(np.float32)

    @staticmethod
    def _output(values: Mapping[str, float]) -> NDArray[np.float32]:
        return np.array([values[key] for key in OUTPUT_KEYS], dtype=np.float32)

"""A trained VirtuosoNet with its statistics, prepared for fast inference on one CPU core."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renderers.virtuosonet.features import NoteFeatures
from renderers.virtuosonet.generation import DecoderOutputs, PerformanceGenerator, residual_info
from renderers.virtuosonet.network import EncodedScore, GroupIndices, VirtuosoNetwork
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.recurrence import FrozenGrus
from renderers.virtuosonet.score import NoteScore


def group_indices(score: NoteScore) -> GroupIndices:
    """Indices of the score's notes; beats and measures count from those of the first note."""
    at = score.locations
    beat, measure, voice = (torch.from_numpy(index) for index in (at.beat, at.measure, at.voice))
    return GroupIndices(beat - beat[0], measure - measure[0], voice)


class FrozenModel:
    """A network with constant weights. Call its methods in inference mode."""

    def __init__(self, network: VirtuosoNetwork, statistics: Statistics) -> None:
        self.network = network.eval()
        self.statistics = statistics
        self._run_gru = FrozenGrus()
        self._generator = PerformanceGenerator(network.performance_decoder)

    def inputs(self, features: NoteFeatures) -> Tensor:
        """[N, columns] normalised."""
        return torch.from_numpy(self.statistics.inputs(features))

    def encode(self, inputs: Tensor, groups: GroupIndices) -> EncodedScore:
        return self.network.encode(inputs, groups, self._run_gru)

    def style(self, score: EncodedScore, performance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [style] of the style vector of a performance (normalised [N, 11])."""
        return self.network.style(score, performance, self._run_gru)

    def generate(self, inputs: Tensor, score: EncodedScore, style: Tensor) -> DecoderOutputs:
        """A performance in a style [style], normalised."""
        return self._generator(score, residual_info(inputs, self.statistics, score.groups.measures), style)

    def perform(self, inputs: Tensor, groups: GroupIndices, style: Tensor) -> NDArray[np.float32]:
        """[N, 11] performance features in the units of ``features.OUTPUT_KEYS``."""
        return self.statistics.denormalised(self.generate(inputs, self.encode(inputs, groups), style).notes)

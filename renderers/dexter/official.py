"""What the published script does otherwise, for ``compatibility="official"``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renderers.dexter.network import Denoiser, ProjectedCondition
from renderers.dexter.performance_codec import DecodedNotes
from renderers.dexter.sampler import Predict, at_steps, combined, with_unconditional
from renderers.dexter.score_codec import ScoreColumns
from score_to_audio.seeding import generator
from score_to_audio.types import SUSTAIN, Controls


def score_columns(notes: NDArray[np.void]) -> ScoreColumns:
    """The columns of a note array of partitura: ties by its rule, file divisions as units."""
    notes = notes[np.lexsort((notes["pitch"], notes["onset_beat"]))]
    voice = np.where(notes["voice"] > 0, notes["voice"], notes["voice"].max(initial=0) + 1)
    codec = np.stack([notes["onset_div"], notes["duration_div"], notes["pitch"], voice], axis=1)
    return ScoreColumns(
        codec=codec.astype(np.float32),
        onset_beat=notes["onset_beat"],
        duration_beat=notes["duration_beat"],
        ids=tuple(notes["id"].tolist()),
    )


def guided_with_dropout(
    network: Denoiser, condition: Tensor, masks: Iterator[Tensor], *, weight: float, steps: list[int]
) -> Predict:
    """As ``sampler.guided``, with the condition dropout of training, which the script leaves on.

    ``masks``: [W] per pass, conditional and unconditional in turn; True: the window's condition is -1.
    """
    both = with_unconditional(network, condition).projected
    dropped = network.condition(torch.full_like(condition[:1, :1], -1.0)).projected
    denoise = at_steps(network, steps, condition.device)

    def predict(x: Tensor, step: int) -> Tensor:
        mask = torch.cat([next(masks), next(masks)]).to(condition.device)[None, :, None, None]
        return combined(denoise(x, ProjectedCondition(torch.where(mask, dropped, both)), step), weight)

    return predict


def dropout_masks(windows: int, probability: float, seed: int, first: int) -> Iterator[Tensor]:
    """[windows] masks for ``guided_with_dropout``, without end; ``first``: index of the first window."""
    random = generator(seed, first, 1)
    while True:
        yield torch.rand(windows, generator=random) < probability


def pedal_per_note(notes: DecodedNotes) -> Controls:
    """One pedal value at each onset."""
    order = np.argsort(notes.onset, kind="stable")
    return Controls(notes.onset[order], np.full(len(order), SUSTAIN), notes.pedal[order])

"""One step of training: the first codebook, one of the others, or both."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from score_to_audio.training.loop import Figures, Moment
from score_to_audio.training.optimization import Optimization, Precision, mixed_precision
from synthesizers.midi_valle.training.losses import (
    Loss,
    alignment_loss,
    draw_prefix,
    first_loss,
    other_loss,
)
from synthesizers.midi_valle.training.network import Batch, TrainingNetwork

Part = Literal["both", "first", "others"]


@dataclass
class StageDraws:
    """Which of the other codebooks each batch trains: Python's generator, seeded with 0 as published."""

    codebooks: int
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def draw(self) -> int:
        """1, 2, ... for the second, third, ... codebook."""
        return self.random.choices(range(1, self.codebooks))[0]

    def state_dict(self) -> dict[str, Any]:
        version, numbers, gauss = self.random.getstate()
        return {"version": version, "numbers": list(numbers), "gauss": gauss}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.random.setstate((saved["version"], tuple(saved["numbers"]), saved["gauss"]))


def losses(
    network: TrainingNetwork,
    batch: Batch,
    draws: StageDraws,
    random: torch.Generator,
    part: Part,
    watched: dict[str, list[Tensor]] | None = None,
) -> dict[str, Loss]:
    """Of the networks that are trained; ``watched`` gets the attention of each."""
    found = {}

    def watch(name: str) -> list[Tensor] | None:
        return None if watched is None else watched.setdefault(name, [])

    if part != "others":
        found["first"] = first_loss(network, batch, watch("first"))
    if part != "first":
        stage, prefix = draws.draw(), draw_prefix(batch, random)
        found["others"] = other_loss(network, batch, stage, prefix, watch("others"))
    return found


def total_of(found: Mapping[str, Loss]) -> Tensor:
    """The mean of the losses; a sum over frames."""
    return torch.stack([loss.total for loss in found.values()]).mean()


def step(
    optimization: Optimization,
    batch: Batch,
    draws: StageDraws,
    moment: Moment,
    *,
    part: Part = "both",
    precision: Precision = "float32",
    per_frame: bool = False,
    alignment: float = 0.0,
    frame_rate: float = 50.0,
) -> Figures:
    """Train on a batch.

    ``alignment``: weight of the loss that shows the attention where the notes are; 0: none, as published.
    ``per_frame``: divide the loss by the number of frames, which makes no difference to ScaledAdam.
    """
    network = optimization.network
    assert isinstance(network, TrainingNetwork)
    watched: dict[str, list[Tensor]] | None = {} if alignment else None
    with mixed_precision(batch.codes.device, precision):
        found = losses(network, batch, draws, moment.random, part, watched)
    total, aligned = total_of(found), {}
    if watched:
        shown = [
            alignment_loss(batch, scores[0], frame_rate, ahead=int(name == "first"))
            for name, scores in watched.items()
        ]
        distance = torch.stack(shown).mean()
        total = total + alignment * batch.frames * distance
        aligned = {"alignment": float(distance.detach())}
    (total / batch.frames if per_frame else total).backward()
    optimization.update()
    return {**figures(batch, found), **aligned}


def figures(batch: Batch, found: Mapping[str, Loss]) -> dict[str, float]:
    """The loss per frame, and the accuracies."""
    accuracies = {f"accuracy_{name}": loss.accuracy.item() for name, loss in found.items()}
    return {"loss": total_of(found).item() / batch.frames, **accuracies}


@torch.no_grad()
def validated(network: nn.Module, batches: Iterable[Batch], part: Part) -> dict[str, float]:
    """Loss and accuracies per frame, with the same draws each time."""
    assert isinstance(network, TrainingNetwork)
    draws, generator = StageDraws(network.config.codebooks), torch.Generator().manual_seed(0)
    sums: dict[str, float] = {}
    frames = 0
    network.eval()
    for batch in batches:
        found = figures(batch, losses(network, batch, draws, generator, part))
        frames += batch.frames
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value * batch.frames
    network.train()
    return {f"validation_{name}": value / frames for name, value in sums.items()}


def trained_names(network: TrainingNetwork, part: Part) -> list[str]:
    """Of the parameters; the tables of notes are fixed where one network is trained alone, as published."""
    prefix = {"both": "", "first": "ar_", "others": "nar_"}[part]
    return [name for name, one in network.named_parameters() if one.requires_grad and name.startswith(prefix)]

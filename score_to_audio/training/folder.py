"""The folder of a training: ``last.pt``, which it continues from, ``best.pt`` and ``curve.csv``."""

from __future__ import annotations

import csv
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from score_to_audio.errors import InputError
from score_to_audio.files import replacing, sweep, writing
from score_to_audio.training.loop import TrainingState

LAST, BEST, CURVE = "last.pt", "best.pt", "curve.csv"


@dataclass(frozen=True)
class TrainingFolder:
    """Files appear whole or not at all. ``last.pt`` comes last: a training that dies before it repeats the
    epoch and writes the others again."""

    path: Path
    config: str
    """What decides the result, as JSON: a training continues only with the same."""
    layout: Callable[[TrainingState], Mapping[str, Any]]
    """The current weights as a checkpoint in the published layout."""

    def resume(self, state: TrainingState) -> bool:
        """Set ``state`` to what was saved; returns whether there was something.

        Raises ``InputError`` where the folder has a training with another configuration.
        """
        last = self.path / LAST
        sweep([self.path])
        if not last.is_file():
            return False
        saved = torch.load(last, map_location="cpu", weights_only=True)
        if not isinstance(saved, dict) or "training" not in saved:
            raise InputError(f"{last}: not the state of a training; take another output folder")
        if saved["config"] != self.config:
            raise InputError(
                f"{last}: a training with another configuration; take another output folder, "
                "or remove this one"
            )
        state.load_state_dict(saved["training"])
        return True

    def save(self, state: TrainingState) -> None:
        content = {**self.layout(state), "training": state.state_dict(), "config": self.config}
        _save(self.path / LAST, content)

    def complete(self, state: TrainingState, *, best: bool) -> None:
        if best:
            _save(self.path / BEST, self.layout(state))
        write_curve(self.path / CURVE, state.history)
        self.save(state)


def _save(path: Path, content: Mapping[str, Any]) -> None:
    with writing(path), replacing(path) as unfinished, unfinished.open("wb") as file:
        torch.save(canonical(dict(content)), file)


def canonical(value: Any) -> Any:
    """Equal content that is pickled to equal bytes, however it came about: pickle writes an object again, or
    refers to where it wrote it, by identity."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        copy = type(value)({canonical(key): canonical(entry) for key, entry in value.items()})
        if isinstance(value, OrderedDict):  # modules put version numbers there
            vars(copy).update(canonical(vars(value)))
        return copy
    if isinstance(value, list | tuple):
        return type(value)(canonical(entry) for entry in value)
    return value


def write_curve(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    text = StringIO(newline="")
    writer = csv.DictWriter(text, list(history[0]))
    writer.writeheader()
    writer.writerows({name: f"{value:.5f}" for name, value in epoch.items()} for epoch in history)
    with writing(path), replacing(path) as unfinished:
        unfinished.write_bytes(text.getvalue().encode())

"""Training VirtuosoNet: from a corpus and a configuration file to a checkpoint in the published layout."""

from __future__ import annotations

import csv
import json
import os
import tomllib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from adapters.virtuosonet import generated, note_ids, read_checkpoint, read_notes, runners
from adapters.virtuosonet_corpus import Prepared, prepare
from renderers.expression import (
    MEASURES,
    Expression,
    Grid,
    agreement,
    grid,
    mean_expression,
    measure,
    nan_average,
)
from renderers.virtuosonet.features import composer_named, note_features
from renderers.virtuosonet.network import NetworkSizes, VirtuosoNet
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.performance import performance
from renderers.virtuosonet.playing import play
from renderers.virtuosonet.recurrence import one_thread
from renderers.virtuosonet.score import NoteScore
from renderers.virtuosonet.training import loop
from renderers.virtuosonet.training.batches import piece_of
from renderers.virtuosonet.training.layout import (
    input_width,
    network_params,
    new_statistics,
    statistics_section,
)
from renderers.virtuosonet.training.loop import Settings, State
from score_to_audio.errors import InputError
from score_to_audio.files import replace_atomically
from score_to_audio.formats.matches import pieces, read_match_cached
from score_to_audio.formats.scores.reader import read_score

LAST, BEST, CURVE = "last.pt", "best.pt", "curve.csv"
"""Files of a training: to go on from, to play with, and what happened."""
CHOSEN_BY = ("velocity", "local_beat_period", "beat_period", "articulation", "pedal_within_beat")
"""Measures whose mean on the validation split decides which checkpoint is best."""


class Sizes(BaseModel):
    """Widths and layers of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    note: int = Field(default=64, ge=1)
    voice: int = Field(default=64, ge=1)
    beat: int = Field(default=64, ge=1)
    measure: int = Field(default=64, ge=1)
    encoder: int = Field(default=64, ge=1)
    final: int = Field(default=96, ge=1)
    performance: int = Field(default=32, ge=1)
    style: int = Field(default=8, ge=1)
    heads: int = Field(default=4, ge=1)


class Config(BaseModel):
    """The configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="own", max_length=100, description="Of the checkpoint.")
    start: str = Field(default="", description="Checkpoint to fine-tune; empty: none.")
    network: Sizes = Field(default_factory=Sizes)
    training: Settings = Field(default_factory=Settings)


@dataclass(frozen=True)
class Judge:
    """A piece of the validation split, and what its pianists do."""

    notes: NoteScore
    ids: list[str]
    """[N] of the notes."""
    inputs: Tensor
    """[N, columns] normalised."""
    of_score: Grid
    humans: Expression


def read_config(path: Path) -> Config:
    """A TOML file. Raises ``InputError`` that names what is wrong in it."""
    try:
        return Config.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {place}: {first['msg']} (got {first['input']!r})") from error


def train(
    corpus: Path, config: Config, output: Path, cache: Path, start: Path | None = None
) -> Iterator[str]:
    """Train into the folder ``output``, or go on with what was begun there; yields lines for a person.

    ``start``: file of the checkpoint that ``config.start`` names. Raises ``InputError``.
    """
    prepared = prepare(corpus, "train", cache)
    yield from prepared.lines()
    if not prepared.examples:
        raise InputError(f"{corpus}: no performance of the train split can be used")
    with one_thread():
        network, statistics = _beginning(config, prepared, start)
        judges = _judges(corpus, cache, statistics)
        state = loop.begin(network, config.training)
        output.mkdir(parents=True, exist_ok=True)
        _resume(state, config, output / LAST)
        if state.epoch:
            yield f"going on after epoch {state.epoch}"
        yield f"{sum(p.numel() for p in network.parameters())} parameters"
        examples = [piece_of(example, statistics) for example in prepared.examples]

        def validate(candidate: VirtuosoNet) -> dict[str, float]:
            return judged(candidate, statistics, judges)

        for figures in loop.epochs(state, examples, statistics, config.training, validate):
            _save(output / LAST, {**_layout(state, statistics, config), **_continuation(state, config)})
            if _merit(figures) >= max(_merit(one) for one in state.history):
                _save(output / BEST, _layout(state, statistics, config))
            _write_curve(output / CURVE, state.history)
            yield " ".join(f"{name} {value:.3f}" for name, value in figures.items())


def judged(network: VirtuosoNet, statistics: Statistics, judges: Sequence[Judge]) -> dict[str, float]:
    """Agreement with the mean of the pianists, of what the renderer plays in the style zero."""
    network.eval()
    style, run = torch.zeros(network.sizes.style), runners(network)
    found = []
    for judge in judges:
        with torch.inference_mode():
            features = generated(network, statistics, judge.inputs, judge.notes, style, run)
        played = performance(judge.notes, play(judge.notes, features), trills=True, note_ids=judge.ids)
        found.append(agreement(measure(judge.of_score, played), judge.humans))
    return {name: nan_average([one[name] for one in found]) for name in MEASURES}


def _judges(corpus: Path, cache: Path, statistics: Statistics) -> list[Judge]:
    judges = []
    for piece in pieces(corpus, "validation"):
        score = read_score(piece.score)
        of_score = grid(score.parsed)
        matches = piece.robust or piece.others
        humans = [measure(of_score, read_match_cached(path, cache / "matches")) for path in matches]
        notes = read_notes(score)
        features = note_features(notes, composer=composer_named(score.parsed.composer))
        inputs = torch.from_numpy(statistics.inputs(features))
        judges.append(Judge(notes, note_ids(score, notes), inputs, of_score, mean_expression(humans)))
    return judges


def _beginning(config: Config, prepared: Prepared, start: Path | None) -> tuple[VirtuosoNet, Statistics]:
    if start is not None:
        network, statistics = read_checkpoint(start)
        return network.requires_grad_(True), statistics
    statistics = new_statistics(prepared.examples)
    wanted = config.network
    sizes = NetworkSizes(
        inputs=input_width(statistics),
        note=wanted.note,
        voice=wanted.voice,
        beat=wanted.beat,
        measure=wanted.measure,
        encoder=wanted.encoder,
        final=wanted.final,
        performance=wanted.performance,
        style=wanted.style,
        heads=wanted.heads,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        return VirtuosoNet(sizes), statistics


def _merit(figures: Mapping[str, float]) -> float:
    return nan_average([figures[name] for name in CHOSEN_BY])


def export(checkpoint: Path, output: Path) -> None:
    """Weights, statistics and sizes of a checkpoint as one safetensors file, without the optimizer.

    Raises ``InputError`` for a file that is no checkpoint of this model.
    """
    from safetensors.torch import save

    network, statistics = read_checkpoint(checkpoint)
    header = {"stats": statistics_section(statistics), "network_params": network_params(network.sizes)}
    unfinished = output.with_name(f"{output.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(
            save(network.state_dict(), {name: json.dumps(value) for name, value in header.items()})
        )
        replace_atomically(unfinished, output)
    finally:
        unfinished.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------- files


def _layout(state: State, statistics: Statistics, config: Config) -> dict[str, Any]:
    """A checkpoint as the published one is laid out. Its loss is 1 less the mean agreement in validation."""
    network = loop.averaged(state)
    return {
        "epoch": state.epoch,
        "state_dict": OrderedDict(network.state_dict()),
        "best_valid_loss": 1 - max(_merit(one) for one in state.history),
        "optimizer": state.optimizer.state_dict(),
        "training_step": state.epoch,
        "stats": statistics_section(statistics),
        "network_params": network_params(network.sizes),
        "model_code": config.name,
    }


def _continuation(state: State, config: Config) -> dict[str, Any]:
    return {"training": loop.to_tensors(state), "config": config.model_dump_json()}


def _resume(state: State, config: Config, last: Path) -> None:
    """Raises ``InputError`` where the folder holds a training with another configuration."""
    if not last.is_file():
        return
    saved = torch.load(last, map_location="cpu", weights_only=True)
    if saved["config"] != config.model_dump_json():
        raise InputError(
            f"{last}: a training with another configuration; take another output folder, or remove this one"
        )
    loop.restore(state, saved["training"])


def _save(path: Path, content: Mapping[str, Any]) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        torch.save(dict(content), unfinished)
        replace_atomically(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_curve(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.5f}" for name, value in one.items()} for one in history)
    unfinished.replace(path)

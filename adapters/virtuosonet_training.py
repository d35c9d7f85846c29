"""Training VirtuosoNet: from a corpus and a configuration file to a checkpoint in the published layout."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from adapters.aligned_corpus import merit, prepare_piece, validation_pieces
from adapters.virtuosonet import note_ids, read_checkpoint, read_notes
from adapters.virtuosonet_corpus import EXAMPLES, TrainingCorpus, prepare, read_arrays
from renderers import expression
from renderers.virtuosonet.decoding import decode
from renderers.virtuosonet.features import composer_named, note_features
from renderers.virtuosonet.inference import FrozenModel, group_indices
from renderers.virtuosonet.network import NetworkSizes, VirtuosoNetwork
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.performance import to_performance
from renderers.virtuosonet.recurrence import single_thread
from renderers.virtuosonet.score import NoteScore
from renderers.virtuosonet.training import loop
from renderers.virtuosonet.training.batches import piece_of
from renderers.virtuosonet.training.layout import (
    input_width,
    network_params,
    new_statistics,
    statistics_section,
)
from renderers.virtuosonet.training.loop import TrainingSettings
from score_to_audio.checkpoints import find
from score_to_audio.errors import InputError
from score_to_audio.files import replacing
from score_to_audio.formats.matches import Piece
from score_to_audio.store import ArtifactStore
from score_to_audio.training.folder import TrainingFolder
from score_to_audio.training.loop import TrainingState
from score_to_audio.training.loop import train as run
from score_to_audio.training.optimization import Optimization, seeded_modules


class NetworkWidths(BaseModel):
    """Widths of the network's layers."""

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


class TrainingConfig(BaseModel):
    """The configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="own", max_length=100, description="Of the checkpoint.")
    start: str = Field(default="", description="Checkpoint to fine-tune; empty: none.")
    network: NetworkWidths = Field(default_factory=NetworkWidths)
    training: TrainingSettings = Field(default_factory=TrainingSettings)


@dataclass(frozen=True)
class ValidationPiece:
    """A piece of the validation split, and the mean of its human performances."""

    notes: NoteScore
    ids: list[str]
    """[N] of the notes."""
    inputs: Tensor
    """[N, columns] normalised."""
    grid: expression.Grid
    humans: expression.Expression


CONFIG = TrainingConfig


def train(
    data: Path,
    config: TrainingConfig,
    output: Path,
    store: ArtifactStore,
    device: str = "cpu",  # noqa: ARG001 (of every trainer; this one computes on the CPU)
) -> Iterator[str]:
    """Train on the (n)ASAP corpus; see ``TrainingModule``."""
    prepared = prepare(data, "train", store)
    yield from prepared.lines()
    if not prepared.examples:
        raise InputError(f"{data}: no performance of the train split can be used")
    with single_thread():
        network, statistics = _start(config, prepared)
        validation = _validation_pieces(data, store, statistics)
        optimization = loop.begin(network, config.training)
        state = TrainingState({"optimization": optimization})
        folder = TrainingFolder(
            output,
            config.model_dump_json(),
            lambda state: _layout(optimization, state, statistics, config),
        )
        if folder.resume(state):
            yield f"going on after epoch {state.epoch}"
        yield f"{sum(p.numel() for p in network.parameters())} parameters"
        examples = [piece_of(example, statistics) for example in prepared.examples]

        def validate(candidate: VirtuosoNetwork) -> dict[str, float]:
            return validated(FrozenModel(candidate, statistics), validation)

        task = loop.task(optimization, examples, statistics, config.training, validate, merit)
        for figures in run(state, loop.schedule(config.training), task, folder):
            yield " ".join(f"{name} {value:.3f}" for name, value in figures.items())


def prepare_part(
    part: Piece,
    config: TrainingConfig,  # noqa: ARG001 (of every trainer)
    store: ArtifactStore,
    device: str,  # noqa: ARG001
) -> Sequence[str]:
    """See ``TrainingModule``."""
    return prepare_piece(part, store, EXAMPLES, read_arrays)


def validated(model: FrozenModel, validation: Sequence[ValidationPiece]) -> dict[str, float]:
    """Agreement of performances in the style zero with the mean of the human performances."""
    style = torch.zeros(model.network.sizes.style)
    agreements = []
    for piece in validation:
        with torch.inference_mode():
            features = model.perform(piece.inputs, group_indices(piece.notes), style)
        decoded = decode(piece.notes, features)
        performance = to_performance(piece.notes, decoded, trills=True, note_ids=piece.ids)
        measured = expression.measure(piece.grid, performance)
        agreements.append(expression.agreement(measured, piece.humans))
    return {name: expression.nan_average([one[name] for one in agreements]) for name in expression.MEASURES}


def _validation_pieces(corpus: Path, store: ArtifactStore, statistics: Statistics) -> list[ValidationPiece]:
    validation = []
    for piece in validation_pieces(corpus, store):
        notes = read_notes(piece.score)
        features = note_features(notes, composer=composer_named(piece.score.parsed.composer))
        inputs = torch.from_numpy(statistics.inputs(features))
        ids = note_ids(piece.score, notes)
        validation.append(ValidationPiece(notes, ids, inputs, piece.grid, piece.humans))
    return validation


def _start(config: TrainingConfig, prepared: TrainingCorpus) -> tuple[VirtuosoNetwork, Statistics]:
    if config.start:
        network, statistics = read_checkpoint(find(config.start).weights)
        return network.requires_grad_(True), statistics
    statistics = new_statistics(prepared.examples)
    sizes = NetworkSizes(inputs=input_width(statistics), **config.network.model_dump())
    with seeded_modules(config.training.seed):
        return VirtuosoNetwork(sizes), statistics


def export(checkpoint: Path, output: Path) -> None:
    """Write weights, statistics and sizes of a checkpoint to one safetensors file, without the optimizer.

    Raises ``InputError`` for a file that is not a checkpoint of this model.
    """
    from safetensors.torch import save

    network, statistics = read_checkpoint(checkpoint)
    header = {"stats": statistics_section(statistics), "network_params": network_params(network.sizes)}
    with replacing(output) as unfinished:
        unfinished.write_bytes(
            save(network.state_dict(), {name: json.dumps(value) for name, value in header.items()})
        )


# ---------------------------------------------------------------------------------------------- files


def _layout(
    optimization: Optimization, state: TrainingState, statistics: Statistics, config: TrainingConfig
) -> dict[str, Any]:
    """A checkpoint in the published layout. Its loss is 1 minus the mean agreement in validation."""
    network = loop.averaged(optimization)
    return {
        "epoch": state.epoch,
        "state_dict": OrderedDict(network.state_dict()),
        "best_valid_loss": 1 - max(merit(epoch) for epoch in state.history),
        "optimizer": optimization.optimizer.state_dict(),
        "training_step": state.epoch,
        "stats": statistics_section(statistics),
        "network_params": network_params(network.sizes),
        "model_code": config.name,
    }

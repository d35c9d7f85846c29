"""Training M2M: from a corpus and a configuration to a checkpoint in the published layout."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from adapters.aligned_corpus import (
    Arrays,
    ReadPiece,
    aligned_performances,
    corpus_examples,
    merit,
    prepare_piece,
    validated,
    validation_pieces,
)
from adapters.m2m import NOTE_ORDER, PERFORMERS, M2MParameters, Pianist, perform, read_checkpoint
from renderers.m2m.network import M2MNetwork, NetworkConfig, config_from_tensors
from renderers.m2m.performance import score_notes
from renderers.m2m.training import task as tasks
from renderers.m2m.training.examples import Example, example
from renderers.m2m.training.task import HeadWeights, TrainingSettings
from renderers.m2m.windows import NoteOrder
from score_to_audio.checkpoints import find
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import ArtifactStore
from score_to_audio.training.folder import TrainingFolder
from score_to_audio.training.loop import TrainingState
from score_to_audio.training.loop import train as run
from score_to_audio.training.optimization import Optimization, seeded_modules
from score_to_audio.weights import load_strictly

EXAMPLES = "m2m 1"
"""Version of the prepared examples; a change makes them anew."""
OFFICIAL_EXAMPLES = f"{EXAMPLES} official"
VALIDATION: dict[str, Any] = {"decoding": "mean", "temperature": 0.5}
"""Options of the renderer in validation: draws agree less with the mean of several pianists."""
LIGHTNING = "2.2.2"
"""Version of PyTorch Lightning in checkpoints."""


class NetworkSizes(BaseModel):
    """Widths of the network's layers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=256, ge=1)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    feed_forward: int = Field(default=256, ge=1)
    embeddings: tuple[int, int, int, int, int, int] = Field(
        default=(32, 64, 256, 256, 128, 256),
        description="Of pitch, velocity, duration, interval, position and bar.",
    )
    notes: int = Field(default=254, ge=1, description="Notes that the network sees at once.")


class M2MTrainingConfig(BaseModel):
    """The configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str = Field(default="", description="Checkpoint to fine-tune; empty: none.")
    performer: Literal["brendel", "arrau", "barenboim", "gulda", "richter", "kempff"] = Field(
        default="brendel", description="The style that learns; a new network has this one only: `brendel`."
    )
    performances: int = Field(default=0, ge=0, description="Per piece at most; 0: all.")
    network: NetworkSizes = Field(default_factory=NetworkSizes)
    training: TrainingSettings = Field(default_factory=TrainingSettings)


CONFIG = M2MTrainingConfig


def train(
    data: Path, config: M2MTrainingConfig, output: Path, store: ArtifactStore, device: str = "cpu"
) -> Iterator[str]:
    """Train on the (n)ASAP corpus; see ``TrainingModule``."""
    style = PERFORMERS.index(config.performer)
    network = _start(config)
    if style >= network.config.styles:
        raise InputError(
            f"performer = {config.performer!r}: the network has {network.config.styles} style(s); "
            f"take {', '.join(PERFORMERS[: network.config.styles])}"
        )
    examples: list[Example] = []
    yield from _read(data, store, config, examples)
    if not examples:
        raise InputError(f"{data}: no performance of the train split can be used")
    validation = validation_pieces(data, store)
    optimization, weights = tasks.begin(network.to(device), config.training)
    state = TrainingState({"optimization": optimization, "weights": weights})
    order: NoteOrder = "performance" if config.training.compatibility == "official" else "score"
    folder = TrainingFolder(
        output, config.model_dump_json(), lambda state: _layout(optimization, weights, state, order)
    )
    if folder.resume(state):
        yield f"going on after epoch {state.epoch}"
    yield f"{sum(p.numel() for p in network.parameters())} parameters"

    def validate() -> dict[str, float]:
        averaged = optimization.averaged
        assert isinstance(averaged, M2MNetwork)
        averaged.eval()
        with torch.inference_mode():
            pianist, options = Pianist(averaged, style, order), M2MParameters(**VALIDATION)
            return validated(validation, lambda score: perform(pianist, score, options, seed=0))

    task = tasks.task(optimization, weights, examples, config.training, validate, merit)
    for figures in run(state, tasks.schedule(config.training), task, folder):
        yield " ".join(f"{name} {value:.3f}" for name, value in figures.items())


def _read(
    corpus: Path, store: ArtifactStore, config: M2MTrainingConfig, examples: list[Example]
) -> Iterator[str]:
    """Add the examples of the train split; yields a line per problem and a summary."""
    style, most = PERFORMERS.index(config.performer), config.performances
    for _, arrays, problems in corpus_examples(corpus, "train", store, *_preparation(config)):
        found = [
            Example(arrays[f"score-{index}"], arrays[f"targets-{index}"], style)
            for index in range(len(arrays) // 2)
        ]
        examples += found[:most] if most else found
        yield from (f"left out {problem}" for problem in problems)
    yield f"{len(examples)} performances with {sum(len(one.score) for one in examples)} notes"


def prepare_part(
    part: Piece,
    config: M2MTrainingConfig,
    store: ArtifactStore,
    device: str,  # noqa: ARG001 (of every trainer)
) -> Sequence[str]:
    """See ``TrainingModule``."""
    return prepare_piece(part, store, *_preparation(config))


def _preparation(config: M2MTrainingConfig) -> tuple[str, ReadPiece]:
    official = config.training.compatibility == "official"
    return (OFFICIAL_EXAMPLES if official else EXAMPLES), partial(_read_piece, official=official)


def _read_piece(piece: Piece, store: ArtifactStore, *, official: bool) -> tuple[Arrays | None, list[str]]:
    """ "score-0", "targets-0" and so on, of each performance."""
    try:
        score = read_score(piece.score)
    except InputError as error:
        return None, [f"{piece.folder}: {error}"]
    order, ticks = score_notes(score.parsed)
    aligned, problems = aligned_performances(piece, score, store)
    arrays: Arrays = {}
    for index, one in enumerate(aligned):
        rows, targets = example(ticks, one.played[order], one.performance, official=official)
        arrays |= {f"score-{index}": rows, f"targets-{index}": targets}
    return arrays, problems


def _start(config: M2MTrainingConfig) -> M2MNetwork:
    if config.start:
        start = find(config.start).weights
        tensors = read_checkpoint(start)
        network = M2MNetwork(config_from_tensors(tensors))
        load_strictly(network, tensors, source=str(start))
        return network
    sizes = config.network
    if sizes.hidden % sizes.heads:
        raise InputError(f"network.heads: {sizes.heads} heads cannot share a width of {sizes.hidden}")
    with seeded_modules(config.training.seed):
        network = M2MNetwork(
            NetworkConfig(
                widths=sizes.embeddings,
                hidden=sizes.hidden,
                layers=sizes.layers,
                heads=sizes.heads,
                feed_forward=sizes.feed_forward,
                positions=sizes.notes + 2,
                styles=1,
                words=1,
            )
        )
        for table in (*network.bert.feat_emb, network.style_emb):
            # Tables are multiplied by the square root of their width.
            torch.nn.init.normal_(table.lut.weight, std=table.lut.embedding_dim**-0.5)
    return network


def _layout(
    optimization: Optimization, weights: HeadWeights, state: TrainingState, order: NoteOrder
) -> dict[str, Any]:
    """A checkpoint in the published layout, that of PyTorch Lightning."""
    tensors = {f"net.{name}": tensor for name, tensor in optimization.averaged.state_dict().items()}
    return {
        "epoch": state.epoch,
        "global_step": state.total,
        "pytorch-lightning_version": LIGHTNING,
        "state_dict": OrderedDict(tensors, **{"loss_weighter.loss_weights": weights.values}),
        "loops": {},
        "callbacks": {},
        "optimizer_states": [optimization.optimizer.state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {NOTE_ORDER: order},
    }

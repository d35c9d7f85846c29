"""Training DExter: from a corpus and a configuration to a checkpoint in the published layout."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
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
from adapters.dexter import encode_aligned, performance_of, read_checkpoint
from renderers.dexter.generation import CodecGenerator, DiffusionSettings, SamplingOptions
from renderers.dexter.network import Denoiser, DenoiserConfig
from renderers.dexter.performance_codec import CodecName, within_limits
from renderers.dexter.score_codec import score_columns
from renderers.dexter.training import task as tasks
from renderers.dexter.training.examples import Example, statistics_of
from renderers.dexter.training.task import TrainingSettings
from score_to_audio.checkpoints import find
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import ArtifactStore
from score_to_audio.training.folder import TrainingFolder
from score_to_audio.training.loop import TrainingState
from score_to_audio.training.loop import train as run
from score_to_audio.training.optimization import Optimization, seeded_modules
from score_to_audio.types import Performance, Score
from score_to_audio.weights import load_strictly

EXAMPLES = "dexter 2"
"""Version of the prepared examples, with the name of the codec; a change makes them anew."""
LIGHTNING = "1.9.5"
"""Version of PyTorch Lightning in checkpoints."""
BEAT_PERIODS = (0.05, 10.0)
"""Seconds per beat outside of which a note counts as wrongly aligned."""


class NetworkSizes(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = Field(default=768, ge=1)
    layers: int = Field(default=12, ge=1)
    notes: int = Field(default=200, ge=8, description="Notes per window.")
    dilations: int = Field(
        default=4, ge=1, le=8, description="Layers see notes 1, 2, 4 ... apart, repeated after so many."
    )


class DexterTrainingConfig(BaseModel):
    """The configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str = Field(default="", description="Checkpoint to fine-tune; empty: none.")
    performances: int = Field(default=0, ge=0, description="Per piece at most; 0: all.")
    codec: CodecName = Field(
        default="own",
        description="own: lengths of keys, and the pedal's mean between onsets; published: lengths until the "
        "pedal is up, and the pedal at the onset. A checkpoint to fine-tune keeps its own.",
    )
    network: NetworkSizes = Field(default_factory=NetworkSizes)
    training: TrainingSettings = Field(default_factory=TrainingSettings)


CONFIG = DexterTrainingConfig


def train(
    data: Path, config: DexterTrainingConfig, output: Path, store: ArtifactStore, device: str = "cpu"
) -> Iterator[str]:
    """Train on the (n)ASAP corpus; see ``TrainingModule``."""
    loaded = _loaded(find(config.start).weights) if config.start else None
    codec = loaded[1].codec if loaded else config.codec
    examples: list[Example] = []
    yield from read_examples(data, store, config.performances, examples, codec)
    if not examples:
        raise InputError(f"{data}: no performance of the train split can be used")
    network, diffusion = loaded or new_network(config, examples)
    validation = validation_pieces(data, store)
    optimization = tasks.begin(network.to(device), config.training)
    state = TrainingState({"optimization": optimization})
    folder = TrainingFolder(
        output, config.model_dump_json(), lambda state: _layout(optimization, state, diffusion, config)
    )
    if folder.resume(state):
        yield f"going on after epoch {state.epoch}"
    yield f"{sum(p.numel() for p in network.parameters())} parameters"

    def validate() -> dict[str, float]:
        averaged = optimization.averaged
        assert isinstance(averaged, Denoiser)
        codecs = CodecGenerator(averaged, diffusion)
        options = SamplingOptions(steps=config.training.validation_steps)
        return validated(validation, lambda score: _perform(codecs, score, options))

    task = tasks.task(optimization, examples, diffusion, config.training, validate, merit)
    for figures in run(state, tasks.schedule(config.training), task, folder):
        yield " ".join(f"{name} {value:.3f}" for name, value in figures.items())


def _perform(codecs: CodecGenerator, score: Score, options: SamplingOptions) -> Performance:
    columns = score_columns(score.parsed)
    codec = codecs.generate(columns.codec, options, seed=0)
    return performance_of(codec, columns, score, kind=codecs.settings.codec)


def prepare_part(
    part: Piece,
    config: DexterTrainingConfig,
    store: ArtifactStore,
    device: str,  # noqa: ARG001 (of every trainer)
) -> Sequence[str]:
    """See ``TrainingModule``."""
    codec = read_checkpoint(find(config.start).weights)[2].codec if config.start else config.codec
    return prepare_piece(part, store, *_preparation(codec))


def _preparation(codec: CodecName) -> tuple[str, ReadPiece]:
    return f"{EXAMPLES} {codec}", partial(_read_piece, kind=codec)


def read_examples(
    corpus: Path, store: ArtifactStore, most: int, examples: list[Example], codec: CodecName
) -> Iterator[str]:
    """Add the examples of the train split, ``most`` of a piece (0: all); yields problems and a summary."""
    for _, arrays, problems in corpus_examples(corpus, "train", store, *_preparation(codec)):
        if arrays:
            one = Example(**arrays)
            count = most or len(one.known)
            examples.append(Example(one.score, one.performances[:count], one.known[:count]))
        yield from (f"left out {problem}" for problem in problems)
    performances = sum(len(one.known) for one in examples)
    yield f"{performances} performances with {sum(int(one.known.sum()) for one in examples)} notes"


def _read_piece(piece: Piece, store: ArtifactStore, *, kind: CodecName) -> tuple[Arrays | None, list[str]]:
    """The fields of an ``Example``."""
    try:
        score = read_score(piece.score)
    except InputError as error:
        return None, [f"{piece.folder}: {error}"]
    columns = score_columns(score.parsed)
    place = {name: index for index, name in enumerate(score.parsed.notes.id)}
    order = np.array([place[name] for name in columns.ids], np.int64)
    aligned, problems = aligned_performances(piece, score, store)
    codecs, known = [], []
    for one in aligned:
        codec = np.zeros((len(columns), 5), np.float32)
        notes = np.flatnonzero(one.played[order] >= 0)
        # Only notes that were played, where the published preparation lets missing ones distort the tempo.
        codec[notes] = encode_aligned(
            columns.subset(notes), one.played[order][notes], one.performance, kind=kind
        )
        usable = np.zeros(len(columns), bool)
        usable[notes] = (codec[notes, 0] > BEAT_PERIODS[0]) & (codec[notes, 0] < BEAT_PERIODS[1])
        codecs.append(within_limits(codec))
        known.append(usable)
    if not codecs:
        return None, problems
    return {"score": columns.codec, "performances": np.stack(codecs), "known": np.stack(known)}, problems


def _loaded(start: Path) -> tuple[Denoiser, DiffusionSettings]:
    tensors, shape, diffusion = read_checkpoint(start)
    network = Denoiser(shape)
    load_strictly(network, tensors, source=str(start))
    return network, diffusion


def new_network(
    config: DexterTrainingConfig, examples: Sequence[Example]
) -> tuple[Denoiser, DiffusionSettings]:
    """A network with random weights for the examples' statistics."""
    statistics = statistics_of(examples)
    diffusion = DiffusionSettings(
        window=config.network.notes,
        condition_dropout=config.training.condition_dropout,
        means=tuple(statistics.means.tolist()),
        stds=tuple(statistics.stds.tolist()),
        prediction="epsilon" if config.training.compatibility == "official" else config.training.prediction,
        codec=config.codec,
    )
    with seeded_modules(config.training.seed):
        network = Denoiser(_shape(config.network))
        for module in network.modules():
            if isinstance(module, torch.nn.Conv1d):
                torch.nn.init.kaiming_normal_(module.weight)
        torch.nn.init.zeros_(network.output_projection.weight)
    return network, diffusion


def _shape(sizes: NetworkSizes) -> DenoiserConfig:
    return DenoiserConfig(sizes.channels, sizes.layers, dilation_bound=sizes.dilations)


def _layout(
    optimization: Optimization,
    state: TrainingState,
    diffusion: DiffusionSettings,
    config: DexterTrainingConfig,
) -> dict[str, Any]:
    """A checkpoint in the published layout, that of PyTorch Lightning."""
    network = optimization.averaged
    assert isinstance(network, Denoiser)
    shape = network.config
    return {
        "epoch": state.epoch,
        "global_step": state.total,
        "pytorch-lightning_version": LIGHTNING,
        "state_dict": OrderedDict(network.state_dict()),
        "loops": {},
        "callbacks": {},
        "optimizer_states": [optimization.optimizer.state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "lr": config.training.learning_rate,
            "timesteps": diffusion.timesteps,
            "beta_start": diffusion.beta_start,
            "beta_end": diffusion.beta_end,
            "loss_type": "l1",
            "unconditional": False,
            "condition": "fixed",
            "transfer": False,
            "residual_channels": shape.channels,
            "residual_layers": shape.layers,
            "kernel_size": 3,
            "dilation_base": shape.dilation_base,
            "dilation_bound": shape.dilation_bound,
            "p_codec_rows": shape.performance_columns,
            "s_codec_rows": shape.score_columns,
            "c_codec_rows": 7,
            "norm_args": [0, 1, "rowwise"],
            "seg_len": diffusion.window,
            "cond_dropout": diffusion.condition_dropout,
            "dataset_means": list(diffusion.means),
            "dataset_stds": list(diffusion.stds),
            "training": {"mode": diffusion.prediction, "target": "gen_noise", "codec": diffusion.codec},
            "sampling": {"type": "cfdg_ddpm", "w": 1.2},
        },
    }

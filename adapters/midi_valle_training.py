"""Training MIDI-VALLE: from a folder of recordings to a checkpoint in the published layout."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapters.codec import loaded_codec
from adapters.midi_valle import TRAINING_CONFIG, checked_config, checkpoint_tensors, training_config
from adapters.midi_valle_corpus import Preparation, prepare, problems_of, stored_segments
from score_to_audio.checkpoints import find
from score_to_audio.errors import InputError
from score_to_audio.seeding import numpy_generator
from score_to_audio.store import ArtifactStore
from score_to_audio.training.recordings import Recording, find_recordings, split

if TYPE_CHECKING:
    from score_to_audio.training.loop import Figures, Moment, Task
    from score_to_audio.training.optimization import Optimization
    from synthesizers.codecs.encodec import CodecConfig
    from synthesizers.midi_valle.training.network import Batch, TrainingNetwork
    from synthesizers.midi_valle.training.segments import TrainingSegment
    from synthesizers.midi_valle.training.step import StageDraws

RATES = {"scaled-adam": 0.05, "adamw": 3e-4}
"""Default learning rates."""


class MidiValleSizes(BaseModel):
    """Of a model that is trained from nothing; the defaults are those of the published one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=1024, ge=64, multiple_of=64, description="One head per 64.")
    layers: int = Field(default=12, ge=1)


class MidiValleTrainingSettings(BaseModel):
    """Hyperparameters; the defaults are the published ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=20, ge=1)
    batches: int = Field(default=0, ge=0, description="Batches of the whole training at most; 0: no limit.")
    patience: int = Field(
        default=0, ge=0, description="Epochs without better validation that end it; 0: never."
    )
    save_every: int = Field(default=1000, ge=0, description="Batches after which the state is saved.")
    batch_seconds: float = Field(
        default=200.0, gt=0, description="Sum of d + d^2/10 over the segments of d seconds in a batch."
    )
    accumulation: int = Field(default=8, ge=1, description="Batches per update.")
    optimizer: Literal["scaled-adam", "adamw"] = "scaled-adam"
    learning_rate: float = Field(
        default=0.0, ge=0, description="Base rate; 0: 0.05 for scaled-adam, 0.0003 for adamw."
    )
    warm_up: int = Field(default=20, ge=1, description="Batches.")
    part: Literal["both", "first", "others"] = Field(
        default="both", description="Train both networks, or only that of the first codebook or the others."
    )
    alignment: float = Field(
        default=0.0,
        ge=0,
        description="Weight of a loss that shows two heads where the notes are; from nothing 1.",
    )
    excerpt: float = Field(
        default=0.0,
        ge=0,
        le=24,
        description="Seconds at most of a part of a segment, drawn anew each time and behind another part of "
        "three seconds as its prompt; 0: whole segments, as published.",
    )
    dropout: float = Field(default=0.1, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16: mixed precision, for a GPU."
    )
    validation: float = Field(default=0.1, gt=0, lt=1, description="Share of the recordings to validate on.")
    compatibility: Literal["", "official"] = Field(
        default="", description="official: notes that cross the end of a segment are lost, as published."
    )
    seed: int = Field(default=0, ge=0)


class MidiValleTrainingConfig(BaseModel):
    """The configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str = Field(default="", description="Checkpoint to fine-tune; empty: train from nothing.")
    codec: str = Field(default="piano-encodec", description="Checkpoint of the codec whose codes it learns.")
    network: MidiValleSizes = Field(default_factory=MidiValleSizes)
    training: MidiValleTrainingSettings = Field(default_factory=MidiValleTrainingSettings)


CONFIG = MidiValleTrainingConfig


def train(
    data: Path, config: MidiValleTrainingConfig, output: Path, store: ArtifactStore, device: str = "cpu"
) -> Iterator[str]:
    """Train on recordings; see ``TrainingModule``."""
    from score_to_audio.training.folder import TrainingFolder
    from score_to_audio.training.loop import Schedule, TrainingState
    from score_to_audio.training.loop import train as run
    from synthesizers.midi_valle.training.step import StageDraws

    settings = config.training
    recordings, problems = find_recordings(data)
    preparation = preparation_of(config, store, device)
    loaded = preparation.codec
    parts = split(recordings, settings.validation, settings.seed)
    to_train, to_validate = (prepare(part, preparation, problems.append) for part in parts)
    yield from problems
    frames = sum(len(one.codes) for one in to_train)
    hours = frames / loaded.config.frame_rate / 3600
    yield f"{len(to_train)} segments of {hours:.2f} hours, {len(to_validate)} to validate on"
    if not to_train or not to_validate:
        raise InputError(f"{data}: too few recordings can be used; add longer ones, or their MIDI files")
    network = _network(config, loaded.config)
    yield f"{sum(one.numel() for one in network.parameters())} parameters"
    optimization = _optimization(network.to(device), settings)
    draws = StageDraws(network.config.codebooks)
    state = TrainingState({"optimization": optimization, "draws": draws})
    written = config.model_dump_json()
    folder = TrainingFolder(
        output, written, lambda _: {"model": network.state_dict(), TRAINING_CONFIG: written}
    )
    if folder.resume(state):
        yield f"going on after epoch {state.epoch}, batch {state.batch}"
    schedule = Schedule(
        epochs=settings.epochs,
        batches=settings.batches,
        patience=settings.patience,
        save_every=settings.save_every,
        seed=settings.seed,
    )
    task = _task(optimization, draws, to_train, to_validate, loaded.config.frame_rate, settings, device)
    for figures in run(state, schedule, task, folder):
        yield " ".join(f"{name} {value:.4g}" for name, value in figures.items())


def prepare_part(
    part: Recording, config: MidiValleTrainingConfig, store: ArtifactStore, device: str
) -> Sequence[str]:
    """See ``TrainingModule``."""
    return problems_of(part, stored_segments(part, preparation_of(config, store, device)))


def preparation_of(config: MidiValleTrainingConfig, store: ArtifactStore, device: str) -> Preparation:
    """Raises ``InputError`` where the codec's checkpoint is not there."""
    codec = find(config.codec)
    return Preparation(loaded_codec(codec, device), codec.sha256, config.training.compatibility, store)


def export(checkpoint: Path, output: Path) -> None:
    """Write a checkpoint in half precision, without the state of its training.

    Raises ``InputError`` for a file that is not a checkpoint of MIDI-VALLE.
    """
    from safetensors.torch import save

    from score_to_audio.files import replacing

    tensors = checkpoint_tensors(checkpoint)
    checked_config(tensors, checkpoint)
    config = training_config(checkpoint)
    metadata = None if config is None else {TRAINING_CONFIG: config}
    with replacing(output) as unfinished:
        unfinished.write_bytes(save({name: one.half().clone() for name, one in tensors.items()}, metadata))


def _network(config: MidiValleTrainingConfig, codec: CodecConfig) -> TrainingNetwork:
    from score_to_audio.training.optimization import seeded_modules
    from synthesizers.midi_valle.network import MidiValleConfig
    from synthesizers.midi_valle.training.network import TrainingNetwork

    start = find(config.start).weights if config.start else None
    tensors = {} if start is None else checkpoint_tensors(start)
    if start is None:
        width, layers = config.network.width, config.network.layers
        sizes = MidiValleConfig(
            width=width, heads=width // 64, layers=layers, codebooks=codec.n_q, codes=codec.bins
        )
    else:
        sizes = checked_config(tensors, start)
    if (sizes.codebooks, sizes.codes) != (codec.n_q, codec.bins):
        raise InputError(
            f"the codec has {codec.n_q} codebooks of {codec.bins} codes, the checkpoint {start} "
            f"{sizes.codebooks} of {sizes.codes}; take the codec that it was trained with"
        )
    with seeded_modules(config.training.seed):
        network = TrainingNetwork(sizes, dropout=config.training.dropout)
    if tensors:
        network.load(tensors)
    return network


def _optimization(network: TrainingNetwork, settings: MidiValleTrainingSettings) -> Optimization:
    import torch

    from score_to_audio.training.optimization import Optimization
    from synthesizers.midi_valle.training.optimizer import ScaledAdam
    from synthesizers.midi_valle.training.step import trained_names

    named = dict(network.named_parameters())
    chosen = [named[name] for name in trained_names(network, settings.part)]
    network.train()
    if settings.optimizer == "scaled-adam":
        return Optimization(network, ScaledAdam(chosen), accumulation=settings.accumulation)
    optimizer = torch.optim.AdamW(chosen, betas=(0.9, 0.95))
    return Optimization(network, optimizer, accumulation=settings.accumulation, gradient_norm=1.0)


def _task(
    optimization: Optimization,
    draws: StageDraws,
    to_train: Sequence[TrainingSegment],
    to_validate: Sequence[TrainingSegment],
    frame_rate: float,
    settings: MidiValleTrainingSettings,
    device: str,
) -> Task[list[int]]:
    from score_to_audio.training.loop import Task
    from synthesizers.midi_valle.training import step
    from synthesizers.midi_valle.training.segments import PROMPT, batches, collate, prompted

    longest = PROMPT + settings.excerpt if settings.excerpt else math.inf
    durations, to_judge = (
        [min(len(one.codes) / frame_rate, longest) for one in segments]
        for segments in (to_train, to_validate)
    )

    def collated(segments: Sequence[TrainingSegment], number: int) -> Batch:
        if settings.excerpt:
            random = numpy_generator(settings.seed, 0, number)
            segments = [prompted(one, frame_rate, settings.excerpt, random) for one in segments]
        return collate(segments, device)

    def plan(epoch: int) -> list[list[int]]:
        return batches(durations, settings.batch_seconds, numpy_generator(settings.seed, epoch))

    def train_on(chosen: list[int], moment: Moment) -> Figures:
        batch = collated([to_train[index] for index in chosen], moment.total)
        optimization.set_learning_rate(_learning_rate(settings, moment, optimization.pending))
        return step.step(
            optimization,
            batch,
            draws,
            moment,
            part=settings.part,
            precision=settings.precision,
            per_frame=settings.optimizer == "adamw",
            alignment=settings.alignment,
            frame_rate=frame_rate,
        )

    def validate() -> Figures:
        parts = batches(to_judge, settings.batch_seconds)
        judged = (
            collated([to_validate[index] for index in part], number) for number, part in enumerate(parts)
        )
        return step.validated(optimization.network, judged, settings.part)

    return Task(plan, train_on, validate, merit=lambda figures: -figures["validation_loss"])


def _learning_rate(settings: MidiValleTrainingSettings, moment: Moment, pending: int) -> float:
    from score_to_audio.training.loop import cosine
    from synthesizers.midi_valle.training.optimizer import eden

    base = settings.learning_rate or RATES[settings.optimizer]
    done = moment.total - pending
    if settings.optimizer == "scaled-adam":
        return eden(done, moment.epoch, base=base, warm_up=settings.warm_up)
    return cosine(moment.done, highest=base, warm_up=0.0) * min(1.0, (done + 1) / settings.warm_up)

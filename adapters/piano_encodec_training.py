"""Training Piano-Encodec: from a folder of recordings to a checkpoint in the published layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from score_to_audio.checkpoints import find
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import read_audio
from score_to_audio.seeding import numpy_generator
from score_to_audio.store import ArtifactStore
from score_to_audio.training.recordings import Recording, find_recordings, split

if TYPE_CHECKING:
    from torch import Tensor

    from score_to_audio.training.loop import Figures, Moment, Task
    from synthesizers.codecs.encodec import Codec
    from synthesizers.codecs.training.step import CodecTraining

Segment = tuple[int, float]
"""Index of a recording, and the second at which the segment starts."""
OVERHANG = 0.5
"""Share of a segment that may lie after the end of the recording, which is silent."""


class CodecSizes(BaseModel):
    """Of a codec that is trained from nothing; the defaults are those of the published one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate: int = Field(default=32000, ge=8000, le=48000)
    dimension: int = Field(default=128, ge=1)
    n_filters: int = Field(default=64, ge=1)
    ratios: tuple[int, ...] = Field(default=(8, 5, 4, 4), min_length=1)
    lstm: int = Field(default=2, ge=1)
    pad_mode: Literal["constant", "reflect"] = "constant"
    n_q: int = Field(default=4, ge=1, description="Codebooks.")
    bins: int = Field(default=2048, ge=2, description="Codes per codebook.")


class LossWeights(BaseModel):
    """Shares of the losses in the gradient; without the first two there is no discriminator."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adversarial: float = Field(default=4.0, ge=0)
    feature: float = Field(default=4.0, ge=0)
    l1: float = Field(default=0.1, ge=0)
    spectral: float = Field(default=2.0, gt=0)


class Spectra(BaseModel):
    """Of the mel loss."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    windows: tuple[int, ...] = Field(default=(64, 128, 256, 512, 1024), min_length=1, description="Samples.")
    bands: int = Field(default=64, ge=1)
    scale: Literal["power", "amplitude"] = Field(
        default="power", description="Of the linear difference; amplitude starts more calmly."
    )


class CodecTrainingSettings(BaseModel):
    """Hyperparameters; the defaults are audiocraft's, and the paper's number of epochs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=40, ge=1)
    epoch_batches: int = Field(default=2000, ge=1, description="Batches per epoch.")
    batches: int = Field(default=0, ge=0, description="Batches of the whole training at most; 0: no limit.")
    patience: int = Field(
        default=0, ge=0, description="Epochs without better validation that end it; 0: never."
    )
    save_every: int = Field(default=200, ge=0, description="Batches after which the state is saved.")
    segment: float = Field(default=1.0, gt=0.05, le=30, description="Seconds.")
    batch_segments: int = Field(default=64, ge=1, description="Segments per batch.")
    accumulation: int = Field(default=1, ge=1, description="Batches per update.")
    learning_rate: float = Field(default=3e-4, gt=0)
    warm_up: int = Field(default=0, ge=0, description="Batches in which the rate rises.")
    betas: tuple[float, float] = Field(default=(0.5, 0.9), description="Of Adam.")
    gradient_norm: float = Field(default=0.0, ge=0, description="Gradients are clipped to it; 0: never.")
    average: float = Field(default=0.99, ge=0, lt=1, description="Decay of the weights' moving average.")
    part: Literal["codec", "decoder"] = Field(
        default="codec", description="decoder: encoder and codebooks stay, and so do the codes of sounds."
    )
    unquantized: int = Field(
        default=0, ge=0, description="Batches at the start that leave the codebooks aside; from nothing 150."
    )
    dead_codes: Literal["revived", "official"] = Field(
        default="revived", description="official: unused codes stay unused, as in the published training."
    )
    weights: LossWeights = Field(default_factory=LossWeights)
    spectra: Spectra = Field(default_factory=Spectra)
    discriminator_channels: int = Field(default=32, ge=1)
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16: mixed precision, for a GPU."
    )
    validation: float = Field(default=0.1, gt=0, lt=1, description="Share of the recordings to validate on.")
    validation_segments: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)


class CodecTrainingConfig(BaseModel):
    """The configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str = Field(
        default="encodec-32khz", description="Checkpoint to fine-tune; empty: train from nothing."
    )
    network: CodecSizes = Field(default_factory=CodecSizes)
    training: CodecTrainingSettings = Field(default_factory=CodecTrainingSettings)


CONFIG = CodecTrainingConfig


def train(
    data: Path,
    config: CodecTrainingConfig,
    output: Path,
    store: ArtifactStore,  # noqa: ARG001 (of every trainer; this one reads recordings as they are)
    device: str = "cpu",
) -> Iterator[str]:
    """Train on recordings; see ``TrainingModule``."""
    from score_to_audio.training.folder import TrainingFolder
    from score_to_audio.training.loop import Schedule, TrainingState
    from score_to_audio.training.loop import train as run
    from synthesizers.codecs.training import step
    from synthesizers.codecs.training.layout import layout

    settings = config.training
    recordings, left_out = find_recordings(data)
    yield from left_out
    to_train, to_validate = split(recordings, settings.validation, settings.seed)
    hours = sum(one.seconds for one in to_train) / 3600
    yield f"{len(to_train)} recordings of {hours:.2f} hours, {len(to_validate)} to validate on"
    training = _begin(config, device)
    network, averaged = training.codec.network, step.averaged(training)
    yield f"{sum(one.numel() for one in network.parameters())} parameters"
    state = TrainingState(
        {
            "codec": training.codec,
            "discriminator": training.discriminator,
            "balancer": training.balancer,
        }
    )
    folder = TrainingFolder(output, config.model_dump_json(), lambda _: layout(averaged))
    if folder.resume(state):
        yield f"going on after epoch {state.epoch}, batch {state.batch}"
    schedule = Schedule(
        epochs=settings.epochs,
        batches=settings.batches,
        patience=settings.patience,
        save_every=settings.save_every,
        seed=settings.seed,
    )
    task = _task(training, averaged, to_train, to_validate, settings, device)
    for figures in run(state, schedule, task, folder):
        yield " ".join(f"{name} {value:.4g}" for name, value in figures.items())


def prepare_part(
    part: Recording,  # noqa: ARG001
    config: CodecTrainingConfig,  # noqa: ARG001
    store: ArtifactStore,  # noqa: ARG001
    device: str,  # noqa: ARG001
) -> Sequence[str]:
    """Nothing: recordings are read as they are. See ``TrainingModule``."""
    return ()


def export(checkpoint: Path, output: Path) -> None:
    """Write a checkpoint in half precision, without the state of its training.

    Raises ``InputError`` for a file that is not a checkpoint of a codec in audiocraft's layout.
    """
    import torch

    from adapters.codec import load_trainable_codec
    from score_to_audio.files import replacing
    from score_to_audio.plugins import Checkpoint
    from synthesizers.codecs.training.layout import layout

    codec = load_trainable_codec(Checkpoint(checkpoint.name, {"weights": checkpoint}, ""))
    with replacing(output) as unfinished, unfinished.open("wb") as file:
        torch.save(layout(codec.half()), file)


def _begin(config: CodecTrainingConfig, device: str) -> CodecTraining:
    from adapters.codec import load_trainable_codec
    from score_to_audio.training.optimization import seeded_modules
    from synthesizers.codecs.encodec import Codec, CodecConfig
    from synthesizers.codecs.training import step
    from synthesizers.codecs.training.discriminator import Discriminator

    settings = config.training
    with seeded_modules(settings.seed):
        if config.start:
            codec = load_trainable_codec(find(config.start))
        else:
            codec = Codec(CodecConfig(**config.network.model_dump()))
        discriminator = Discriminator(channels=settings.discriminator_channels)
    fits = codec.config.n_filters % 16 == 0 and codec.config.pad_mode == "constant"
    if settings.precision == "bfloat16" and device == "cpu" and not fits:
        # oneDNN's gradients of narrower and of strided transposed convolutions are wrong (PyTorch 2.13).
        raise InputError(
            "training.precision: on a CPU bfloat16 needs n_filters that are a multiple of 16 and "
            "pad_mode constant; take float32"
        )
    longest = max(len(window) for _, window in discriminator.named_buffers())
    if round(settings.segment * codec.config.sample_rate) < longest:
        raise InputError(
            f"training.segment: {settings.segment} s is shorter than the discriminator's longest window "
            f"({longest} samples); take a longer one"
        )
    return step.begin(
        codec.to(device),
        discriminator.to(device),
        learning_rate=settings.learning_rate,
        weights=settings.weights.model_dump(),
        average=settings.average,
        accumulation=settings.accumulation,
        dead_codes=settings.dead_codes,
        precision=settings.precision,
        betas=settings.betas,
        gradient_norm=settings.gradient_norm or None,
        spectra=step.Spectra(**settings.spectra.model_dump()),
        part=settings.part,
    )


def _task(
    training: CodecTraining,
    averaged: Codec,
    to_train: Sequence[Recording],
    to_validate: Sequence[Recording],
    settings: CodecTrainingSettings,
    device: str,
) -> Task[Sequence[Segment]]:
    import torch

    from score_to_audio.training.loop import Task, in_batches
    from synthesizers.codecs.training import step

    def plan(epoch: int) -> list[Sequence[Segment]]:
        count = settings.epoch_batches * settings.batch_segments
        random = numpy_generator(settings.seed, epoch)
        return in_batches(draw_segments(to_train, count, settings.segment, random), settings.batch_segments)

    def sound_of(recordings: Sequence[Recording], segments: Sequence[Segment]) -> Tensor:
        read = [
            read_segment(recordings[index].path, start, settings.segment, averaged)
            for index, start in segments
        ]
        return torch.from_numpy(np.stack(read))[:, None].to(device)

    def train_on(segments: Sequence[Segment], moment: Moment) -> Figures:
        if settings.warm_up:
            rate = settings.learning_rate * min(1.0, (moment.total + 1) / settings.warm_up)
            training.codec.set_learning_rate(rate)
        quantized = moment.total >= settings.unquantized
        return step.step(training, sound_of(to_train, segments), moment.random, quantized=quantized)

    fixed = draw_segments(
        to_validate, settings.validation_segments, settings.segment, numpy_generator(settings.seed, 0, 1)
    )

    def validate() -> Figures:
        parts = in_batches(fixed, settings.batch_segments)
        return step.validated(averaged, (sound_of(to_validate, part) for part in parts))

    return Task(plan, train_on, validate, merit=lambda figures: -figures["spectral_distance"])


def draw_segments(
    recordings: Sequence[Recording], count: int, seconds: float, random: np.random.Generator
) -> list[Segment]:
    """Random segments: a recording by its duration, then a start."""
    durations = np.array([one.seconds for one in recordings])
    chosen = random.choice(len(durations), size=count, p=durations / durations.sum())
    latest = np.maximum(0.0, durations[chosen] - OVERHANG * seconds)
    return list(zip(chosen.tolist(), (random.random(count) * latest).tolist(), strict=True))


def read_segment(path: Path, start: float, seconds: float, codec: Codec) -> np.ndarray:
    """[samples] mono at the codec's rate, zeros after the end."""
    from adapters.codec import prepared

    sound = prepared(codec, read_audio(path, start=start, seconds=seconds))
    length = round(seconds * codec.config.sample_rate)
    return np.pad(sound[:length], (0, max(0, length - len(sound))))

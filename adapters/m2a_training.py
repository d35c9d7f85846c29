"""Training M2A: from recordings with their MIDI files to a checkpoint in the published layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from adapters.m2a import CONFIG_FILE, notes_of, read_config
from score_to_audio.checkpoints import find
from score_to_audio.errors import InputError
from score_to_audio.files import replacing
from score_to_audio.formats.audio import read_audio
from score_to_audio.formats.midi import read_performance
from score_to_audio.store import ArtifactStore
from score_to_audio.training.folder import TrainingFolder
from score_to_audio.training.loop import TrainingState
from score_to_audio.training.loop import train as run
from score_to_audio.training.optimization import seeded_modules
from score_to_audio.training.prepared import prepared_rows
from score_to_audio.training.recordings import Recording, find_recordings, split
from score_to_audio.weights import load_checkpoint, load_strictly
from synthesizers.m2a import espnet, official
from synthesizers.m2a.network import AcousticConfig, AcousticModel, Attention
from synthesizers.m2a.piano_roll import FRAMES_PER_CELL, KEYS, piano_roll
from synthesizers.m2a.spectrum import BANDS, HOP, SAMPLE_RATE, WINDOW, filter_bank, log_spectrum
from synthesizers.m2a.training import task as tasks
from synthesizers.m2a.training.checkpoint import own_tensors, published_tensors
from synthesizers.m2a.training.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    discriminator_config,
)
from synthesizers.m2a.training.task import Normalisation, Segment, TrainingSettings
from synthesizers.m2a.training.turns import JointModel
from synthesizers.vocoders.hifigan import HifiGan, HifiGanConfig

EXAMPLES = "m2a 1"
"""Version of the prepared segments; a change makes them anew."""
POSITION_GAIN = 4.0
"""Share of a guided head's weight within two rows of its own after 60 updates: with 1 .04, with 2 .36, with
4 .87 (``attention_width`` .03)."""


class NetworkSizes(BaseModel):
    """Sizes of the networks; defaults are the published ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=512, ge=1)
    heads: int = Field(default=4, ge=1)
    layers: int = Field(default=3, ge=1, description="Of encoder and decoder each.")
    units: int = Field(default=1024, ge=1)
    prenet_units: int = Field(default=256, ge=1)
    prenet_dropout: float = Field(default=0.99, ge=0, lt=1)
    postnet_channels: int = Field(default=256, ge=1)
    vocoder_channels: int = Field(default=512, ge=16)
    kernel_sizes: tuple[int, ...] = Field(default=(3, 7, 11), description="Of the vocoder's blocks.")
    scale_channels: int = Field(default=128, ge=16, description="Of the discriminators.")
    period_channels: int = Field(default=32, ge=1)
    discriminator_channels: int = Field(default=1024, ge=16, description="At most.")


class M2ATrainingConfig(BaseModel):
    """The configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str = Field(default="", description="Checkpoint to fine-tune; empty: none.")
    segment_cells: int = Field(default=200, ge=20, description="Of 48 ms; longer segments, more memory.")
    validation: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of the recordings that only judge the training; 0: those that it learns judge it.",
    )
    compatibility: Literal["none", "official"] = Field(
        default="none", description="official: the published piano roll, with what it loses."
    )
    network: NetworkSizes = Field(default_factory=NetworkSizes)
    training: TrainingSettings = Field(default_factory=TrainingSettings)


CONFIG = M2ATrainingConfig


def train(
    data: Path, config: M2ATrainingConfig, output: Path, store: ArtifactStore, device: str = "cpu"
) -> Iterator[str]:
    """Train on recordings with MIDI files of the same names; see ``TrainingModule``."""
    found, left_out = pairs(data)
    yield from left_out
    learnt, judging = found, found
    if config.validation:
        learnt, judging = split(found, config.validation, config.training.seed)
    segments = [one for recording in learnt for one in segments_of(recording, config, store)]
    judged = [one for recording in judging for one in segments_of(recording, config, store)]
    if not segments:
        seconds = _samples(config.segment_cells) / SAMPLE_RATE
        raise InputError(f"{data}: no recording is {seconds:.1f} s long; set segment_cells lower")
    judged = spread(judged or segments, config.training.validation_segments)
    yield f"{len(learnt)} recordings, {len(segments)} segments; {len(judged)} segments judge"
    if config.start:
        model, normalisation, settings = _loaded(find(config.start).weights)
    else:
        model, normalisation, settings = new_model(config, segments)
    optimizations = tasks.begin(model.to(device), config.training)
    state = TrainingState(
        {"generator": optimizations.generator, "discriminator": optimizations.discriminator}
    )
    keeper = TrainingFolder(output, config.model_dump_json(), lambda _: _layout(model, normalisation))
    if keeper.resume(state):
        yield f"going on after epoch {state.epoch}"
    yield f"{sum(p.numel() for p in model.parameters())} parameters"
    _write_settings(output / CONFIG_FILE, settings)
    task = tasks.task(model, optimizations, segments, judged, normalisation, config.training)
    for figures in run(state, tasks.schedule(config.training), task, keeper):
        yield " ".join(f"{name} {value:.3f}" for name, value in figures.items())


# ---------------------------------------------------------------------------------------------- data


def pairs(folder: Path) -> tuple[list[Recording], list[str]]:
    """The recordings of a folder that have a MIDI file, and one sentence for each of the others.

    Raises ``InputError`` where there is none."""
    found, left_out = find_recordings(folder)
    left_out += [f"left out: {one.path}: no MIDI file of the same name" for one in found if not one.midi]
    paired = [one for one in found if one.midi]
    if not paired:
        raise InputError(
            f"{folder}: no recording with a MIDI file of the same name beside it; "
            "put one beside each, for example a transcription"
        )
    return paired, left_out


def prepare_part(
    part: Recording,
    config: M2ATrainingConfig,
    store: ArtifactStore,
    device: str,  # noqa: ARG001 (of every trainer)
) -> Sequence[str]:
    """See ``TrainingModule``."""
    if part.midi is None:
        return [f"{part.path}: no MIDI file of the same name"]
    segments_of(part, config, store)
    return ()


def segments_of(recording: Recording, config: M2ATrainingConfig, store: ArtifactStore) -> list[Segment]:
    """The segments of a recording, without its incomplete end. Their arrays stay in a file of the store."""
    official_roll = config.compatibility == "official"
    assert recording.midi
    rows = prepared_rows(
        [recording.path, recording.midi],
        EXAMPLES,
        store,
        lambda: _read(recording, config.segment_cells, official_roll=official_roll),
        cells=config.segment_cells,
        compatibility=config.compatibility,
    )
    return [Segment(row["cells"], row["frames"], row["audio"]) for row in rows]


def spread(segments: Sequence[Segment], most: int) -> list[Segment]:
    """At most so many of the segments, from all over them."""
    chosen = np.linspace(0, len(segments) - 1, min(most, len(segments))).round().astype(int)
    return [segments[index] for index in chosen]


def _read(recording: Recording, count: int, *, official_roll: bool) -> NDArray[Any]:
    """[S] structured: [count, 128] cells, [F, 128] frames, [samples] audio."""
    import soxr

    assert recording.midi
    waveform = read_audio(recording.path)
    mono = waveform.samples.mean(axis=0)
    audio = soxr.resample(mono, waveform.sample_rate, SAMPLE_RATE).astype(np.float32)
    performance = read_performance(recording.midi)
    notes, seconds = notes_of(performance), len(audio) / SAMPLE_RATE
    if official_roll:
        cells = official.piano_roll(notes, seconds)[::FRAMES_PER_CELL]
    else:
        cells = piano_roll(notes, seconds)
    hop, length = count * FRAMES_PER_CELL * HOP, _samples(count)
    fields = [
        ("cells", np.int16, (count, KEYS)),
        ("frames", np.float32, (1 + length // HOP, BANDS)),
        ("audio", np.float32, (length,)),
    ]
    rows = np.zeros(max(0, 1 + (len(audio) - length) // hop), fields)
    for index, row in enumerate(rows):
        row["cells"] = cells[index * count : (index + 1) * count]
        row["audio"] = audio[index * hop : index * hop + length]
        row["frames"] = log_spectrum(torch.from_numpy(row["audio"])).numpy()
    return rows


def _samples(cells: int) -> int:
    """Of a segment: a window of the spectrum more than its cells."""
    return cells * FRAMES_PER_CELL * HOP + WINDOW


# --------------------------------------------------------------------------------------------- network


def new_model(
    config: M2ATrainingConfig, segments: Sequence[Segment]
) -> tuple[JointModel, Normalisation, Mapping[str, Any]]:
    """Random networks, the normalisation of the segments, and ``tts_conf``."""
    sizes = config.network
    if sizes.width % sizes.heads:
        raise InputError(f"network.heads: {sizes.heads} heads cannot share a width of {sizes.width}")
    acoustic = AcousticConfig(
        width=sizes.width,
        heads=sizes.heads,
        encoder_layers=sizes.layers,
        encoder_units=sizes.units,
        decoder_layers=sizes.layers,
        decoder_units=sizes.units,
        prenet_units=sizes.prenet_units,
        prenet_dropout=sizes.prenet_dropout,
        postnet_channels=sizes.postnet_channels,
    )
    vocoder = HifiGanConfig(
        channels=sizes.vocoder_channels,
        kernel_sizes=sizes.kernel_sizes,
        dilations=((1, 3, 5),) * len(sizes.kernel_sizes),
    )
    judges = DiscriminatorConfig(
        scale_channels=sizes.scale_channels,
        scale_max_channels=sizes.discriminator_channels,
        period_channels=sizes.period_channels,
        period_max_channels=sizes.discriminator_channels,
    )
    with seeded_modules(config.training.seed):
        generators = AcousticModel(acoustic), HifiGan(vocoder)
        for weight in generators[0].parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)
        _look_at_equal_positions(generators[0])
        model = JointModel(*generators, Discriminators(judges))
    return model, _normalisation(segments), _settings(acoustic, vocoder, judges)


def _look_at_equal_positions(model: AcousticModel) -> None:
    """Begin with weights that are largest between rows of equal position: the same projection for queries
    and keys (W. Ping et al., Deep Voice 3, ICLR 2018, section 3.7). A step plays its own row of the piano
    roll; ``POSITION_GAIN`` makes its neighbours stand out from the other rows."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Attention):
                module.linear_k.weight.copy_(module.linear_q.weight)
        for layer in model.decoder.layers():
            layer.src_attn.linear_q.weight.mul_(POSITION_GAIN)
            layer.src_attn.linear_k.weight.mul_(POSITION_GAIN)


def _normalisation(segments: Sequence[Segment]) -> Normalisation:
    rows = np.concatenate([one.frames for one in segments]).astype(np.float64)
    mean, deviation = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3)
    return Normalisation(*(torch.from_numpy(one.astype(np.float32)) for one in (mean, deviation)))


def _loaded(start: Path) -> tuple[JointModel, Normalisation, Mapping[str, Any]]:
    """The networks of a checkpoint with their own normalisation."""
    content, settings = load_checkpoint(start), read_config(start.with_name(CONFIG_FILE))
    tensors = {name: one for name, one in content.items() if isinstance(one, torch.Tensor)}
    try:
        acoustic, vocoder = espnet.generator_tensors(tensors)
        shape = espnet.acoustic_config(acoustic, settings.get("text2mel_params") or {})
        vocoder_shape = espnet.vocoder_config(vocoder, settings.get("vocoder_params") or {})
        normalisation = Normalisation(tensors["normalize.mean"], tensors["normalize.std"])
    except (ValueError, KeyError) as error:
        raise InputError(f"{start}: not a checkpoint of M2A that can be trained ({error})") from error
    judges = discriminator_config(settings.get("discriminator_params") or {})
    model = JointModel(AcousticModel(shape), HifiGan(vocoder_shape), Discriminators(judges))
    load_strictly(model, own_tensors(tensors), source=str(start))
    return model, normalisation, _settings(shape, vocoder_shape, judges)


def _settings(
    acoustic: AcousticConfig, vocoder: HifiGanConfig, judges: DiscriminatorConfig
) -> Mapping[str, Any]:
    """``tts_conf`` of ESPnet's configuration: what the shapes of tensors do not say."""
    return {
        "text2mel_params": {"aheads": acoustic.heads, "dprenet_dropout_rate": acoustic.prenet_dropout},
        "vocoder_params": {
            "upsample_scales": list(vocoder.upsample_scales),
            "resblock_dilations": [list(one) for one in vocoder.dilations],
        },
        "discriminator_params": {
            "scales": judges.scales,
            "periods": list(judges.periods),
            "scale_discriminator_params": {
                "channels": judges.scale_channels,
                "max_downsample_channels": judges.scale_max_channels,
                "max_groups": judges.scale_max_groups,
                "downsample_scales": list(judges.scale_strides),
                "kernel_sizes": list(judges.scale_kernels),
            },
            "period_discriminator_params": {
                "channels": judges.period_channels,
                "max_downsample_channels": judges.period_max_channels,
                "downsample_scales": list(judges.period_strides),
                "kernel_sizes": list(judges.period_kernels),
            },
        },
    }


def _write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(yaml.safe_dump({"tts": "joint_text2wav", "tts_conf": dict(settings)}))


def _layout(model: JointModel, normalisation: Normalisation) -> dict[str, torch.Tensor]:
    """A checkpoint in the published layout, that of ESPnet."""
    return {
        "feats_extract.logmidi.midimat": torch.from_numpy(np.ascontiguousarray(filter_bank().T)),
        "normalize.mean": normalisation.mean,
        "normalize.std": normalisation.deviation,
        **published_tensors(model),
    }

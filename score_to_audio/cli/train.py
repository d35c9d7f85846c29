"""Train models on your own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from score_to_audio.cli.options import Device

app = typer.Typer(help=__doc__, no_args_is_help=True)


Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of this training; continues an interrupted one.")
]
Corpus = Annotated[Path, typer.Option("--data", help="Folder of the (n)ASAP corpus, with performances.csv.")]
Config = Annotated[Path, typer.Option("--config", help="TOML file; see docs/guide/training.md.")]
Audio = Annotated[Path, typer.Option("--audio", help="Folder of recordings.")]
OptionalConfig = Annotated[
    Path | None, typer.Option("--config", help="TOML file; see docs/guide/training.md.")
]
Cache = Annotated[Path | None, typer.Option(help="Folder for prepared data; default: the user's cache.")]


@app.command("virtuosonet")
def virtuosonet(data: Corpus, config: Config, output: Output = Path("training"), cache: Cache = None) -> None:
    """Train VirtuosoNet, or fine-tune a checkpoint of it."""
    from adapters.virtuosonet_training import TrainingConfig, train
    from score_to_audio.training.configuration import read_config

    settings = read_config(config, TrainingConfig)
    for line in train(data, settings, output, _cache(cache), _weights(settings.start)):
        print(line, flush=True)


@app.command("m2m")
def m2m(
    data: Corpus,
    config: Config,
    output: Output = Path("training"),
    cache: Cache = None,
    device: Device = "auto",
) -> None:
    """Train M2M, or fine-tune a checkpoint of it."""
    from adapters.m2m_training import M2MTrainingConfig, train
    from score_to_audio.registry import resolve_device
    from score_to_audio.training.configuration import read_config

    settings = read_config(config, M2MTrainingConfig)
    start, chosen = _weights(settings.start), resolve_device(device)
    for line in train(data, settings, output, _cache(cache), start, chosen):
        print(line, flush=True)


@app.command("dexter")
def dexter(
    data: Corpus,
    config: Config,
    output: Output = Path("training"),
    cache: Cache = None,
    device: Device = "auto",
) -> None:
    """Train DExter, or fine-tune a checkpoint of it."""
    from adapters.dexter_training import DexterTrainingConfig, train
    from score_to_audio.registry import resolve_device
    from score_to_audio.training.configuration import read_config

    settings = read_config(config, DexterTrainingConfig)
    start, chosen = _weights(settings.start), resolve_device(device)
    for line in train(data, settings, output, _cache(cache), start, chosen):
        print(line, flush=True)


@app.command("m2a")
def m2a(
    audio: Audio,
    config: Config,
    output: Output = Path("training"),
    cache: Cache = None,
    device: Device = "auto",
) -> None:
    """Train M2A on recordings with a MIDI file of the same name beside each, or fine-tune a checkpoint."""
    from adapters.m2a_training import M2ATrainingConfig, train
    from score_to_audio.registry import resolve_device
    from score_to_audio.training.configuration import read_config

    settings = read_config(config, M2ATrainingConfig)
    start, chosen = _weights(settings.start), resolve_device(device)
    for line in train(audio, settings, output, _cache(cache), start, chosen):
        print(line, flush=True)


@app.command("piano-encodec")
def piano_encodec(
    audio: Audio,
    config: OptionalConfig = None,
    output: Output = Path("training"),
    device: Device = "auto",
) -> None:
    """Fine-tune EnCodec on recordings, as Piano-Encodec was made, or train a codec from nothing."""
    from adapters.piano_encodec_training import CodecTrainingConfig, train
    from score_to_audio import checkpoints, registry
    from score_to_audio.training.configuration import read_config

    settings = read_config(config, CodecTrainingConfig) if config else CodecTrainingConfig()
    start = checkpoints.find(settings.start) if settings.start else None
    for line in train(audio, settings, output, start=start, device=registry.resolve_device(device)):
        print(line, flush=True)


@app.command("midi-valle")
def midi_valle(
    audio: Audio,
    config: OptionalConfig = None,
    output: Output = Path("training"),
    cache: Cache = None,
    device: Device = "auto",
) -> None:
    """Train MIDI-VALLE on recordings, each with a MIDI file of the same name beside it, or transcribed."""
    from adapters.midi_valle_training import MidiValleTrainingConfig, train
    from score_to_audio import checkpoints, registry
    from score_to_audio.training.configuration import read_config

    settings = read_config(config, MidiValleTrainingConfig) if config else MidiValleTrainingConfig()
    lines = train(
        audio,
        settings,
        output,
        _cache(cache),
        codec=checkpoints.find(settings.codec),
        start=checkpoints.find(settings.start).weights if settings.start else None,
        device=registry.resolve_device(device),
    )
    for line in lines:
        print(line, flush=True)


def _cache(folder: Path | None) -> Path:
    import platformdirs

    return folder or Path(platformdirs.user_cache_dir("score-to-audio"))


def _weights(start: str) -> Path | None:
    """The file of the checkpoint to fine-tune."""
    from score_to_audio import checkpoints

    return checkpoints.find(start).weights if start else None


@app.command("export")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a training, such as best.pt.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .safetensors file.")],
) -> None:
    """Reduce a checkpoint to what playing needs: a third of its size."""
    from adapters.virtuosonet_training import export as write
    from score_to_audio.outputs import delivering

    with delivering(output, [checkpoint]):
        write(checkpoint, output)

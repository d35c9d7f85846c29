"""Train models on your own data."""

from __future__ import annotations

from collections.abc import Iterable
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
    _print(train(data, settings, output, _cache(cache), _weights(settings.start)))


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
    _print(train(data, settings, output, _cache(cache), start, chosen))


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
    _print(train(data, settings, output, _cache(cache), start, chosen))


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
    _print(train(audio, settings, output, _cache(cache), start, chosen))


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

    settings = read_config(config, CodecTrainingConfig)
    start = checkpoints.find(settings.start) if settings.start else None
    _print(train(audio, settings, output, start=start, device=registry.resolve_device(device)))


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

    settings = read_config(config, MidiValleTrainingConfig)
    codec, start = checkpoints.find(settings.codec), _weights(settings.start)
    chosen = registry.resolve_device(device)
    _print(train(audio, settings, output, _cache(cache), codec=codec, start=start, device=chosen))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _cache(folder: Path | None) -> Path:
    import platformdirs

    return folder or Path(platformdirs.user_cache_dir("score-to-audio"))


def _weights(start: str) -> Path | None:
    """The file of the checkpoint to fine-tune."""
    from score_to_audio import checkpoints

    return checkpoints.find(start).weights if start else None


@app.command("pianist-mean")
def pianist_mean(
    data: Corpus, config: OptionalConfig = None, output: Output = Path("training"), cache: Cache = None
) -> None:
    """Train pianist-mean, the default renderer; without --config as the shipped checkpoint."""
    from adapters.pianist_mean_training import TrainingSettings, train
    from score_to_audio.training.configuration import read_config

    settings = read_config(config, TrainingSettings)
    _print(train(data, settings, output, _cache(cache)))


@app.command("export")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a training, such as best.pt.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .safetensors file.")],
) -> None:
    """Reduce a checkpoint of VirtuosoNet to what playing needs: a third of its size."""
    from adapters.virtuosonet_training import export as write
    from score_to_audio.outputs import delivering

    with delivering(output, [checkpoint]):
        write(checkpoint, output)

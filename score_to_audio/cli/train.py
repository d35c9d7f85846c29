"""Train a model on your own data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help=__doc__, no_args_is_help=True)


Corpus = Annotated[Path, typer.Option("--data", help="Folder of the (n)ASAP corpus, with performances.csv.")]
Config = Annotated[Path, typer.Option("--config", help="TOML file; see docs/guide/training.md.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of this training; continues an interrupted one.")
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder for what is read of the data; default: the user's cache.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@app.command("virtuosonet")
def virtuosonet(data: Corpus, config: Config, output: Output = Path("training"), cache: Cache = None) -> None:
    """Train VirtuosoNet, or fine-tune a checkpoint of it."""
    from adapters.virtuosonet_training import TrainingConfig, train
    from score_to_audio.training.config import read_config

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
    from score_to_audio.training.config import read_config

    settings = read_config(config, M2MTrainingConfig)
    start = _weights(settings.start)
    _print(train(data, settings, output, _cache(cache), start, resolve_device(device)))


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _cache(chosen: Path | None) -> Path:
    import platformdirs

    return chosen or Path(platformdirs.user_cache_dir("score-to-audio"))


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

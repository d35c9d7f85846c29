"""Train a renderer on human performances."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command("virtuosonet")
def virtuosonet(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the (n)ASAP corpus, with performances.csv.")
    ],
    config: Annotated[Path, typer.Option("--config", help="TOML file; see docs/guide/training.md.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of this training; continues an interrupted one.")
    ] = Path("training"),
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for the features of the corpus; default: the user's cache."),
    ] = None,
) -> None:
    """Train VirtuosoNet, or fine-tune a checkpoint of it."""
    import platformdirs

    from adapters.virtuosonet_training import read_config, train
    from score_to_audio import checkpoints

    settings = read_config(config)
    start = checkpoints.find(settings.start).weights if settings.start else None
    kept = cache or Path(platformdirs.user_cache_dir("score-to-audio"))
    for line in train(data, settings, output, kept, start):
        print(line, flush=True)


@app.command("pianist-mean")
def pianist_mean(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the (n)ASAP corpus, with performances.csv.")
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file; default: the settings of the shipped checkpoint."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of this training; continues an interrupted one.")
    ] = Path("training"),
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for the performances of the corpus; default: the user's cache."),
    ] = None,
) -> None:
    """Train pianist-mean, the default renderer."""
    import platformdirs

    from adapters.pianist_mean_training import read_settings, train

    kept = cache or Path(platformdirs.user_cache_dir("score-to-audio"))
    for line in train(data, read_settings(config), output, kept):
        print(line, flush=True)


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

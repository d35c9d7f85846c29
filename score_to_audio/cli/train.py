"""Train models on your own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from score_to_audio.cli.options import Device
from score_to_audio.training.trainers import TRAINERS, Trainer

app = typer.Typer(help=__doc__, no_args_is_help=True)


Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of this training; continues an interrupted one.")
]
Corpus = Annotated[Path, typer.Option("--data", help="Folder of the (n)ASAP corpus, with performances.csv.")]
Audio = Annotated[Path, typer.Option("--audio", help="Folder of recordings.")]
Config = Annotated[Path | None, typer.Option("--config", help="TOML file; see docs/guide/training.md.")]


def _add(trainer: Trainer) -> None:
    """The command of a trainer."""

    def on_corpus(
        data: Corpus, config: Config = None, output: Output = Path("training"), device: Device = "auto"
    ) -> None:
        _train(trainer, data, config, output, device)

    def on_recordings(
        audio: Audio, config: Config = None, output: Output = Path("training"), device: Device = "auto"
    ) -> None:
        _train(trainer, audio, config, output, device)

    command = on_corpus if trainer.data == "corpus" else on_recordings
    app.command(trainer.name, help=trainer.summary)(command)


for _trainer in TRAINERS.values():
    _add(_trainer)


def _train(trainer: Trainer, data: Path, config: Path | None, output: Path, device: str) -> None:
    from score_to_audio.machine import keep_freed_memory
    from score_to_audio.registry import resolve_device
    from score_to_audio.store import default_store

    keep_freed_memory()
    settings = trainer.config(config)
    module, chosen = trainer.module, resolve_device(device)
    for line in module.train(data, settings, output, default_store(), chosen):
        print(line, flush=True)


@app.command("export")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a training, such as best.pt.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .safetensors file; for piano-encodec a .bin file.")
    ],
    model: Annotated[
        Literal["virtuosonet", "piano-encodec", "midi-valle"], typer.Option(help="Whose checkpoint it is.")
    ] = "virtuosonet",
) -> None:
    """Reduce a checkpoint to what playing needs: a third of its size, or less."""
    from score_to_audio.outputs import delivering

    module: Any = TRAINERS[model].module
    with delivering(output, [checkpoint]):
        module.export(checkpoint, output)

"""Prompts: reference recordings for synthesizers that take one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the prompt.")],
    audio: Annotated[Path, typer.Argument(help="The recording.")],
    midi: Annotated[Path, typer.Argument(help="The performance heard in it.")],
) -> None:
    """Add a recording and its performance to the library."""
    from score_to_audio import prompts

    prompt = prompts.add(name, audio, midi)
    print(f"{name}: {prompt.audio.duration:.2f} s")


@app.command("list")
def list_names() -> None:
    """List the prompts of the library."""
    from score_to_audio import prompts

    for name in prompts.names():
        print(name)
    if not prompts.names():
        print(
            "no prompts yet; add one with `score-to-audio prompts add NAME AUDIO MIDI`",
            file=sys.stderr,
        )

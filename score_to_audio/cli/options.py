"""What several commands share: annotated options, exit codes, how `--set` is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

EXIT_FAILED = 1
"""Some items failed."""
EXIT_BAD_INPUT = 2
"""Nothing could be done with what was given."""
EXIT_INTERRUPTED = 130
"""By Ctrl-C, as shells have it: 128 and the number of the signal."""
INTERRUPTED = "interrupted; finished work is kept, run the same command again to go on"

Renderer = Annotated[str, typer.Option("--renderer", "-r", help="Stage 1; see `models list`.")]
Synthesizer = Annotated[str, typer.Option("--synthesizer", "-s", help="Stage 2; see `models list`.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", help="renderer.KEY=VALUE, synthesizer.KEY=VALUE or score.KEY=VALUE; repeatable."),
]
Seed = Annotated[int, typer.Option(help="For models that draw; the same seed gives the same bytes.", min=0)]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
PromptName = Annotated[
    str | None,
    typer.Option("--prompt", help="A prompt of the library, or an audio file with its .mid beside."),
]
Formats = Annotated[
    list[str] | None, typer.Option("--format", "-f", help="wav (default), flac, mp3, ogg; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per result, for machines.")]


def split_options(settings: Iterable[str] | None) -> dict[str, dict[str, str]]:
    """["renderer.tempo=80"] -> {"renderer": {"tempo": "80"}, "synthesizer": {}, "score": {}}."""
    from score_to_audio.errors import InputError

    options: dict[str, dict[str, str]] = {"renderer": {}, "synthesizer": {}, "score": {}}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        stage, dot, key = name.partition(".")
        if not (equals and dot and key and stage in options):
            raise InputError(
                f"--set {setting!r}: write renderer.KEY=VALUE, synthesizer.KEY=VALUE or score.KEY=VALUE"
            )
        options[stage][key] = value
    return options


def number_of_bytes(size: str) -> int:
    """20GB -> 20_000_000_000; K, M, G, T as powers of 1000, with or without B. Raises ``InputError``."""
    from score_to_audio.errors import InputError

    number = size.rstrip("KMGTBkmgtb ")
    unit = size[len(number) :].strip().upper().removesuffix("B")
    try:
        return int(float(number) * 1000 ** ("", "K", "M", "G", "T").index(unit))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{size!r} is no size: write 500MB or 20GB") from error

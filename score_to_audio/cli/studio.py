"""The studio: a local web page to drop scores on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from score_to_audio.errors import InputError


def studio(
    scores: Annotated[Path | None, typer.Option(help="Folder of scores to choose from.")] = None,
    outputs: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of finished results to show at /outputs/; repeatable."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the studio keeps its pieces; by default in the user's data folder."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8765,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser.")] = True,
) -> None:
    """A page in the browser: drop a score, listen, change settings, compare.

    Everything stays on this machine. Ctrl-C ends the studio; the pieces are there again next time.
    """
    from score_to_audio.comparison.studio.address import studio_folder
    from score_to_audio.comparison.studio.server import serve
    from score_to_audio.store import default_store

    for path in filter(None, (scores, *(outputs or ()))):
        if not path.is_dir():
            raise InputError(f"{path}: no such folder")
    serve(
        folder or studio_folder(),
        default_store(),
        scores=scores,
        outputs=[path.resolve() for path in outputs or ()],
        host=host,
        port=port,
        open_browser=open_browser,
    )

"""The store of all artifacts."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from score_to_audio.cli.options import Json
from score_to_audio.parameters import number_of_bytes

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command("info")
def info(as_json: Json = False) -> None:
    """Show where the store is and what it holds."""
    from score_to_audio.store import default_store
    from score_to_audio.store.limits import VARIABLE, size_in_words

    store = default_store()
    info = store.info()
    if as_json:
        place = {"root": store.location, "folder": str(store.folder), "limit": store.limit}
        print(json.dumps({**place, **asdict(info)}, default=str))
        return
    print(f"{store.location}: {info.count} artifacts, {info.bytes / 1e6:.1f} MB")
    of = "" if store.location == str(store.folder) else f" of the copies in {store.folder}"
    print(f"  limit{of}: {size_in_words(store.limit)} ({VARIABLE})")
    for name, (count, size) in sorted(info.by_model.items()):
        print(f"  {name:<28} {count:>6}  {size / 1e6:>9.1f} MB")


@app.command("prune")
def prune(
    older_than: Annotated[float | None, typer.Option(help="Days since an artifact was last used.")] = None,
    max_size: Annotated[str | None, typer.Option(help="Size that may remain, for instance 20GB.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Empty the store.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Only this machine's copies of a shared store.")
    ] = False,
) -> None:
    """Delete artifacts, least recently used first; they are made again when needed."""
    from score_to_audio.errors import InputError
    from score_to_audio.store import Store, default_store

    if older_than is None and max_size is None and not everything:
        raise InputError("say what to delete: --older-than DAYS, --max-size SIZE or --all")
    store = default_store()
    report = (Store(store.folder) if local else store).prune(
        older_than=timedelta(days=older_than) if older_than is not None else None,
        max_size=0 if everything else number_of_bytes(max_size) if max_size else None,
    )
    print(f"deleted {report.count} artifacts, {report.bytes / 1e6:.1f} MB")

"""Renderers, synthesizers and their checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from score_to_audio.cli.options import EXIT_FAILED, Json

if TYPE_CHECKING:
    from score_to_audio.plugins import Checkpoint, Spec
    from score_to_audio.registry import Kind

KINDS: tuple[Kind, ...] = ("renderer", "synthesizer")
app = typer.Typer(help="Renderers, synthesizers and their checkpoints.", no_args_is_help=True)


@app.command("list")
def list_plugins(as_json: Json = False) -> None:
    """List the installed renderers and synthesizers, and the checkpoints that they lack."""
    from score_to_audio import checkpoints

    for kind in KINDS:
        rows = _described_plugins(kind)
        if as_json:
            for row in rows:
                print(json.dumps(row))
            continue
        print(f"{kind}s")
        for row in rows:
            print(f"  {row['name']:<15} {row.get('error') or row['summary']}")
            for checkpoint in row.get("missing_checkpoints", ()):
                print(f"  {'':<15} needs {checkpoints.how_to_obtain(checkpoint)}")


def _described_plugins(kind: Kind) -> list[dict[str, Any]]:
    from score_to_audio import registry
    from score_to_audio.errors import InputError

    rows = []
    for name in registry.entries(kind):
        try:
            rows.append({"kind": kind, "name": name} | _described(registry.spec(kind, name)))
        except InputError as error:
            rows.append({"kind": kind, "name": name, "error": str(error)})
    return rows


def _described(found: Spec) -> dict[str, Any]:
    from score_to_audio import checkpoints
    from score_to_audio.parameters import checkpoint_roles

    fields = (found.parameters.model_fields[role] for role in checkpoint_roles(found.parameters))
    needed = [field.get_default(call_default_factory=True) for field in fields]
    return {
        "version": found.version,
        "summary": found.summary,
        "paper": found.paper,
        "code_licence": found.code_licence,
        "weights_licence": found.weights_licence,
        "limits": found.limits,
        "missing_checkpoints": [name for name in needed if not checkpoints.is_available(name)],
        "options": found.parameters.model_json_schema()["properties"],
    }


@app.command("show")
def show_plugin(name: Annotated[str, typer.Argument(help="Name of a renderer or synthesizer.")]) -> None:
    """Show the options, paper, licences and limits of a plug-in."""
    from score_to_audio.errors import InputError
    from score_to_audio.registry import entries, spec

    found = next((spec(kind, name) for kind in KINDS if name in entries(kind)), None)
    if found is None:
        raise InputError(f"no renderer or synthesizer is called {name!r}; see `score-to-audio models list`")
    print(f"{found.name} {found.version}: {found.summary}")
    facts = {
        "paper": found.paper,
        "code": found.code_licence,
        "weights": found.weights_licence,
        "limits": found.limits,
    }
    for label, fact in facts.items():
        if fact:
            print(f"  {label}: {fact}")
    for option, field in found.parameters.model_fields.items():
        print(f"  {option} = {field.default!r}: {field.description or ''}")


@app.command("pull")
def pull(
    names: Annotated[list[str] | None, typer.Argument(help="Names of checkpoints.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that have an address.")] = False,
) -> None:
    """Download checkpoints from their publishers; a broken download continues where it ended.

    Proxies come from HTTPS_PROXY, the files of a mirror from SCORE_TO_AUDIO_MIRROR, Hugging Face's token from
    HF_TOKEN.
    """
    from score_to_audio import checkpoints
    from score_to_audio.cli.display import Display
    from score_to_audio.errors import InputError, ScoreToAudioError

    table = checkpoints.table()
    wanted = [name for name, entry in table.items() if entry.can_be_pulled] if every else names or []
    if not wanted:
        raise InputError(f"which checkpoint? known: {', '.join(sorted(table))}; or --all")
    failed = False
    with Display(total=len(wanted), quiet=False) as display:
        for name in wanted:
            try:
                with display.item(name):
                    found = checkpoints.pull(name)
                display.line(_files_line(found))
                display.line(f"{name}: licence {table[name].licence}")
            except ScoreToAudioError as error:
                if len(wanted) == 1:
                    raise
                failed = True
                display.line(f"error: {error}")
    _say_uses(wanted)
    if failed:
        raise typer.Exit(EXIT_FAILED)


@app.command("import")
def import_files(
    name: Annotated[str, typer.Argument(help="Name of a checkpoint.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Its files, or the zip archive as published; without: which files from where."),
    ] = None,
) -> None:
    """Copy a checkpoint from files on this machine, for instance one without a network."""
    from score_to_audio import checkpoints

    if not files:
        print(checkpoints.by_hand(name))
        return
    print(_files_line(checkpoints.import_files(name, files)))
    _say_uses([name])


def _files_line(found: Checkpoint) -> str:
    return f"{found.name}: {', '.join(map(str, found.files.values()))}  sha256 {found.sha256[:12]}"


def _say_uses(names: list[str]) -> None:
    from score_to_audio.checkpoints import table

    if restricted := [name for name in names if name in table() and not table()[name].commercial_use]:
        print(f"not for commercial use: {', '.join(restricted)}")


@app.command("check")
def check_file(name: Annotated[str, typer.Argument(help="Name of a checkpoint.")]) -> None:
    """Check that a checkpoint is complete and readable; runs no code from it."""
    from score_to_audio import checkpoints
    from score_to_audio.weights import count_tensors, load_checkpoint

    found = checkpoints.find(name)
    content = load_checkpoint(found.weights, foreign=checkpoints.published(name).foreign)
    tensors, values = count_tensors(content)
    print(f"{name}: {tensors} tensors, {values / 1e6:.1f} million values, sha256 {found.sha256}")

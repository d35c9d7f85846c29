"""Renderers, synthesizers and their checkpoints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from score_to_audio.cli.options import Json

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
def pull(name: Annotated[str, typer.Argument(help="Name of a checkpoint.")]) -> None:
    """Download a checkpoint from its publisher."""
    from score_to_audio import checkpoints

    _print_files(checkpoints.pull(name, progressbar=sys.stderr.isatty()))
    print(f"licence: {checkpoints.published(name).licence}")


@app.command("import")
def import_files(
    name: Annotated[str, typer.Argument(help="Name of a checkpoint.")],
    files: Annotated[list[Path], typer.Argument(help="Its files, or the zip archive as published.")],
) -> None:
    """Copy a checkpoint from files on this machine."""
    from score_to_audio import checkpoints

    _print_files(checkpoints.import_files(name, files))


def _print_files(found: Checkpoint) -> None:
    print(f"{found.name}: {', '.join(map(str, found.files.values()))}  sha256 {found.sha256[:12]}")


@app.command("check")
def check_file(name: Annotated[str, typer.Argument(help="Name of a checkpoint.")]) -> None:
    """Check that a checkpoint is complete and readable; runs no code from it."""
    from score_to_audio import checkpoints
    from score_to_audio.weights import count_tensors, load_checkpoint

    found = checkpoints.find(name)
    content = load_checkpoint(found.weights, foreign=checkpoints.published(name).foreign)
    tensors, values = count_tensors(content)
    print(f"{name}: {tensors} tensors, {values / 1e6:.1f} million values, sha256 {found.sha256}")

"""The health of an installation."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from score_to_audio.cli.options import EXIT_FAILED, Json


def doctor(as_json: Json = False) -> None:
    """Check that this installation can work."""
    from score_to_audio.cli.environment import checks

    found = checks()
    for check in found:
        if as_json:
            print(json.dumps(asdict(check)))
        else:
            print(f"{'ok ' if check.ok else 'BAD'}  {check.name:<15} {check.message}")
    if not all(check.ok for check in found):
        raise typer.Exit(EXIT_FAILED)

"""What `prefect COMMAND --help` shows; one process for many commands, because Prefect takes long to start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable

SHOW = """
import io, json, sys
from contextlib import redirect_stdout
from prefect.cli import app

shown = []
for command in json.loads(sys.argv[1]):
    sys.argv = ["prefect", *command, "--help"]
    with redirect_stdout(io.StringIO()) as text:
        try:
            app()
        except SystemExit as end:
            if end.code:
                sys.exit(f"prefect {' '.join(command)}: {text.getvalue()}")
    shown.append(text.getvalue())
json.dump(shown, sys.stdout)
"""


def help_of(commands: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Command -> its help; fails if one of them does not exist."""
    asked = sorted(set(commands))
    done = subprocess.run(
        [sys.executable, "-c", SHOW, json.dumps(asked)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(asked, json.loads(done.stdout), strict=True))

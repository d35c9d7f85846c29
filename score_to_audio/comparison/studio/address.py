"""Where the studio runs and what it serves, told to other processes by a file in its folder."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

from score_to_audio.files import replacing, user_folder

RECORD = "address.json"
TIMEOUT = 0.5
"""Seconds that a studio may take to accept a connection."""


def studio_folder() -> Path:
    """Where the studio keeps its pieces, unless it is told another folder."""
    return user_folder("SCORE_TO_AUDIO_STUDIO", "studio")


@contextmanager
def announced(folder: Path, address: str, outputs: Sequence[Path]) -> Iterator[None]:
    """While the block lasts, ``address_of`` finds the studio that serves ``outputs`` at ``address``."""
    record = folder / RECORD
    with replacing(record) as temporary:
        temporary.write_text(json.dumps({"address": address, "outputs": [str(path) for path in outputs]}))
    try:
        yield
    finally:
        record.unlink(missing_ok=True)


def address_of(results: Path) -> str | None:
    """Where a running studio serves a folder of results, with final slash; None where none does.

    Knows the studio that keeps its pieces in ``studio_folder``.
    """
    try:
        record = json.loads((studio_folder() / RECORD).read_bytes())
        address, outputs = str(record["address"]), [Path(path) for path in record["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    folder = results.resolve()
    for number, output in enumerate(outputs):
        if folder.is_relative_to(output):
            parts = folder.relative_to(output).parts
            below = "".join(f"{quote(part)}/" for part in parts)
            return f"{address}outputs/{number}/{below}" if _answers(address) else None
    return None


def _answers(address: str) -> bool:
    """Whether anything listens there: a studio that was killed leaves its record."""
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname, place.port), TIMEOUT).close()
    except OSError:
        return False
    return True

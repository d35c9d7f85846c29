"""How large a local store may become, and when that is checked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from score_to_audio.errors import InputError, StoreError
from score_to_audio.files import nearest
from score_to_audio.parameters import number_of_bytes

VARIABLE = "SCORE_TO_AUDIO_STORE_SIZE"
SHARE, MOST = 0.1, 20_000_000_000
"""Of the disk, and bytes: the default limit is the smaller one."""
PARTS = 20
"""The size is checked whenever a part of the limit was made, and brought down to all parts but one."""
MADE, SAID = ".made", ".limited"
"""Files in the store: a byte per ``UNIT`` made since the last check; there once the first check deleted."""
UNIT = 1 << 16
"""Bytes."""


def size_limit(folder: Path) -> int | None:
    """Bytes that a store may take; None for no limit.

    ``SCORE_TO_AUDIO_STORE_SIZE`` ("50GB", "none"), by default a tenth of the disk and 20 GB at most. Raises
    ``StoreError``.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return min(MOST, int(SHARE * shutil.disk_usage(nearest(folder)).total))
    if wanted == "none":
        return None
    try:
        return number_of_bytes(wanted)
    except InputError as error:
        raise StoreError(f"{VARIABLE}: {error}, or none") from error


def size_in_words(limit: int | None) -> str:
    return "none" if limit is None else f"{limit / 1e9:.3g} GB"


def is_check_due(folder: Path, made: int, limit: int) -> bool:
    """Count ``made`` bytes, of any process; whether a part of the limit was made since the last check.

    Also the first time, since the store may be older than its limit.
    """
    counter = folder / MADE
    first = not counter.exists()
    with counter.open("ab") as file:  # appending needs no lock
        file.write(bytes(made // UNIT + 1))
        counted = file.tell() * UNIT
        if not first and counted < limit / PARTS:
            return False
        file.truncate(0)
    return True


def is_first(folder: Path) -> bool:
    """Once per store."""
    try:
        (folder / SAID).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

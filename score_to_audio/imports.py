"""Imports of libraries that print."""

from __future__ import annotations

import contextlib
import io
import sys
from importlib import import_module
from threading import Lock
from typing import Any

_IMPORTING = Lock()
"""Redirection affects all threads."""


def import_quietly(name: str) -> Any:
    """The module ``name``; what its first import prints is discarded.

    pyfluidsynth, which pretty_midi imports too, prints the path of its library to stdout, where results go.
    """
    with _IMPORTING:
        if name in sys.modules:
            return import_module(name)  # waits for a thread that is still importing it
        with contextlib.redirect_stdout(io.StringIO()):
            return import_module(name)

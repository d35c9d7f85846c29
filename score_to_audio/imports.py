"""Importing libraries that print."""

from __future__ import annotations

import contextlib
import io
import sys
from importlib import import_module
from threading import Lock
from typing import Any

_IMPORTING = Lock()
"""Redirecting is for all threads at once."""


def import_quietly(name: str) -> Any:
    """The module ``name``; what is printed while it is first imported goes nowhere.

    pyfluidsynth, which pretty_midi imports too, says on stdout where it found its library; results go there.
    """
    with _IMPORTING:
        if name in sys.modules:
            return import_module(name)  # waits where another thread is still importing it
        with contextlib.redirect_stdout(io.StringIO()):
            return import_module(name)

"""Importing libraries that print."""

from __future__ import annotations

import contextlib
import io
from importlib import import_module
from threading import Lock
from typing import Any

_IMPORTING = Lock()
_imported: dict[str, Any] = {}
"""Whole modules only: what another thread is importing is in ``sys.modules`` already."""


def import_quietly(name: str) -> Any:
    """The module ``name``; what is printed while it is first imported goes nowhere.

    pyfluidsynth, which pretty_midi imports too, says on stdout where it found its library; results go there.
    """
    if name not in _imported:
        with _IMPORTING:  # redirecting is for all threads at once
            if name not in _imported:
                with contextlib.redirect_stdout(io.StringIO()):
                    _imported[name] = import_module(name)
    return _imported[name]

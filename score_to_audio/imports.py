"""Importing libraries that print, or that need a library which cannot be loaded."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from threading import Lock
from types import ModuleType
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


@contextlib.contextmanager
def importable_torchaudio(**functional: Callable[..., Any]) -> Iterator[None]:
    """Where torchaudio cannot be imported, because its Linux build needs CUDA libraries, replaces it during
    the block by a module with only these functions in ``torchaudio.functional``."""
    try:
        import torchaudio.functional  # noqa: F401
    except (ImportError, OSError):
        before = {name: module for name, module in sys.modules.items() if _is_torchaudio(name)}
        replacement, inner = ModuleType("torchaudio"), ModuleType("torchaudio.functional")
        vars(inner).update(functional)
        vars(replacement)["functional"] = inner
        sys.modules["torchaudio"] = replacement
        try:
            yield
        finally:
            for name in filter(_is_torchaudio, list(sys.modules)):
                del sys.modules[name]
            sys.modules.update(before)
    else:
        yield


def _is_torchaudio(name: str) -> bool:
    return name == "torchaudio" or name.startswith("torchaudio.")

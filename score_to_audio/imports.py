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

"""partitura, kept offline and quiet: its view of a score for the adapters that need it, and spelling."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from score_to_audio.errors import InputError

_IMPORTING = threading.Lock()


def import_partitura() -> Any:
    """The module ``partitura``, imported so that it fetches nothing.

    On import partitura 1.9 downloads a SoundFont when it finds pyfluidsynth (utils/fluidsynth.py), which is
    hidden from it for that moment.
    """
    with _IMPORTING:
        if "partitura" not in sys.modules:
            with _hidden("fluidsynth"), quiet():
                import partitura
        import partitura

        return partitura


@contextlib.contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Importing ``module`` fails within the block."""
    present, hidden = module in sys.modules, sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if present:
            sys.modules[module] = hidden  # type: ignore[assignment]
        else:
            del sys.modules[module]


def load_musicxml(root: Any, name: str) -> Any:
    """The partitura ``Score`` of a <score-partwise> whose notes have ids. Raises ``InputError``."""
    from lxml import etree

    partitura = import_partitura()
    document = io.BytesIO(etree.tostring(root, encoding="utf-8"))
    with quiet(), _failing_clearly(name):
        return partitura.load_musicxml(document)


def unfold_part(part: Any, name: str) -> Any:
    """The part in partitura's playing order: repeats taken, none after a da capo or dal segno."""
    partitura = import_partitura()
    with quiet(), _failing_clearly(name):
        return partitura.score.unfold_part_maximal(part, update_ids=True, ignore_leaps=False)


def spell(onsets: Sequence[int], durations: Sequence[int], pitches: Sequence[int], ticks: int) -> list[str]:
    """Spellings ("C#4") of notes that have only MIDI pitches (ps13s1; Meredith, JNMR 2006).

    ``onsets`` and ``durations`` in ticks, ``ticks`` per quarter note.
    """
    import_partitura()
    from partitura.musicanalysis import estimate_spelling

    fields = [("onset_beat", np.float64), ("duration_beat", np.float64), ("pitch", np.int64), ("id", "U12")]
    notes = np.zeros(len(pitches), fields)
    notes["onset_beat"] = np.asarray(onsets) / ticks
    notes["duration_beat"] = np.asarray(durations) / ticks
    notes["pitch"] = pitches
    order = np.argsort(notes, order=["onset_beat", "pitch"], kind="stable")
    with quiet():
        spelled = estimate_spelling(notes[order])
    result = [""] * len(pitches)
    for index, (step, alter, octave) in zip(order, spelled, strict=True):
        result[index] = f"{step}{'#' * max(0, alter)}{'b' * max(0, -alter)}{octave}"
    return result


@contextlib.contextmanager
def _failing_clearly(name: str) -> Iterator[None]:
    """partitura has no error type of its own: whatever it raises means that it cannot use the score."""
    try:
        yield
    except (Exception, RecursionError) as error:
        raise InputError(
            f"{name} cannot be read by partitura ({type(error).__name__}: {str(error)[:200]}); "
            "export the score again, or choose a renderer that does not need partitura"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps partitura's warnings and prints from the user's terminal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield

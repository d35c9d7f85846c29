"""Scores in, expressive piano performances out.

Everything that a script or a plug-in needs can be imported from here:

>>> from score_to_audio import read_score
>>> score = read_score("examples/scores/petzold_minuet_bwv_anh114.musicxml")
>>> score.parsed.title, len(score.parsed.notes)
('Minuet in G major', 408)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from score_to_audio.api import PerformedScore, perform, read_score
    from score_to_audio.errors import InputError, OutputError, ScoreToAudioError, StageError, StoreError
    from score_to_audio.parameters import CheckpointName, InputFile, Parameters
    from score_to_audio.plugins import Checkpoint, Prompt, Renderer, Spec, Synthesizer
    from score_to_audio.progress import cached_part, report
    from score_to_audio.seeding import generator, numpy_generator
    from score_to_audio.settings import PipelineSettings
    from score_to_audio.types import (
        Artifact,
        AudioStream,
        Controls,
        Direction,
        KeySignature,
        Measure,
        ParsedScore,
        Performance,
        Provenance,
        Score,
        ScoreNotes,
        Slur,
        TimeSignature,
        Waveform,
    )

__all__ = [
    "Artifact",
    "AudioStream",
    "Checkpoint",
    "CheckpointName",
    "Controls",
    "Direction",
    "InputError",
    "InputFile",
    "KeySignature",
    "Measure",
    "OutputError",
    "Parameters",
    "ParsedScore",
    "Performance",
    "PerformedScore",
    "PipelineSettings",
    "Prompt",
    "Provenance",
    "Renderer",
    "Score",
    "ScoreNotes",
    "ScoreToAudioError",
    "Slur",
    "Spec",
    "StageError",
    "StoreError",
    "Synthesizer",
    "TimeSignature",
    "Waveform",
    "cached_part",
    "generator",
    "numpy_generator",
    "perform",
    "read_score",
    "report",
]

_MODULES = ("errors", "parameters", "settings", "types", "plugins", "progress", "seeding", "api")
"""In the order of their import time."""


def __getattr__(name: str) -> Any:
    # Names load on first use: numpy and pydantic would cost every `score-to-audio --help` 0.2 s.
    if name in __all__:
        for module in (import_module(f"{__name__}.{part}") for part in _MODULES):
            if hasattr(module, name):
                return getattr(module, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("score-to-audio")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Score to audio: MusicXML scores in, expressive piano performances out.

Everything that a script or a plug-in needs is importable from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from score_to_audio.errors import InputError
    from score_to_audio.plugins import (
        Checkpoint,
        CheckpointName,
        InputFile,
        Parameters,
        Prompt,
        Renderer,
        Spec,
        Synthesizer,
    )
    from score_to_audio.progress import cached_part, report
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

__version__ = "0.1.0"

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
    "Parameters",
    "ParsedScore",
    "Performance",
    "Prompt",
    "Provenance",
    "Renderer",
    "Score",
    "ScoreNotes",
    "Slur",
    "Spec",
    "Synthesizer",
    "TimeSignature",
    "Waveform",
    "cached_part",
    "report",
]


def __getattr__(name: str) -> Any:
    # Names are loaded on first use: numpy and pydantic would cost every `score-to-audio --help` 0.2 s.
    if name in __all__:
        for module in map(import_module, (f"{__name__}.{part}" for part in ("types", "plugins", "progress"))):
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What a plug-in implements: the protocols ``Renderer`` and ``Synthesizer``, and their ``Spec``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from score_to_audio.parameters import CheckpointName as CheckpointName
from score_to_audio.parameters import InputFile as InputFile
from score_to_audio.parameters import Parameters as Parameters
from score_to_audio.types import AudioStream, Performance, Score, Waveform


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine."""

    name: str
    files: Mapping[str, Path]
    """Role of the file ("weights", "config", "statistics", ...) -> where it is."""
    sha256: str
    """Of the files, in the order of their roles; of the file itself where there is one only."""

    @property
    def weights(self) -> Path:
        return self.files["weights"]


@dataclass(frozen=True)
class Prompt:
    """A reference for timbre: a recording and, where the model needs it, the performance heard in it."""

    audio: Waveform
    performance: Performance | None
    sha256: str
    """Of the files it was read from."""


@dataclass(frozen=True)
class Spec:
    """What the registry, the command line and the listening page say about a plug-in."""

    name: str
    version: str
    """Of the implementation; a change means that cached artifacts are made again."""
    summary: str
    """One line."""
    parameters: type[Parameters]
    paper: str = ""
    code_licence: str = ""
    weights_licence: str = ""
    limits: str = ""
    """One line: what it cannot do, or what it was not trained on."""
    uses_prompt: bool = False
    uses_seed: bool = False
    """True where the seed changes the result."""
    runs_on_gpu: bool = False


@runtime_checkable
class Renderer(Protocol):
    """Stage 1, expressive performance rendering. Built once per process and set of options."""

    spec: ClassVar[Spec]

    def __init__(self, parameters: Any, *, checkpoints: Mapping[str, Checkpoint], device: str) -> None:
        """``parameters``: an instance of ``spec.parameters``; ``checkpoints``: one per checkpoint
        parameter, by its name; ``device``: "cpu" or "cuda". Loads what it needs."""

    def render(self, score: Score, *, seed: int) -> Performance:
        """Same score, parameters, checkpoints, seed and class of machine: same performance.

        Raises ``InputError`` for a score that it cannot play.
        """


@runtime_checkable
class Synthesizer(Protocol):
    """Stage 2, performance to sound. Built once per process and set of options.

    A synthesizer may also have ``stream(performance, *, prompt, seed) -> AudioStream``; it is then used
    instead of ``synthesize`` for writing files, and yields the same samples.
    """

    spec: ClassVar[Spec]

    def __init__(self, parameters: Any, *, checkpoints: Mapping[str, Checkpoint], device: str) -> None:
        """As for ``Renderer``."""

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        """Time 0 of the sound is time 0 of the performance. Never clipped, silent for no notes."""


class StreamingSynthesizer(Synthesizer, Protocol):
    """A synthesizer that can deliver its sound block by block."""

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream: ...

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
    """Of the file, or of the hashes of several files in the order of their roles."""

    @property
    def weights(self) -> Path:
        return self.files["weights"]


@dataclass(frozen=True)
class Prompt:
    """A reference for timbre: a recording and, if known, the performance heard in it."""

    audio: Waveform
    performance: Performance | None
    sha256: str
    """Of its files."""


@dataclass(frozen=True)
class Spec:
    """What a plug-in declares about itself."""

    name: str
    version: str
    """Of the implementation; a change makes cached artifacts obsolete."""
    summary: str
    """One line."""
    parameters: type[Parameters]
    paper: str = ""
    code_licence: str = ""
    weights_licence: str = ""
    limits: str = ""
    """One line: what it cannot do, what it was not trained on."""
    uses_prompt: bool = False
    uses_seed: bool = False
    """The seed changes the result, at least with some options."""
    runs_on_gpu: bool = False
    process_memory: int | None = None
    """MB that a process with it takes, if it computes on one core, so that several processes for a list of
    scores gain time; None if it uses all cores itself."""


@runtime_checkable
class Renderer(Protocol):
    """Stage 1, expressive performance rendering. Built once per process and set of options."""

    spec: ClassVar[Spec]

    def __init__(self, parameters: Any, *, checkpoints: Mapping[str, Checkpoint], device: str) -> None:
        """Load the model. ``parameters``: an instance of ``spec.parameters``; ``checkpoints``: one per
        checkpoint parameter, by its name; ``device``: "cpu" or "cuda"."""

    def render(self, score: Score, *, seed: int) -> Performance:
        """The same score, parameters, checkpoints, seed and class of machine give the same performance.

        Raises ``InputError`` for a score that it cannot play.
        """


@runtime_checkable
class Synthesizer(Protocol):
    """Stage 2, performance to sound. Built once per process and set of options.

    If it also has ``stream`` (``StreamingSynthesizer``), files are written from that.
    """

    spec: ClassVar[Spec]

    def __init__(self, parameters: Any, *, checkpoints: Mapping[str, Checkpoint], device: str) -> None:
        """As ``Renderer``."""

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        """Sound that starts at time 0 of the performance; never clipped, silent without notes."""


class StreamingSynthesizer(Synthesizer, Protocol):
    """A synthesizer that also yields its sound, with the same samples, block by block."""

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream: ...

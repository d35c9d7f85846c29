"""What a renderer or a synthesizer has to be: the protocols, their ``spec``, and checkpoint options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from score_to_audio.types import AudioStream, Performance, Score, Waveform


class Parameters(BaseModel):
    """Base of every parameter model: unknown options are errors, values are immutable.

    Give every field a default, bounds and a description; they become the options of the command line,
    the form fields of the Prefect UI and part of the artifact's key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CheckpointRole:
    """Marks a parameter whose value names a checkpoint (a name of the table, or a path to a file)."""


CheckpointName = Annotated[str, CheckpointRole()]


class InputFile:
    """Marks a parameter whose value may be the path of a file that the result is made from: the file's
    content then counts in the artifact's key, and its place does not."""


def checkpoint_roles(parameters: type[BaseModel]) -> tuple[str, ...]:
    """Names of the parameters that name a checkpoint."""
    return _marked(parameters, CheckpointRole)


def input_files(parameters: type[BaseModel]) -> tuple[str, ...]:
    """Names of the parameters that may name a file to read."""
    return _marked(parameters, InputFile)


def _marked(parameters: type[BaseModel], marker: type) -> tuple[str, ...]:
    return tuple(
        name
        for name, info in parameters.model_fields.items()
        if any(isinstance(entry, marker) for entry in info.metadata)
    )


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

"""What a run is asked for: one model for the command line, the flows, comparisons and Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import BeforeValidator, Field

from score_to_audio.adjustments import Adjustments
from score_to_audio.errors import InputError
from score_to_audio.parameters import Parameters, validated

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions
    from score_to_audio.plugins import Prompt, Renderer, Synthesizer
    from score_to_audio.registry import ResolvedPlugin

AudioFormat = Literal["wav", "flac", "mp3", "ogg"]
AUDIO_FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
Device = Literal["auto", "cpu", "cuda"]
Result = TypeVar("Result")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


AudioFormats = Annotated[
    tuple[AudioFormat, ...],
    BeforeValidator(_as_list, json_schema_input_type=AudioFormat | list[AudioFormat]),
    Field(min_length=1),
]


class _PluginName:
    """Lists the installed plug-ins of a kind in the JSON schema, so that forms offer them."""

    def __init__(self, kind: Literal["renderer", "synthesizer"]) -> None:
        self._kind = kind

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], dict[str, Any]]) -> Any:
        from score_to_audio.registry import entries

        return handler(schema) | {"enum": list(entries(self._kind))}


RendererName = Annotated[str, _PluginName("renderer")]
SynthesizerName = Annotated[str, _PluginName("synthesizer")]
Loudness = Annotated[float, Field(ge=-60, le=-5)] | Literal["none"]


class PipelineSettings(Adjustments):
    """A renderer, a synthesizer and their options: everything that determines the results of a score.

    >>> settings = PipelineSettings(renderer="score", renderer_options={"speed": 1.2}, format="ogg")
    >>> settings.format
    ('ogg',)
    >>> settings.resolve().renderer.parameters.speed
    1.2
    """

    renderer: RendererName = Field(
        "kth-rules", description="Stage 1, score to performance; see `score-to-audio models list`."
    )
    synthesizer: SynthesizerName = Field(
        "sampled-piano", description="Stage 2, performance to audio; see `score-to-audio models list`."
    )
    renderer_options: dict[str, Any] = Field(
        {}, description="Options of the renderer; see `score-to-audio models show NAME`."
    )
    synthesizer_options: dict[str, Any] = Field({}, description="Options of the synthesizer.")
    score_options: dict[str, Any] = Field({}, description="Options of the score reader: parts, repeats.")
    prompt: str | None = Field(
        None,
        description="A prompt of the library, or an audio file with its MIDI file beside it; for "
        "synthesizers that take one.",
    )
    seed: int = Field(0, ge=0, description="For models that sample: the same seed gives the same bytes.")
    format: AudioFormats = Field(("wav",), description="One or more audio formats: wav, flac, mp3, ogg.")
    loudness: Loudness = Field(
        -18.0,
        description="LUFS that each sound is brought to by one gain, with peaks below -1 dBTP; none: the "
        "synthesizer's own level.",
    )
    device: Device = Field("auto", description="auto, cpu or cuda.")
    midi_tempo: Literal["constant", "score"] = Field(
        "constant",
        description="Of the MIDI file: constant (120), or score: measures and beats of the score, with a "
        "tempo map that follows the performance, for sequencers and notation programs.",
    )
    alignment: bool = Field(
        False,
        description="Also write a match file of score and performance, and a table of the seconds of beats.",
    )
    stems: Literal["none", "hands"] = Field(
        "none", description="hands: also write the sound of the right and of the left hand alone."
    )

    def resolve(self) -> Pipeline:
        """The plug-ins with checked options and checkpoints. Raises ``InputError``."""
        from score_to_audio.prompts import find_prompt
        from score_to_audio.registry import resolve

        common: Any = {"seed": self.seed, "device": self.device}
        renderer = resolve("renderer", self.renderer, self.renderer_options, **common)
        synthesizer = resolve("synthesizer", self.synthesizer, self.synthesizer_options, **common)
        if self.prompt and not synthesizer.spec.uses_prompt:
            raise InputError(f"{self.synthesizer} takes no prompt; omit it, or choose another synthesizer")
        return Pipeline(
            renderer=renderer,
            synthesizer=synthesizer,
            score_options=read_score_options(self.score_options),
            prompt=find_prompt(self.prompt) if self.prompt else None,
            formats=self.format,
            adjustments=Adjustments(**{name: getattr(self, name) for name in Adjustments.model_fields}),
            loudness=None if self.loudness == "none" else self.loudness,
            settings=self,
        )


Processes = Annotated[int, Field(ge=0, le=256)] | Literal["auto"]


class ExecutionSettings(Parameters):
    """How scores are processed; never changes results."""

    processes: Processes = Field(
        "auto",
        description="Scores processed at once, each in its own process; 0: in this process; auto: for a "
        "list, one per core where the models use one core each and the memory suffices.",
    )
    deadline: float | None = Field(
        None, gt=0, description="Seconds that one score may take; its process is then killed."
    )
    memory_limit: int | None = Field(
        None, gt=0, description="Bytes of memory that one process may use, models included."
    )
    retry_failed: bool = Field(
        False, description="Only the scores that the manifest in the output folder records as failed."
    )


class SubmissionSettings(Parameters):
    """How the flow ``batch`` distributes the scores; never changes results."""

    shard: int = Field(
        100, ge=1, le=1000, description="Scores submitted at once, or per flow run of a deployment."
    )
    runner: Literal["thread", "ray", "dask"] = Field(
        "thread", description="Task runner: thread, ray or dask."
    )
    deployment: str | None = Field(
        None,
        description="Deployment of the flow batch-shard that runs the shards, as FLOW/DEPLOYMENT; without "
        "one the flow runs them itself.",
    )


@dataclass(frozen=True)
class Pipeline:
    """Resolved ``PipelineSettings``: ready to run on any score."""

    renderer: ResolvedPlugin[Renderer]
    synthesizer: ResolvedPlugin[Synthesizer]
    score_options: ScoreOptions
    prompt: Prompt | None
    formats: tuple[AudioFormat, ...]
    adjustments: Adjustments
    loudness: float | None
    """LUFS; None: the synthesizer's own level."""
    settings: PipelineSettings


def read_score_options(options: Mapping[str, Any]) -> ScoreOptions:
    """Validated options of the score reader. Raises ``InputError``."""
    from score_to_audio.formats.scores.reader import ScoreOptions

    return validated(ScoreOptions, options, prefix="score", owner="the score reader")


def audio_format(name: str) -> AudioFormat:
    """Raises ``InputError`` that lists the known formats."""
    for known in AUDIO_FORMATS:
        if name == known:
            return known
    raise InputError(f"unknown audio format {name!r}; known: {', '.join(AUDIO_FORMATS)}")


def flatten_parameters(
    **groups: Callable[..., Any],
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorator: replace each keyword parameter GROUP of a function by the parameters of ``groups[GROUP]``.

    A group is a parameter model or a function that builds one. Typer and Prefect read options and forms from
    a function's signature; so each list of parameters is written once, where its model is.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        names = {group: list(inspect.signature(make).parameters) for group, make in groups.items()}

        @wraps(function)
        def flat(*args: Any, **values: Any) -> Result:
            built = {
                group: groups[group](**{name: values.pop(name) for name in names[group] if name in values})
                for group in groups
            }
            return function(*args, **values, **built)

        flat.__signature__ = _flat_signature(function, groups)  # type: ignore[attr-defined]
        flat.__annotations__ = {
            name: parameter.annotation
            for name, parameter in flat.__signature__.parameters.items()  # type: ignore[attr-defined]
        }
        return flat

    return decorate


def _flat_signature(function: Callable[..., Any], groups: dict[str, Callable[..., Any]]) -> inspect.Signature:
    """The groups and what follows them become keyword-only."""
    own = _evaluated(function)
    first_group = min(list(own).index(name) for name in groups)
    parameters: list[inspect.Parameter] = []
    for position, (name, parameter) in enumerate(own.items()):
        these = list(_evaluated(groups[name]).values()) if name in groups else [parameter]
        if position >= first_group:
            these = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in these]
        parameters += these
    return inspect.Signature(parameters)


def _evaluated(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters with annotations as objects, not text."""
    if isinstance(function, type) and issubclass(function, Parameters):
        return {
            name: inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.rebuild_annotation(),
            )
            for name, field in function.model_fields.items()
        }
    hints = get_type_hints(function, include_extras=True)
    return {
        name: parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in inspect.signature(function).parameters.items()
    }

"""Options that several commands share, built on the settings models, and exit codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from score_to_audio.errors import InputError
from score_to_audio.parameters import Parameters, number_of_bytes, validated
from score_to_audio.settings import ExecutionSettings, PipelineSettings, flatten_parameters

EXIT_FAILED = 1
"""Some scores failed."""
EXIT_BAD_INPUT = 2
"""The input cannot be used."""
EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells report it."""


def option(model: type[Parameters], field: str, *names: str, **more: Any) -> Any:
    """A typer option with the description that the settings model gives the field."""
    return typer.Option(*names, help=model.model_fields[field].description, **more)


def _pipeline_option(field: str, *names: str, **more: Any) -> Any:
    return option(PipelineSettings, field, *names, **more)


Renderer = Annotated[str, _pipeline_option("renderer", "--renderer", "-r")]
Synthesizer = Annotated[str, _pipeline_option("synthesizer", "--synthesizer", "-s")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", help="renderer.KEY=VALUE, synthesizer.KEY=VALUE or score.KEY=VALUE; repeatable."),
]
Seed = Annotated[int, _pipeline_option("seed", min=0)]
Tempo = Annotated[str | None, _pipeline_option("tempo")]
Expression = Annotated[float, _pipeline_option("expression", min=0, max=2)]
Measures = Annotated[str | None, _pipeline_option("measures")]
Transpose = Annotated[int, _pipeline_option("transpose")]
Loudness = Annotated[str, _pipeline_option("loudness", metavar="LUFS")]
Device = Annotated[str, _pipeline_option("device")]
Prompt = Annotated[str | None, _pipeline_option("prompt")]
Formats = Annotated[list[str] | None, _pipeline_option("format", "--format", "-f")]
MidiTempo = Annotated[str, _pipeline_option("midi_tempo", metavar="constant|score")]
Alignment = Annotated[bool, _pipeline_option("alignment", "--alignment")]
Stems = Annotated[str, _pipeline_option("stems", metavar="none|hands")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per result.")]

RENDERER: str = PipelineSettings.model_fields["renderer"].default
LOUDNESS = str(PipelineSettings.model_fields["loudness"].default)
SYNTHESIZER: str = PipelineSettings.model_fields["synthesizer"].default


def adjustments(
    tempo: Tempo = None,
    expression: Expression = 1.0,
    measures: Measures = None,
    transpose: Transpose = 0,
) -> dict[str, Any]:
    """What a command's options change in any performance: fields of ``Adjustments``, not checked yet."""
    return {"tempo": tempo, "expression": expression, "measures": measures, "transpose": transpose}


@flatten_parameters(adjusted=adjustments)
def pipeline_settings(
    renderer: Renderer = RENDERER,
    synthesizer: Synthesizer = SYNTHESIZER,
    options: Options = None,
    prompt: Prompt = None,
    seed: Seed = 0,
    formats: Formats = None,
    *,
    adjusted: dict[str, Any],
    loudness: Loudness = LOUDNESS,
    midi_tempo: MidiTempo = "constant",
    alignment: Alignment = False,
    stems: Stems = "none",
    device: Device = "auto",
) -> PipelineSettings:
    """What a command's options ask for. Raises ``InputError``."""
    values: dict[str, Any] = {"renderer": renderer, "synthesizer": synthesizer, "prompt": prompt}
    values |= {"seed": seed, "device": device, "format": formats or ("wav",)}
    values |= {"loudness": loudness, **adjusted}
    values |= {"midi_tempo": midi_tempo, "alignment": alignment, "stems": stems}
    values |= {f"{stage}_options": chosen for stage, chosen in split_options(options).items()}
    return validated(PipelineSettings, values)


def renderer_settings(
    renderer: Renderer = RENDERER, options: Options = None, seed: Seed = 0, device: Device = "auto"
) -> PipelineSettings:
    """As ``pipeline_settings``, for pictures of what a renderer plays."""
    return pipeline_settings(renderer=renderer, options=options, seed=seed, device=device)


@flatten_parameters(adjusted=adjustments)
def performance_settings(
    renderer: Renderer = RENDERER,
    options: Options = None,
    seed: Seed = 0,
    *,
    adjusted: dict[str, Any],
    midi_tempo: MidiTempo = "constant",
    alignment: Alignment = False,
    device: Device = "auto",
) -> PipelineSettings:
    """As ``pipeline_settings``, for commands of stage 1 alone."""
    values: dict[str, Any] = {"renderer": renderer, "options": options, "seed": seed, "device": device}
    return pipeline_settings(**values, midi_tempo=midi_tempo, alignment=alignment, **adjusted)


def synthesizer_settings(
    synthesizer: Synthesizer = SYNTHESIZER,
    options: Options = None,
    prompt: Prompt = None,
    seed: Seed = 0,
    loudness: Loudness = LOUDNESS,
    device: Device = "auto",
) -> PipelineSettings:
    """As ``pipeline_settings``, for commands of stage 2 alone."""
    values: dict[str, Any] = {"synthesizer": synthesizer, "options": options, "prompt": prompt}
    return pipeline_settings(**values, seed=seed, loudness=loudness, device=device)


def execution_settings(
    processes: Annotated[str, option(ExecutionSettings, "processes", metavar="N")] = "auto",
    deadline: Annotated[float | None, option(ExecutionSettings, "deadline")] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="Memory that one process may use, for instance 8GB.")
    ] = None,
    retry_failed: Annotated[bool, option(ExecutionSettings, "retry_failed", "--retry-failed")] = False,
) -> ExecutionSettings:
    """What a command's options ask for. Raises ``InputError``."""
    values = {"processes": processes, "deadline": deadline, "retry_failed": retry_failed}
    memory = number_of_bytes(memory_limit) if memory_limit else None
    return validated(ExecutionSettings, values | {"memory_limit": memory})


def split_options(settings: Iterable[str] | None) -> dict[str, dict[str, str]]:
    """["renderer.tempo=80"] -> {"renderer": {"tempo": "80"}, "synthesizer": {}, "score": {}}."""
    options: dict[str, dict[str, str]] = {"renderer": {}, "synthesizer": {}, "score": {}}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        stage, dot, key = name.partition(".")
        if not (equals and dot and key and stage in options):
            raise InputError(
                f"--set {setting!r}: write renderer.KEY=VALUE, synthesizer.KEY=VALUE or score.KEY=VALUE"
            )
        options[stage][key] = value
    return options

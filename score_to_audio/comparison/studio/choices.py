"""What the studio's form offers, and which requests it accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from score_to_audio import checkpoints, prompts, registry
from score_to_audio.errors import InputError
from score_to_audio.parameters import checkpoint_roles, input_files, validated
from score_to_audio.plugins import Spec
from score_to_audio.registry import Kind
from score_to_audio.settings import AUDIO_FORMATS, PipelineSettings

OWN_CONTROLS = ("renderer", "synthesizer", "renderer_options", "synthesizer_options", "score_options",
                "prompt", "format", "device", "midi_tempo", "alignment", "stems")  # fmt: skip
"""Fields of ``PipelineSettings`` that the form does not offer as plain fields."""
DELIVERED = ("mp3",)
"""Formats that are made at once; others on request."""
ALIGNMENTS = {"match": "match", "csv": "beats.csv"}
"""Suffix of a download -> of the file of ``exports``."""


def choices() -> dict[str, Any]:
    """Plug-ins with the JSON schema of their options, prompts, and the settings common to all."""
    schema = PipelineSettings.model_json_schema()["properties"]
    return {
        "renderers": _plugins("renderer"),
        "synthesizers": _plugins("synthesizer"),
        "prompts": prompts.names(),
        "settings": {name: field for name, field in schema.items() if name not in OWN_CONTROLS},
        "defaults": {
            "renderer": schema["renderer"]["default"],
            "synthesizer": schema["synthesizer"]["default"],
        },
        "formats": ["mid", *AUDIO_FORMATS, *ALIGNMENTS],
    }


def _plugins(kind: Kind) -> list[dict[str, Any]]:
    return [_plugin(kind, name) for name in registry.entries(kind)]


def _plugin(kind: Kind, name: str) -> dict[str, Any]:
    try:
        spec = registry.spec(kind, name)
    except InputError as error:
        return {"name": name, "summary": "", "missing": str(error), "options": {}, "uses_prompt": False}
    roles = checkpoint_roles(spec.parameters)
    available = _available_checkpoints(name, spec, roles)
    missing = (
        [] if available else [one for one in _defaults(spec, roles) if not checkpoints.is_available(one)]
    )
    schema = spec.parameters.model_json_schema(mode="serialization")
    hidden = {*roles, *input_files(spec.parameters)}
    return {
        "name": name,
        "summary": spec.summary,
        "missing": f"needs {'; '.join(map(checkpoints.how_to_obtain, missing))}" if missing else "",
        "options": {key: field for key, field in schema["properties"].items() if key not in hidden},
        "definitions": schema.get("$defs", {}),
        "checkpoints": available,
        "uses_prompt": spec.uses_prompt,
        "licence": spec.weights_licence or spec.code_licence,
    }


def _available_checkpoints(plugin: str, spec: Spec, roles: Sequence[str]) -> dict[str, list[str]]:
    """For a plug-in with one checkpoint: option -> those on this machine, the default first."""
    if len(roles) != 1:
        return {}
    default = _defaults(spec, roles)[0]
    known = [name for name, entry in checkpoints.table().items() if entry.model == plugin]
    found = [name for name in dict.fromkeys((default, *known)) if checkpoints.is_available(name)]
    return {roles[0]: found} if found else {}


def _defaults(spec: Spec, roles: Sequence[str]) -> list[str]:
    return [spec.parameters.model_fields[role].get_default(call_default_factory=True) for role in roles]


def accepted(values: Mapping[str, Any]) -> PipelineSettings:
    """The settings of a request. Raises ``InputError`` for wrong options and for those that name files: a web
    page must not make the studio read any file of this machine."""
    settings = validated(PipelineSettings, {**values, "format": DELIVERED}, owner="the studio")
    if settings.prompt is not None and settings.prompt not in prompts.names():
        raise InputError(f"no prompt {settings.prompt!r} in the library; see `score-to-audio prompts list`")
    pairs: tuple[tuple[Kind, str, Mapping[str, Any]], ...] = (
        ("renderer", settings.renderer, settings.renderer_options),
        ("synthesizer", settings.synthesizer, settings.synthesizer_options),
    )
    for kind, name, options in pairs:
        parameters = registry.spec(kind, name).parameters
        for option in {*input_files(parameters), *checkpoint_roles(parameters)} & options.keys():
            if options[option] not in checkpoints.table():
                raise InputError(f"{kind}.{option}: the studio takes names of checkpoints, no paths")
    settings.resolve()
    return settings


def label(settings: PipelineSettings) -> str:
    """The settings in a few words: "kth-rules + sampled-piano, seed 3"."""
    changed = settings.model_dump(exclude_defaults=True, exclude=set(OWN_CONTROLS))
    options = {**settings.renderer_options, **settings.synthesizer_options, **changed}
    prompt = [f"prompt {settings.prompt}"] if settings.prompt else []
    parts = [f"{name.replace('_', ' ')} {value}" for name, value in options.items()]
    return ", ".join([f"{settings.renderer} + {settings.synthesizer}", *prompt, *parts])

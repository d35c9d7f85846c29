"""Parameter models: validated options with defaults, bounds and descriptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from score_to_audio.errors import InputError
from score_to_audio.wording import did_you_mean


class Parameters(BaseModel):
    """Base of every parameter model: unknown options are errors, values are immutable.

    Give every field a default, bounds and a description; they become options of the command line, form
    fields of the Prefect UI and part of the artifact's key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CheckpointRole:
    """Marks a parameter that names a checkpoint: an entry of the table, or the path of a file."""


CheckpointName = Annotated[str, CheckpointRole()]


class InputFile:
    """Marks a parameter that may be the path of an input file: its content is part of the artifact's key,
    its path is not."""


def checkpoint_roles(parameters: type[BaseModel]) -> tuple[str, ...]:
    """Names of the parameters that name a checkpoint."""
    return _marked(parameters, CheckpointRole)


def input_files(parameters: type[BaseModel]) -> tuple[str, ...]:
    """Names of the parameters that may name an input file."""
    return _marked(parameters, InputFile)


def _marked(parameters: type[BaseModel], marker: type) -> tuple[str, ...]:
    return tuple(
        name
        for name, info in parameters.model_fields.items()
        if any(isinstance(entry, marker) for entry in info.metadata)
    )


Model = TypeVar("Model", bound=Parameters)
MOST_NAMES = 30
"""Options that an error lists; of more, a command does."""


def validated(model: type[Model], options: Mapping[str, Any], *, prefix: str = "", owner: str = "") -> Model:
    """``options`` as an instance of ``model``; values may be text, as from a command line.

    ``prefix``, ``owner``: errors call an option PREFIX.OPTION of OWNER. Raises ``InputError``.
    """
    parsed = {
        name: _parsed(value) if name in model.model_fields else value for name, value in options.items()
    }
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        raise InputError(_sentence(error, model, prefix, owner)) from error


def _sentence(error: ValidationError, model: type[Parameters], prefix: str, owner: str) -> str:
    first = error.errors()[0]
    option = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
    full_name = f"{prefix}.{option}" if prefix else option
    if first["type"] == "extra_forbidden":
        name = f"{option!r} ({full_name})" if prefix else f"{option!r}"
        hint = did_you_mean(option, model.model_fields)
        return f"{owner!r} has no option {name}; {hint}{_existing(model, owner)}"
    of_owner = f" of {owner!r}" if owner else ""
    return f"{full_name}{of_owner}: {first['msg']} (got {first['input']!r})"


def _existing(model: type[Parameters], owner: str) -> str:
    names = list(model.model_fields)
    if len(names) > MOST_NAMES:
        return f"`score-to-audio models show {owner}` lists its {len(names)} options"
    return f"it has: {', '.join(names) or 'none'}"


def _parsed(value: Any) -> Any:
    """Lists, objects and null in JSON text; pydantic itself parses numbers and booleans."""
    if isinstance(value, str) and (value[:1] in "[{" or value == "null"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def number_of_bytes(size: str) -> int:
    """20GB -> 20_000_000_000; K, M, G, T are powers of 1000, "B" is optional. Raises ``InputError``."""
    number = size.rstrip("KMGTBkmgtb ")
    unit = size[len(number) :].strip().upper().removesuffix("B")
    try:
        return int(float(number) * 1000 ** ("", "K", "M", "G", "T").index(unit))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{size!r} is no size: write 500MB or 20GB") from error

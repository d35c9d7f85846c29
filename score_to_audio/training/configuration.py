"""The configuration file of a training."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from score_to_audio.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def read_config(path: Path | None, model: type[Model]) -> Model:
    """A TOML file; the defaults without one. Raises ``InputError`` that names the invalid entry."""
    if path is None:
        return model()
    try:
        return model.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {place}: {first['msg']} (got {first['input']!r})") from error

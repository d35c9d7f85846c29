"""The plug-ins: found through entry points, checked before any work, built once per process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from threading import Lock
from typing import Any, Literal

from pydantic import ValidationError

from score_to_audio import checkpoints
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, Parameters, Spec, checkpoint_roles

Kind = Literal["renderer", "synthesizer"]


@cache
def entries(kind: Kind) -> dict[str, EntryPoint]:
    """Every installed plug-in of a kind by name, without importing any.

    Raises ``InputError`` where two distributions claim one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=f"score_to_audio.{kind}s"), key=lambda entry: entry.name):
        known = found.setdefault(entry.name, entry)
        if known.value != entry.value:
            raise InputError(
                f"two {kind}s are called {entry.name!r}: {_origin(known)} and {_origin(entry)}; uninstall one"
            )
    return found


def _origin(entry: EntryPoint) -> str:
    return f"{entry.value} (of {entry.dist.name if entry.dist else 'an unknown distribution'})"


def plugin(kind: Kind, name: str) -> type[Any]:
    """The class behind a name. Raises ``InputError`` that lists the known names."""
    known = entries(kind)
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(f"unknown {kind} {name!r}; {hint}known: {', '.join(known)}")
    try:
        loaded: type[Any] = known[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{kind} {name!r} cannot be loaded from {_origin(known[name])}: {error}") from error
    return loaded


def spec(kind: Kind, name: str) -> Spec:
    found: Spec = plugin(kind, name).spec
    return found


def parameters(kind: Kind, name: str, options: Mapping[str, Any]) -> Parameters:
    """The validated options of a plug-in, defaults filled in.

    Values may be text, as from a command line. Raises ``InputError`` that names the option, what is wrong
    with it, and the options that exist.
    """
    model = spec(kind, name).parameters
    return validated(model, options, prefix=kind, owner=name)


def validated(model: type[Parameters], options: Mapping[str, Any], *, prefix: str, owner: str) -> Parameters:
    """``options`` as an instance of ``model``; errors call them PREFIX.OPTION and their owner by name."""
    try:
        return model.model_validate(_with_parsed_containers(model, options))
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            existing = ", ".join(model.model_fields) or "none"
            raise InputError(
                f"{owner!r} has no option {option!r} ({prefix}.{option}); it has: {existing}"
            ) from error
        raise InputError(
            f"{prefix}.{option} of {owner!r}: {first['msg']} (got {first['input']!r})"
        ) from error


def _with_parsed_containers(model: type[Parameters], options: Mapping[str, Any]) -> dict[str, Any]:
    """Lists and objects written as JSON text become what they say; pydantic parses plain values itself."""
    return {name: _parse(value) if name in model.model_fields else value for name, value in options.items()}


def _parse(value: Any) -> Any:
    if isinstance(value, str) and (value[:1] in "[{" or value == "null"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


@dataclass(frozen=True)
class ResolvedPlugin:
    """A plug-in whose options and checkpoints are there and valid: ready to be built and run."""

    kind: Kind
    name: str
    spec: Spec
    parameters: Parameters
    checkpoints: Mapping[str, Checkpoint]
    device: str
    """"cpu" or "cuda"."""
    seed: int
    """0 for a plug-in that does not use it, so that a seed never makes the same thing twice."""


def prepare(
    kind: Kind, name: str, options: Mapping[str, Any] | None = None, *, seed: int = 0, device: str = "auto"
) -> ResolvedPlugin:
    """Check everything that a plug-in needs before any work starts. Raises ``InputError``."""
    found = spec(kind, name)
    values = parameters(kind, name, options or {})
    if seed < 0:
        raise InputError(f"the seed must not be negative (got {seed})")
    return ResolvedPlugin(
        kind=kind,
        name=name,
        spec=found,
        parameters=values,
        checkpoints={
            role: checkpoints.find(getattr(values, role)) for role in checkpoint_roles(found.parameters)
        },
        device=device_called(device) if found.runs_on_gpu else "cpu",
        seed=seed if found.uses_seed else 0,
    )


def device_called(wanted: str) -> str:
    """ "cpu" or "cuda" for auto, cpu or cuda. Raises ``InputError``."""
    if wanted == "cpu":
        return wanted
    import torch

    if wanted not in ("auto", "cuda"):
        raise InputError(f"unknown device {wanted!r}; known: auto, cpu, cuda")
    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise InputError("no CUDA device was found; use --device cpu")
    return "cpu"


_built: dict[tuple[str, ...], Any] = {}
_building = Lock()
MAX_BUILT = 4
"""Models kept in a process; more than a comparison's usual conditions would only fill the memory."""


def build(prepared: ResolvedPlugin) -> Any:
    """The plug-in itself, loaded once per process for the same options, checkpoints and device."""
    key = (
        prepared.kind,
        prepared.name,
        prepared.parameters.model_dump_json(),
        prepared.device,
        *(checkpoint.sha256 for checkpoint in prepared.checkpoints.values()),
    )
    with _building:
        if key not in _built:
            while len(_built) >= MAX_BUILT:
                _built.pop(next(iter(_built)))
            make = plugin(prepared.kind, prepared.name)
            _built[key] = make(prepared.parameters, checkpoints=prepared.checkpoints, device=prepared.device)
        _built[key] = _built.pop(key)  # most recently used last
        return _built[key]

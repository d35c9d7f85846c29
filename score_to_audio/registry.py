"""The plug-ins: found through entry points, checked before any work, built once per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from threading import Lock
from typing import Any, Generic, Literal, TypeVar, overload

from score_to_audio import checkpoints
from score_to_audio.errors import InputError
from score_to_audio.parameters import Parameters, checkpoint_roles, validated
from score_to_audio.plugins import Checkpoint, Renderer, Spec, Synthesizer
from score_to_audio.wording import did_you_mean

Kind = Literal["renderer", "synthesizer"]
Options = Mapping[str, Any] | None
Plugin = TypeVar("Plugin", Renderer, Synthesizer)


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
        raise InputError(f"unknown {kind} {name!r}; {did_you_mean(name, known)}known: {', '.join(known)}")
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


@dataclass(frozen=True)
class ResolvedPlugin(Generic[Plugin]):
    """A plug-in whose options and checkpoints are present and valid: ready to be built."""

    kind: Kind
    name: str
    spec: Spec
    parameters: Parameters
    checkpoints: Mapping[str, Checkpoint]
    device: str
    """"cpu" or "cuda"."""
    seed: int
    """0 for a plug-in that does not use it, so that two seeds share one artifact."""


@overload
def resolve(
    kind: Literal["renderer"], name: str, options: Options = None, *, seed: int = 0, device: str = "auto"
) -> ResolvedPlugin[Renderer]: ...
@overload
def resolve(
    kind: Literal["synthesizer"], name: str, options: Options = None, *, seed: int = 0, device: str = "auto"
) -> ResolvedPlugin[Synthesizer]: ...
def resolve(
    kind: Kind, name: str, options: Options = None, *, seed: int = 0, device: str = "auto"
) -> ResolvedPlugin[Any]:
    """Check options and checkpoints of a plug-in before any work starts. Raises ``InputError``."""
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
        device=resolve_device(device) if found.runs_on_gpu else "cpu",
        seed=seed if found.uses_seed else 0,
    )


def resolve_device(name: str) -> str:
    """ "cpu" or "cuda" for auto, cpu or cuda. Raises ``InputError``."""
    if name == "cpu":
        return name
    import torch

    if name not in ("auto", "cuda"):
        raise InputError(f"unknown device {name!r}; known: auto, cpu, cuda")
    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise InputError("no CUDA device was found; use --device cpu")
    return "cpu"


_built: dict[tuple[str, ...], Any] = {}
_build_lock = Lock()
MAX_BUILT = 4
"""Models kept in memory per process, the least recently used goes first."""


def build(resolved: ResolvedPlugin[Plugin]) -> Plugin:
    """The plug-in itself, loaded once per process for the same options, checkpoints and device."""
    key = (
        resolved.kind,
        resolved.name,
        resolved.parameters.model_dump_json(),
        resolved.device,
        *(checkpoint.sha256 for checkpoint in resolved.checkpoints.values()),
    )
    with _build_lock:
        if key in _built:
            _built[key] = _built.pop(key)  # most recently used last
        else:
            while len(_built) >= MAX_BUILT:
                _built.pop(next(iter(_built)))
            make = plugin(resolved.kind, resolved.name)
            for checkpoint in resolved.checkpoints.values():
                checkpoints.say_first_use(checkpoint.name)
            _built[key] = make(resolved.parameters, checkpoints=resolved.checkpoints, device=resolved.device)
        built: Plugin = _built[key]
        return built

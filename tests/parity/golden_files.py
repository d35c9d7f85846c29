"""Where the golden files are, how weights are filled from names alone, and which cases there are.

A golden root holds one folder per model with recorded inputs and outputs. It is looked for in
``SCORE_TO_AUDIO_GOLDEN``, then in ``../shared/golden`` beside the checkout, then in ``tests/golden``.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests.paths import PROJECT

if TYPE_CHECKING:
    from torch import nn

REPOSITORY = PROJECT


def golden_root() -> Path:
    """The folder that holds one folder of recordings per model."""
    if chosen := os.environ.get("SCORE_TO_AUDIO_GOLDEN"):
        return Path(chosen).expanduser()
    beside = REPOSITORY.parent / "shared" / "golden"
    return beside if beside.is_dir() else REPOSITORY / "tests" / "golden"


def load_cases(model: str, pattern: str, *, required: bool = True) -> list[Path]:
    """The files of a model that match a glob pattern, sorted; none are an error, not a skip, if required."""
    found = sorted((golden_root() / model).glob(pattern))
    if required and not found:
        raise FileNotFoundError(f"no golden file {pattern} in {golden_root() / model}")
    return found


def case_name(path: Path) -> str:
    """For ``pytest.mark.parametrize(..., ids=case_name)``."""
    return path.stem


def load_config(model: str, name: str = "config.json") -> dict[str, Any]:
    """A JSON file of the model's folder."""
    content: dict[str, Any] = json.loads((golden_root() / model / name).read_text("utf-8"))
    return content


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz`` file."""
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


class Recording:
    """The arrays of an ``.npz`` file, and which of them a test has used."""

    def __init__(self, path: Path) -> None:
        self.arrays, self.used = load_arrays(path), set[str]()

    def __getitem__(self, name: str) -> NDArray[Any]:
        self.used.add(name)
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def named(self, prefix: str) -> list[str]:
        return [name for name in self.arrays if name.startswith(prefix)]

    def check_complete(self) -> None:
        assert self.used == set(self.arrays), "an array that nothing checks"


def salt(config: Mapping[str, Any]) -> str:
    """What the weights of a folder are filled with: said by its configuration, else by the environment."""
    return str(config.get("salt", os.environ.get("SCORE_TO_AUDIO_GOLDEN_SALT", "open")))


def folder_salt(model: str) -> str:
    """``salt`` of what the ``config*.json`` of a model and their sections say."""
    configs = [json.loads(path.read_text("utf-8")) for path in load_cases(model, "config*.json")]
    sections = [section for config in configs for section in config.values() if isinstance(section, dict)]
    return salt({name: value for one in [*sections, *configs] for name, value in one.items()})


def golden_values(name: str, shape: tuple[int, ...], salt: str) -> NDArray[np.float32]:
    """float32 values for the tensor called ``name``: they depend on name, shape and salt only."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{salt}:{name}".encode())))
    normal = generator.standard_normal(shape)
    if len(shape) >= 2:
        values = normal / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(normal)
    elif name.endswith("weight"):
        values = 1 + 0.1 * normal
    else:
        values = 0.1 * normal
    return np.asarray(values, dtype=np.float32)


def fill(module: nn.Module, salt: str) -> None:
    """Overwrite every floating tensor of the module's state dict with its golden values, in place."""
    import torch

    state = module.state_dict()
    for name, tensor in state.items():
        if torch.is_floating_point(tensor):
            state[name] = torch.from_numpy(golden_values(name, tuple(tensor.shape), salt)).to(tensor)
    module.load_state_dict(state)


@contextmanager
def module_outputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """The latest output of each module in a pass within the block, by the given names."""
    outputs: dict[str, Any] = {}

    def recording(name: str) -> Callable[[nn.Module, object, Any], None]:
        def record(_module: nn.Module, _inputs: object, output: Any) -> None:
            outputs[name] = output

        return record

    hooks = [module.register_forward_hook(recording(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()

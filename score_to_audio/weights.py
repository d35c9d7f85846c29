"""Reading tensors out of checkpoint files without running anything that they contain.

A PyTorch checkpoint is a pickle, and a pickle is a program. Here only tensors and plain containers are built;
objects of packages that a caller names are read as inert ``OpaqueObject`` data; everything else is refused.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from score_to_audio.errors import InputError
from score_to_audio.tensorflow_checkpoints import is_tensorflow_data, load_tensorflow_checkpoint
from score_to_audio.wording import brief, reason

if TYPE_CHECKING:
    from torch import Tensor, nn


class OpaqueObject:
    """What is left of an object whose class is not loaded: its name, arguments, state and items."""

    qualified_name = ""

    def __new__(cls, *_args: Any, **_options: Any) -> OpaqueObject:
        return super().__new__(cls)

    def __init__(self, *args: Any, **options: Any) -> None:
        self.arguments, self.options = args, options

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__.setdefault("items", {})[key] = value

    def append(self, value: Any) -> None:
        self.__dict__.setdefault("entries", []).append(value)

    def extend(self, values: Iterable[Any]) -> None:
        self.__dict__.setdefault("entries", []).extend(values)

    def __call__(self, *_args: Any, **_options: Any) -> OpaqueObject:
        return self

    def __repr__(self) -> str:
        return f"<foreign {self.qualified_name}>"


def load_checkpoint(path: Path, *, foreign: Sequence[str] = ()) -> Any:
    """The content of a ``.safetensors`` file, a PyTorch zip checkpoint or the data file of a TensorFlow
    checkpoint (its index lies beside it), on the CPU.

    Tensors of a PyTorch file stay mapped to it until they are used, so that loading costs no second copy.

    ``foreign``: packages whose objects are read as ``OpaqueObject`` (``config_of`` turns omegaconf's into
    plain data). Raises ``InputError`` that names what was found for anything else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    if is_tensorflow_data(path):
        return load_tensorflow_checkpoint(path)
    if any(name.endswith("/constants.pkl") for name in _members(path)):
        raise InputError(f"{path}: a TorchScript program, not a checkpoint; it will not be run")
    import torch

    try:
        return torch.load(
            path, map_location="cpu", pickle_module=_restricted_pickle(foreign), weights_only=False, mmap=True
        )
    except InputError as error:
        raise InputError(f"{path}: {brief(error, 300)}") from error
    # A damaged pickle can make the machine that reads it stumble over anything.
    except Exception as error:
        raise InputError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {brief(error, 200)}); get it again"
        ) from error


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error) as error:
        raise InputError(
            f"{path}: neither a PyTorch (>= 1.6) nor a safetensors checkpoint ({reason(error)}); "
            "get it again; an older file can be saved again with a current torch"
        ) from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(
            f"{path}: not a readable safetensors file ({reason(error)}); get it again"
        ) from error


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a ``.safetensors`` file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); get it again") from error


def _restricted_pickle(foreign: Sequence[str]) -> ModuleType:
    """A stand-in for the ``pickle`` module whose unpickler builds nothing but data."""
    stand_ins: dict[str, type[OpaqueObject]] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            qualified = f"{module}.{name}"
            allowed = _allowed_globals()
            if qualified in allowed:
                return allowed[qualified]
            if any(module == package or module.startswith(f"{package}.") for package in foreign):
                return stand_ins.setdefault(
                    qualified, type("Foreign", (OpaqueObject,), {"qualified_name": qualified})
                )
            raise InputError(
                f"contains {qualified}, which is neither a tensor nor plain data; it will not be run"
            )

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    return cast(ModuleType, SimpleNamespace(Unpickler=Unpickler, load=load, __name__="restricted_pickle"))


def _allowed_globals() -> dict[str, Any]:
    import numpy as np
    import torch
    from numpy._core.multiarray import scalar

    dtypes = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
    return {
        "collections.OrderedDict": OrderedDict,
        "collections.defaultdict": _default_dict,
        # Protocol 2, which torch writes, has the Python 2 names.
        **{f"__builtin__.{kind.__name__}": kind for kind in (dict, list, set, tuple, int, float, str, bool)},
        **{f"builtins.{kind.__name__}": kind for kind in (dict, list, set, tuple, int, float, str, bool)},
        "__builtin__.long": int,
        "__builtin__.unicode": str,
        "torch.Size": torch.Size,
        "torch.device": torch.device,
        "torch._utils._rebuild_tensor": torch._utils._rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
        "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
        "numpy.dtype": np.dtype,
        "numpy.core.multiarray.scalar": scalar,
        "numpy._core.multiarray.scalar": scalar,
        "_codecs.encode": _encode_latin1,
        **dtypes,
    }


def _default_dict(*_factory: Any) -> dict[Any, Any]:
    """A defaultdict without its factory, which could be any callable."""
    return {}


def _encode_latin1(text: str, _encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes; other codecs are not data."""
    return text.encode("latin1")


def config_of(value: Any) -> Any:
    """Plain dicts, lists and values out of omegaconf objects read as ``OpaqueObject`` (their pickled
    state holds the content of a node under ``_content`` or ``_val``); plain values pass unchanged."""
    if isinstance(value, OpaqueObject):
        state = getattr(value, "state", None)
        if isinstance(state, tuple):  # (__dict__, slots)
            state = {**(state[0] or {}), **(state[1] or {})}
        if not isinstance(state, Mapping):
            return None
        return config_of(state["_content"] if "_content" in state else state.get("_val"))
    if isinstance(value, Mapping):
        return {key: config_of(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [config_of(entry) for entry in value]
    return value


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Load a state dict whose names and shapes must be exactly the module's.

    Raises ``InputError`` that lists the first differences; ``source`` is what it calls the file.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    differences = [f"lacks {name} {shape}" for name, shape in expected.items() if name not in found]
    differences += [f"has an unknown {name} {shape}" for name, shape in found.items() if name not in expected]
    differences += [
        f"has {name} as {found[name]}, not {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if differences:
        shown = "; ".join(differences[:5])
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise InputError(f"{source}: not a checkpoint of this model: it {shown}{more}")
    module.load_state_dict(dict(tensors))


def count_tensors(content: Any) -> tuple[int, int]:
    """(tensors, values) anywhere in what ``load_checkpoint`` gave."""
    import torch

    if isinstance(content, torch.Tensor):
        return 1, content.numel()
    entries = content.values() if isinstance(content, Mapping) else content
    if not isinstance(entries, Iterable) or isinstance(entries, str | bytes | OpaqueObject):
        return 0, 0
    counts = [count_tensors(entry) for entry in entries]
    return sum(tensors for tensors, _ in counts), sum(values for _, values in counts)

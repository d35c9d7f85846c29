"""Reads checkpoint files without running code from them.

A PyTorch checkpoint is a pickle, which can call any function. Here only tensors and plain containers are
built; objects of packages that a caller names become inert ``OpaqueObject`` data; everything else is refused.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from score_to_audio.errors import InputError
from score_to_audio.tensorflow_checkpoints import is_tensorflow_data, load_tensorflow_checkpoint
from score_to_audio.wording import brief, reason

if TYPE_CHECKING:
    from torch import Tensor, nn

Shapes = Mapping[str, tuple[int, ...]]
"""Of tensors, by name."""


class OpaqueObject:
    """An object whose class is not loaded: its name, and its state, items and entries as attributes."""

    qualified_name = ""

    def __new__(cls, *_args: object, **_options: object) -> OpaqueObject:
        return super().__new__(cls)

    def __init__(self, *_args: object, **_options: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.__dict__.setdefault("items", {})[key] = value

    def append(self, value: object) -> None:
        self.__dict__.setdefault("entries", []).append(value)

    def extend(self, values: Iterable[object]) -> None:
        self.__dict__.setdefault("entries", []).extend(values)

    def __call__(self, *_args: object, **_options: object) -> OpaqueObject:
        return self

    def __repr__(self) -> str:
        return f"<foreign {self.qualified_name}>"


def load_checkpoint(path: Path, *, foreign: Sequence[str] = ()) -> Any:
    """The content of a ``.safetensors`` file, a PyTorch zip checkpoint or the data file of a TensorFlow
    checkpoint (its index lies beside it), on the CPU.

    Tensors of a PyTorch file stay mapped to it until they are used, which saves a second copy. ``foreign``:
    packages whose objects are read as ``OpaqueObject`` (``config_of`` turns omegaconf's into plain data).
    Raises ``InputError`` for any other file or object.
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
    except Exception as error:  # a damaged pickle can raise any error
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
    """The metadata in the header of a ``.safetensors`` file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); get it again") from error


def _restricted_pickle(foreign: Sequence[str]) -> ModuleType:
    """A replacement for the ``pickle`` module whose unpickler builds only data."""
    classes: dict[str, type[OpaqueObject]] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            qualified = f"{module}.{name}"
            allowed = _allowed_globals()
            if qualified in allowed:
                return allowed[qualified]
            if any(module == package or module.startswith(f"{package}.") for package in foreign):
                return classes.setdefault(
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
        # torch writes protocol 2, with the Python 2 names.
        **{
            f"{module}.{kind.__name__}": kind
            for module in ("__builtin__", "builtins")
            for kind in (dict, list, set, tuple, int, float, str, bool)
        },
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


def _default_dict(*_factory: object) -> dict[object, object]:
    """A defaultdict without its factory, which could be any callable."""
    return {}


def _encode_latin1(text: str, _encoding: str = "latin1") -> bytes:
    """Protocol 2 writes bytes this way; other codecs are ignored."""
    return text.encode("latin1")


def config_of(value: Any) -> Any:
    """Plain dicts, lists and values of omegaconf objects read as ``OpaqueObject``, whose pickled state has
    the content of a node under ``_content`` or ``_val``; other values pass unchanged."""
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

    The module gets the tensors themselves where they have its types: those of a mapped file stay in memory
    that processes share. Raises ``InputError`` that names ``source`` and lists the first differences.
    """
    own = module.state_dict()
    if differences := shape_differences(shapes_of(own), shapes_of(tensors)):
        raise InputError(f"{source}: not a checkpoint of this model: it {differences}")
    fitting = {name: tensor.to(own[name].dtype).contiguous() for name, tensor in tensors.items()}
    module.load_state_dict(fitting, assign=True)


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def shape_differences(expected: Shapes, found: Shapes) -> str | None:
    """The first five differences, as a predicate of which "it", the checkpoint, is the subject."""
    differences = [f"lacks {name} {shape}" for name, shape in expected.items() if name not in found]
    differences += [f"has an unknown {name} {shape}" for name, shape in found.items() if name not in expected]
    differences += [
        f"has {name} as {found[name]}, not {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
    return "; ".join(differences[:5]) + more if differences else None


def tensors_in(content: object) -> Iterator[Tensor]:
    """The tensors in what ``load_checkpoint`` returns, wherever they are."""
    import torch

    if isinstance(content, torch.Tensor):
        yield content
        return
    entries = content.values() if isinstance(content, Mapping) else content
    if isinstance(entries, Iterable) and not isinstance(entries, str | bytes | OpaqueObject):
        for entry in entries:
            yield from tensors_in(entry)


def count_tensors(content: object) -> tuple[int, int]:
    """Numbers of (tensors, values) in what ``load_checkpoint`` returns."""
    sizes = [tensor.numel() for tensor in tensors_in(content)]
    return len(sizes), sum(sizes)

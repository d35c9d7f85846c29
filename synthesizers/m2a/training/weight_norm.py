"""Weight norm for training (Salimans and Kingma, NIPS 2016), under the names of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Layer = TypeVar("Layer", bound=nn.Module)

PUBLISHED = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}
"""Our names of a layer's norms and directions -> those of checkpoints."""


def normed(layer: Layer) -> Layer:
    """The layer with its weight as norm and direction, over all dimensions but the first."""
    weight_norm(layer, dim=0)
    return layer


def norm_convolutions(network: nn.Module) -> None:
    """Weight norm for every convolution of a network."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            normed(module)


def published_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of checkpoints."""
    return _renamed(tensors, PUBLISHED)


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``published_names``."""
    return _renamed(tensors, {theirs: own for own, theirs in PUBLISHED.items()})


def _renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in names.items():
            if name.endswith(f".{old}"):
                name = name.removesuffix(old) + new
        renamed[name] = tensor
    return renamed

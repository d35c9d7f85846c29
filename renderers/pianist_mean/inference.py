"""The trained network in numpy: playing a score needs no PyTorch, whose import takes longer than the network.

The same computation as ``network.Network``, for one whole piece and without dropout.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from renderers.pianist_mean.texture import Ints

Singles = NDArray[np.float32]
Weights = Mapping[str, Singles]
"""Parameters by the names that ``Network.state_dict`` gives them."""

EPSILON = 1e-5
"""Of layer normalisation."""


def outputs(
    weights: Weights,
    notes: Singles,
    beats: Singles,
    *,
    slice_of: Ints,
    beat_of_slice: Ints,
    preceding: Ints,
    following: Ints,
) -> tuple[Singles, Singles]:
    """[N, note outputs], [B, beat outputs] for standardised inputs; indices as in ``Features``."""
    note = gelu(_linear(weights, "note", notes))
    for name in _layers(weights, "voice"):
        near = np.concatenate([note, note[preceding], note[following]], axis=1)
        note = note + gelu(_linear(weights, name, near))
    bounds = np.searchsorted(slice_of, np.arange(len(beat_of_slice) + 1))
    chord = np.concatenate([_mean_between(note, bounds), note[bounds[:-1]], note[bounds[1:] - 1]], axis=1)
    given = _linear(weights, "beat", beats)
    x = _linear(weights, "slice", chord) + _linear(weights, "down", given)[beat_of_slice]
    x = _convolved(weights, "slices", x)
    of_beat = np.searchsorted(beat_of_slice, np.arange(len(beats) + 1))
    beat = _linear(weights, "joined", np.concatenate([given, _mean_between(x, of_beat)], axis=1))
    beat = _convolved(weights, "beats", beat)
    x = _convolved(weights, "joint", x + beat[beat_of_slice])
    by_note = _head(weights, "of_note", np.concatenate([note, x[slice_of]], axis=1))
    by_beat = _head(weights, "of_beat", np.concatenate([beat, _mean_between(x, of_beat)], axis=1))
    return by_note, by_beat


def gelu(x: Singles) -> Singles:
    """Gaussian error linear unit, approximated by tanh (Hendrycks & Gimpel, arXiv:1606.08415)."""
    inner = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
    return np.float32(0.5) * x * (1 + np.tanh(inner))


def _layers(weights: Weights, stack: str) -> list[str]:
    """Names of the layers of a stack."""
    found = {name.split(".")[1] for name in weights if name.startswith(f"{stack}.")}
    return [f"{stack}.{k}" for k in range(len(found))]


def _linear(weights: Weights, name: str, x: Singles) -> Singles:
    y = x @ weights[f"{name}.weight"].T
    bias = weights.get(f"{name}.bias")
    return y if bias is None else y + bias


def _normalised(weights: Weights, name: str, x: Singles) -> Singles:
    centred = x - x.mean(axis=1, keepdims=True)
    std = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + np.float32(EPSILON))
    return centred / std * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _convolved(weights: Weights, stack: str, x: Singles) -> Singles:
    """[T, width] after the residual layers; layer k sees the rows 2^k before and after."""
    for k, name in enumerate(_layers(weights, stack)):
        here, before, after = np.split(
            _linear(weights, f"{name}.mix", _normalised(weights, f"{name}.norm", x)), 3, 1
        )
        d = 2**k
        hidden = here.copy()
        hidden[d:] += before[:-d]
        hidden[:-d] += after[d:]
        x = x + _linear(weights, f"{name}.out", gelu(hidden))
    return x


def _mean_between(x: Singles, bounds: Ints) -> Singles:
    """[K, width] mean of the rows between neighbouring bounds [K + 1]; 0 where there are none."""
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0, dtype=np.float64)])
    size = np.maximum(np.diff(bounds), 1)[:, None]
    return np.asarray((total[bounds[1:]] - total[bounds[:-1]]) / size, np.float32)


def _head(weights: Weights, name: str, x: Singles) -> Singles:
    hidden = gelu(_linear(weights, f"{name}.1", _normalised(weights, f"{name}.0", x)))
    return _linear(weights, f"{name}.4", hidden)

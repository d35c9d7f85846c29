"""Windows of notes for the network, and their joining."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Joining = Literal["crossfade", "average"]


def window_starts(notes: int, length: int, overlap: int) -> NDArray[np.int64]:
    """Index of the first note of each window; at least one window."""
    return np.arange(0, max(notes - overlap, 1), length - overlap)


def cut(score_codec: NDArray[np.float32], length: int, overlap: int) -> Tensor:
    """Score codec [N, 4] -> windows [W, length, 4], the last one padded with zeros."""
    starts = window_starts(len(score_codec), length, overlap)
    windows = np.zeros((len(starts), length, score_codec.shape[1]), np.float32)
    for window, start in zip(windows, starts, strict=True):
        part = score_codec[start : start + length]
        window[: len(part)] = part
    return torch.from_numpy(windows)


def normalised_condition(windows: Tensor) -> Tensor:
    """Each column of each window [W, T, 4] scaled to 0..1, padding included; constant columns become 0."""
    windows = windows.float()
    low = windows.amin(dim=1, keepdim=True)
    high = windows.amax(dim=1, keepdim=True)
    return torch.nan_to_num((windows - low) / (high - low), nan=0.0)


def join(windows: Tensor, notes: int, overlap: int, how: Joining = "crossfade") -> NDArray[np.float32]:
    """Windows [W, T, columns] -> [notes, columns].

    Overlaps are averaged (as in the published script) or crossfaded.
    """
    count, length, columns = windows.shape
    values = windows.cpu().numpy()
    joined = np.zeros(((count - 1) * (length - overlap) + length, columns), np.float32)
    rising = np.full(overlap, 0.5) if how == "average" else np.arange(1, overlap + 1) / (overlap + 1)
    weights = rising.astype(np.float32)[:, None]
    for index, window in enumerate(values):
        start = index * (length - overlap)
        if index:
            head = slice(start, start + overlap)
            joined[head] = joined[head] * (1 - weights) + window[:overlap] * weights
            joined[start + overlap : start + length] = window[overlap:]
        else:
            joined[:length] = window
    return joined[:notes]

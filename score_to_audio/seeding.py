"""Random generators from a seed: the one derivation that all models use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def numpy_generator(seed: int, *path: int) -> np.random.Generator:
    """A NumPy generator for one part of a seeded computation.

    ``path`` names the part, for instance (window index, head index); different paths give independent
    generators. All numbers are non-negative.

    >>> numpy_generator(7, 0).integers(100, size=3).tolist()
    [94, 62, 68]
    """
    return np.random.default_rng(np.random.SeedSequence((seed, *path)))


def generator(seed: int, *path: int) -> torch.Generator:
    """As ``numpy_generator``, for torch; lives on the CPU."""
    import torch

    state = np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))

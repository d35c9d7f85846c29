"""Looking up positions in lists of positions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def binary_index(positions: Sequence[float], x: float) -> int:
    """Index of the last entry that is not beyond ``x``, at least 0, of a sorted list."""
    return max(0, bisect_right(positions, x) - 1)


def probing_index(positions: Sequence[float], x: float) -> int:
    """``binary_index`` for a list that may be unsorted; 0 for an empty one.

    In an unsorted list the result depends on the sequence of probes; the weights were trained with this one.
    """
    first, last = 0, len(positions) - 1
    if last < 0 or x < positions[0]:
        return 0
    while first < last:
        middle = (first + last) // 2
        if positions[middle] < x:
            if positions[middle + 1] > x:
                return middle
            first = middle + 1
            if first == last and positions[last] > x:
                return middle
        elif positions[middle] > x:
            last = middle - 1
        else:
            while middle + 1 < len(positions) and positions[middle + 1] == positions[middle]:
                middle += 1
            return middle
    return max(last, 0)

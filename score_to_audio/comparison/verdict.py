"""Which column is best: for each quantity, and of a section in one sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from score_to_audio.comparison.evaluation.statistics import FEWEST_ROWS, can_be_equal, fisher_z
from score_to_audio.comparison.results import Quantity, Summary

Floats = NDArray[np.float64]
Standing = Literal["best", "tie", ""]

UNDECIDED = "No measure here says which column is better: listen."


def standings(quantity: Quantity, values: Mapping[str, Floats]) -> dict[str, Standing]:
    """Condition -> standing. ``values``: of each condition, row by row, nan where there is none.

    A column ties with the best where the interval of their mean difference over the rows of both holds 0; of
    fewer than ``FEWEST_ROWS`` rows, where their means look alike. Where all tie, none is best.
    """
    known = {key: rows for key, rows in values.items() if np.isfinite(rows).any()}
    if not quantity.better or len(known) < 2:
        return {}
    means = {key: float(np.nanmean(rows)) for key, rows in known.items()}
    best = (max if quantity.better == "higher" else min)(means, key=lambda key: means[key])
    level = [key for key in known if key == best or _is_level(quantity, known[best], known[key])]
    tie: dict[str, Standing] = dict.fromkeys(level, "tie")
    return tie if len(level) == len(known) else {**tie, best: "best"}


def _is_level(quantity: Quantity, best: Floats, other: Floats) -> bool:
    both = np.isfinite(best) & np.isfinite(other)
    if both.sum() < FEWEST_ROWS:
        return round(float(np.nanmean(best)), quantity.digits) == round(
            float(np.nanmean(other)), quantity.digits
        )
    scaled = fisher_z if quantity.is_correlation else np.asarray
    return can_be_equal(scaled(best[both]), scaled(other[both]))


def verdict(quantities: Sequence[Quantity], summaries: Sequence[Summary], labels: Mapping[str, str]) -> str:
    """One sentence; "" for a single column. ``labels``: condition -> its heading."""
    if len(labels) < 2:
        return ""
    clauses = [
        clause
        for claim in dict.fromkeys(quantity.claim for quantity in quantities if quantity.claim)
        for clause in _clauses(claim, [one for one in quantities if one.claim == claim], summaries, labels)
    ]
    if not clauses:
        return UNDECIDED
    rows = max(one.count for one in summaries if one.standing)
    few = f"Of {rows} {'row' if rows == 1 else 'rows'}, too few to be sure: " if rows < FEWEST_ROWS else ""
    sentence = few + "; ".join(clauses) + "."
    return sentence[0].upper() + sentence[1:]


def _clauses(
    claim: str, quantities: Sequence[Quantity], summaries: Sequence[Summary], labels: Mapping[str, str]
) -> Iterator[str]:
    """ "KTH rules is nearest to the pianists in tempo and pedal", for each group of winners."""
    aspects = defaultdict(list)
    for quantity in quantities:
        found = [one for one in summaries if one.measure == quantity.key and one.standing]
        if found:
            decided = any(one.standing == "best" for one in found)
            winners = tuple(labels[one.condition] for one in found) if decided else ()
            aspects[winners].append(quantity.aspect)
    for winners, where in aspects.items():
        if winners:
            verb = "is" if len(winners) == 1 else "are"
            yield f"{listed(winners)} {verb} {claim} in {listed(where)}"
        else:
            yield f"no column is clearly {claim} in {listed(where)}"


def listed(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

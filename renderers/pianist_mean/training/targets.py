"""What the network learns: the mean of the pianists, value by value, relative to the piece's mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from renderers.expression import Expression, Floats, Grid, Performance, measure, nan_average
from renderers.pianist_mean.texture import SAME

LONGEST_LEAD = 0.12
"""Seconds; larger deviations from the chord are spread chords or alignment errors."""
ARTICULATION = (-4.0, 1.5)
"""log2; beyond lie alignment errors."""


class _HasColumns(Protocol):
    @property
    def velocity(self) -> Floats: ...
    @property
    def articulation(self) -> Floats: ...
    @property
    def lead(self) -> Floats: ...
    @property
    def period(self) -> Floats: ...
    @property
    def pedal(self) -> Floats: ...


PARTS: Mapping[str, Callable[[_HasColumns], Floats]] = {
    "velocity": lambda of: of.velocity,
    "articulation": lambda of: of.articulation,
    "lead": lambda of: of.lead,
    "period": lambda of: of.period,
    "pedal": lambda of: of.pedal.mean(axis=1),
    "pedal_within_beat": lambda of: of.pedal - of.pedal.mean(axis=1, keepdims=True),
}
"""What has a gain of its own: the columns, the pedal as its mean over the beat and what is left."""


class _Columns(NamedTuple):
    """Of one performance."""

    velocity: Floats
    articulation: Floats
    lead: Floats
    period: Floats
    pedal: Floats


@dataclass(frozen=True)
class Targets:
    """Of a score with N notes and B beats; nan where no pianist has a value."""

    velocity: Floats
    """[N] MIDI velocity relative to the mean."""
    articulation: Floats
    """[N] log2 of the played to the notated length."""
    lead: Floats
    """[N] seconds relative to the notes struck together."""
    period: Floats
    """[B] log2 of seconds per quarter note relative to the mean."""
    pedal: Floats
    """[B, places] 0..1"""
    velocity_mean: float
    """MIDI velocity of the piece."""
    period_mean: float
    """log2 of seconds per quarter note over the whole piece."""
    spreads: Mapping[str, float]
    """Name of a part -> a pianist's standard deviation, on average."""
    performances: int


def targets(grid: Grid, performances: Sequence[Performance]) -> Targets:
    """The mean of at least one performance. Raises ``ValueError`` for a performance without a tempo."""
    shapes = [measure(grid, one) for one in performances]
    columns = {
        "velocity": [one.velocity - np.nanmean(one.velocity) for one in shapes],
        "articulation": [one.articulation.clip(*ARTICULATION) for one in shapes],
        "lead": [leads(grid, one) for one in performances],
        "period": [one.beat_period - np.nanmean(one.beat_period) for one in shapes],
        "pedal": [one.pedal for one in shapes],
    }
    each = [_Columns(*values) for values in zip(*columns.values(), strict=True)]
    return Targets(
        **{name: _nanmean(np.stack(values)) for name, values in columns.items()},
        velocity_mean=float(np.mean([np.nanmean(one.velocity) for one in shapes])),
        period_mean=float(np.mean([_period_of_piece(grid, one) for one in shapes])),
        spreads={name: nan_average([spread(part(one)) for one in each]) for name, part in PARTS.items()},
        performances=len(shapes),
    )


def spread(values: Floats) -> float:
    """Standard deviation of the values that are not nan; nan where all are."""
    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) else float("nan")


def _period_of_piece(grid: Grid, shape: Expression) -> float:
    known = np.isfinite(shape.beat_period)
    length = np.diff(grid.beats)[known]
    return float(np.log2((2.0 ** shape.beat_period[known] * length).sum() / length.sum()))


def leads(grid: Grid, performance: Performance) -> Floats:
    """[N] seconds by which a note follows the mean of the notes struck together; nan for single notes."""
    place = np.array([grid.index.get(name, -1) for name in performance.score_ids or ()], np.int64)
    known = np.flatnonzero(place >= 0)[::-1]
    onset = np.full(len(grid.onset), np.nan)
    onset[place[known]] = performance.onset[known]
    usable = grid.plain & np.isfinite(onset)
    together = np.cumsum(np.r_[0, np.diff(grid.onset) > SAME])
    count = np.bincount(together[usable], minlength=together[-1] + 1)
    total = np.bincount(together[usable], weights=onset[usable], minlength=together[-1] + 1)
    lead = onset - (total / np.maximum(count, 1))[together]
    return np.where(usable & (count[together] > 1) & (np.abs(lead) <= LONGEST_LEAD), lead, np.nan)


def _nanmean(stack: Floats) -> Floats:
    """The mean over the first axis without nan; nan where all are."""
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, stack, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)

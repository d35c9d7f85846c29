"""What a comparison gives, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from score_to_audio.comparison.cells import Cell
from score_to_audio.comparison.plan import Condition, Plan, Row, Section


@dataclass(frozen=True)
class Quantity:
    """One of the numbers that a metric gives, and how to read it."""

    key: str
    label: str
    """As a column's heading: "notes recognized"."""
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    """ "" where neither is."""
    description: str = ""
    """One sentence: definition and paper."""
    digits: int = 2
    """Decimals shown."""
    is_correlation: bool = False
    claim: str = ""
    """What the verdict says of the best column: "nearest to the pianists"; "" for a quantity that it leaves
    out and tables show on request."""
    aspect: str = ""
    """In what, in the verdict: "dynamics"."""


@dataclass(frozen=True)
class CellResult:
    """A row in a column: its sound, or the reason why there is none."""

    row: Row
    condition: Condition
    cell: Cell | None
    """None where it failed."""
    failure: str = ""
    """One sentence."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Key of a quantity -> value, nan where it is undefined."""


@dataclass(frozen=True)
class Summary:
    """A quantity over the rows of a section."""

    condition: str
    """Key of the condition."""
    measure: str
    """Key of the quantity."""
    mean: float
    low: float
    high: float
    """Ends of the 95 % confidence interval; nan where there is none."""
    count: int
    """Number of rows."""
    standing: Literal["best", "tie", ""] = ""
    """Best of the columns; "tie" for those between which the rows do not decide."""


@dataclass(frozen=True)
class SectionResult:
    section: Section
    cells: tuple[CellResult, ...]
    """Row by row, in the order of the columns."""
    summaries: tuple[Summary, ...]
    verdict: str = ""
    """One sentence: which column is best, in what."""


@dataclass(frozen=True)
class ComparisonResult:
    plan: Plan
    sections: tuple[SectionResult, ...]
    quantities: tuple[Quantity, ...]
    """In the order of the tables; only those that a cell has."""
    notices: tuple[str, ...]
    """What was left out and how to get it; metrics that failed."""

    @property
    def failures(self) -> list[CellResult]:
        return [cell for section in self.sections for cell in section.cells if cell.failure]


def as_json(value: Any) -> Any:
    """Any value as plain JSON: numbers that are not finite become null, unknown types text."""
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)

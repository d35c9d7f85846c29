"""Runs a comparison: every cell is made and measured, then summed up; failures carry their reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from score_to_audio.comparison import cells, metrics
from score_to_audio.comparison.cells import Cell
from score_to_audio.comparison.derived import TracedFile, cached_score
from score_to_audio.comparison.metrics import Metric, MetricInputs
from score_to_audio.comparison.plan import Condition, Plan, Row, Section
from score_to_audio.comparison.results import CellResult, ComparisonResult
from score_to_audio.comparison.summary import frechet_distances, frechet_quantity, summarize
from score_to_audio.comparison.work import Each, Failure, attempt, one_by_one
from score_to_audio.errors import InputError
from score_to_audio.store import ArtifactStore


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """A cell to be made; compared by identity."""

    section: Section
    row: Row
    condition: Condition

    @property
    def name(self) -> str:
        return f"{self.row.name}: {self.condition.label}"


@dataclass(frozen=True)
class Measurement:
    """The values of a cell, and why others are missing."""

    values: Mapping[str, float]
    problems: tuple[str, ...] = ()


def run_comparison(
    plan: Plan, store: ArtifactStore, *, each: Each = one_by_one, device: str = "auto"
) -> ComparisonResult:
    """Make and measure everything. Failures of single cells are part of the result.

    ``device``: auto, cpu or cuda, for the embedding of the Fréchet audio distance.
    """
    planned = [
        PlannedCell(section, row, condition)
        for section in plan.sections
        for row in section.rows
        for condition in section.conditions
    ]
    made = each(
        lambda one: cells.make_cell(one.row, one.condition, plan.score_options, store),
        planned,
        lambda one: one.name,
    )
    outcomes = dict(zip(planned, made, strict=True))
    found = {one: cell for one, cell in outcomes.items() if isinstance(cell, Cell)}
    computed, missing = _metrics(plan)
    measured = each(
        lambda one: _measure(one, found, computed, plan, store),
        list(found),
        lambda one: f"measure {one.name}",
    )
    measurements = dict(zip(found, measured, strict=True))
    results = {one: _result(one, outcome, measurements.get(one)) for one, outcome in outcomes.items()}
    sections = [
        (section, tuple(result for one, result in results.items() if one.section is section))
        for section in plan.sections
    ]
    distances, frechet_problems = frechet_distances(plan, sections, store, each, device)
    occurring = {key for one in results.values() for key, value in one.values.items() if np.isfinite(value)}
    quantities = [
        quantity
        for metric in computed
        if plan.wants(metric.name)
        for quantity in metric.quantities
        if quantity.key in occurring
    ]
    return ComparisonResult(
        plan=plan,
        sections=tuple(
            summarize(section, found_cells, quantities, of_sets)
            for (section, found_cells), of_sets in zip(sections, distances, strict=True)
        ),
        quantities=(*quantities, *([frechet_quantity(plan.embedding)] if any(distances) else ())),
        notices=(*missing, *frechet_problems, *_problems(measurements), *_reader_notices(plan)),
    )


SLOW = "left out: transcription, which takes minutes; `--metrics levels,expression,transcription` computes it"


def _metrics(plan: Plan) -> tuple[list[Metric], list[str]]:
    """The metrics to compute, and why others cannot be. Levels always are: sounds are played equally loud."""
    wanted = [metric for metric in metrics.METRICS if plan.wants(metric.name)]
    missing = [SLOW] if plan.metrics is None else []
    missing += [f"left out: {metric.name}: {reason}" for metric in wanted if (reason := metric.missing())]
    computed = [metric for metric in wanted if not metric.missing()]
    return computed if metrics.LEVELS in computed else [*computed, metrics.LEVELS], missing


def _measure(
    planned: PlannedCell,
    made: Mapping[PlannedCell, Cell],
    computed: Sequence[Metric],
    plan: Plan,
    store: ArtifactStore,
) -> Measurement:
    cell, row = made[planned], planned.row
    values: dict[str, float] = {}
    problems = []
    try:
        score = cached_score(row.score, plan.score_options) if row.score else None
        humans = _other_humans(row, cell, plan, store) if metrics.EXPRESSION in computed else ()
    except InputError as error:
        score, humans = None, ()
        problems.append(str(error))
    inputs = MetricInputs(cell.audio, cell.performance, _reference(planned, made, store), score, humans)
    for metric in computed:
        try:
            values |= metrics.values_of(metric, inputs, store)
        except InputError as error:
            problems.append(f"{metric.name}: {error}")
    return Measurement(values, tuple(problems))


def _reference(
    planned: PlannedCell, made: Mapping[PlannedCell, Cell], store: ArtifactStore
) -> TracedFile | None:
    """The sound that a cell is measured against: another one of the same performance."""
    section, row = planned.section, planned.row
    if section.reference is None:
        if planned.condition.method is None or _is_rendered(made[planned]):
            return None
        recording = attempt(lambda row: cells.own_recording(row, store), row)
        return recording if isinstance(recording, TracedFile) else None
    same_row = (one for one in made if one.section is section and one.row is row)
    other = next((one for one in same_row if one.condition.key == section.reference), planned)
    if other is planned or _performance_path(made[other]) != _performance_path(made[planned]):
        return None
    return made[other].audio


def _performance_path(cell: Cell) -> Path | None:
    return cell.performance.path if cell.performance else None


def _is_rendered(cell: Cell) -> bool:
    """Whether the sound follows another performance than its row's recording."""
    history = cell.performance.history if cell.performance else ()
    return any(step["stage"] == "render" for step in history)


def _other_humans(row: Row, cell: Cell, plan: Plan, store: ArtifactStore) -> tuple[TracedFile, ...]:
    """Human performances of the row's score, without the one in the cell."""
    if cell.performance is None:
        return ()
    own = cell.performance.history[0].get("input")
    humans = cells.human_performances(row, plan.score_options, store)
    return tuple(human for human in humans if human.history[0].get("input") != own)


def _result(
    planned: PlannedCell, outcome: Cell | Failure, measured: Measurement | Failure | None
) -> CellResult:
    if isinstance(outcome, Failure):
        return CellResult(planned.row, planned.condition, None, failure=outcome.reason)
    values = measured.values if isinstance(measured, Measurement) else {}
    return CellResult(planned.row, planned.condition, outcome, values=values)


def _problems(measurements: Mapping[PlannedCell, Measurement | Failure]) -> list[str]:
    return [
        f"not measured: {planned.name}: {problem}"
        for planned, found in measurements.items()
        for problem in ([found.reason] if isinstance(found, Failure) else found.problems)
    ]


def _reader_notices(plan: Plan) -> list[str]:
    """What the score reader decided on its own."""
    notices: dict[str, None] = {}
    for row in (row for section in plan.sections for row in section.rows if row.score):
        try:
            found = cached_score(row.score, plan.score_options).parsed.notices if row.score else ()
        except InputError:
            continue
        notices |= dict.fromkeys(f"{row.name}: {notice}" for notice in found)
    return list(notices)

"""Carrying out a comparison: every cell made, measured and summed up; what fails carries its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from score_to_audio.comparison import cells, files
from score_to_audio.comparison import metrics as measures
from score_to_audio.comparison.cells import MadeCell
from score_to_audio.comparison.evaluation import statistics
from score_to_audio.comparison.files import File
from score_to_audio.comparison.listening.comparison import Measured, Summary
from score_to_audio.comparison.metrics import Heard, Measure, Values
from score_to_audio.comparison.plan import Condition, Plan, Section, Source
from score_to_audio.errors import InputError, StageError
from score_to_audio.plugins import Checkpoint
from score_to_audio.store import ArtifactStore

FORESEEN = (InputError, StageError, OSError, MemoryError)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why there is no result."""

    reason: str


class Each(Protocol):
    """Does a piece of work for every item; results in the order of the items."""

    def __call__(
        self, work: Callable[[Item], Result], items: Sequence[Item], name: Callable[[Item], str]
    ) -> list[Result | Failure]: ...


def one_by_one(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    name: Callable[[Item], str],  # noqa: ARG001 (see Each)
) -> list[Result | Failure]:
    """Within this process, one after the other."""

    def attempt(item: Item) -> Result | Failure:
        try:
            return work(item)
        except FORESEEN as error:
            return Failure(str(error))

    return [attempt(item) for item in items]


@dataclass(frozen=True)
class CellResult:
    """What became of one row in one column."""

    source: Source
    condition: Condition
    made: MadeCell | None
    """None where it failed."""
    failure: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    """Key of a figure -> value, nan where it is not defined."""
    loudness: float | None = None
    """LUFS."""


@dataclass(frozen=True)
class SectionResult:
    section: Section
    cells: tuple[CellResult, ...]
    """Row by row, in the order of the columns."""
    summaries: tuple[Summary, ...]


@dataclass(frozen=True)
class ComparisonResult:
    """A finished comparison."""

    plan: Plan
    sections: tuple[SectionResult, ...]
    figures: tuple[Measured, ...]
    """In the order of the tables; those that no cell has are left out."""
    notices: tuple[str, ...]
    """What was left out and how to get it; measures that failed."""

    @property
    def failures(self) -> list[CellResult]:
        return [cell for section in self.sections for cell in section.cells if cell.failure]


@dataclass(frozen=True, eq=False)
class _Place:
    """Of a cell, before it is made; each is a key of its own."""

    section: Section
    source: Source
    condition: Condition

    @property
    def name(self) -> str:
        return f"{self.source.name}: {self.condition.label}"


@dataclass(frozen=True)
class _Taken:
    """What was measured of a cell, and the measures that failed."""

    values: Values
    problems: tuple[str, ...] = ()


def carry_out(
    plan: Plan, store: ArtifactStore, *, each: Each = one_by_one, device: str = "cpu"
) -> ComparisonResult:
    """Make and measure everything. Raises nothing for single cells: their failures are in the result.

    ``device``: "cpu" or "cuda", for the embedding of the Frechet audio distance.
    """
    places = [
        _Place(section, source, condition)
        for section in plan.sections
        for source in section.sources
        for condition in section.conditions
    ]
    made = each(partial(_make, plan=plan, store=store), places, _name)
    of_place = dict(zip(places, made, strict=True))
    heard = {place: cell for place, cell in of_place.items() if isinstance(cell, MadeCell)}

    chosen, notices = _chosen(plan)
    references = {place: _reference(place, heard, store) for place in heard}
    taking = partial(_take, plan=plan, store=store, chosen=chosen, heard=heard, references=references)
    taken = dict(zip(heard, each(taking, list(heard), _measuring), strict=True))

    distances, more = _frechet_distances(plan, heard, store, each, device)
    results = {place: _result(place, of_place[place], taken.get(place)) for place in places}
    problems = [problem for place, found in taken.items() for problem in _problems(place, found)]
    figures = [figure for measure in chosen if _shown(measure, plan) for figure in measure.figures]
    figures = [figure for figure in figures if _occurs(figure, results)]
    if distances:
        figures.append(measures.frechet_figure(plan.embedding))
    return ComparisonResult(
        plan=plan,
        sections=tuple(
            _section_result(section, results, figures, distances.get(number, {}))
            for number, section in enumerate(plan.sections)
        ),
        figures=tuple(figures),
        notices=(*notices, *more, *problems),
    )


def _name(place: _Place) -> str:
    return place.name


def _measuring(place: _Place) -> str:
    return f"measure {place.name}"


def _make(place: _Place, *, plan: Plan, store: ArtifactStore) -> MadeCell:
    return cells.make_cell(place.source, place.condition, plan.score_options, store)


# ---------------------------------------------------------------------------------------- measuring


def _chosen(plan: Plan) -> tuple[list[Measure], list[str]]:
    """The measures that are taken, and why others are not. Levels always are: sounds are played equally
    loud."""
    wanted = [measure for measure in measures.MEASURES.values() if _shown(measure, plan)]
    missing = {measure.name: reason for measure in wanted if (reason := measure.missing())}
    chosen = [measure for measure in wanted if measure.name not in missing]
    if measures.LEVELS not in chosen:
        chosen.insert(0, measures.LEVELS)
    return chosen, [f"left out: {name}: {reason}" for name, reason in missing.items()]


def _shown(measure: Measure, plan: Plan) -> bool:
    return plan.measures is None or measure.name in plan.measures


def _reference(place: _Place, heard: Mapping[_Place, MadeCell], store: ArtifactStore) -> File | None:
    """The sound that a cell is measured against: one of the same performance, and not itself."""
    if place.section.reference is None:
        if place.condition.how is None:
            return None
        try:
            recording = cells.own_recording(place.source, store)
        except FORESEEN:
            return None
        return recording if recording and _plays_its_own(heard[place]) else None
    row = (one for one in heard if one.section is place.section and one.source is place.source)
    other = next((one for one in row if one.condition.key == place.section.reference), place)
    if other is place or _path(heard[other]) != _path(heard[place]):
        return None
    return heard[other].audio


def _path(cell: MadeCell) -> Path | None:
    return cell.performance.path if cell.performance else None


def _plays_its_own(cell: MadeCell) -> bool:
    """Whether a cell's sound follows the performance of its row's recording: not if it was rendered."""
    history = cell.performance.history if cell.performance else ()
    return not any(step["stage"] == "render" for step in history)


def _take(
    place: _Place,
    *,
    plan: Plan,
    store: ArtifactStore,
    chosen: Sequence[Measure],
    heard: Mapping[_Place, MadeCell],
    references: Mapping[_Place, File | None],
) -> _Taken:
    cell, source = heard[place], place.source
    values: Values = {}
    problems = []
    try:
        score = files.read_score_once(source.score, plan.score_options) if source.score else None
        humans = _humans(place, cell, plan, store) if measures.EXPRESSION in chosen else ()
    except InputError as error:
        score, humans = None, ()
        problems.append(str(error))
    subject = Heard(cell.audio, cell.performance, references[place], score, humans)
    for measure in chosen:
        try:
            values |= measures.take(measure, subject, store)
        except InputError as error:
            problems.append(f"{measure.name}: {error}")
    return _Taken(values, tuple(problems))


def _humans(place: _Place, cell: MadeCell, plan: Plan, store: ArtifactStore) -> tuple[File, ...]:
    if cell.performance is None:
        return ()
    mine = cell.performance.history[0].get("input")
    found = cells.human_references(place.source, plan.score_options, store)
    return tuple(human for human in found if human.history[0].get("input") != mine)


def _problems(place: _Place, taken: _Taken | Failure) -> Iterator[str]:
    problems = (taken.reason,) if isinstance(taken, Failure) else taken.problems
    yield from (f"not measured: {place.name}: {problem}" for problem in problems)


def _result(place: _Place, made: MadeCell | Failure, taken: _Taken | Failure | None) -> CellResult:
    if isinstance(made, Failure):
        return CellResult(place.source, place.condition, None, failure=made.reason)
    values = taken.values if isinstance(taken, _Taken) else {}
    return CellResult(place.source, place.condition, made, values=values, loudness=values.get("loudness"))


# ----------------------------------------------------------------------------------------- summing up


SetDistances = Mapping[str, tuple[float, int]]
"""Key of a condition -> its Frechet audio distance from the section's references, and number of sounds."""


def _frechet_distances(
    plan: Plan, heard: Mapping[_Place, MadeCell], store: ArtifactStore, each: Each, device: str
) -> tuple[dict[int, SetDistances], list[str]]:
    """By number of the section; and what was left out."""
    sets = [_sets(section, heard, store) for section in plan.sections]
    wanted = plan.measures is None or "frechet" in plan.measures
    if not wanted or not any(sounds for _, sounds in sets):
        return {}, []
    try:
        codec = measures.frechet_codec(plan.embedding)
    except InputError as error:
        return {}, [f"left out: frechet: {error}"]
    audio = {
        file.path: file
        for references, sounds in sets
        for file in (*references, *(file for one in sounds.values() for file in one))
    }
    embed = partial(_embed, codec=codec, device=device, store=store)
    found = dict(zip(audio, each(embed, list(audio.values()), _embedding), strict=True))
    embedded = {path: file for path, file in found.items() if isinstance(file, File)}
    failed = [f"left out: frechet: {one.reason}" for one in found.values() if isinstance(one, Failure)]

    def moments(files: Sequence[File]) -> list[File]:
        return [embedded[file.path] for file in files if file.path in embedded]

    distances: dict[int, SetDistances] = {
        number: {
            key: (measures.frechet(moments(mine), moments(references)), len(mine))
            for key, mine in sounds.items()
        }
        for number, (references, sounds) in enumerate(sets)
    }
    return {} if len(failed) == len(found) else distances, failed[:1]


def _sets(
    section: Section, heard: Mapping[_Place, MadeCell], store: ArtifactStore
) -> tuple[list[File], dict[str, list[File]]]:
    """The section's references, and the sounds of every other condition."""
    mine = {place: cell for place, cell in heard.items() if place.section is section}
    if section.reference is not None:
        references = [cell.audio for place, cell in mine.items() if place.condition.key == section.reference]
    else:
        found = one_by_one(partial(cells.own_recording, store=store), section.sources, str)
        references = [file for file in found if isinstance(file, File)]
    sounds: dict[str, list[File]] = {}
    for place, cell in mine.items():
        itself = place.condition.key == section.reference or (
            section.reference is None and place.condition.how is None
        )
        if references and not itself and not place.condition.failure:
            sounds.setdefault(place.condition.key, []).append(cell.audio)
    return references, sounds


def _embed(audio: File, *, codec: Checkpoint, device: str, store: ArtifactStore) -> File:
    return measures.embedded(audio, codec, device, store)


def _embedding(audio: File) -> str:
    return f"embed {audio.path.name}"


def _section_result(
    section: Section,
    results: Mapping[_Place, CellResult],
    figures: Sequence[Measured],
    distances: SetDistances,
) -> SectionResult:
    cells = tuple(result for place, result in results.items() if place.section is section)
    return SectionResult(
        section,
        cells,
        tuple(
            summary
            for condition in section.conditions
            for summary in (
                *_means(condition, cells, figures),
                *_set_distance(condition, distances),
            )
        ),
    )


def _means(
    condition: Condition, cells: Sequence[CellResult], figures: Sequence[Measured]
) -> Iterator[Summary]:
    mine = [cell for cell in cells if cell.condition is condition]
    for figure in figures:
        found = statistics.mean([cell.values.get(figure.key, np.nan) for cell in mine])
        if found.count:
            yield Summary(condition.key, figure.key, found.value, found.low, found.high, found.count)


def _set_distance(condition: Condition, distances: SetDistances) -> Iterator[Summary]:
    value, count = distances.get(condition.key, (np.nan, 0))
    if np.isfinite(value):
        yield Summary(condition.key, "frechet_distance", value, np.nan, np.nan, count)


def _occurs(figure: Measured, results: Mapping[_Place, CellResult]) -> bool:
    return any(np.isfinite(result.values.get(figure.key, np.nan)) for result in results.values())

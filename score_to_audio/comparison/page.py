"""A comparison's result as the listening page takes it."""

from __future__ import annotations

import numpy as np

from score_to_audio.comparison import files
from score_to_audio.comparison.files import File
from score_to_audio.comparison.listening import comparison as listening
from score_to_audio.comparison.listening.timeline import timeline
from score_to_audio.comparison.plan import Source
from score_to_audio.comparison.run import FORESEEN, CellResult, ComparisonResult, SectionResult
from score_to_audio.errors import InputError
from score_to_audio.store import ArtifactStore
from score_to_audio.types import ParsedScore, Performance


def listening_comparison(result: ComparisonResult, store: ArtifactStore) -> listening.Comparison:
    """With every sound compressed, through the store. A sound that cannot be is a failed cell."""
    return listening.Comparison(
        title=result.plan.title,
        description=result.plan.description,
        measures=result.figures,
        sections=tuple(_section(section, result, store) for section in result.sections),
    )


def _section(section: SectionResult, result: ComparisonResult, store: ArtifactStore) -> listening.Section:
    conditions = section.section.conditions
    return listening.Section(
        title=section.section.title,
        description=section.section.description,
        conditions=tuple(listening.Condition(one.key, one.label, one.description) for one in conditions),
        rows=tuple(
            _row(source, [cell for cell in section.cells if cell.source is source], result, store)
            for source in section.section.sources
        ),
        summaries=section.summaries,
    )


def _row(
    source: Source, cells: list[CellResult], result: ComparisonResult, store: ArtifactStore
) -> listening.Row:
    options = result.plan.score_options
    try:
        parsed = files.read_score_once(source.score, options).parsed if source.score else None
    except InputError:
        parsed = None
    return listening.Row(
        name=source.name,
        cells=tuple(_cell(cell, parsed, store) for cell in cells),
        score=source.score if parsed else None,
        score_options=options if parsed else None,
        note=source.note,
    )


def _cell(cell: CellResult, score: ParsedScore | None, store: ArtifactStore) -> listening.Cell:
    key = cell.condition.key
    if cell.made is None:
        return listening.Cell(key, failure=cell.failure)
    try:
        audio = files.compressed(cell.made.audio, store)
    except FORESEEN as error:
        return listening.Cell(key, failure=str(error))
    performance = _performance(cell.made.performance)
    licences = dict(cell.condition.licences)
    if cell.source.licence:
        licences["material"] = cell.source.licence
    return listening.Cell(
        condition=key,
        audio=audio.path,
        performance=performance,
        timeline=timeline(score, performance) if score and performance else (),
        measures={name: value for name, value in cell.values.items() if np.isfinite(value)},
        provenance=cell.made.audio.history,
        licences=licences,
        loudness=cell.loudness if cell.loudness is not None and np.isfinite(cell.loudness) else None,
    )


def _performance(file: File | None) -> Performance | None:
    from score_to_audio.formats.midi import read_performance

    return read_performance(file.path) if file else None

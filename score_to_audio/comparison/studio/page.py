"""The listening page of a piece: its interpretations as the columns of one row."""

from __future__ import annotations

from pathlib import Path

from score_to_audio import jobs
from score_to_audio.artifacts import StageResult
from score_to_audio.comparison import metrics
from score_to_audio.comparison.cells import Cell
from score_to_audio.comparison.derived import stored_file
from score_to_audio.comparison.listening.page import write_page
from score_to_audio.comparison.metrics import MetricInputs
from score_to_audio.comparison.plan import Condition, Plan, Row, Section
from score_to_audio.comparison.results import CellResult, ComparisonResult, SectionResult
from score_to_audio.comparison.studio.library import Interpretation, Library, Piece
from score_to_audio.errors import EXPECTED_ERRORS, InputError, sentence
from score_to_audio.jobs import Job
from score_to_audio.settings import Pipeline, read_score_options
from score_to_audio.store import ArtifactStore

PAGE = "page"


def renew_page(id: str, library: Library, store: ArtifactStore) -> None:
    """Write the page of a piece anew; the queue and a removal do not write it at once.

    Raises ``InputError`` where the piece was removed.
    """
    with library.changing_files:
        piece = library.piece(id)
        _write_page(piece, library, store)
        library.page_written(piece)


def _write_page(piece: Piece, library: Library, store: ArtifactStore) -> None:
    """The page of all finished interpretations; those that the store no longer has say so."""
    row = Row(piece.title, score=library.score(piece))
    finished = [one for one in piece.interpretations if one.state == "done"]
    cells = [_cell_result(one, row, store) for one in finished]
    section = Section(piece.composer, "", (row,), tuple(cell.condition for cell in cells))
    plan = Plan(piece.title, "", (section,), read_score_options({}), ("levels",), "piano-encodec")
    result = ComparisonResult(plan, (SectionResult(section, tuple(cells), ()),), (), ())
    write_page(result, library.folder_of(piece) / PAGE, store)


def stored_results(
    score: Path, interpretation: Interpretation, pipeline: Pipeline, store: ArtifactStore
) -> dict[str, StageResult]:
    """As ``jobs.find_results``, with both stages. Raises ``InputError`` where the store lost them."""
    found = jobs.find_results(Job(score, interpretation.id), pipeline, store)
    if "audio" not in found:
        raise InputError("the store no longer has this sound; play it again")
    return found


def _cell_result(interpretation: Interpretation, row: Row, store: ArtifactStore) -> CellResult:
    condition = Condition(interpretation.id, interpretation.label)
    try:
        cell = _cell(interpretation, row, store)
        inputs = MetricInputs(cell.audio, cell.performance, None, None, ())
        return CellResult(row, condition, cell, values=metrics.values_of(metrics.LEVELS, inputs, store))
    except EXPECTED_ERRORS as error:
        return CellResult(row, condition, None, failure=sentence(error))


def _cell(interpretation: Interpretation, row: Row, store: ArtifactStore) -> Cell:
    assert row.score is not None
    found = stored_results(row.score, interpretation, interpretation.settings.resolve(), store)
    performance = stored_file(found["performance"].artifact, None, store)
    return Cell(stored_file(found["audio"].artifact, performance, store), performance)

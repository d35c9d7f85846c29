"""A comparison as plain JSON values, which the page's scripts read.

Seconds have three decimals and quarter notes four; a number that is not finite is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.expression import Grid
from score_to_audio.comparison.listening.curves import tempo_and_dynamics
from score_to_audio.comparison.listening.engraving import Engraving, Page, engrave
from score_to_audio.comparison.listening.rows import PageCell, PageRow, Timeline
from score_to_audio.comparison.plan import Row
from score_to_audio.comparison.results import ComparisonResult, SectionResult, as_json
from score_to_audio.errors import InputError
from score_to_audio.types import SUSTAIN, ParsedScore, Performance

Json = Any


# ------------------------------------------------------------------------------------------ the overview


def overview(result: ComparisonResult, sections: Sequence[Json]) -> Json:
    return {
        "title": result.plan.title,
        "description": result.plan.description,
        "measures": [asdict(quantity) for quantity in result.quantities],
        "sections": sections,
    }


def section_overview(section: SectionResult, rows: Sequence[Json]) -> Json:
    return {
        "title": section.section.title,
        "description": section.section.description,
        "verdict": section.verdict,
        "conditions": [
            {"key": one.key, "label": one.label, "description": one.description}
            for one in section.section.conditions
        ],
        "summaries": [as_json(asdict(summary)) for summary in section.summaries],
        "rows": rows,
    }


def row_overview(row: Row, data: str, cells: Sequence[Json]) -> Json:
    """``data``: name of the row's data; ``cells``: of ``cell_overview``, in the order of the columns."""
    return {"name": row.name, "note": row.note, "data": data, "cells": cells}


def cell_overview(cell: PageCell, audio: str | None, gain: float) -> Json:
    """``audio``: its place in the folder."""
    values = {key: value for key, value in cell.result.values.items() if math.isfinite(value)}
    return {
        "audio": audio,
        "failure": cell.failure,
        "duration": _seconds(cell.duration),
        "gain": round(gain, 2),
        "measures": values,
    }


# ----------------------------------------------------------------------------------------------- one row


@dataclass(frozen=True)
class ShownScore:
    """The engraved pages of a row that hold something of what its cells play."""

    names: list[str]
    """For each note in playing order the id of its drawing, "" where there is none."""
    pages: Mapping[str, Sequence[Page]]
    """Layout -> pages."""
    font: bytes
    notice: str
    """Why there are none, or what the reader decided on its own."""


def shown_score(row: PageRow, cells: Sequence[PageCell]) -> ShownScore:
    if row.score is None:
        return ShownScore([], {}, b"", row.notice)
    parsed = row.score.parsed
    try:
        engraving = engrave(row.score)
    except InputError as error:
        notice = f"The score is not shown: {error}. {row.notice}".rstrip()
        return ShownScore([""] * len(parsed.notes), {}, b"", notice)
    names = drawn_notes(parsed, engraving)
    places = [place for cell in cells for place, _ in cell.timeline]
    low, high = (min(places), max(places)) if places else (0.0, parsed.end)
    inside = (parsed.notes.onset >= low - 1e-6) & (parsed.notes.onset <= high + 1e-6)
    drawn = {names[i] for i in np.flatnonzero(inside)} - {""}
    pages = {
        layout: [page for page in pages if page.notes & drawn] for layout, pages in engraving.layouts.items()
    }
    return ShownScore(names, pages, engraving.font, row.notice)


def drawn_notes(parsed: ParsedScore, engraving: Engraving) -> list[str]:
    """For each note in playing order the id of its drawing, "" where there is none."""
    return [engraving.ids.get(name) or engraving.ids.get(_without_pass(name), "") for name in parsed.notes.id]


def _without_pass(note_id: str) -> str:
    stem, _, number = note_id.rpartition("-")
    return stem if number.isdecimal() else note_id


def page_name(row: str, layout: str, index: int) -> str:
    """Name of the data of a page of the score."""
    return f"{row}-{layout}-{index + 1}"


def row_data(row: PageRow, shown: ShownScore, name: str) -> Json:
    """What is loaded when the row called ``name`` is opened."""
    return _score_data(row, shown, name) | {"cells": [_cell_data(cell, row) for cell in row.cells]}


def blind_row_data(row: PageRow, stimuli: Mapping[str, PageCell], shown: ShownScore, name: str) -> Json:
    """The same for a blind test, with nothing of each stimulus but its timeline."""
    times = {stimulus: {"timeline": _timeline(cell.timeline)} for stimulus, cell in stimuli.items()}
    return _score_data(row, shown, name) | {"stimuli": times}


def _score_data(row: PageRow, shown: ShownScore, name: str) -> Json:
    if row.score is None:
        return {"measures": [], "notice": shown.notice, "end": 0, "notes": None, "pages": None}
    parsed = row.score.parsed
    notes = parsed.notes
    page_of = {
        layout: {note: number for number, page in enumerate(pages) for note in page.notes}
        for layout, pages in shown.pages.items()
    }
    pages = {
        layout: [
            {"data": page_name(name, layout, index), "width": page.width, "height": page.height}
            for index, page in enumerate(pages)
        ]
        for layout, pages in shown.pages.items()
    }
    return {
        "measures": [[_quarters(one.onset), one.number] for one in parsed.measures],
        "notice": shown.notice,
        "end": _quarters(parsed.end),
        "notes": {
            "id": shown.names,
            "q": [_quarters(onset) for onset in notes.onset.tolist()],
            "d": [_quarters(duration) for duration in notes.duration.tolist()],
            "grace": [int(kind != "") for kind in notes.grace],
            "page": {layout: [of.get(name, -1) for name in shown.names] for layout, of in page_of.items()},
        },
        "pages": pages or None,
    }


def _cell_data(cell: PageCell, row: PageRow) -> Json:
    played = cell.performance
    return {
        "timeline": _timeline(cell.timeline),
        "notes": _notes(played, row.grid) if played else None,
        "pedal": _pedal(played) if played else [[], []],
        "provenance": as_json(cell.result.cell.audio.history) if cell.audio and cell.result.cell else [],
        "licences": [list(entry) for entry in cell.licences.items()],
        **_curves(played, row.grid),
    }


def _timeline(pairs: Timeline) -> Json:
    if not pairs:
        return None
    return [[_quarters(place) for place, _ in pairs], [_seconds(time) for _, time in pairs]]


def _notes(played: Performance, of_score: Grid | None) -> Json:
    known = played.score_ids is not None and of_score is not None and of_score.index
    return {
        "on": [_seconds(time) for time in played.onset.tolist()],
        "off": [_seconds(time) for time in played.offset.tolist()],
        "pitch": played.pitch.tolist(),
        "velocity": played.velocity.tolist(),
        "note": [known.get(name, -1) for name in played.score_ids or ()] if known else None,
    }


def _pedal(played: Performance) -> Json:
    sustain = played.controls.number == SUSTAIN
    times, values = played.controls.time[sustain], played.controls.value[sustain]
    return [[_seconds(time) for time in times.tolist()], values.tolist()]


def _curves(played: Performance | None, of_score: Grid | None) -> dict[str, Json]:
    if played is None or of_score is None:
        return {}
    try:
        lines = tempo_and_dynamics(of_score, played)
    except ValueError:  # no ids of score notes, or too few notes to have a tempo
        return {}
    return {name: [_rounded(x, 3), _rounded(y, 2)] for name, (x, y) in lines.items()}


# ----------------------------------------------------------------------------------------- plain values


def _rounded(values: NDArray[np.float64], digits: int) -> Json:
    return as_json(np.round(values, digits).tolist())


def _quarters(value: float) -> float:
    return round(float(value), 4)


def _seconds(value: float) -> float:
    return round(float(value), 3)

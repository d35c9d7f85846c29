"""What the page's scripts read: a comparison as plain JSON values.

Seconds have three decimals and quarter notes four; a number that is not finite is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.expression import Grid, grid
from score_to_audio.comparison.listening.comparison import Cell, Comparison, Row, Section, Timeline
from score_to_audio.comparison.listening.curves import tempo_and_dynamics
from score_to_audio.comparison.listening.engraving import Engraving, Page, engrave
from score_to_audio.errors import InputError
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.types import SUSTAIN, ParsedScore, Performance, Score

Json = Any
DEEPEST_CUT = -20.0
"""dB: a recording so much louder than the softest of its row is turned down by this much and no more."""


@dataclass(frozen=True)
class RowScore:
    """The score of a row, as far as it can be had."""

    parsed: ParsedScore | None
    grid: Grid | None
    engraving: Engraving | None
    notice: str
    """One sentence: why there is no engraving."""


NO_SCORE = RowScore(None, None, None, "")


def read_row_score(row: Row) -> RowScore:
    """Never raises: a page without one of its scores is still a page."""
    if row.score is None:
        return NO_SCORE
    try:
        score: Score = read_score(row.score, row.score_options)
        parsed = score.parsed
    except InputError as error:
        return RowScore(None, None, None, f"The score is not shown: {error}.")
    try:
        return RowScore(parsed, grid(parsed), engrave(score), "")
    except InputError as error:
        return RowScore(parsed, grid(parsed), None, f"The score is not shown: {error}.")


# ------------------------------------------------------------------------------------------ the overview


def overview(comparison: Comparison, sections: Sequence[Json]) -> Json:
    return {
        "title": comparison.title,
        "description": comparison.description,
        "measures": [asdict(measure) for measure in comparison.measures],
        "sections": sections,
    }


def section_overview(section: Section, rows: Sequence[Json]) -> Json:
    return {
        "title": section.title,
        "description": section.description,
        "conditions": [asdict(condition) for condition in section.conditions],
        "summaries": [
            asdict(one) | {key: number(getattr(one, key)) for key in ("mean", "low", "high")}
            for one in section.summaries
        ],
        "rows": rows,
    }


def row_overview(row: Row, data: str, cells: Sequence[Json]) -> Json:
    """``data``: name of the row's data; ``cells``: of ``cell_overview``, in the order of the columns."""
    return {"name": row.name, "note": row.note, "data": data, "cells": cells}


def cell_overview(cell: Cell, audio: str | None, gain: float) -> Json:
    """``audio``: its place in the folder."""
    return {
        "audio": audio,
        "failure": cell.failure or ("" if audio else "there is no recording of it"),
        "duration": round(_length(cell.audio), 3) if cell.audio else 0,
        "gain": round(gain, 2),
        "measures": {key: number(value) for key, value in cell.measures.items()},
    }


def heard(cell: Cell) -> Cell:
    """The cell; as a failed one where its audio is missing or no audio."""
    import soundfile

    if cell.audio is None:
        return cell
    try:
        soundfile.info(cell.audio)
    except (soundfile.SoundFileError, OSError):
        return replace(cell, audio=None, failure=f"{cell.audio.name} is not a readable audio file")
    return cell


def _length(audio: Path) -> float:
    """Seconds."""
    import soundfile

    return float(soundfile.info(audio).duration)


def gains(cells: Sequence[Cell]) -> list[float]:
    """dB for each cell, at most 0, that make them as loud as the softest; 0 where no loudness is known."""
    loudness = [math.nan if cell.loudness is None else cell.loudness for cell in cells]
    softest = min((value for value in loudness if math.isfinite(value)), default=0.0)
    return [max(softest - value, DEEPEST_CUT) if math.isfinite(value) else 0.0 for value in loudness]


# ----------------------------------------------------------------------------------------------- one row


def row_data(score: RowScore, cells: Sequence[Cell], pages: Mapping[str, Sequence[Json]]) -> Json:
    """What is loaded when a row is opened. ``pages``: layout -> {data, width, height} of each page."""
    return _score_data(score, cells, pages) | {"cells": [_cell_data(cell, score) for cell in cells]}


def blind_row_data(score: RowScore, stimuli: Mapping[str, Cell], pages: Mapping[str, Sequence[Json]]) -> Json:
    """The same for a blind test: of each stimulus only where in the score it is when."""
    times = {name: {"timeline": _timeline(cell.timeline)} for name, cell in stimuli.items()}
    return _score_data(score, list(stimuli.values()), pages) | {"stimuli": times}


def shown_pages(score: RowScore, cells: Sequence[Cell]) -> dict[str, list[Page]]:
    """Layout -> pages that hold something of what the cells play."""
    if score.engraving is None or score.parsed is None:
        return {}
    drawn = _drawn_in_range(score.parsed, score.engraving, cells)
    return {
        layout: [page for page in pages if page.notes & drawn]
        for layout, pages in score.engraving.layouts.items()
    }


def _drawn_in_range(parsed: ParsedScore, engraving: Engraving, cells: Sequence[Cell]) -> set[str]:
    places = [pair[0] for cell in cells for pair in cell.timeline]
    low, high = (min(places), max(places)) if places else (0.0, parsed.end)
    within = (parsed.notes.onset >= low - 1e-6) & (parsed.notes.onset <= high + 1e-6)
    names = drawn_notes(parsed, engraving)
    return {names[i] for i in np.flatnonzero(within) if names[i]}


def drawn_notes(parsed: ParsedScore, engraving: Engraving) -> list[str]:
    """For each note in playing order the id of its drawing, "" where there is none."""
    return [engraving.ids.get(name) or engraving.ids.get(_without_pass(name), "") for name in parsed.notes.id]


def _without_pass(note_id: str) -> str:
    stem, _, number = note_id.rpartition("-")
    return stem if number.isdecimal() else note_id


def _score_data(score: RowScore, cells: Sequence[Cell], pages: Mapping[str, Sequence[Json]]) -> Json:
    parsed = score.parsed
    if parsed is None:
        return {"measures": [], "notice": score.notice, "end": 0, "notes": None, "pages": None}
    names = drawn_notes(parsed, score.engraving) if score.engraving else [""] * len(parsed.notes)
    page_of = {
        layout: {note: number for number, page in enumerate(shown) for note in page.notes}
        for layout, shown in shown_pages(score, cells).items()
    }
    return {
        "measures": [[_quarters(one.onset), one.number] for one in parsed.measures],
        "notice": score.notice,
        "end": _quarters(parsed.end),
        "notes": {
            "id": names,
            "q": [_quarters(onset) for onset in parsed.notes.onset.tolist()],
            "d": [_quarters(duration) for duration in parsed.notes.duration.tolist()],
            "grace": [int(kind != "") for kind in parsed.notes.grace],
            "page": {layout: [of.get(name, -1) for name in names] for layout, of in page_of.items()},
        },
        "pages": dict(pages) or None,
    }


def _cell_data(cell: Cell, score: RowScore) -> Json:
    played = cell.performance
    return {
        "timeline": _timeline(cell.timeline),
        "notes": _notes(played, score) if played else None,
        "pedal": _pedal(played) if played else [[], []],
        "provenance": [plain(stage) for stage in cell.provenance],
        "licences": [[str(what), str(licence)] for what, licence in cell.licences.items()],
        **_curves(played, score),
    }


def _timeline(pairs: Timeline) -> Json:
    if not pairs:
        return None
    return [[_quarters(place) for place, _ in pairs], [_seconds(time) for _, time in pairs]]


def _notes(played: Performance, score: RowScore) -> Json:
    index = score.grid.index if score.grid else {}
    known = played.score_ids is not None and bool(index)
    return {
        "on": [_seconds(time) for time in played.onset.tolist()],
        "off": [_seconds(time) for time in played.offset.tolist()],
        "pitch": played.pitch.tolist(),
        "velocity": played.velocity.tolist(),
        "note": [index.get(name, -1) for name in played.score_ids or ()] if known else None,
    }


def _pedal(played: Performance) -> Json:
    sustain = played.controls.number == SUSTAIN
    times, values = played.controls.time[sustain], played.controls.value[sustain]
    return [[_seconds(time) for time in times.tolist()], values.tolist()]


def _curves(played: Performance | None, score: RowScore) -> dict[str, Json]:
    if played is None or score.grid is None:
        return {}
    try:
        lines = tempo_and_dynamics(score.grid, played)
    except ValueError:  # no ids of score notes, or too few notes to have a tempo
        return {}
    return {name: [_rounded(x, 3), _rounded(y, 2)] for name, (x, y) in lines.items()}


# ----------------------------------------------------------------------------------------- plain values


def plain(value: Any) -> Json:
    """Any value as JSON: what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return number(value)
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _rounded(values: NDArray[np.float64], digits: int) -> list[float | None]:
    return [number(value) for value in np.round(values, digits).tolist()]


def _quarters(value: float) -> float:
    return round(float(value), 4)


def _seconds(value: float) -> float:
    return round(float(value), 3)

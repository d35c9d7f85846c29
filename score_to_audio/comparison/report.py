"""What a comparison leaves beside its page: numbers as CSV and JSON, and a table for the terminal."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from score_to_audio.comparison.listening.comparison import Measured, Summary
from score_to_audio.comparison.run import CellResult, ComparisonResult, SectionResult
from score_to_audio.files import replace_atomically

CELLS, SUMMARY, WHOLE, TEXT = "cells.csv", "summary.csv", "results.json", "summary.txt"
CELL_COLUMNS = ("section", "row", "condition", "measure", "value", "unit", "failure")
SUMMARY_COLUMNS = ("section", "condition", "measure", "mean", "low", "high", "rows", "unit", "better")


def write_results(result: ComparisonResult, folder: Path) -> list[Path]:
    """``cells.csv``, ``summary.csv``, ``summary.txt`` and ``results.json`` in the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write_csv(folder / CELLS, CELL_COLUMNS, _cell_rows(result)),
        _write_csv(folder / SUMMARY, SUMMARY_COLUMNS, _summary_rows(result)),
        _write(folder / TEXT, text(result)),
        _write(folder / WHOLE, json.dumps(_json(result), indent=1, ensure_ascii=False) + "\n"),
    ]


def _cell_rows(result: ComparisonResult) -> Iterable[Sequence[Any]]:
    for section in result.sections:
        for cell in section.cells:
            place = (section.section.title, cell.source.name, cell.condition.label)
            if cell.failure:
                yield (*place, "", "", "", cell.failure)
            for figure in result.figures:
                if figure.key in cell.values:
                    yield (*place, figure.key, _number(cell.values[figure.key]), figure.unit, "")


def _summary_rows(result: ComparisonResult) -> Iterable[Sequence[Any]]:
    for section in result.sections:
        labels = {condition.key: condition.label for condition in section.section.conditions}
        for summary in section.summaries:
            figure = _figure(result, summary.measure)
            if figure:
                numbers = (_number(value) for value in (summary.mean, summary.low, summary.high))
                place = (section.section.title, labels[summary.condition], summary.measure)
                yield (*place, *numbers, summary.count, figure.unit, figure.better)


def _figure(result: ComparisonResult, key: str) -> Measured | None:
    return next((figure for figure in result.figures if figure.key == key), None)


def _number(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""


def _json(result: ComparisonResult) -> dict[str, Any]:
    return {
        "title": result.plan.title,
        "measures": [asdict(figure) for figure in result.figures],
        "notices": list(result.notices),
        "sections": [_section_json(section) for section in result.sections],
    }


def _section_json(section: SectionResult) -> dict[str, Any]:
    return {
        "title": section.section.title,
        "conditions": [
            {"key": condition.key, "label": condition.label, "licences": dict(condition.licences)}
            for condition in section.section.conditions
        ],
        "cells": [_cell_json(cell) for cell in section.cells],
        "summaries": [_finite(asdict(summary)) for summary in section.summaries],
    }


def _cell_json(cell: CellResult) -> dict[str, Any]:
    return {
        "row": cell.source.name,
        "condition": cell.condition.key,
        "failure": cell.failure,
        "measures": _finite(dict(cell.values)),
        "provenance": [dict(step) for step in cell.made.audio.history] if cell.made else [],
        "licence": cell.source.licence,
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """None for what JSON has no number for."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in values.items()
    }


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return _write(path, text.getvalue())


def _harmless(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula is quoted: titles come from files of others."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+@") else cell


def _write(path: Path, text: str) -> Path:
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    replace_atomically(Path(file.name), path)
    return path


# ------------------------------------------------------------------------------------------- terminal


def text(result: ComparisonResult) -> str:
    """A table per section: a line per column of the comparison, measures across, each the mean over the rows
    and half of its 95 % confidence interval. Then what failed or was left out, a line each."""
    tables = "\n\n".join(_section_table(result, section) for section in result.sections)
    failed = [
        f"failed: {cell.source.name}: {cell.condition.label}: {cell.failure}" for cell in result.failures
    ]
    return "\n".join([tables, *([""] if failed or result.notices else []), *failed, *result.notices, ""])


def _section_table(result: ComparisonResult, section: SectionResult) -> str:
    figures = [
        figure
        for figure in result.figures
        if any(summary.measure == figure.key for summary in section.summaries)
    ]
    of_place = {(summary.condition, summary.measure): summary for summary in section.summaries}
    lines = [["", "made", *(_heading(figure) for figure in figures)]]
    for condition in section.section.conditions:
        mine = [cell for cell in section.cells if cell.condition is condition]
        made = f"{sum(not cell.failure for cell in mine)} of {len(mine)}"
        numbers = [_interval(of_place.get((condition.key, figure.key)), figure) for figure in figures]
        lines.append([condition.label, made, *numbers])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join([section.section.title, *padded])


def _heading(figure: Measured) -> str:
    return f"{figure.label} [{figure.unit}]" if figure.unit else figure.label


def _interval(summary: Summary | None, figure: Measured) -> str:
    if summary is None:
        return ""
    mean = f"{summary.mean:.{figure.digits}f}"
    if not np.isfinite(summary.low):
        return mean
    return f"{mean} ±{(summary.high - summary.low) / 2:.{figure.digits}f}"

"""A comparison's numbers as CSV and JSON, and as a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from score_to_audio.comparison.results import (
    CellResult,
    ComparisonResult,
    Quantity,
    SectionResult,
    Summary,
    as_json,
)
from score_to_audio.files import replacing
from score_to_audio.tables import write_csv

CELLS, SUMMARY, WHOLE, TEXT = "cells.csv", "summary.csv", "results.json", "summary.txt"
REPORT_FILES = (CELLS, SUMMARY, TEXT, WHOLE)
CELL_COLUMNS = ("section", "row", "condition", "measure", "value", "unit", "failure")
SUMMARY_COLUMNS = (
    "section",
    "condition",
    "measure",
    "mean",
    "low",
    "high",
    "rows",
    "unit",
    "better",
    "standing",
)


def write_report(result: ComparisonResult, folder: Path) -> None:
    """``cells.csv``, ``summary.csv``, ``summary.txt`` and ``results.json`` in the folder."""
    write_csv(folder / CELLS, CELL_COLUMNS, _cell_rows(result))
    write_csv(folder / SUMMARY, SUMMARY_COLUMNS, _summary_rows(result))
    _write(folder / TEXT, text(result))
    _write(folder / WHOLE, json.dumps(_json(result), indent=1, ensure_ascii=False) + "\n")


def _write(path: Path, content: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def _cell_rows(result: ComparisonResult) -> Iterator[Sequence[Any]]:
    for section in result.sections:
        for cell in section.cells:
            place = (section.section.title, cell.row.name, cell.condition.label)
            if cell.failure:
                yield (*place, "", "", "", cell.failure)
            for quantity in result.quantities:
                if quantity.key in cell.values:
                    yield (*place, quantity.key, _number(cell.values[quantity.key]), quantity.unit, "")


def _summary_rows(result: ComparisonResult) -> Iterator[Sequence[Any]]:
    quantities = {quantity.key: quantity for quantity in result.quantities}
    for section in result.sections:
        labels = {condition.key: condition.label for condition in section.section.conditions}
        for one in section.summaries:
            quantity = quantities[one.measure]
            place = (section.section.title, labels[one.condition], one.measure)
            numbers = (_number(value) for value in (one.mean, one.low, one.high))
            yield (*place, *numbers, one.count, quantity.unit, quantity.better, one.standing)


def _number(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""


def _json(result: ComparisonResult) -> dict[str, Any]:
    return {
        "title": result.plan.title,
        "measures": [asdict(quantity) for quantity in result.quantities],
        "notices": list(result.notices),
        "sections": [_section_json(section) for section in result.sections],
    }


def _section_json(section: SectionResult) -> dict[str, Any]:
    return {
        "title": section.section.title,
        "verdict": section.verdict,
        "conditions": [
            {"key": condition.key, "label": condition.label, "licences": dict(condition.licences)}
            for condition in section.section.conditions
        ],
        "cells": [_cell_json(cell) for cell in section.cells],
        "summaries": [as_json(asdict(summary)) for summary in section.summaries],
    }


def _cell_json(cell: CellResult) -> dict[str, Any]:
    return {
        "row": cell.row.name,
        "condition": cell.condition.key,
        "failure": cell.failure,
        "measures": as_json(cell.values),
        "provenance": as_json(cell.cell.audio.history) if cell.cell else [],
        "licence": cell.row.licence,
    }


# ------------------------------------------------------------------------------------------- terminal


def text(result: ComparisonResult) -> str:
    """A table per section: a line per column of the comparison, quantities across, each the mean over the
    rows and its 95 % confidence interval; below, the verdict. Then failures and notices, one per line."""
    tables = "\n\n".join(_table(result.quantities, section) for section in result.sections)
    failures = [f"failed: {one.row.name}: {one.condition.label}: {one.failure}" for one in result.failures]
    return "\n".join([tables, *([""] if failures or result.notices else []), *failures, *result.notices, ""])


def _table(quantities: Sequence[Quantity], section: SectionResult) -> str:
    found = {(one.condition, one.measure): one for one in section.summaries}
    shown = [one for one in quantities if any(key == one.key for _, key in found)]
    lines = [["", "made", *(f"{one.label} [{one.unit}]" if one.unit else one.label for one in shown)]]
    for condition in section.section.conditions:
        own = [cell for cell in section.cells if cell.condition is condition]
        made = f"{sum(not cell.failure for cell in own)} of {len(own)}"
        numbers = [_interval(found.get((condition.key, one.key)), one) for one in shown]
        lines.append([condition.label, made, *numbers])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        " ".join(cell.ljust(width + 1) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    verdict = [section.verdict] if section.verdict else []
    return "\n".join([section.section.title, *(line.rstrip() for line in padded), *verdict])


def _interval(summary: Summary | None, quantity: Quantity) -> str:
    if summary is None:
        return ""
    low, mean, high = (f"{value:.{quantity.digits}f}" for value in (summary.low, summary.mean, summary.high))
    mark = {"best": " *", "tie": " =", "": ""}[summary.standing]
    return f"{mean}{mark}" + (f" [{low}, {high}]" if np.isfinite(summary.low) else "")

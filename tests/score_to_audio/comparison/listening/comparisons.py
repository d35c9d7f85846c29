"""Small finished comparisons of bundled material for the tests of the listening page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from score_to_audio.comparison.cells import Cell
from score_to_audio.comparison.derived import TracedFile
from score_to_audio.comparison.plan import Condition, Plan, Row, Section
from score_to_audio.comparison.results import CellResult, ComparisonResult, Quantity, SectionResult, Summary
from score_to_audio.formats.audio import stream_of, write_audio
from score_to_audio.formats.midi import write_performance
from score_to_audio.formats.scores.reader import ScoreOptions, read_score
from score_to_audio.registry import build, resolve
from score_to_audio.types import Performance, Waveform
from tests.paths import EXAMPLE_SCORES

SCORES = EXAMPLE_SCORES
SAMPLES = {"piano samples": "CC BY 3.0"}
CONDITIONS = (
    Condition("score", "score + sampled-piano", "Exactly what is written.", licences=SAMPLES),
    Condition("kth", "kth-rules + sampled-piano", licences=SAMPLES),
    Condition("gone", "m2m + sampled-piano"),
)
RATE = 22050
LOUDNESS = {"score": -26.0, "kth": -29.0}
QUANTITIES = (Quantity("f1", "onset F1", "", "higher", "Share of onsets found.", 3),)


@lru_cache
def performance(score: str, renderer: str) -> Performance:
    return build(resolve("renderer", renderer)).render(read_score(SCORES / score), seed=0)


def result_of(
    *cells: CellResult,
    title: str = "Comparison",
    description: str = "",
    section: str = "Section",
    section_description: str = "",
    summaries: Sequence[Summary] = (),
) -> ComparisonResult:
    """A comparison of one section; its rows and columns are those of the cells."""
    rows = tuple({id(cell.row): cell.row for cell in cells}.values())
    conditions = tuple({id(cell.condition): cell.condition for cell in cells}.values())
    planned = Section(section, section_description, rows, conditions)
    plan = Plan(title, description, (planned,), ScoreOptions(), None, "")
    return ComparisonResult(plan, (SectionResult(planned, cells, tuple(summaries)),), QUANTITIES, ())


def with_cells(result: ComparisonResult, *cells: CellResult) -> ComparisonResult:
    """The same with other cells."""
    return result_of(*cells, title=result.plan.title, section=result.sections[0].section.title)


def given_cell(
    row: Row, condition: Condition, audio: Path, history: tuple[Mapping[str, Any], ...] = (), **more: Any
) -> CellResult:
    return CellResult(row, condition, Cell(TracedFile(audio, history), None), **more)


def finished_comparison(folder: Path, *scores: str) -> ComparisonResult:
    """Of the scores in the conditions above, of which the last one failed."""
    cells = []
    for score in scores:
        title = read_score(SCORES / score).parsed.title
        row = Row(title, SCORES / score, note="typeset for this project")
        cells += [_cell(folder, row, CONDITIONS[0], "score"), _cell(folder, row, CONDITIONS[1], "kth-rules")]
        failure = "m2m needs a checkpoint: score-to-audio models pull m2m"
        cells.append(CellResult(row, CONDITIONS[2], None, failure))
    return result_of(
        *cells,
        title="Literal or expressive",
        section="Two renderers",
        section_description="On one instrument.",
        summaries=[Summary("kth", "f1", 0.871, 0.85, float("nan"), len(scores))],
    )


def _cell(folder: Path, row: Row, condition: Condition, renderer: str) -> CellResult:
    assert row.score
    played = performance(row.score.name, renderer)
    audio = folder / f"{condition.key}-{row.score.stem}.mp3"
    write_audio(stream_of(struck(played)), audio, format="mp3")
    write_performance(played, audio.with_suffix(".mid"))
    history = ({"stage": "render", "model": renderer, "seed": 0, "parameters": {"palette": "neutral"}},)
    loudness = LOUDNESS[condition.key]
    cell = Cell(TracedFile(audio, history), TracedFile(audio.with_suffix(".mid"), history))
    return CellResult(row, condition, cell, values={"f1": 0.9 + loudness / 1000, "loudness": loudness})


def struck(played: Performance) -> Waveform:
    """A short sine per note, made in a fraction of the time that a synthesizer takes."""
    samples = np.zeros(int((played.offset.max() + 2) * RATE), np.float32)
    time = np.arange(RATE // 2) / RATE
    for onset, pitch in zip(played.onset, played.pitch, strict=True):
        start, frequency = int(onset * RATE), 440 * 2 ** ((pitch - 69) / 12)
        samples[start : start + len(time)] += 0.05 * np.sin(2 * np.pi * frequency * time) * np.exp(-8 * time)
    return Waveform(samples[None], RATE)


def noise(path: Path, seconds: float = 1.0) -> Path:
    samples = 0.05 * np.random.default_rng(0).standard_normal((1, int(22050 * seconds)))
    write_audio(stream_of(Waveform(samples.astype(np.float32), 22050)), path, format="mp3")
    return path


def without_scores(result: ComparisonResult) -> ComparisonResult:
    rows = {cell.row.name: replace(cell.row, score=None) for cell in result.sections[0].cells}
    return with_cells(result, *(replace(cell, row=rows[cell.row.name]) for cell in result.sections[0].cells))

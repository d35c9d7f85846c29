"""Learned renderers beside the rules, on (n)ASAP: one table.

    python -m benchmarks.learned_renderers CORPUS --m2m CHECKPOINT --dexter CHECKPOINT [--split validation]

The measures are those of ``benchmarks.expression_report``, over all pieces of the split, and "lead": the
seconds by which notes precede or follow those struck together with them (melody lead, spread chords).
Processor time is that of rendering, per note of the score. Renderers that draw are played with ``--seeds``
seeds: their figures are means, and the largest difference between two seeds is printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.expression_report import Figures, markdown
from renderers import expression
from renderers.expression import MEASURES, correlation, nan_average
from renderers.pianist_mean.training.targets import leads, spread
from score_to_audio import registry
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import default_store
from score_to_audio.training.prepared import stored_match
from score_to_audio.types import Performance, Score

COLUMNS = (*MEASURES, "lead")
SPREADS = (*MEASURES, "lead")


@dataclass(frozen=True)
class Renderer:
    """One that is compared."""

    name: str
    options: dict[str, Any]
    label: str
    by_seed: bool = False


@dataclass(frozen=True)
class Row:
    """A performance of a piece, or the pianists themselves."""

    who: str
    piece: str
    seed: int
    agreement: Figures
    spread: Figures
    microseconds: float
    """Of one processor, per note of the score."""


def main() -> None:
    arguments = parser().parse_args()
    rows: list[Row] = []
    renderers = [(one, built(one)) for one in chosen(arguments)]
    for piece in pieces(arguments.corpus, arguments.split):
        try:
            of_piece = judged(piece, renderers, arguments)
        except (InputError, ValueError) as error:
            print(f"left out {piece.folder}: {error}")
        else:
            rows += of_piece
            print(f"{piece.folder}: {len(of_piece)} rows", flush=True)
    print(report(rows))


def parser() -> argparse.ArgumentParser:
    built = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    built.add_argument("corpus", type=Path, help="folder with performances.csv")
    built.add_argument("--split", choices=("train", "validation", "test"), default="test")
    built.add_argument("--m2m", type=Path, help="checkpoint of M2M")
    built.add_argument("--dexter", type=Path, help="checkpoint of DExter")
    built.add_argument("--only", action="append", help="label of a renderer; repeatable")
    built.add_argument("--seeds", type=int, default=2)
    return built


def chosen(arguments: argparse.Namespace) -> list[Renderer]:
    found = [
        Renderer("score", {}, "score"),
        Renderer("kth-rules", {}, "kth-rules"),
        Renderer("virtuosonet", {"checkpoint": "asap-small"}, "virtuosonet:asap-small"),
    ]
    if arguments.m2m:
        options = {"checkpoint": str(arguments.m2m)}
        mean = {"decoding": "mean", "temperature": 0.5}
        found.append(Renderer("m2m", options, "m2m, drawn", by_seed=True))
        found.append(Renderer("m2m", options | mean, "m2m, mean"))
    if arguments.dexter:
        options = {"checkpoint": str(arguments.dexter), "steps": 10}
        mean = {"draws": 4, "guidance": 2.0}
        found.append(Renderer("dexter", options, "dexter, drawn", by_seed=True))
        found.append(Renderer("dexter", options | mean, "dexter, mean of 4", by_seed=True))
    found.append(Renderer("pianist-mean", {}, "pianist-mean"))
    return [one for one in found if not arguments.only or one.label in arguments.only]


def built(one: Renderer) -> Any:
    return registry.build(registry.resolve("renderer", one.name, one.options, seed=0))


def judged(
    piece: Piece, renderers: Sequence[tuple[Renderer, Any]], arguments: argparse.Namespace
) -> list[Row]:
    """Raises ``InputError`` or ``ValueError`` for a piece that cannot be used."""
    score = read_score(piece.score)
    of_score = expression.grid(score.parsed)
    played = [stored_match(path, default_store()) for path in piece.robust or piece.others]
    humans = [expression.measure(of_score, one) for one in played]
    human_leads = [leads(of_score, one) for one in played]
    rows = [Row("humans", piece.folder, 0, ceiling(humans, human_leads), dict.fromkeys(SPREADS, 1.0), np.nan)]
    mean, mean_lead = expression.mean_expression(humans), nan_mean(human_leads)
    usual = nan_average([spread(one) for one in human_leads])
    for one, renderer in renderers:
        for seed in range(arguments.seeds if one.by_seed else 1):
            performance, seconds = timed(renderer, score, seed)
            mine, lead = expression.measure(of_score, performance), leads(of_score, performance)
            agreement = {**expression.agreement(mine, mean), "lead": correlation(lead, mean_lead)}
            spreads = {**expression.relative_spread(mine, humans), "lead": spread(lead) / usual}
            cost = seconds / len(score.parsed.notes.onset) * 1e6
            rows.append(Row(one.label, piece.folder, seed, agreement, spreads, cost))
    return rows


def timed(renderer: Any, score: Score, seed: int) -> tuple[Performance, float]:
    start = time.process_time()
    performance: Performance = renderer.render(score, seed=seed)
    return performance, time.process_time() - start


def ceiling(humans: Sequence[expression.Expression], human_leads: Sequence[expression.Floats]) -> Figures:
    """How far each pianist agrees with the mean of the others."""
    found = expression.ceiling(humans)
    each = [
        correlation(one, nan_mean([*human_leads[:index], *human_leads[index + 1 :]]))
        for index, one in enumerate(human_leads)
        if len(human_leads) > 1
    ]
    return {**found, "lead": nan_average(each)}


def nan_mean(stack: Sequence[expression.Floats]) -> expression.Floats:
    known = np.isfinite(np.stack(stack))
    total = np.where(known, np.stack(stack), 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def report(rows: Sequence[Row]) -> str:
    """Markdown tables."""
    names = list(dict.fromkeys(row.who for row in rows))
    heads = ["", *(name.replace("_", " ") for name in COLUMNS)]
    count = len({row.piece for row in rows})
    agreement = [
        [who, *_means([row.agreement for row in rows if row.who == who]), _cost(rows, who)] for who in names
    ]
    spreads = [[who, *_means([row.spread for row in rows if row.who == who])] for who in names[1:]]
    parts = [
        f"{count} pieces. Correlation with the mean of the pianists:",
        markdown([*heads, "µs per note"], agreement, left=1),
        "Standard deviation within the piece relative to a pianist's:",
        markdown(heads, spreads, left=1),
    ]
    seeds = [[who, *_between_seeds(rows, who)] for who in names if len(_seeds(rows, who)) > 1]
    if seeds:
        parts += [
            "Largest difference between two seeds' means over the pieces:",
            markdown(heads, seeds, left=1),
        ]
    return "\n\n".join(parts)


def _means(figures: Sequence[Figures]) -> list[str]:
    return [_number(nan_average([one[name] for one in figures])) for name in COLUMNS]


def _cost(rows: Sequence[Row], who: str) -> str:
    found = [row.microseconds for row in rows if row.who == who and np.isfinite(row.microseconds)]
    return f"{np.median(found):.0f}" if found else "–"


def _seeds(rows: Sequence[Row], who: str) -> set[int]:
    return {row.seed for row in rows if row.who == who}


def _between_seeds(rows: Sequence[Row], who: str) -> list[str]:
    means = [
        {
            name: nan_average([row.agreement[name] for row in rows if row.who == who and row.seed == seed])
            for name in COLUMNS
        }
        for seed in _seeds(rows, who)
    ]
    return [_number(float(np.ptp([one[name] for one in means]))) for name in COLUMNS]


def _number(value: float) -> str:
    return f"{value:.2f}".replace("nan", "–")


if __name__ == "__main__":
    main()

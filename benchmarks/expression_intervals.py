"""Agreement of two renderers with human performances of the (n)ASAP corpus, with confidence intervals.

    python -m benchmarks.expression_intervals CORPUS BASELINE RENDERER [--split test] [-o FILE]

A renderer is NAME or NAME:KEY=VALUE,... as for ``benchmarks.expression_report``, whose measures these are
(docs/evaluation.md). Per piece and measure: the correlation with the mean of the humans and its 95 % interval
from drawing blocks of 8 beats or 32 notes; how much RENDERER is ahead of BASELINE, from the same blocks; and
the human figure. The mean over pieces has the interval that comes from drawing pieces as well.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.expression_report import _renderer as renderer_called
from renderers.expression import (
    MEASURES,
    Expression,
    ceiling,
    correlation,
    grid,
    mean_expression,
    measure,
    nan_average,
)
from score_to_audio.comparison.evaluation.intervals import (
    Floats,
    interval,
    mean_over_pieces,
    resampled_correlations,
)
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces, read_match_cached
from score_to_audio.formats.scores.reader import read_score

NOTES, BEATS = 32, 8
"""In a block."""
BLOCK = dict.fromkeys(MEASURES, BEATS) | dict.fromkeys(
    ("velocity", "relative_velocity", "articulation"), NOTES
)


@dataclass(frozen=True)
class Agreement:
    """Of one renderer with the humans, in one piece and measure."""

    value: float
    draws: Floats


@dataclass(frozen=True)
class Row:
    """One piece."""

    piece: Piece
    humans: dict[str, float]
    of: dict[str, dict[str, Agreement]]
    """Renderer -> measure -> agreement."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("renderers", nargs=2, metavar="RENDERER")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/score-to-audio/matches")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    rows = []
    for piece in pieces(arguments.corpus, arguments.split):
        try:
            rows.append(row(piece, arguments))
        except InputError as error:
            print(f"left out {piece.folder}: {error}")
    text = report(rows)
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


def row(piece: Piece, arguments: Any) -> Row:
    score = read_score(piece.score)
    of_score = grid(score.parsed)
    matches = piece.robust or piece.others
    humans = [measure(of_score, read_match_cached(path, arguments.cache)) for path in matches]
    mean = mean_expression(humans)
    played = {
        name: measure(of_score, renderer_called(name, arguments.seed).render(score, seed=arguments.seed))
        for name in arguments.renderers
    }
    return Row(piece, ceiling(humans), {name: _agreements(one, mean) for name, one in played.items()})


def _agreements(one: Expression, humans: Expression) -> dict[str, Agreement]:
    return {
        name: Agreement(
            correlation(getattr(one, name), getattr(humans, name)),
            resampled_correlations(getattr(one, name), getattr(humans, name), block=BLOCK[name]),
        )
        for name in MEASURES
    }


def report(rows: Sequence[Row]) -> str:
    """Markdown tables."""
    baseline, renderer = rows[0].of
    heads = ["piece", "who", *(name.replace("_", " ") for name in MEASURES)]
    lines = [heads, ["---"] * 2 + ["---:"] * len(MEASURES)]
    for one in rows:
        lines.append([one.piece.folder, "humans", *(_number(one.humans[name]) for name in MEASURES)])
        for who, found in one.of.items():
            cells = [_with_interval(found[name].value, found[name].draws) for name in MEASURES]
            lines.append(["", who, *cells])
        lines.append(["", "ahead by", *(_ahead(one, baseline, renderer, name) for name in MEASURES)])
    lines.append(["all pieces", "humans", *(_number(_mean_humans(rows, name)) for name in MEASURES)])
    for who in (baseline, renderer):
        lines.append(["", who, *(_mean(rows, who, name) for name in MEASURES)])
    lines.append(["", "ahead by", *(_mean_ahead(rows, baseline, renderer, name) for name in MEASURES)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _ahead(one: Row, baseline: str, renderer: str, name: str) -> str:
    a, b = one.of[baseline][name], one.of[renderer][name]
    return _with_interval(b.value - a.value, b.draws - a.draws)


def _mean_humans(rows: Sequence[Row], name: str) -> float:
    return nan_average([one.humans[name] for one in rows])


def _mean(rows: Sequence[Row], who: str, name: str) -> str:
    found = [one.of[who][name] for one in rows]
    return _with_interval(
        nan_average([one.value for one in found]), mean_over_pieces([one.draws for one in found])
    )


def _mean_ahead(rows: Sequence[Row], baseline: str, renderer: str, name: str) -> str:
    pairs = [(one.of[baseline][name], one.of[renderer][name]) for one in rows]
    value = nan_average([b.value - a.value for a, b in pairs])
    return _with_interval(value, mean_over_pieces([b.draws - a.draws for a, b in pairs]))


def _with_interval(value: float, draws: Floats) -> str:
    low, high = interval(draws)
    return _number(value) if np.isnan(low) else f"{_number(value)} ({_number(low)} … {_number(high)})"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("nan", "–")


if __name__ == "__main__":
    main()

"""Agreement of two renderers with human performances of the (n)ASAP corpus, with confidence intervals.

    python -m benchmarks.expression_intervals CORPUS BASELINE RENDERER [--set NAME.KEY=VALUE]...

The measures are those of ``benchmarks.expression_report`` (docs/reference/evaluation.md). Per piece and
measure: the correlation with the mean of the humans and its 95 % interval from drawing blocks of 8 beats or
32 notes; how far RENDERER is ahead of BASELINE, from the same blocks; and the human figure. The interval of
the mean over pieces comes from drawing pieces as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.expression_report import Material, markdown, materials, parser_of, renderers_called
from renderers.expression import MEASURES, Expression, ceiling, correlation, mean_expression, nan_average
from score_to_audio.comparison.evaluation.statistics import (
    Floats,
    interval,
    mean_over_pieces,
    resampled_correlations,
)

NOTES, BEATS = 32, 8
"""Per block."""
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

    folder: str
    humans: dict[str, float]
    of: dict[str, dict[str, Agreement]]
    """Renderer -> measure -> agreement."""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("renderers", nargs=2, metavar="RENDERER")
    arguments = parser.parse_args()
    renderers = renderers_called(arguments.renderers, arguments)
    text = report([_row(one, renderers, arguments.seed) for one in materials(arguments)])
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


def _row(of: Material, renderers: Mapping[str, Any], seed: int) -> Row:
    mean = mean_expression(of.humans)
    agreements = {name: _agreements(of.shape(renderer, seed), mean) for name, renderer in renderers.items()}
    return Row(of.piece.folder, ceiling(of.humans), agreements)


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
    lines = []
    for one in rows:
        lines.append([one.folder, "humans", *(_number(one.humans[name]) for name in MEASURES)])
        for who, found in one.of.items():
            cells = [_with_interval(found[name].value, found[name].draws) for name in MEASURES]
            lines.append(["", who, *cells])
        lines.append(["", "ahead by", *(_ahead(one, baseline, renderer, name) for name in MEASURES)])
    lines.append(["all pieces", "humans", *(_number(_mean_humans(rows, name)) for name in MEASURES)])
    for who in (baseline, renderer):
        lines.append(["", who, *(_mean(rows, who, name) for name in MEASURES)])
    lines.append(["", "ahead by", *(_mean_ahead(rows, baseline, renderer, name) for name in MEASURES)])
    return markdown(heads, lines, left=2) + "\n"


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

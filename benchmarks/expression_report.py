"""Compares renderers with the human performances of the (n)ASAP corpus, piece by piece.

    python -m benchmarks.expression_report CORPUS [--renderer NAME]... [--set NAME.KEY=VALUE]...

For every piece: correlation with the mean of the human performances, how far humans agree among themselves
(the ceiling), and the spread within the piece relative to a human's. Only robust alignments count; pieces
without any are reported apart, from their other alignments, because these are wrong in places.
docs/reference/evaluation.md defines the measures. With ``-o FOLDER``, writes report.md and report.csv.
"""

from __future__ import annotations

import argparse
import csv
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renderers.expression import (
    MEASURES,
    Expression,
    Grid,
    agreement,
    ceiling,
    grid,
    mean_expression,
    measure,
    nan_average,
    relative_spread,
)
from score_to_audio import registry
from score_to_audio.comparison.choices import options_of, parse_settings
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import default_store
from score_to_audio.training.prepared import stored_match
from score_to_audio.types import Score

SPREADS = ("velocity", "beat_period", "local_beat_period", "articulation", "pedal")
"""Measures of which the spread is reported."""

Figures = dict[str, float]


@dataclass(frozen=True)
class Material:
    """A piece with its human performances."""

    piece: Piece
    score: Score
    grid: Grid
    humans: list[Expression]

    def shape(self, renderer: Any, seed: int) -> Expression:
        return measure(self.grid, renderer.render(self.score, seed=seed))


@dataclass(frozen=True)
class Row:
    """A piece and one renderer, or the humans themselves (``who`` = "humans")."""

    piece: Piece
    performances: int
    who: str
    agreement: Figures
    spread: Figures


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--renderer", action="append", help="repeatable; by default score and kth-rules")
    arguments = parser.parse_args()
    renderers = renderers_called(arguments.renderer or ["score", "kth-rules"], arguments)
    rows = [row for one in materials(arguments) for row in _rows(one, renderers, arguments.seed)]
    text = f"# Split: {arguments.split}\n\n{report(rows)}"
    print(text)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "report.md").write_text(text, encoding="utf-8")
        _write(rows, arguments.output / "report.csv")


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """With the arguments that all reports on the corpus have."""
    logging.basicConfig(level=logging.ERROR)
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder with performances.csv")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--set", action="append", default=[], help="NAME.KEY=VALUE; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    return parser


def renderers_called(names: Sequence[str], arguments: Any) -> dict[str, Any]:
    """Built with their options. Raises ``InputError``."""
    options = parse_settings(arguments.set, names)
    return {
        name: registry.build(
            registry.resolve("renderer", name, options_of("renderer", name, options), seed=arguments.seed)
        )
        for name in names
    }


def materials(arguments: Any) -> Iterator[Material]:
    """The pieces of the split; prints why a piece cannot be used."""
    for piece in pieces(arguments.corpus, arguments.split):
        try:
            score = read_score(piece.score)
            of_score = grid(score.parsed)
            matches = piece.robust or piece.others
            humans = [measure(of_score, stored_match(path, default_store())) for path in matches]
        except (InputError, ValueError) as error:
            print(f"left out {piece.folder}: {error}")
        else:
            yield Material(piece, score, of_score, humans)


def _rows(of: Material, renderers: Mapping[str, Any], seed: int) -> Iterator[Row]:
    count, mean = len(of.humans), mean_expression(of.humans)
    # A human's own spread relative to that of all is 1 on average; nothing to report.
    yield Row(of.piece, count, "humans", ceiling(of.humans), dict.fromkeys(MEASURES, 1.0))
    for name, renderer in renderers.items():
        shape = of.shape(renderer, seed)
        yield Row(of.piece, count, name, agreement(shape, mean), relative_spread(shape, of.humans))


def report(rows: Sequence[Row]) -> str:
    """The tables in Markdown."""
    robust = [row for row in rows if row.piece.robust]
    others = [row for row in rows if not row.piece.robust]
    parts = [_section("Pieces with robust alignments", robust)]
    if others:
        parts += [_section("Pieces with other alignments only", others), _section("All pieces", rows)]
    return "\n".join(parts)


def _section(title: str, rows: Sequence[Row]) -> str:
    count = len({row.piece.folder for row in rows})
    return "\n".join(
        [
            f"## {title} ({count})\n",
            "Correlation with the mean of the human performances, mean over pieces (humans: each against the",
            "mean of the others, pieces with two or more):\n",
            _means(rows, MEASURES, lambda row: row.agreement),
            "\nStandard deviation within the piece relative to a human's, mean over pieces:\n",
            _means([row for row in rows if row.who != "humans"], SPREADS, lambda row: row.spread),
            "\nPer composer:\n",
            _table(
                ("composer", "pieces", "who"),
                MEASURES,
                [
                    (
                        (composer, str(len({row.piece.folder for row in group})), who),
                        _average([row.agreement for row in group], MEASURES),
                    )
                    for composer in sorted({row.piece.composer for row in rows})
                    for who in _names(rows)
                    if (group := [row for row in rows if row.piece.composer == composer and row.who == who])
                ],
            ),
            "\nPer piece:\n",
            _table(
                ("piece", "humans", "who"),
                MEASURES,
                [((row.piece.folder, str(row.performances), row.who), row.agreement) for row in rows],
            ),
            "",
        ]
    )


def _means(rows: Sequence[Row], measures: Sequence[str], figures: Callable[[Row], Figures]) -> str:
    return _table(
        ("who",),
        measures,
        [
            ((who,), _average([figures(row) for row in rows if row.who == who], measures))
            for who in _names(rows)
        ],
    )


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.who for row in rows))


def _average(figures: Sequence[Figures], measures: Sequence[str]) -> Figures:
    return {name: nan_average([one[name] for one in figures]) for name in measures}


def _table(
    heads: Sequence[str], measures: Sequence[str], lines: Sequence[tuple[tuple[str, ...], Figures]]
) -> str:
    columns = [*heads, *(name.replace("_", " ") for name in measures)]
    body = [
        [*labels, *(f"{figures[name]:.2f}".replace("nan", "–") for name in measures)]
        for labels, figures in lines
    ]
    return markdown(columns, body, left=len(heads))


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]], *, left: int) -> str:
    """A table whose first ``left`` columns hold text, the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(heads) - left)
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, rule, *lines])


def _write(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        measures = [*MEASURES, *(f"relative_spread_{name}" for name in SPREADS)]
        writer.writerow(["folder", "composer", "performances", "robust", "who", *measures])
        for row in rows:
            figures = [*row.agreement.values(), *(row.spread[name] for name in SPREADS)]
            labels = [row.piece.folder, row.piece.composer, row.performances, bool(row.piece.robust), row.who]
            writer.writerow([*labels, *(f"{figure:.4f}" for figure in figures)])


if __name__ == "__main__":
    main()

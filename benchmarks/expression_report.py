"""Compares renderers with the human performances of the (n)ASAP corpus, piece by piece.

    python -m benchmarks.expression_report CORPUS [--split test] [--renderer NAME[:KEY=VALUE,...]]... [-o DIR]

For every piece: correlation with the mean of the human performances, how far humans agree among themselves
(the ceiling), and the spread within the piece relative to a human's. Only robust alignments count; pieces
that have none are reported apart, from their other alignments, because these are wrong in places.
docs/evaluation.md defines the measures. Writes report.md and report.csv.
"""

from __future__ import annotations

import argparse
import csv
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renderers.expression import (
    MEASURES,
    Expression,
    agreement,
    ceiling,
    grid,
    mean_expression,
    measure,
    nan_average,
    relative_spread,
)
from score_to_audio import registry
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces, read_match_cached
from score_to_audio.formats.scores.reader import read_score

SPREADS = ("velocity", "beat_period", "local_beat_period", "articulation", "pedal")
"""Measures of which the spread is reported."""

Figures = dict[str, float]


@dataclass(frozen=True)
class Row:
    """What a piece says of one renderer, or of the humans themselves (``who`` = "humans")."""

    piece: Piece
    performances: int
    robust: bool
    who: str
    agreement: Figures
    spread: Figures


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.ERROR)
    rows = [
        row
        for piece in pieces(arguments.corpus, arguments.split)
        for row in _piece_rows(piece, arguments.renderer, arguments.cache, arguments.seed)
    ]
    text = f"# Split: {arguments.split}\n\n{report(rows)}"
    print(text)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "report.md").write_text(text, encoding="utf-8")
        _write(rows, arguments.output / "report.csv")


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder with performances.csv")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--renderer", action="append", help="may be given several times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/score-to-audio/matches")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    arguments.renderer = arguments.renderer or ["score", "kth-rules"]
    return arguments


def _piece_rows(piece: Piece, renderers: Sequence[str], cache: Path, seed: int) -> list[Row]:
    """One row per renderer and one for the humans; none, and a word why, for a piece that cannot be used."""
    try:
        score = read_score(piece.score)
        of_score = grid(score.parsed)
        matches = piece.robust or piece.others
        humans = [measure(of_score, read_match_cached(path, cache)) for path in matches]
        mean = mean_expression(humans)
    except (InputError, ValueError) as error:
        print(f"left out {piece.folder}: {error}")
        return []

    def row(who: str, agrees: Figures, spread: Figures) -> Row:
        return Row(piece, len(humans), bool(piece.robust), who, agrees, spread)

    # A human's own spread relative to that of all is 1 on average; nothing to report.
    rows = [row("humans", ceiling(humans), dict.fromkeys(MEASURES, 1.0))]
    for name in renderers:
        shape: Expression = measure(of_score, _renderer(name, seed).render(score, seed=seed))
        rows.append(row(name, agreement(shape, mean), relative_spread(shape, humans)))
    return rows


def _renderer(text: str, seed: int) -> Any:
    name, _, options = text.partition(":")
    given = dict(option.split("=", 1) for option in options.split(",") if option)
    return registry.build(registry.resolve("renderer", name, given, seed=seed))


def report(rows: Sequence[Row]) -> str:
    """The tables in Markdown."""
    robust, others = [row for row in rows if row.robust], [row for row in rows if not row.robust]
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
    rule = ["---"] * len(heads) + ["---:"] * len(measures)
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, rule, *body])


def _write(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        measures = [*MEASURES, *(f"relative_spread_{name}" for name in SPREADS)]
        writer.writerow(["folder", "composer", "performances", "robust", "who", *measures])
        for row in rows:
            figures = [*row.agreement.values(), *(row.spread[name] for name in SPREADS)]
            labels = [row.piece.folder, row.piece.composer, row.performances, row.robust, row.who]
            writer.writerow([*labels, *(f"{figure:.4f}" for figure in figures)])


if __name__ == "__main__":
    main()

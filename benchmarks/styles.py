"""The effect of the style vector of a VirtuosoNet checkpoint: the same scores in several styles.

    python -m benchmarks.styles SCORE... [--checkpoint asap-small] [--styles zero 1 2 3] [-o PICTURE.svg]

A style is ``zero`` or the seed that draws it. Prints, per score and style: mean tempo and velocity, their
standard deviations, median articulation (sounding to written length), mean pedal, and the correlations of
velocity and of local beat period with those of the first style. The picture has the curves of the first
score.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from renderers.expression import Expression, correlation, grid, measure
from score_to_audio import registry
from score_to_audio.comparison.listening.curves import expression_curves
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.types import Performance, Score

HEADS = (
    *("score", "style", "quarters/min", "tempo sd %", "velocity", "sd"),
    *("articulation", "pedal", "r velocity", "r tempo"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scores", nargs="+", type=Path)
    parser.add_argument("--checkpoint", default="asap-small")
    parser.add_argument("--styles", nargs="+", default=["zero", "1", "2", "3"])
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    print("| " + " | ".join(HEADS) + " |")
    print("| --- | --- " + "| ---: " * (len(HEADS) - 2) + "|")
    for index, path in enumerate(arguments.scores):
        score = read_score(path)
        played = {style: render(score, arguments.checkpoint, style) for style in arguments.styles}
        print(table(path.stem, score, played))
        if index == 0 and arguments.output:
            named = {f"style {style}": performance for style, performance in played.items()}
            picture = expression_curves(score.parsed, named, [], title=score.parsed.title or path.stem)
            arguments.output.write_text(picture, encoding="utf-8")


def render(score: Score, checkpoint: str, style: str) -> Performance:
    """The score in the style ``zero`` or drawn with a seed."""
    seed = 0 if style == "zero" else int(style)
    options = {"checkpoint": checkpoint, "style": "zero" if style == "zero" else "sampled"}
    performance: Performance = registry.build(
        registry.resolve("renderer", "virtuosonet", options, seed=seed)
    ).render(score, seed=seed)
    return performance


def table(name: str, score: Score, played: Mapping[str, Performance]) -> str:
    shapes = {style: measure(grid(score.parsed), performance) for style, performance in played.items()}
    first = next(iter(shapes.values()))
    return "\n".join(_line(name, style, shape, first) for style, shape in shapes.items())


def _line(name: str, style: str, shape: Expression, first: Expression) -> str:
    period = shape.beat_period
    cells = [
        name,
        style,
        f"{60 / 2 ** np.nanmean(period):.0f}",
        f"{(2 ** np.nanstd(period) - 1) * 100:.0f}",
        f"{np.nanmean(shape.velocity):.0f}",
        f"{np.nanstd(shape.velocity):.0f}",
        f"{2 ** np.nanmedian(shape.articulation):.2f}",
        f"{np.nanmean(shape.pedal):.2f}",
        f"{correlation(shape.velocity, first.velocity):.2f}",
        f"{correlation(shape.local_beat_period, first.local_beat_period):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()

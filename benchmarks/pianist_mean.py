"""Cross-validation of pianist-mean on the training pieces of (n)ASAP.

    python -m benchmarks.pianist_mean CORPUS FOLDER

FOLDER is that of `score-to-audio train pianist-mean`. Each piece is played by the network, and at the tempo
and loudness of the regression, that were not fitted to it (the five gains are those of all pieces), beside
kth-rules. The measures are those of ``benchmarks.expression_report``, and the lead of notes in chords; 95 %
intervals come from drawing pieces. Pieces without robust alignments are left out, and those whose network is
not there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adapters.pianist_mean import read_checkpoint
from adapters.pianist_mean_training import (
    RESULT,
    SETTINGS,
    Example,
    fitted_level,
    fold_numbers,
    network_file,
    prepare,
    read_network,
)
from benchmarks.expression_report import markdown
from renderers import expression
from renderers.expression import MEASURES, correlation, nan_average
from renderers.kth_rules.rendering import render
from renderers.pianist_mean.model import Model
from renderers.pianist_mean.performance import perform
from renderers.pianist_mean.training.loop import TrainingSettings
from renderers.pianist_mean.training.targets import leads, spread
from score_to_audio.store import default_store
from score_to_audio.types import Performance

COLUMNS = (*MEASURES, "lead")
DRAWS = 4000


@dataclass(frozen=True)
class Row:
    """A performance of a piece, judged by the pianists."""

    agreement: dict[str, float]
    spread: dict[str, float]
    factor: float
    """log2 of the length relative to the pianists' median."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    examples = [one for one in prepare(arguments.corpus, default_store()) if isinstance(one, Example)]
    rules, model = [], []
    for one, play in held_out(examples, arguments.folder):
        rules.append(judged(one, render(one.score)))
        model.append(judged(one, play(one)))
    print(report({"kth-rules": rules, "pianist-mean": model}))


def held_out(
    examples: Sequence[Example], folder: Path
) -> list[tuple[Example, Callable[[Example], Performance]]]:
    """The pieces with robust alignments, and how each is played without having been learnt."""
    settings = TrainingSettings.model_validate_json((folder / SETTINGS).read_text("utf-8"))
    whole, folds = read_checkpoint(folder / RESULT), fold_numbers(examples, settings.folds)
    pairs: list[tuple[Example, Callable[[Example], Performance]]] = []
    for fold in range(settings.folds):
        if not network_file(folder, fold).is_file():
            continue
        network, statistics = read_network(network_file(folder, fold))
        seen = [one for one, of in zip(examples, folds, strict=True) if of != fold]
        model = replace(whole, networks=(network,), statistics=(statistics,), level=fitted_level(seen))
        pairs += [
            (one, playing(model))
            for one, of in zip(examples, folds, strict=True)
            if of == fold and one.robust
        ]
    return pairs


def playing(model: Model) -> Callable[[Example], Performance]:
    return lambda one: perform(one.score, model.shape(one.score, one.features))


def judged(one: Example, performance: Performance) -> Row:
    of_score = expression.grid(one.score)
    humans = [expression.measure(of_score, played) for played in one.performances]
    mine = expression.measure(of_score, performance)
    lead = leads(of_score, performance)
    agreement = expression.agreement(mine, expression.mean_expression(humans))
    spreads = expression.relative_spread(mine, humans)
    median = np.median([np.ptp(played.onset) for played in one.performances])
    return Row(
        agreement={**agreement, "lead": correlation(lead, one.targets.lead)},
        spread={**spreads, "lead": spread(lead) / one.targets.spreads["lead"]},
        factor=float(np.log2(np.ptp(performance.onset) / median)),
    )


def report(rows: dict[str, list[Row]]) -> str:
    """Markdown tables."""
    heads = ["", *(name.replace("_", " ") for name in COLUMNS)]
    agreement = [
        [who, *(_mean([row.agreement[name] for row in of]) for name in COLUMNS)] for who, of in rows.items()
    ]
    ahead = [
        _mean([b.agreement[name] - a.agreement[name] for a, b in zip(*rows.values(), strict=True)])
        for name in COLUMNS
    ]
    spreads = [
        [who, *(f"{np.nanmedian([row.spread[name] for row in of]):.2f}" for name in COLUMNS)]
        for who, of in rows.items()
    ]
    lengths = [
        [who, *(f"{2 ** np.quantile(np.abs([row.factor for row in of]), share):.2f}" for share in (0.5, 0.9))]
        for who, of in rows.items()
    ]
    return "\n\n".join(
        [
            f"{len(next(iter(rows.values())))} pieces",
            markdown(heads, [*agreement, ["ahead by", *ahead]], left=1),
            markdown(["median spread", *heads[1:]], spreads, left=1),
            markdown(["factor between lengths", "median", "ninth decile"], lengths, left=1),
        ]
    )


def _mean(values: Sequence[float]) -> str:
    known = np.array([value for value in values if np.isfinite(value)])
    if not len(known):
        return "–"
    generator = np.random.default_rng(0)
    means = known[generator.integers(0, len(known), (DRAWS, len(known)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{nan_average(known.tolist()):.3f} ({low:.3f} … {high:.3f})"


if __name__ == "__main__":
    main()

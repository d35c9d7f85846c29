"""Fits the quantities of kth-rules to the train split of the (n)ASAP corpus, and reports on validation.

    python -m tools.tune_kth CORPUS

Non-negative least squares, as the effects of rules are summed (after Zanon & De Poli, JNMR 32(1), 2003, who
fit single performances). The target is the mean of the human performances of each piece: velocity, log beat
period and log articulation, centred per piece and divided by the standard deviation, so that all pieces have
the same weight. A ridge regularises. The palette of an era is fitted to its composers and regularised towards
the quantities of all pieces. ``LIVELINESS`` then scales the quantities. The effect of the pedal's quantities
is not a sum; coordinate search finds them. Results: docs/measurements.md."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from renderers import tempo
from renderers.expression import (
    LOCAL_BEATS,
    PEDAL_PLACES,
    Expression,
    correlation,
    grid,
    mean_expression,
    measure,
    moving_mean,
    nan_average,
)
from renderers.kth_rules import articulation, loudness, palettes, pedal, rendering, timing
from renderers.kth_rules.analysis import Rule, ScoreAnalysis
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import ArtifactStore, default_store
from score_to_audio.training.prepared import stored_match
from score_to_audio.types import ParsedScore

Floats = NDArray[np.float64]

RIDGE = 0.02
"""Weight of the ridge relative to the mean square of each rule's effect."""

ERA_RIDGE = 0.5
"""The same for the palette of an era, towards the quantities of all pieces."""

LIVELINESS = {"loudness": 1.8, "tempo": 1.8, "touch": 1.0}
"""Group -> factor of its quantities. The rules explain half of the humans' spread; these factors restore 85 %
of it in velocity and 80 % in tempo. Articulation is unchanged, because excess is audible there. Correlations
are not affected."""

MARKED_LIVELINESS = {
    "loudness_score_dynamics": 1.4,
    "loudness_score_accents": 1.4,
    "tempo_final_ritard": 1.5,
    "tempo_last_beats": 1.5,
}
"""Quantity -> its factor instead: marks from pp to ff then have the pianists' mean velocities, and endings
their slowing (docs/measurements.md)."""

ERAS = {"baroque": {"Bach"}, "classical": {"Haydn", "Mozart", "Beethoven"}}
"""Palette -> composers of the corpus; "romantic" are all others."""

STEPS = (0.0, 0.5, 0.8, 1.25, 2.0)
"""Factors of each quantity of the pedal in the coordinate search."""

ROUNDS = 3


@dataclass(frozen=True)
class TuningPiece:
    """A piece of the corpus: the effects of the rules at k = 1, and the mean of the human performances."""

    piece: Piece
    score: ParsedScore
    analysis: ScoreAnalysis
    loudness: Floats
    """[N, rules] MIDI velocity."""
    tempo: Floats
    """[B, rules] log2 of the factor of the beat period."""
    written_period: Floats
    """[B] log2 seconds per quarter note as written."""
    articulation: Floats
    """[N, rules] log2 of the factor of the key-down time."""
    humans: Expression


@dataclass(frozen=True)
class System:
    """Linear equations of one piece: X k = y, centred, scaled, and divided by the root of their number."""

    x: Floats
    y: Floats


def example(piece: Piece, store: ArtifactStore) -> TuningPiece:
    """The effects and the target of a piece. Raises ``InputError`` or ``ValueError`` for unusable pieces."""
    score = read_score(piece.score).parsed
    analysis = ScoreAnalysis(score, tempo.time_map(score))
    of_score = grid(score)
    humans = mean_expression([measure(of_score, stored_match(path, store)) for path in piece.robust])
    effects = _effects(timing.RULES, analysis)
    return TuningPiece(
        piece=piece,
        score=score,
        analysis=analysis,
        loudness=rendering.VELOCITY_PER_DB * _effects(loudness.RULES, analysis),
        tempo=np.stack([analysis.of_beats(column) for column in effects.T], axis=1) / np.log(2),
        written_period=np.log2(np.diff(analysis.times.to_seconds(analysis.beats)) / np.diff(analysis.beats)),
        articulation=_effects(articulation.RULES, analysis),
        humans=humans,
    )


def _effects(rules: Mapping[str, Rule], analysis: ScoreAnalysis) -> Floats:
    return np.stack([rule(analysis, 1.0) for rule in rules.values()], axis=1)


def load(corpus: Path, split: str, store: ArtifactStore) -> list[TuningPiece]:
    """The pieces of a split with robust alignments; unusable ones are reported and left out."""
    usable = []
    for piece in pieces(corpus, split):
        if not piece.robust:
            continue
        try:
            usable.append(example(piece, store))
        except (InputError, ValueError) as error:
            print(f"left out {piece.folder}: {error}")
    return usable


# ------------------------------------------------------------------------------------- least squares

Equations = Callable[[TuningPiece], Sequence[System]]


def loudness_equations(one: TuningPiece) -> list[System]:
    return [_system(one.loudness, one.humans.velocity, one.humans.velocity)]


def articulation_equations(one: TuningPiece) -> list[System]:
    # Alignment errors give absurd lengths; limited to a sixteenth and the eightfold.
    target = np.clip(one.humans.articulation, -4.0, 3.0)
    return [_system(one.articulation, target, target)]


def tempo_equations(one: TuningPiece) -> list[System]:
    """Global and local beat period, relative to the written tempo."""
    humans = one.humans.beat_period
    target = humans - one.written_period
    rules = np.where(np.isfinite(target)[:, None], one.tempo, np.nan)
    local = np.stack([column - moving_mean(column, LOCAL_BEATS) for column in rules.T], axis=1)
    return [
        _system(rules, target, humans),
        _system(local, target - moving_mean(target, LOCAL_BEATS), one.humans.local_beat_period),
    ]


def _system(x: Floats, y: Floats, scale_of: Floats) -> System:
    known = np.isfinite(y)
    x, y = x[known] - x[known].mean(axis=0), y[known] - y[known].mean()
    scale = float(np.nanstd(scale_of))
    # Fermatas and slips of the alignment are outliers of many standard deviations.
    y = np.clip(y / scale, -4.0, 4.0)
    return System(x / scale / np.sqrt(len(y)), y / np.sqrt(len(y)))


def fit(examples: Sequence[TuningPiece], equations: Equations, prior: Floats | None = None) -> Floats:
    """Quantities >= 0 of the least-squares solution over all pieces, regularised towards ``prior`` (or 0)."""
    systems = [system for one in examples for system in equations(one)]
    square = sum((s.x.T @ s.x for s in systems), np.zeros((systems[0].x.shape[1],) * 2)) / len(systems)
    right = sum((s.x.T @ s.y for s in systems), np.zeros(len(square))) / len(systems)
    ridge = np.diag(np.diag(square)) * (RIDGE if prior is None else ERA_RIDGE) + 1e-12 * np.eye(len(square))
    right = right + (0.0 if prior is None else ridge @ prior)
    root = np.linalg.cholesky(square + ridge)
    return np.asarray(nnls(root.T, np.linalg.solve(root, right))[0])


def fitted(examples: Sequence[TuningPiece], prior: Mapping[str, float] | None = None) -> dict[str, float]:
    """The least-squares quantities of all rules except the pedal's, by their names in a palette."""
    quantities: dict[str, float] = {}
    for prefix, rules, equations in (
        ("loudness", loudness.RULES, loudness_equations),
        ("tempo", timing.RULES, tempo_equations),
        ("touch", articulation.RULES, articulation_equations),
    ):
        names = [f"{prefix}_{name}" for name in rules]
        near = None if prior is None else np.array([prior[name] for name in names])
        quantities.update(zip(names, fit(examples, equations, near).tolist(), strict=True))
    return quantities


def lively(examples: Sequence[TuningPiece], fit: Mapping[str, float]) -> dict[str, float]:
    """The quantities of a palette: scaled by ``LIVELINESS``, with the mean loudness and articulation."""
    quantities = {
        name: MARKED_LIVELINESS.get(name, LIVELINESS[name.partition("_")[0]]) * k for name, k in fit.items()
    }
    quantities["loudness_overall"] = _loudness_level(examples, quantities)
    quantities["touch_overall"] = _articulation_level(examples, quantities)
    return quantities


def era(one: TuningPiece) -> str:
    return next((name for name, composers in ERAS.items() if one.piece.composer in composers), "romantic")


def _loudness_level(examples: Sequence[TuningPiece], quantities: Mapping[str, float]) -> float:
    """Mean velocity at mf: that of the humans minus the effect of the written dynamics."""
    written = [
        rendering.VELOCITY_PER_DB
        * loudness.score_dynamics(one.analysis, quantities["loudness_score_dynamics"]).mean()
        for one in examples
    ]
    played = [float(np.nanmean(one.humans.velocity)) for one in examples]
    return float(np.mean(np.array(played) - np.array(written)))


def _articulation_level(examples: Sequence[TuningPiece], quantities: Mapping[str, float]) -> float:
    rest = []
    for one in examples:
        rules = one.articulation @ np.array([quantities[f"touch_{name}"] for name in articulation.RULES])
        target = np.clip(one.humans.articulation, -4.0, 3.0)
        rest.append(float(np.nanmean(target - rules)))
    return float(np.mean(rest))


# --------------------------------------------------------------------------------------------- the pedal


def pedal_agreement(one: TuningPiece, k: Mapping[str, float]) -> tuple[float, float]:
    """Correlation of the pedal, and of the pedal within the beat, in written time."""
    times = one.analysis.times.to_seconds(one.analysis.beats)
    controls = pedal.movement(
        times, pedal.depth(one.analysis, k), pedal.clearing(one.analysis, k), float(times[-1])
    )
    places = times[:-1, None] + np.diff(times)[:, None] * (np.arange(PEDAL_PLACES) + 0.5) / PEDAL_PLACES
    value = np.r_[0.0, controls.value / 127.0][np.searchsorted(controls.time, places, side="right")]
    within = value - value.mean(axis=1, keepdims=True)
    return correlation(value, one.humans.pedal), correlation(within, one.humans.pedal_within_beat)


def pedal_score(examples: Sequence[TuningPiece], k: Mapping[str, float]) -> float:
    """Mean of the two correlations over the pieces in which the pedal is used."""
    used = [one for one in examples if np.nanstd(one.humans.pedal) > 0.01]
    return nan_average([float(np.mean(pedal_agreement(one, k))) for one in used])


def search_pedal(examples: Sequence[TuningPiece], start: Mapping[str, float]) -> dict[str, float]:
    """Coordinate search: each quantity in turn takes the best factor of ``STEPS``."""
    best, highest = dict(start), pedal_score(examples, start)
    for _ in range(ROUNDS):
        for name in start:
            for factor in STEPS:
                tried = {**best, name: best[name] * factor}
                if (reached := pedal_score(examples, tried)) > highest + 1e-4:
                    best, highest = tried, reached
    return best


# ------------------------------------------------------------------------------------------------ report


def agreements(one: TuningPiece, quantities: Mapping[str, float]) -> dict[str, float]:
    """Agreement of the rules' sums with the humans, without rendering: no noise, no limits of the
    keyboard."""

    def sum_of(effects: Floats, prefix: str, rules: Mapping[str, Rule]) -> Floats:
        return np.asarray(effects @ np.array([quantities[f"{prefix}_{name}"] for name in rules]))

    humans = one.humans
    period = one.written_period + sum_of(one.tempo, "tempo", timing.RULES)
    period = np.where(np.isfinite(humans.beat_period), period, np.nan)
    pedalled = pedal_agreement(one, rendering.group(quantities, "pedal"))
    return {
        "velocity": correlation(sum_of(one.loudness, "loudness", loudness.RULES), humans.velocity),
        "beat_period": correlation(period, humans.beat_period),
        "local_beat_period": correlation(period - moving_mean(period, LOCAL_BEATS), humans.local_beat_period),
        "articulation": correlation(
            sum_of(one.articulation, "touch", articulation.RULES), humans.articulation
        ),
        "pedal": pedalled[0],
        "pedal_within_beat": pedalled[1],
    }


def report(title: str, examples: Sequence[TuningPiece], quantities: Mapping[str, float]) -> None:
    rows = [agreements(one, quantities) for one in examples]
    print(title, {name: round(nan_average([row[name] for row in rows]), 3) for name in rows[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("corpus", type=Path)
    arguments = parser.parse_args()
    store = default_store()
    train = load(arguments.corpus, "train", store)
    validation = load(arguments.corpus, "validation", store)
    fit_of_all = fitted(train)
    neutral = {**palettes.NEUTRAL, **lively(train, fit_of_all)}
    report("neutral: train     ", train, neutral)
    report("neutral: validation", validation, neutral)
    best = search_pedal(train[::2], rendering.group(neutral, "pedal"))
    searched = {**neutral, **{f"pedal_{name}": k for name, k in best.items()}}
    report("with the searched pedal: train     ", train, searched)
    report("with the searched pedal: validation", validation, searched)
    print({name: round(k, 3) for name, k in best.items()})
    columns = [neutral]
    for name in (*ERAS, "romantic"):
        own = [one for one in train if era(one) == name]
        columns.append({**palettes.NEUTRAL, **lively(own, fitted(own, fit_of_all))})
        for split, examples in (("train", own), ("validation", [v for v in validation if era(v) == name])):
            report(f"neutral,  {split}, {name}", examples, neutral)
            report(f"{name}, {split}", examples, columns[-1])
    print_table(columns)


def print_table(columns: Sequence[Mapping[str, float]]) -> None:
    """The rows of the table in ``renderers.kth_rules.palettes``."""
    for name in columns[0]:
        values = ", ".join(f"{float(f'{column[name]:.3g}'):>6g}" for column in columns)
        key = f'"{name}":'
        print(f"    {key:<30}({values}),")


if __name__ == "__main__":
    main()

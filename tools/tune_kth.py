"""Tunes the quantities of kth-rules on the train split of the (n)ASAP corpus, and chooses on validation.

    python -m tools.tune_kth CORPUS [--cache FOLDER]

What rules add is summed, so the quantities that fit human performances best are found in closed form: least
squares without negative quantities, of the mean of the human performances of each piece (velocity, log beat
period, log articulation; centred per piece and divided by its standard deviation there, so that every piece
counts the same), as Zanon & De Poli did for single performances (JNMR 32(1), 2003). A small ridge holds what
the data hardly decide. The palettes of an era are found in the same way from its composers, held near those
of all pieces. ``LIVELINESS`` then makes the performance less timid. The pedal is not a sum: its quantities
are found by coordinate search. docs/kth-rules.md says what came of it.
"""

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
from renderers.kth_rules import loudness, palettes, pedal, play, timing, touch
from renderers.kth_rules.reading import Reading
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import Piece, pieces, read_match_cached
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.types import ParsedScore

Floats = NDArray[np.float64]

RIDGE = 0.02
"""Relative to the mean square of each rule's effect."""

PULL = 0.5
"""Likewise, towards the quantities of all pieces, for the palette of an era."""

LIVELINESS = {"loudness": 1.4, "tempo": 1.5, "touch": 1.0}
"""Least squares find how much pianists do of each rule on average, which leaves out all that the rules do not
explain: half of the spread. 1.75 would restore that and exaggerate every single rule as much. So loudness and
tempo go half of the way; articulation stays, where excess is heard at once. The correlations do not
change."""

ERAS = {"baroque": {"Bach"}, "classical": {"Haydn", "Mozart", "Beethoven"}}
"""Palette -> composers of the corpus; "romantic" are all others."""

STEPS = (0.0, 0.5, 0.8, 1.25, 2.0)
"""Factors that the coordinate search tries on each quantity of the pedal."""

ROUNDS = 3


@dataclass(frozen=True)
class Example:
    """A piece of the corpus: what its rules add at k = 1, and what humans do."""

    piece: Piece
    score: ParsedScore
    reading: Reading
    loudness: Floats
    """[N, rules] MIDI velocity."""
    tempo: Floats
    """[B, rules] log2 of the factor of the beat period."""
    written_period: Floats
    """[B] log2 seconds per quarter note as written."""
    touch: Floats
    """[N, rules] log2 of the factor of the key-down time."""
    humans: Expression


@dataclass(frozen=True)
class System:
    """Linear equations of one piece: X k = y, centred, scaled, and divided by the root of their number."""

    x: Floats
    y: Floats


def example(piece: Piece, cache: Path) -> Example:
    """What the tuning needs to know of a piece. Raises ``InputError`` or ``ValueError`` for unusable ones."""
    score = read_score(piece.score).parsed
    reading = Reading(score, tempo.time_map(score))
    of_score = grid(score)
    humans = mean_expression([measure(of_score, read_match_cached(path, cache)) for path in piece.robust])
    effects = _effects(timing.RULES, reading)
    return Example(
        piece=piece,
        score=score,
        reading=reading,
        loudness=play.VELOCITY_PER_DB * _effects(loudness.RULES, reading),
        tempo=np.stack([reading.of_beats(column) for column in effects.T], axis=1) / np.log(2),
        written_period=np.log2(np.diff(reading.times.to_seconds(reading.beats)) / np.diff(reading.beats)),
        touch=_effects(touch.RULES, reading),
        humans=humans,
    )


def _effects(rules: play.Rules, reading: Reading) -> Floats:
    return np.stack([rule(reading, 1.0) for rule in rules.values()], axis=1)


def load(corpus: Path, split: str, cache: Path) -> list[Example]:
    """The examples of a split with robust alignments; pieces that cannot be used are named and left out."""
    found = []
    for piece in pieces(corpus, split):
        if not piece.robust:
            continue
        try:
            found.append(example(piece, cache))
        except (InputError, ValueError) as error:
            print(f"left out {piece.folder}: {error}")
    return found


# ------------------------------------------------------------------------------------- least squares

Equations = Callable[[Example], Sequence[System]]


def loudness_equations(one: Example) -> list[System]:
    return [_system(one.loudness, one.humans.velocity, one.humans.velocity)]


def touch_equations(one: Example) -> list[System]:
    # Wrong alignments give absurd lengths: nothing beyond a sixteenth and the eightfold counts.
    target = np.clip(one.humans.articulation, -4.0, 3.0)
    return [_system(one.touch, target, target)]


def tempo_equations(one: Example) -> list[System]:
    """Global and local beat period, of what the written tempo leaves over."""
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


def fit(examples: Sequence[Example], equations: Equations, prior: Floats | None = None) -> Floats:
    """Quantities >= 0 of the least-squares solution over all pieces, held near ``prior`` (else near 0)."""
    systems = [system for one in examples for system in equations(one)]
    square = sum((s.x.T @ s.x for s in systems), np.zeros((systems[0].x.shape[1],) * 2)) / len(systems)
    right = sum((s.x.T @ s.y for s in systems), np.zeros(len(square))) / len(systems)
    hold = np.diag(np.diag(square)) * (RIDGE if prior is None else PULL) + 1e-12 * np.eye(len(square))
    right = right + (0.0 if prior is None else hold @ prior)
    root = np.linalg.cholesky(square + hold)
    return np.asarray(nnls(root.T, np.linalg.solve(root, right))[0])


def fitted(examples: Sequence[Example], prior: Mapping[str, float] | None = None) -> dict[str, float]:
    """All quantities that are found by least squares, by their names in a palette."""
    found: dict[str, float] = {}
    for prefix, rules, equations in (
        ("loudness", loudness.RULES, loudness_equations),
        ("tempo", timing.RULES, tempo_equations),
        ("touch", touch.RULES, touch_equations),
    ):
        names = [f"{prefix}_{name}" for name in rules]
        held = None if prior is None else np.array([prior[name] for name in names])
        found.update(zip(names, fit(examples, equations, held).tolist(), strict=True))
    return found


def lively(examples: Sequence[Example], found: Mapping[str, float]) -> dict[str, float]:
    """The quantities of a palette: more of each rule, and the levels around which the rules play."""
    quantities = {name: LIVELINESS[name.partition("_")[0]] * k for name, k in found.items()}
    quantities["loudness_overall"] = _loudness_level(examples, quantities)
    quantities["touch_overall"] = _touch_level(examples, quantities)
    return quantities


def era(one: Example) -> str:
    return next((name for name, composers in ERAS.items() if one.piece.composer in composers), "romantic")


def _loudness_level(examples: Sequence[Example], quantities: Mapping[str, float]) -> float:
    """Mean velocity at mf: what the humans play, less what the written dynamics add."""
    written = [
        play.VELOCITY_PER_DB
        * loudness.score_dynamics(one.reading, quantities["loudness_score_dynamics"]).mean()
        for one in examples
    ]
    played = [float(np.nanmean(one.humans.velocity)) for one in examples]
    return float(np.mean(np.array(played) - np.array(written)))


def _touch_level(examples: Sequence[Example], quantities: Mapping[str, float]) -> float:
    left = []
    for one in examples:
        rules = one.touch @ np.array([quantities[f"touch_{name}"] for name in touch.RULES])
        target = np.clip(one.humans.articulation, -4.0, 3.0)
        left.append(float(np.nanmean(target - rules)))
    return float(np.mean(left))


# --------------------------------------------------------------------------------------------- the pedal


def pedal_agreement(one: Example, k: Mapping[str, float]) -> tuple[float, float]:
    """Correlation of the pedal, and of the pedal within the beat, in written time."""
    times = one.reading.times.to_seconds(one.reading.beats)
    controls = pedal.movement(
        times, pedal.depth(one.reading, k), pedal.clearing(one.reading, k), float(times[-1])
    )
    places = times[:-1, None] + np.diff(times)[:, None] * (np.arange(PEDAL_PLACES) + 0.5) / PEDAL_PLACES
    value = np.r_[0.0, controls.value / 127.0][np.searchsorted(controls.time, places, side="right")]
    within = value - value.mean(axis=1, keepdims=True)
    return correlation(value, one.humans.pedal), correlation(within, one.humans.pedal_within_beat)


def pedal_score(examples: Sequence[Example], k: Mapping[str, float]) -> float:
    """Mean over pieces in which the pedal is used of the mean of the two correlations."""
    used = [one for one in examples if np.nanstd(one.humans.pedal) > 0.01]
    return nan_average([float(np.mean(pedal_agreement(one, k))) for one in used])


def search_pedal(examples: Sequence[Example], start: Mapping[str, float]) -> dict[str, float]:
    """Coordinate search: each quantity in turn takes the factor of ``STEPS`` that helps most."""
    best, highest = dict(start), pedal_score(examples, start)
    for _ in range(ROUNDS):
        for name in start:
            for factor in STEPS:
                tried = {**best, name: best[name] * factor}
                if (reached := pedal_score(examples, tried)) > highest + 1e-4:
                    best, highest = tried, reached
    return best


# ------------------------------------------------------------------------------------------------ report


def agreements(one: Example, quantities: Mapping[str, float]) -> dict[str, float]:
    """What the rules reach before anything is rendered, noise and keyboard left out."""

    def sum_of(effects: Floats, prefix: str, rules: play.Rules) -> Floats:
        return np.asarray(effects @ np.array([quantities[f"{prefix}_{name}"] for name in rules]))

    humans = one.humans
    period = one.written_period + sum_of(one.tempo, "tempo", timing.RULES)
    period = np.where(np.isfinite(humans.beat_period), period, np.nan)
    pedalled = pedal_agreement(one, play.group(quantities, "pedal"))
    return {
        "velocity": correlation(sum_of(one.loudness, "loudness", loudness.RULES), humans.velocity),
        "beat_period": correlation(period, humans.beat_period),
        "local_beat_period": correlation(period - moving_mean(period, LOCAL_BEATS), humans.local_beat_period),
        "articulation": correlation(sum_of(one.touch, "touch", touch.RULES), humans.articulation),
        "pedal": pedalled[0],
        "pedal_within_beat": pedalled[1],
    }


def report(title: str, examples: Sequence[Example], quantities: Mapping[str, float]) -> None:
    rows = [agreements(one, quantities) for one in examples]
    print(title, {name: round(nan_average([row[name] for row in rows]), 3) for name in rows[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/score-to-audio/matches")
    arguments = parser.parse_args()
    train = load(arguments.corpus, "train", arguments.cache)
    validation = load(arguments.corpus, "validation", arguments.cache)
    found = fitted(train)
    neutral = {**palettes.NEUTRAL, **lively(train, found)}
    report("neutral: train     ", train, neutral)
    report("neutral: validation", validation, neutral)
    best = search_pedal(train[::2], play.group(neutral, "pedal"))
    searched = {**neutral, **{f"pedal_{name}": k for name, k in best.items()}}
    report("with the pedal that the search finds: train     ", train, searched)
    report("with the pedal that the search finds: validation", validation, searched)
    print({name: round(k, 3) for name, k in best.items()})
    _print("NEUTRAL", neutral)
    for name in (*ERAS, "romantic"):
        own = [one for one in train if era(one) == name]
        palette = {**palettes.NEUTRAL, **lively(own, fitted(own, found))}
        for split, examples in (("train", own), ("validation", [v for v in validation if era(v) == name])):
            report(f"neutral,  {split}, {name}", examples, neutral)
            report(f"{name}, {split}", examples, palette)
        _print(name.upper(), {key: k for key, k in palette.items() if k != palettes.NEUTRAL.get(key)})


def _print(name: str, quantities: Mapping[str, float]) -> None:
    print(f"{name} = {{")
    for key, k in quantities.items():
        print(f'    "{key}": {float(f"{k:.3g}"):g},')
    print("}")


if __name__ == "__main__":
    main()

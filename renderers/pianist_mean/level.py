"""How fast and how loud a piece is as a whole: regressions on what is written and on the texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from renderers import meter, tempo
from renderers.pianist_mean.features import Features
from renderers.pianist_mean.texture import Floats
from score_to_audio.types import ParsedScore

MARKED, WORDS, SILENT = "marked", "words", "silent"
"""The score begins with a metronome mark, with words for a tempo, or with neither."""
BEGINNING = 4.0
"""Quarter notes within which a mark is one for the beginning."""
FURTHEST = float(np.log2(1.2))
"""log2 of the largest factor between a metronome mark's tempo and ours."""
RIDGE = 20.0
"""Weight of the squared coefficients of standardised inputs, for the tempo of scores that say something."""
KERNEL_WIDTH, KERNEL_RIDGE = 1.2, 0.1
"""Of the kernel regression for the others: standard deviations, and the weight of the squared norm."""
VELOCITY_RIDGE = 2.0
NOTE_MEANS = (
    *("rhythm_length", "rhythm_ioi", "rhythm_held", "texture_struck", "mark_staccato", "slur_any"),
    *("pitch_leap_before", "harmony_clash"),
)
BEAT_MEANS = ("place_length", "grid_range")
"""Features whose means say how dense and how long a piece is."""


@dataclass(frozen=True)
class Means:
    """Of a piece."""

    velocity: float
    """MIDI velocity."""
    period: float
    """log2 of seconds per quarter note over the whole piece."""


@dataclass(frozen=True)
class Level:
    """Coefficients of the regressions."""

    mean: list[float]
    """Of the inputs of the tempo."""
    std: list[float]
    period: dict[str, list[float]]
    """``MARKED`` and ``WORDS``: a constant, and one for each input; relative to what is written."""
    pieces: list[list[float]]
    """Standardised inputs of the pieces that say what scores without marks are like."""
    silent: list[float]
    """A constant, and the weight of each of these pieces."""
    velocity: list[float]

    def of(self, score: ParsedScore, features: Features, default_tempo: float | None = None) -> Means:
        """The level of a piece. ``default_tempo``: quarter notes per minute where nothing is written."""
        kind = kind_of(score)
        inputs = (tempo_inputs(score, features) - np.array(self.mean)) / np.array(self.std)
        if kind != SILENT:
            change = float(np.r_[1.0, inputs] @ self.period[kind])
            if kind == MARKED:
                change = float(np.clip(change, -FURTHEST, FURTHEST))
            period = written_period(score) + change
        elif default_tempo:
            period = float(np.log2(60 / default_tempo))
        else:
            period = self.silent[0] + float(_kernel(inputs[None], np.array(self.pieces))[0] @ self.silent[1:])
        return Means(float(velocity_inputs(features, period) @ self.velocity), period)


def kind_of(score: ParsedScore) -> str:
    """``MARKED``, ``WORDS`` or ``SILENT``."""
    marks = [mark for mark in score.directions if mark.kind == "tempo" and mark.onset <= BEGINNING]
    if any(mark.value for mark in marks):
        return MARKED
    sign = meter.signature_at(score.time_signatures, 0.0)
    return WORDS if any(tempo.tempo_of(mark, 1.0, sign) for mark in marks) else SILENT


def written_period(score: ParsedScore) -> float:
    """log2 of seconds per quarter note of the score as written."""
    times, end = tempo.time_map(score), max(score.end, 1.0)
    return float(np.log2(np.diff(times.to_seconds([0.0, end]))[0] / end))


def tempo_inputs(score: ParsedScore, features: Features) -> Floats:
    """[inputs] density, meter and texture of a piece."""
    slices, notes = len(features.beat_of_slice), len(features.notes)
    sign = meter.signature_at(score.time_signatures, 0.0)
    ioi = features.notes[:, features.note_names.index("rhythm_ioi")]
    return np.array(
        [
            np.log2(slices / max(score.end, 1.0)),
            np.log2(notes / slices),
            np.log2(meter.beat_length(sign)),
            float(sign.beats % 3 == 0),
            float(ioi.std()),
            *(features.notes[:, features.note_names.index(name)].mean() for name in NOTE_MEANS),
            *(features.beats[:, features.beat_names.index(name)].mean() for name in BEAT_MEANS),
        ]
    )


def velocity_inputs(features: Features, period: float) -> Floats:
    """[6]"""

    def column(name: str) -> Floats:
        return np.asarray(features.notes[:, features.note_names.index(name)])

    known = column("dynamic_known")
    return np.array(
        [
            1.0,
            float(known.mean()),
            float(column("dynamic_level").mean()),
            float(column("density_8").mean()) - period,
            float(column("texture_struck").mean()),
            float(column("key_pitch").mean()),
        ]
    )


def fit(
    scores: Sequence[ParsedScore], features: Sequence[Features], means: Sequence[Means], weights: Floats
) -> Level:
    """Ridge regressions, and a kernel regression for scores that say nothing: what is far from every piece
    gets the mean tempo there. Scores with marks also serve as examples without them."""
    inputs = np.stack([tempo_inputs(score, one) for score, one in zip(scores, features, strict=True)])
    mean, std = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    standardised = np.round((inputs - mean) / std, 4)
    period, periods = np.array([one.period for one in means]), {}
    for kind in (MARKED, WORDS):
        changed = [_without(score, kind) for score in scores]
        # A corpus may lack a kind.
        chosen = [i for i, score in enumerate(changed) if kind_of(score) == kind] or list(range(len(scores)))
        base = np.array([written_period(changed[i]) for i in chosen])
        periods[kind] = _ridge(standardised[chosen], period[chosen] - base, weights[chosen], RIDGE)
    x = np.stack([velocity_inputs(one, level.period)[1:] for one, level in zip(features, means, strict=True)])
    velocity = _ridge(x, np.array([one.velocity for one in means]), weights, VELOCITY_RIDGE)
    return Level(
        mean=mean.tolist(),
        std=std.tolist(),
        period=periods,
        pieces=standardised.tolist(),
        silent=_kernel_ridge(standardised, period, weights),
        velocity=velocity,
    )


def _without(score: ParsedScore, kind: str) -> ParsedScore:
    """The score as it is, or without metronome marks."""
    if kind == MARKED:
        return score
    return replace(
        score,
        directions=tuple(
            replace(mark, value=None) if mark.kind == "tempo" else mark for mark in score.directions
        ),
    )


def _ridge(x: Floats, y: Floats, weights: Floats, ridge: float) -> list[float]:
    """The constant, which is not shrunk, and the coefficients."""
    middle = np.average(x, axis=0, weights=weights)
    centred = x - middle
    mean = np.average(y, weights=weights)
    gram = (centred * weights[:, None]).T @ centred + ridge * np.eye(x.shape[1])
    slope = np.linalg.solve(gram, (centred * weights[:, None]).T @ (y - mean))
    return [float(mean - middle @ slope), *slope.tolist()]


def _kernel(a: Floats, b: Floats) -> Floats:
    """[A, B] how alike pieces are: 1 where all standardised inputs are the same."""
    square = ((a[:, None] - b[None]) ** 2).mean(axis=-1)
    return np.asarray(np.exp(-square / (2 * KERNEL_WIDTH**2)))


def _kernel_ridge(x: Floats, y: Floats, weights: Floats) -> list[float]:
    """The constant, and a weight for each of the inputs x."""
    mean = float(np.average(y, weights=weights))
    kernel = _kernel(x, x) + KERNEL_RIDGE * np.diag(1 / weights)
    return [mean, *np.linalg.solve(kernel, y - mean).tolist()]

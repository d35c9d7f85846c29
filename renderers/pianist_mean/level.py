"""How fast and how loud a piece is as a whole: ridge regressions on what is written and on the texture."""

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
RIDGE = {MARKED: 20.0, WORDS: 20.0, SILENT: 5.0}
"""Weight of the squared coefficients of standardised inputs."""
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
    """By what the score begins with: a constant, and one for each input. Relative to what is written."""
    velocity: list[float]

    def of(self, score: ParsedScore, features: Features, default_tempo: float | None = None) -> Means:
        """The level of a piece. ``default_tempo``: quarter notes per minute where nothing is written."""
        kind = kind_of(score)
        inputs = (tempo_inputs(score, features) - np.array(self.mean)) / np.array(self.std)
        change = float(np.r_[1.0, inputs] @ self.period[kind])
        if kind == MARKED:
            change = float(np.clip(change, -FURTHEST, FURTHEST))
        period = change if kind == SILENT else written_period(score) + change
        if kind == SILENT and default_tempo:
            period = float(np.log2(60 / default_tempo))
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
    """Ridge regressions. Scores with marks also serve as examples without them."""
    inputs = np.stack([tempo_inputs(score, one) for score, one in zip(scores, features, strict=True)])
    mean, std = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    period, periods = np.array([one.period for one in means]), {}
    for kind in (MARKED, WORDS, SILENT):
        changed = [_without(score, kind) for score in scores]
        # A corpus may lack a kind.
        chosen = [i for i, score in enumerate(changed) if kind_of(score) == kind] or list(range(len(scores)))
        base = 0.0 if kind == SILENT else np.array([written_period(changed[i]) for i in chosen])
        x = ((inputs - mean) / std)[chosen]
        periods[kind] = _ridge(x, period[chosen] - base, weights[chosen], RIDGE[kind])
    x = np.stack([velocity_inputs(one, level.period)[1:] for one, level in zip(features, means, strict=True)])
    velocity = _ridge(x, np.array([one.velocity for one in means]), weights, VELOCITY_RIDGE)
    return Level(mean.tolist(), std.tolist(), periods, velocity)


def _without(score: ParsedScore, kind: str) -> ParsedScore:
    """The score without metronome marks, or without any tempo marks."""
    if kind == MARKED:
        return score
    if kind == SILENT:
        return replace(score, directions=tuple(mark for mark in score.directions if mark.kind != "tempo"))
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

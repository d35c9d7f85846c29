"""How fast and how loud a piece is as a whole: linear regressions on what is written and on the texture."""

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
RIDGE = 2.0
"""Weight of the squared coefficients."""


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

    period: dict[str, list[float]]
    """By what the score begins with."""
    velocity: list[float]

    def of(self, score: ParsedScore, features: Features, default_tempo: float | None = None) -> Means:
        """The level of a piece. ``default_tempo``: quarter notes per minute where nothing is written."""
        kind = kind_of(score)
        period = float(tempo_inputs(score, features, kind) @ self.period[kind])
        if kind == MARKED:
            written = written_period(score)
            period = float(np.clip(period, written - FURTHEST, written + FURTHEST))
        elif kind == SILENT and default_tempo:
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


def tempo_inputs(score: ParsedScore, features: Features, kind: str) -> Floats:
    """[6]; without marks what is written says nothing."""
    slices, notes = len(features.beat_of_slice), len(features.notes)
    sign = meter.signature_at(score.time_signatures, 0.0)
    end = max(score.end, 1.0)
    return np.array(
        [
            1.0,
            0.0 if kind == SILENT else written_period(score),
            np.log2(slices / end),
            np.log2(notes / slices),
            np.log2(meter.beat_length(sign)),
            float(sign.beats % 3 == 0),
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
    periods = {}
    for kind in (MARKED, WORDS, SILENT):
        rows = [(_without(score, kind), one, mean, w) for score, one, mean, w in zip(scores, features, means, weights, strict=True)]
        rows = [row for row in rows if kind_of(row[0]) == kind]
        x = np.stack([tempo_inputs(score, one, kind) for score, one, _, _ in rows])
        y = np.array([mean.period for _, _, mean, _ in rows])
        periods[kind] = _ridge(x, y, np.array([w for *_, w in rows]))
    x = np.stack([velocity_inputs(one, mean.period) for one, mean in zip(features, means, strict=True)])
    return Level(periods, _ridge(x, np.array([mean.velocity for mean in means]), weights))


def _without(score: ParsedScore, kind: str) -> ParsedScore:
    """The score without metronome marks, or without any tempo marks."""
    if kind == MARKED:
        return score
    if kind == SILENT:
        return replace(score, directions=tuple(mark for mark in score.directions if mark.kind != "tempo"))
    return replace(score, directions=tuple(
        replace(mark, value=None) if mark.kind == "tempo" else mark for mark in score.directions
    ))


def _ridge(x: Floats, y: Floats, weights: Floats) -> list[float]:
    """Coefficients; the first, constant column is not shrunk."""
    middle = np.average(x, axis=0, weights=weights)
    centred = x[:, 1:] - middle[1:]
    mean = np.average(y, weights=weights)
    gram = (centred * weights[:, None]).T @ centred + RIDGE * np.eye(x.shape[1] - 1)
    slope = np.linalg.solve(gram, (centred * weights[:, None]).T @ (y - mean))
    return [float(mean - middle[1:] @ slope), *slope.tolist()]

"""Tempo, dynamics and pedal of several performances over the score, as a picture (SVG).

A renderer is a line; humans are their mean with a band of one standard deviation on either side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from renderers.expression import (
    PEDAL_PLACES,
    Expression,
    Grid,
    grid,
    mean_expression,
    measure,
    spread,
)
from score_to_audio.types import Measure, ParsedScore, Performance

Floats = NDArray[np.float64]

WIDTH, HEIGHT, MARGIN, RIGHT, TOP, GAP, BOTTOM = 1400, 190, 64, 16, 58, 34, 40
"""Pixels: width of the picture, height of each of the three panels, space around them."""
INK, FAINT, PAPER, HUMAN = "#20242c", "#d9dde4", "#ffffff", "#7d8796"
COLOURS = ("#b3402e", "#2b6cb0", "#3d8a4f", "#8a4fa3", "#b07d2b")
"""One per performance, repeated from the sixth on."""
FONTS = "Helvetica, Arial, DejaVu Sans, Liberation Sans, Noto Sans, sans-serif"
"""By name: resvg, which draws PNG files, looks for Arial alone where only "sans-serif" is given."""
MOST_LABELS = 24
"""At most so many measure numbers along the score."""


@dataclass(frozen=True)
class _Curve:
    """A line over the score: positions (quarter notes) and values; nan interrupts it."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class _ScorePanel:
    """A panel of the picture: x is the place in the score, y the value."""

    title: str
    top: float
    low: float
    high: float
    start: float
    end: float

    def x(self, quarters: Floats) -> Floats:
        return MARGIN + (WIDTH - MARGIN - RIGHT) * (quarters - self.start) / (self.end - self.start)

    def y(self, value: Floats) -> Floats:
        return self.top + HEIGHT * (1 - (value - self.low) / (self.high - self.low))


def expression_curves(
    score: ParsedScore,
    performances: Mapping[str, Performance],
    humans: Sequence[Performance] = (),
    *,
    title: str = "",
    first_measure: int = 0,
    last_measure: int | None = None,
) -> str:
    """An SVG document. ``performances``: name -> performance. Those and ``humans`` need ``score_ids``.

    ``first_measure``, ``last_measure``: indices into ``score.measures`` of the drawn part, by default all.
    Raises ``ValueError`` where a performance has no ``score_ids`` or there is nothing to draw.
    """
    if not performances and not humans:
        raise ValueError("there is no performance to draw")
    of_score = grid(score)
    shapes = {name: measure(of_score, performance) for name, performance in performances.items()}
    people = [measure(of_score, human) for human in humans]
    shown = score.measures[first_measure : None if last_measure is None else last_measure + 1]
    if not shown:
        raise ValueError("there is no such measure")
    start, end = shown[0].onset, shown[-1].end
    parts = [_legend(list(shapes), len(people), title)]
    for number, (name, curve) in enumerate(_PANELS.items()):
        lines = {who: curve(of_score, shape) for who, shape in shapes.items()}
        band = _band(of_score, people, name) if people else None
        drawn = [*lines.values(), *(band or ())]
        low, high = _range(drawn, start, end, whole=name.startswith("pedal"))
        panel = _ScorePanel(name, TOP + number * (HEIGHT + GAP), low, high, start, end)
        parts += [
            _frame(panel, [one.onset for one in shown], logarithmic=name.startswith("tempo")),
            _human(panel, band) if band else "",
            *(_line(panel, line, COLOURS[i % len(COLOURS)], 1.6) for i, line in enumerate(lines.values())),
        ]
    bottom = TOP + 3 * HEIGHT + 2 * GAP
    parts.append(_measure_numbers(shown, start, end, bottom))
    height = bottom + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="{FONTS}" font-size="12">'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        f'<clipPath id="plot"><rect x="{MARGIN}" y="{TOP}" width="{WIDTH - MARGIN - RIGHT}" '
        f'height="{bottom - TOP}"/></clipPath>' + "".join(parts) + "</svg>\n"
    )


# --------------------------------------------------------------------------------------------- the curves


def tempo_and_dynamics(of_score: Grid, performance: Performance) -> dict[str, tuple[Floats, Floats]]:
    """ "tempo": (quarters, quarter notes per minute), "dynamics": (quarters, MIDI velocity).

    nan where the performance plays nothing. Raises ``ValueError`` as ``measure``.
    """
    shape = measure(of_score, performance)
    tempo, dynamics = _tempo(of_score, shape), _dynamics(of_score, shape)
    return {"tempo": (tempo.x, 2.0**tempo.y), "dynamics": (dynamics.x, dynamics.y)}


def _tempo(of_score: Grid, shape: Expression) -> _Curve:
    """log2 of quarter notes per minute, in the middle of each beat."""
    return _Curve((of_score.beats[1:] + of_score.beats[:-1]) / 2, np.log2(60) - shape.beat_period)


def _dynamics(of_score: Grid, shape: Expression) -> _Curve:
    """Mean velocity of the notes struck in each beat."""
    beat = np.searchsorted(of_score.beats, of_score.onset + 1e-6, side="right") - 1
    known = np.isfinite(shape.velocity) & (beat < len(of_score.beats) - 1)
    count = np.bincount(beat[known], minlength=len(of_score.beats) - 1)
    total = np.bincount(beat[known], weights=shape.velocity[known], minlength=len(count))
    struck = count > 0
    middle = (of_score.beats[1:] + of_score.beats[:-1]) / 2
    # Beats in which nothing is struck do not interrupt the line.
    return _Curve(middle[struck], total[struck] / count[struck])


def _pedal(of_score: Grid, shape: Expression) -> _Curve:
    """Sustain pedal, 0..1, at several places of each beat."""
    share = (np.arange(PEDAL_PLACES) + 0.5) / PEDAL_PLACES
    x = of_score.beats[:-1, None] + np.diff(of_score.beats)[:, None] * share
    return _Curve(x.reshape(-1), shape.pedal.reshape(-1))


_PANELS = {"tempo (quarter notes per minute)": _tempo, "dynamics (MIDI velocity)": _dynamics, "pedal": _pedal}


def _band(of_score: Grid, people: Sequence[Expression], panel: str) -> tuple[_Curve, _Curve, _Curve]:
    """Mean of the humans, and one standard deviation below and above."""
    curve = _PANELS[panel]
    mean = curve(of_score, mean_expression(people))
    if curve is not _dynamics:
        # The spread of log2 periods is that of log2 tempi: only the sign of the values differs.
        deviation = spread(people)
        width = deviation.beat_period if curve is _tempo else deviation.pedal.reshape(-1)
    else:
        width = np.stack([np.interp(mean.x, *_known(_dynamics(of_score, one))) for one in people]).std(axis=0)
    return mean, _Curve(mean.x, mean.y - width), _Curve(mean.x, mean.y + width)


def _known(curve: _Curve) -> tuple[Floats, Floats]:
    finite = np.isfinite(curve.y)
    return curve.x[finite], curve.y[finite]


def _range(curves: Sequence[_Curve], start: float, end: float, *, whole: bool) -> tuple[float, float]:
    """Lowest and highest value to show; ``whole``: 0 to 1. Rare extremes are cut off."""
    if whole:
        return -0.03, 1.03
    values = np.concatenate([curve.y[(curve.x >= start) & (curve.x <= end)] for curve in curves])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, [0.5, 99.5])
    margin = max(0.08 * (high - low), 1e-3)
    return float(low - margin), float(high + margin)


# -------------------------------------------------------------------------------------------- the drawing


def _path(panel: _ScorePanel, curve: _Curve) -> str:
    """Points of an SVG path; a nan lifts the pen."""
    inside = (curve.x >= panel.start) & (curve.x <= panel.end)
    x, y = panel.x(curve.x[inside]), panel.y(curve.y[inside])
    y = np.clip(y, panel.top, panel.top + HEIGHT)
    steps, drawing = [], False
    for across, down in zip(x.tolist(), y.tolist(), strict=True):
        if not np.isfinite(down):
            drawing = False
            continue
        steps.append(f"{'L' if drawing else 'M'}{across:.1f} {down:.1f}")
        drawing = True
    return "".join(steps)


def _line(panel: _ScorePanel, curve: _Curve, colour: str, width: float) -> str:
    return f'<path d="{_path(panel, curve)}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _human(panel: _ScorePanel, band: tuple[_Curve, _Curve, _Curve]) -> str:
    mean, below, above = band
    pieces = np.isfinite(below.y) & np.isfinite(above.y)
    edges = np.flatnonzero(np.diff(np.r_[0, pieces.astype(int), 0]))
    outline = "".join(
        _closed(panel, _Curve(below.x[a:b], below.y[a:b]), _Curve(above.x[a:b], above.y[a:b]))
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    )
    return f'<path d="{outline}" fill="{HUMAN}" fill-opacity="0.25"/>' + _line(panel, mean, HUMAN, 1.6)


def _closed(panel: _ScorePanel, below: _Curve, above: _Curve) -> str:
    path = _path(panel, below)
    back = _path(panel, _Curve(above.x[::-1], above.y[::-1]))
    return f"{path}L{back[1:]}Z" if path and back else ""


def _frame(panel: _ScorePanel, barlines: Sequence[float], *, logarithmic: bool) -> str:
    bottom = panel.top + HEIGHT
    step = max(len(barlines) // (4 * MOST_LABELS), 1)
    bars = "".join(
        f'<path d="M{x:.1f} {panel.top}V{bottom}" stroke="{FAINT}" stroke-width="0.5"/>'
        for x in panel.x(np.array(barlines[::step])).tolist()
    )
    labels = "".join(
        f'<path d="M{MARGIN} {y:.1f}H{WIDTH - RIGHT}" stroke="{FAINT}"/>'
        f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{text}</text>'
        for y, text in _ticks(panel, logarithmic=logarithmic)
    )
    return (
        f"{bars}{labels}"
        f'<text x="{MARGIN}" y="{panel.top - 8}" fill="{INK}">{escape(panel.title)}</text>'
        f'<rect x="{MARGIN}" y="{panel.top}" width="{WIDTH - MARGIN - RIGHT}" height="{HEIGHT}" fill="none" '
        f'stroke="{INK}" stroke-width="0.8"/>'
    )


def _ticks(panel: _ScorePanel, *, logarithmic: bool) -> list[tuple[float, str]]:
    """Heights and texts of about five round values."""
    low, high = (2.0**panel.low, 2.0**panel.high) if logarithmic else (panel.low, panel.high)
    values = round_values(low, high)
    heights = panel.y(np.log2(values) if logarithmic else values)
    # + 0.0 turns -0.0 into 0.0.
    return [(y, f"{value + 0.0:g}") for y, value in zip(heights.tolist(), values.tolist(), strict=True)]


def round_values(low: float, high: float, count: int = 5) -> Floats:
    """About ``count`` values from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10 ** np.floor(np.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - rough))
    return np.asarray(np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step)


def _measure_numbers(shown: Sequence[Measure], start: float, end: float, top: float) -> str:
    panel = _ScorePanel("", top, 0.0, 1.0, start, end)
    step = -(-len(shown) // MOST_LABELS)
    texts = "".join(
        f'<text x="{float(panel.x(np.array([one.onset]))[0]):.1f}" y="{top + 16}" fill="{INK}">'
        f"{escape(one.number)}</text>"
        for one in shown[::step]
    )
    return f'{texts}<text x="{MARGIN}" y="{top + 32}" fill="{INK}">measure</text>'


def _legend(names: Sequence[str], humans: int, title: str) -> str:
    entries = [(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(names)]
    if humans:
        entries.append((f"mean of {humans} human performances, and their spread", HUMAN))
    x = float(MARGIN)
    parts = [f'<text x="{x}" y="18" font-size="14" font-weight="600" fill="{INK}">{escape(title)}</text>']
    for text, colour in entries:
        parts.append(
            f'<path d="M{x} 32H{x + 22}" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{x + 28}" y="36" fill="{INK}">{escape(text)}</text>'
        )
        x += 48 + 7.0 * len(text)
    return "".join(parts)

"""A performance as a picture (SVG): piano roll with pedal, dynamics curve, tempo curve."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from renderers.expression import grid, performed_onsets
from score_to_audio.comparison.listening.curves import FONTS, round_values
from score_to_audio.types import SUSTAIN, ParsedScore, Performance

Floats = NDArray[np.float64]

WIDTH, MARGIN, RIGHT = 960, 62, 14
ROLL, CURVE, GAP, TOP, BOTTOM = 300, 96, 26, 34, 30
"""Pixels: height of the roll with the pedal and of each curve, space between them, above and below."""
PEDAL = 12
"""Pixels at the foot of the roll for the pedal, below the lowest note."""
INK, FAINT, PAPER = "#20242c", "#d9dde4", "#ffffff"
TEMPO_COLOUR, PEDAL_COLOUR = "#b3402e", "#8fb4a6"
DYNAMICS_WINDOW = 1.0
"""Seconds over which the dynamics curve is averaged."""
BLACK_KEYS = {1, 3, 6, 8, 10}


@dataclass(frozen=True)
class _TimePanel:
    """A panel of the picture: x is the time in seconds, y the value."""

    top: float
    height: float
    low: float
    high: float
    duration: float

    def x(self, seconds: float) -> float:
        return round(MARGIN + (WIDTH - MARGIN - RIGHT) * seconds / self.duration, 2)

    def y(self, value: float) -> float:
        return round(self.top + self.height * (1 - (value - self.low) / (self.high - self.low)), 2)


def piano_roll(performance: Performance, score: ParsedScore | None = None, *, title: str = "") -> str:
    """An SVG document. The tempo curve needs the score and the ids of its notes (``score_ids``)."""
    duration = max(performance.end, 1.0)
    roll = _roll_panel(performance, duration)
    parts = [_roll(performance, roll), _pedal(performance, roll)]
    top = TOP + ROLL + GAP
    dynamics = _TimePanel(top, CURVE, 0, 127, duration)
    parts.append(_dynamics(performance, dynamics))
    curve = tempo_curve(performance, score) if score and performance.score_ids else None
    if curve and len(curve[0]) > 1:
        top += CURVE + GAP
        parts.append(_tempo(*curve, top, duration))
    height = top + CURVE + BOTTOM
    parts.append(_seconds(duration, height - BOTTOM, roll))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="{FONTS}" font-size="12" fill="{INK}">'
        f"<title>{escape(title or 'performance')}</title>"
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>'
        f'<text x="{MARGIN}" y="20" font-size="14" font-weight="600">{escape(title)}</text>'
        + "\n".join(parts)
        + "</svg>\n"
    )


def tempo_curve(performance: Performance, score: ParsedScore) -> tuple[Floats, Floats]:
    """(seconds, quarter notes per minute) at each played beat of the score. Grace notes and ornaments do not
    count, as in ``renderers.expression``."""
    positions, times = performed_onsets(grid(score), performance)
    if len(positions) < 2:
        return np.zeros(0), np.zeros(0)
    beats = np.arange(np.ceil(positions[0]), positions[-1] + 1e-9)
    at_beats = np.interp(beats, positions, times)
    periods = np.diff(at_beats)
    played = periods > 0.02
    return at_beats[:-1][played], 60 / periods[played]


def _roll_panel(performance: Performance, duration: float) -> _TimePanel:
    low = int(performance.pitch.min(initial=60)) - 2
    high = int(performance.pitch.max(initial=72)) + 2
    return _TimePanel(TOP, ROLL - PEDAL - 4, low, high, duration)


def _roll(performance: Performance, panel: _TimePanel) -> str:
    key = panel.height / (panel.high - panel.low)
    rows = [
        f'<rect x="{MARGIN}" y="{panel.y(pitch + 0.5)}" width="{WIDTH - MARGIN - RIGHT}" height="{key:.2f}" '
        f'fill="#f3f5f8"/>'
        for pitch in range(int(panel.low) + 1, int(panel.high))
        if pitch % 12 in BLACK_KEYS
    ]
    octaves = [
        f'<text x="{MARGIN - 8}" y="{panel.y(pitch) + 4}" text-anchor="end">C{pitch // 12 - 1}</text>'
        for pitch in range(int(panel.low) + 1, int(panel.high))
        if pitch % 12 == 0
    ]
    notes = [
        f'<rect x="{panel.x(onset)}" y="{panel.y(pitch + 0.45)}" '
        f'width="{max(panel.x(offset) - panel.x(onset), 1):.2f}" height="{0.9 * key:.2f}" rx="1" '
        f'fill="{_colour(velocity)}"/>'
        for onset, offset, pitch, velocity in zip(
            performance.onset, performance.offset, performance.pitch, performance.velocity, strict=True
        )
    ]
    return "\n".join([*rows, _frame(panel, "notes"), *octaves, *notes])


def _colour(velocity: float) -> str:
    """From light blue (soft) to dark violet (loud)."""
    soft, loud = np.array([158, 190, 224]), np.array([58, 20, 92])
    share = (np.clip(velocity, 20, 110) - 20) / 90
    red, green, blue = np.rint(soft + share * (loud - soft)).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _pedal(performance: Performance, panel: _TimePanel) -> str:
    """The sustain pedal below the notes: the lower it is pressed, the higher the strip."""
    sustain = performance.controls.number == SUSTAIN
    times, values = performance.controls.time[sustain], performance.controls.value[sustain]
    ends = np.append(times, panel.duration)[1:]
    base = panel.top + ROLL
    label = f'<text x="{MARGIN - 8}" y="{base}" text-anchor="end">pedal</text>'
    return label + "\n".join(
        f'<rect x="{panel.x(start)}" y="{base - PEDAL * value / 127:.2f}" '
        f'width="{panel.x(end) - panel.x(start):.2f}" height="{PEDAL * value / 127:.2f}" '
        f'fill="{PEDAL_COLOUR}"/>'
        for start, end, value in zip(times, ends, values, strict=True)
        if value > 0 and end > start
    )


def _dynamics(performance: Performance, panel: _TimePanel) -> str:
    if not len(performance):
        return _frame(panel, "velocity")
    order = np.argsort(performance.onset)
    onset, velocity = performance.onset[order], performance.velocity[order].astype(np.float64)
    grid = np.arange(onset[0], onset[-1] + 1e-9, 0.25)
    first = np.searchsorted(onset, grid - DYNAMICS_WINDOW / 2)
    last = np.searchsorted(onset, grid + DYNAMICS_WINDOW / 2, side="right")
    total = np.concatenate([[0.0], np.cumsum(velocity)])
    filled = last > first
    mean = (total[last] - total[first])[filled] / (last - first)[filled]
    dots = "".join(
        f'<circle cx="{panel.x(time)}" cy="{panel.y(value)}" r="1.6" fill="{_colour(value)}"/>'
        for time, value in zip(onset, velocity, strict=True)
    )
    return "\n".join([_frame(panel, "velocity", (40, 80, 120)), dots, _line(grid[filled], mean, panel, INK)])


def _tempo(seconds: Floats, tempo: Floats, top: float, duration: float) -> str:
    panel = _TimePanel(top, CURVE, 0.9 * float(tempo.min()), 1.1 * float(tempo.max()), duration)
    marks = tuple(round(mark) for mark in round_values(panel.low, panel.high, 4).tolist())
    frame = _frame(panel, "quarter notes per minute", marks)
    return "\n".join([frame, _line(seconds, tempo, panel, TEMPO_COLOUR)])


def _line(x: Floats, y: Floats, panel: _TimePanel, colour: str) -> str:
    points = " ".join(f"{panel.x(a)},{panel.y(b)}" for a, b in zip(x, y, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _frame(panel: _TimePanel, label: str, marks: tuple[int, ...] = ()) -> str:
    lines = "".join(
        f'<path d="M{MARGIN} {panel.y(mark)}H{WIDTH - RIGHT}" stroke="{FAINT}"/>'
        f'<text x="{MARGIN - 8}" y="{panel.y(mark) + 4}" text-anchor="end">{mark}</text>'
        for mark in marks
    )
    return (
        f'{lines}<rect x="{MARGIN}" y="{panel.top}" width="{WIDTH - MARGIN - RIGHT}" height="{panel.height}" '
        f'fill="none" stroke="{FAINT}"/>'
        f'<text x="{WIDTH - RIGHT}" y="{panel.top - 6}" text-anchor="end" fill="#667">{label}</text>'
    )


def _seconds(duration: float, base: float, panel: _TimePanel) -> str:
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800) if duration / step <= 16)
    return "".join(
        f'<text x="{panel.x(mark)}" y="{base + 18}" text-anchor="middle">{mark // 60}:{mark % 60:02}</text>'
        for mark in range(0, int(duration) + 1, step)
    )

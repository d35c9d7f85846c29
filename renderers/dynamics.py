"""Written dynamics as levels over score time, and levels as MIDI velocities.

A level numbers the dynamic marks: ppp is 0, pp 1, p 2, mp 3, mf 4, f 5, ff 6, fff 7; hairpins pass through
fractions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from score_to_audio.types import Direction, ParsedScore

Floats = NDArray[np.float64]

LEVELS = {
    "pppppp": -3.0, "ppppp": -2.0, "pppp": -1.0, "ppp": 0.0, "pp": 1.0, "p": 2.0, "mp": 3.0,
    "mf": 4.0, "f": 5.0, "ff": 6.0, "fff": 7.0, "ffff": 8.0, "fffff": 9.0, "ffffff": 10.0, "n": -3.0,
}  # fmt: skip
"""Dynamic mark -> level."""

SOFTEST, LOUDEST = 16.0, 126.0
"""MIDI velocity of ppp and of fff. Linear between them, which matches the table of MuseScore (ppp 16, pp 33,
p 49, mp 64, mf 80, f 96, ff 112, fff 126) to within 1.8."""

HAIRPIN_STEP = 1.0
"""Levels by which a hairpin without a target mark rises or falls (MuseScore: one dynamic step)."""

FURTHEST_DRIFT = 2.0
"""Levels by which hairpins without targets may depart from the last written mark."""

TARGET_WITHIN = 2.0
"""Quarter notes after the end of a hairpin within which a mark is its target."""

SAME_PLACE = 0.5
"""Quarter notes within which marks of two staves count as simultaneous."""

ACCENTS = {"accent": 0.6, "strong-accent": 0.8}
"""Mark of a note -> levels added to it. In ASAP's training split accented notes are 4.8 (2930 notes) and
6.8 (364) velocities louder than the unmarked notes around them, where one level is 8 velocities."""

IMPULSES = ((r"sff|ffz", 2.0), (r"^m?sf", 1.2), (r"^f+z", 1.0), (r"^r", 1.0))
"""Impulse -> levels added to one onset, by the same measure: sf and sfz 9.8 velocities (2535 notes), fz 6.5
(296), rf and rfz 8 (114); sffz as one step more."""


@dataclass(frozen=True)
class LevelCurve:
    """A level over score time in K >= 1 linear pieces."""

    onset: Floats
    """[K] quarter notes, increasing; the first piece extends backwards without limit."""
    start: Floats
    """[K] level at the onset of the piece."""
    slope: Floats
    """[K] levels per quarter note."""

    def at(self, quarters: ArrayLike) -> Floats:
        """Levels at score positions (any shape); at a jump the level after it."""
        x = np.asarray(quarters, np.float64)
        piece = np.maximum(np.searchsorted(self.onset, x + 1e-6, side="right") - 1, 0)
        return np.asarray(self.start[piece] + np.maximum(x - self.onset[piece], 0.0) * self.slope[piece])


def note_levels(score: ParsedScore, default: str = "mf") -> Floats:
    """[N] level of every note: the curve of its staff plus accents and impulses."""
    notes = score.notes
    levels = np.empty(len(notes))
    for (part, staff), curve in level_curves(score, default).items():
        here = (notes.part == part) & (notes.staff == staff)
        levels[here] = curve.at(notes.onset[here])
    return levels + accents(score)


def velocities(levels: Floats, *, softest: float = SOFTEST, loudest: float = LOUDEST) -> Floats:
    """MIDI velocities of levels, not rounded; ``softest`` and ``loudest`` are those of ppp and fff."""
    return softest + (loudest - softest) * levels / LEVELS["fff"]


def level_curves(score: ParsedScore, default: str = "mf") -> dict[tuple[int, int], LevelCurve]:
    """(part, staff) -> level curve, for every staff that has notes. ``default`` applies until the first mark.

    A mark applies to all staves of its part, because piano dynamics stand between the staves and files assign
    them to either; a staff with a mark of its own at the same place keeps that.
    """
    staves = sorted(set(zip(score.notes.part.tolist(), score.notes.staff.tolist(), strict=True)))
    marks = [d for d in score.directions if _is_dynamic(d)]
    return {
        (part, staff): level_curve(_of_staff(marks, part, staff), LEVELS[default]) for part, staff in staves
    }


def level_curve(marks: Sequence[Direction], default: float) -> LevelCurve:
    """The level curve of "dynamic", "impulse" (fp, sfp) and "hairpin" directions.

    A hairpin ends at the first mark within or just after it, which is its target if it lies in the right
    direction; else the hairpin changes the level by ``HAIRPIN_STEP`` and the mark is a sudden change.
    """
    pieces = [(-np.inf, default, 0.0)]
    written = level = default
    steady = sorted((mark for mark in marks if mark.kind != "hairpin"), key=lambda mark: mark.onset)
    places = [mark.onset for mark in steady]
    events = sorted(marks, key=lambda mark: (mark.onset, mark.kind == "hairpin"))
    onsets = [*(mark.onset for mark in events), np.inf]
    for mark in events:
        if mark.kind != "hairpin":
            written = level = _level_after(mark)
            pieces.append((mark.onset, level, 0.0))
            continue
        stop = min(mark.end, onsets[bisect_right(onsets, mark.onset)])
        if stop <= mark.onset:
            continue
        nearby = bisect_right(places, mark.onset)
        marked = None
        if nearby < len(steady) and steady[nearby].onset <= stop + TARGET_WITHIN:
            marked = _level_before(steady[nearby])
        target = _hairpin_target(level, written, marked, up=mark.text.lower().startswith("c"))
        pieces.append((mark.onset, level, (target - level) / (stop - mark.onset)))
        pieces.append((stop, target, 0.0))
        level = target
    onset, start, slope = (np.array(column, np.float64) for column in zip(*pieces, strict=True))
    onset[0] = min(0.0, float(onset[1:].min(initial=0.0)))
    return LevelCurve(onset, start, slope)


def accents(score: ParsedScore) -> Floats:
    """[N] levels that accents, sforzati and the attack of fp add to the notes."""
    added = np.array(
        [
            max((ACCENTS[mark] for mark in marks if mark in ACCENTS), default=0.0)
            for marks in score.notes.marks
        ]
    ).reshape(-1)
    for direction in score.directions:
        if direction.kind == "impulse":
            struck = _struck_by(direction, score)
            added[struck] = np.maximum(added[struck], impulse(direction.text))
    return added


def impulse(text: str) -> float:
    """Levels by which "sfz", "fp", "rf" ... raise their onset above the surrounding level.

    fp and sfp set the level after them to p; they raise their onset from there to their forte.
    """
    text = text.lower().strip()
    attack, after = re.match(r"s?(f+)z?(p+)$", text), re.search(r"p+$", text)
    if attack and after:
        return LEVELS[attack.group(1)] - LEVELS[after.group()]
    return next((levels for expression, levels in IMPULSES if re.search(expression, text)), 1.0)


def _is_dynamic(direction: Direction) -> bool:
    if not np.isfinite([direction.onset, direction.end]).all():
        return False
    if direction.kind == "impulse":
        return bool(re.match(r"s?f+z?p+$", direction.text.lower().strip()))
    return direction.kind == "hairpin" or (direction.kind == "dynamic" and direction.text.strip() in LEVELS)


def _of_staff(marks: Sequence[Direction], part: int, staff: int) -> list[Direction]:
    """Marks that apply to a staff: its own, its part's, and those of other staves where it has none."""
    in_part = [mark for mark in marks if mark.part in (None, part)]
    own = [mark for mark in in_part if mark.staff in (None, staff)]
    places = np.array([mark.onset for mark in own])
    return [
        mark
        for mark in in_part
        if mark.staff in (None, staff) or not len(places) or np.abs(places - mark.onset).min() > SAME_PLACE
    ]


def _level_before(mark: Direction) -> float:
    """Level at the end of a hairpin that leads to the mark: for fp that of its attack."""
    return _level_after(mark) + (impulse(mark.text) if mark.kind == "impulse" else 0.0)


def _level_after(mark: Direction) -> float:
    text = mark.text.strip()
    if mark.kind == "impulse":
        softer = re.search(r"p+$", text.lower())
        return LEVELS[softer.group()] if softer else LEVELS["p"]
    return LEVELS[text]


def _hairpin_target(level: float, written: float, marked: float | None, *, up: bool) -> float:
    if marked is not None and (marked > level if up else marked < level):
        return marked
    stepped = level + HAIRPIN_STEP if up else level - HAIRPIN_STEP
    lowest, highest = (
        max(written - FURTHEST_DRIFT, LEVELS["ppp"]),
        min(written + FURTHEST_DRIFT, LEVELS["fff"]),
    )
    bounded = float(np.clip(stepped, lowest, highest))
    return max(bounded, level) if up else min(bounded, level)


def _struck_by(direction: Direction, score: ParsedScore) -> NDArray[np.int64]:
    """Indices of the notes at the onset of an impulse: on its staff, otherwise in its part."""
    notes = score.notes
    first, last = np.searchsorted(notes.onset, [direction.onset - 1e-6, direction.onset + 1e-6])
    struck = np.arange(first, last)
    if direction.part is not None:
        struck = struck[notes.part[struck] == direction.part]
    on_staff = struck[notes.staff[struck] == direction.staff]
    return on_staff if len(on_staff) else struck

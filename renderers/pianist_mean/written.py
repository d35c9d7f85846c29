"""What the score writes about tempo, dynamics and pedal, as columns."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from renderers import dynamics as levels_of
from renderers import tempo
from renderers.pianist_mean.texture import SAME, Floats
from renderers.tempo import TimeMap
from score_to_audio.types import Direction, ParsedScore

LEVELS = {
    **{"pppp": -3.0, "ppp": -2.5, "pp": -2.0, "p": -1.0, "mp": -0.4, "mf": 0.4, "f": 1.0, "ff": 2.0},
    **{"fff": 2.5, "ffff": 3.0},
}
UNENDED = 4.0
"""Quarter notes for which a word without an end counts."""

SLOWING = re.compile(
    r"\brit|\brall|\ballarg|\bsmorz|\bmorendo|\bcalando|\btard|\bralent|\bc[eé]d|\blangsam|\bslent|\bten"
)
SOFTENING = re.compile(r"\bdolce|\bsotto|\bpianiss|\bcalando|\bsmorz|\bmorendo|\bperdend|\bdolciss|\bleggi")
STRONG = re.compile(r"\bmarc|\bforte|\bcon fuoco|\bcon forza|\bpesante|\bsempre f|\brinf")


def times(score: ParsedScore) -> TimeMap:
    """The score's tempo marks as a time map."""
    return tempo.time_map(score)


def dynamics(score: ParsedScore) -> Mapping[str, Floats]:
    """[N] columns: level, hairpins, accents."""
    onset = score.notes.onset
    marks = [mark for mark in score.directions if mark.kind == "dynamic" and mark.text in LEVELS]
    places = np.array([mark.onset for mark in marks])
    values = np.array([LEVELS[mark.text] for mark in marks])
    at = np.searchsorted(places, onset + SAME, side="right") - 1
    known = at >= 0
    level = np.where(known, np.r_[values, 0.0][at], 0.0)
    since = np.where(known, onset - np.r_[places, 0.0][at], 32.0).clip(0, 32)
    ahead = at + 1 < len(marks)
    coming = np.where(ahead, np.r_[values, 0.0][np.minimum(at + 1, len(marks))] - level, 0.0)
    until = np.where(ahead, np.r_[places, 0.0][np.minimum(at + 1, len(marks))] - onset, 32.0).clip(0, 32)
    columns = {
        "known": known * 1.0,
        "level": level,
        "of_piece": level - level.mean(),
        "recent": np.exp(-since / 2),
        "coming": coming * np.exp(-until / 4),
        "accent": levels_of.accents(score),
    }
    for name, start in (("crescendo", "c"), ("diminuendo", "d")):
        hairpins = [
            mark
            for mark in score.directions
            if mark.kind == "hairpin" and mark.text.lower().startswith(start)
        ]
        columns[f"in_{name}"], columns[f"after_{name}"] = _spans(hairpins, onset)
    columns["hairpins"] = (columns["after_crescendo"] - columns["after_diminuendo"]).clip(-2, 2)
    words = [mark for mark in score.directions if mark.kind in ("words", "tempo", "tempo-change", "dynamic")]
    for name, pattern in (("soft_words", SOFTENING), ("strong_words", STRONG)):
        columns[name] = _decaying(
            [mark.onset for mark in words if pattern.search(mark.text.lower())], onset, 8.0
        )
    return columns


def tempo_changes(score: ParsedScore, beats: Floats) -> Mapping[str, Floats]:
    """[B] columns: gradual changes, new tempos, fermatas."""
    middle = (beats[1:] + beats[:-1]) / 2
    changes = [mark for mark in score.directions if mark.kind == "tempo-change"]
    words = [mark for mark in score.directions if mark.kind in ("words", "tempo", "dynamic")]
    slowing = [mark for mark in (*changes, *words) if SLOWING.search(mark.text.lower())]
    quickening = [mark for mark in changes if tempo.change_factor(mark.text) > 1]
    columns: dict[str, Floats] = {}
    columns["slowing"], columns["slowed"] = _spans(slowing, middle)
    columns["quickening"], columns["quickened"] = _spans(quickening, middle)
    resets = [mark.onset for mark in score.directions if mark.kind in ("tempo-reset", "tempo")]
    columns["reset"] = _decaying(resets, middle, 2.0)
    ahead = np.searchsorted(np.sort(resets), middle, side="right")
    coming = np.r_[np.sort(resets), np.inf][ahead]
    columns["reset_coming"] = np.exp(-(coming - middle) / 2)
    notes = score.notes
    held = [
        (float(notes.onset[i]), float(notes.onset[i] + max(notes.duration[i], 0.25)))
        for i, marks in enumerate(notes.marks)
        if "fermata" in marks
    ]
    held += [
        (mark.onset, max(mark.end, mark.onset + 0.25)) for mark in score.directions if mark.kind == "fermata"
    ]
    fermata = np.zeros(len(middle))
    for start, end in held:
        fermata[(beats[1:] > start + SAME) & (beats[:-1] < end - SAME)] = 1.0
    columns["fermata"] = fermata
    columns["fermata_coming"] = np.r_[fermata[1:], 0.0]
    columns["fermata_before"] = np.r_[0.0, fermata[:-1]]
    return columns


def pedal(score: ParsedScore, places: Floats) -> Floats:
    """[P] 1 where a written sustain pedal covers the middle of a place."""
    middle = (places[1:] + places[:-1]) / 2
    down = np.zeros(len(middle))
    for mark in score.directions:
        if mark.kind == "pedal" and mark.text == "sustain":
            down[np.searchsorted(middle, mark.onset) : np.searchsorted(middle, mark.end)] = 1.0
    return down


def _spans(marks: list[Direction], onset: Floats) -> tuple[Floats, Floats]:
    """[K] progress 0..1 within a span (0 outside), and the number of spans passed, fading away."""
    inside, passed = np.zeros(len(onset)), np.zeros(len(onset))
    for mark in marks:
        end = mark.end if mark.end > mark.onset else mark.onset + UNENDED
        share = (onset - mark.onset) / (end - mark.onset)
        here = (share >= -SAME) & (share <= 1 + SAME)
        inside = np.where(here, np.maximum(inside, 0.25 + 0.75 * share), inside)
        passed += np.where(share > 0, np.minimum(share, 1.0) * np.exp(-np.maximum(onset - end, 0) / 4), 0.0)
    return inside, passed


def _decaying(places: list[float], onset: Floats, length: float) -> Floats:
    """[K] exp(-distance / length) from the last place; 0 before the first."""
    last = np.searchsorted(np.sort(places), onset + SAME, side="right") - 1
    since = onset - np.r_[np.sort(places), -np.inf][last]
    return np.where(last >= 0, np.exp(-since / length), 0.0)

"""Expressive attributes of a performance over its score, and their agreement between performances.

The attributes are those of partitura's performance codec and of the literature (Cancino-Chacón et al.,
"Computational models of expressive music performance", Frontiers in Digital Humanities 5, 2018): velocity,
beat period, articulation and pedal. Agreement is Pearson's correlation, within a piece, of a performance with
the mean of several human ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderers.meter import beats
from renderers.voices import is_grace, voice_numbers
from score_to_audio.types import SUSTAIN, ParsedScore, Performance

Floats = NDArray[np.float64]

PEDAL_PLACES = 8
"""Points per beat at which the pedal is read."""

NEIGHBOURHOOD = 4
"""Chords of the voice before and after a note that count as its neighbours."""

LOCAL_BEATS = 4
"""Beats before and after a beat that count as local."""

FEWEST = 5
"""Values that a correlation needs at least; with fewer it is nan."""


@dataclass(frozen=True)
class Grid:
    """What ``measure`` needs of a score; made once per score."""

    index: Mapping[str, int]
    """Id of a score note -> its place among the N notes."""
    onset: Floats
    """[N] quarter notes."""
    duration: Floats
    """[N] quarter notes."""
    plain: NDArray[np.bool_]
    """[N] True for notes whose onsets define the beat: no grace notes, arpeggios or ornaments."""
    chord: NDArray[np.int64]
    """[N] index of the chord (notes of one voice and onset), sorted by (voice, onset)."""
    chord_voice: NDArray[np.int64]
    """[K] voice number of each chord."""
    beats: Floats
    """[B + 1] quarter notes; the last one ends the score."""


@dataclass(frozen=True)
class Expression:
    """The expressive attributes of a performance; nan where unknown, as for notes that were not played."""

    velocity: Floats
    """[N] MIDI velocity of each score note."""
    relative_velocity: Floats
    """[N] velocity minus the mean of its neighbours in the voice."""
    beat_period: Floats
    """[B] log2 of seconds per quarter note."""
    local_beat_period: Floats
    """[B] the same minus its mean over the local beats."""
    articulation: Floats
    """[N] log2 of the played to the notated length."""
    pedal: Floats
    """[B, ``PEDAL_PLACES``] sustain pedal, 0..1."""
    pedal_within_beat: Floats
    """[B, ``PEDAL_PLACES``] the same minus its mean over the beat."""


MEASURES = tuple(Expression.__dataclass_fields__)
"""Names of the attributes, in the order of the tables."""


_ORNAMENTS = frozenset(
    {
        "trill-mark", "mordent", "inverted-mordent", "turn", "inverted-turn", "delayed-turn", "wavy-line",
        "tremolo-1", "tremolo-2", "tremolo-3", "tremolo-4", "arpeggiate", "arpeggiate-down",
    }
)  # fmt: skip


def grid(score: ParsedScore) -> Grid:
    """Prepare a score for ``measure``."""
    notes = score.notes
    grace = is_grace(notes)
    ornamented = np.array([bool(marks & _ORNAMENTS) for marks in notes.marks], dtype=bool)
    # A grace note is a chord of its own: it has the onset of its main note.
    key = np.stack([voice_numbers(notes), notes.onset, ~grace], axis=1).reshape(-1, 3)
    chords, chord = np.unique(key, axis=0, return_inverse=True)
    return Grid(
        index={note_id: i for i, note_id in enumerate(notes.id)},
        onset=notes.onset,
        duration=notes.duration,
        plain=~grace & ~ornamented,
        chord=np.asarray(chord, np.int64).reshape(-1),
        chord_voice=chords[:, 0].astype(np.int64),
        beats=beats(score),
    )


def measure(score: Grid, performance: Performance) -> Expression:
    """The attributes of a performance. Raises ``ValueError`` without ``score_ids``.

    - velocity: of the note (of an ornament's first note).
    - relative velocity: minus the mean of the mean velocities of ``NEIGHBOURHOOD`` chords on either side in
      the voice.
    - beat period: beat times are interpolated between the performed onsets (median of the notes struck
      together; partitura's codec takes the mean); onsets out of order are left out, as few as possible. log2,
      since tempo is perceived in proportions.
    - local beat period: minus the mean over the beat and ``LOCAL_BEATS`` beats on either side.
    - articulation: log2(key-down time / (notated duration x seconds per quarter at the onset)), as
      ``articulation_log`` of partitura's ``encode_performance``. Grace notes have none.
    - pedal: CC64 / 127 at ``PEDAL_PLACES`` equidistant points of each beat; within the beat: minus its mean
      over the beat, which shows when the pedal moves, not how much it is used.
    """
    played = _by_score_note(score, performance)
    quarters, seconds = _performed_onsets(score, played)
    if len(quarters) < 2:
        raise ValueError("a performance needs two score onsets at least to have a tempo")
    beat_times = _line(score.beats, quarters, seconds)
    covered = (score.beats[:-1] >= quarters[0] - 1e-9) & (score.beats[1:] <= quarters[-1] + 1e-9)
    period = np.where(covered, np.diff(beat_times) / np.diff(score.beats), np.nan)
    beat_period = np.log2(period)
    pedal = np.where(covered[:, None], _pedal(performance, beat_times), np.nan)
    velocity = played[:, 2]
    return Expression(
        velocity=velocity,
        relative_velocity=velocity - _around(score, velocity),
        beat_period=beat_period,
        local_beat_period=beat_period - moving_mean(beat_period, LOCAL_BEATS),
        articulation=_articulation(score, played, quarters, seconds),
        pedal=pedal,
        pedal_within_beat=pedal - pedal.mean(axis=1, keepdims=True),
    )


def performed_onsets(score: Grid, performance: Performance) -> tuple[Floats, Floats]:
    """Score onsets (quarters) and when they were played (seconds), both strictly increasing, possibly empty.

    Raises ``ValueError`` for a performance without ``score_ids``.
    """
    return _performed_onsets(score, _by_score_note(score, performance))


def mean_expression(expressions: Sequence[Expression]) -> Expression:
    """Mean over performances, value by value; nan where none has one."""
    return _combined(expressions, _nanmean)


def spread(expressions: Sequence[Expression]) -> Expression:
    """Standard deviation over performances, value by value."""
    return _combined(expressions, lambda stack: np.sqrt(_nanmean((stack - _nanmean(stack)) ** 2)))


def agreement(one: Expression, other: Expression) -> dict[str, float]:
    """Pearson's correlation of every attribute, over the values that both have."""
    return {name: correlation(getattr(one, name), getattr(other, name)) for name in MEASURES}


def ceiling(humans: Sequence[Expression]) -> dict[str, float]:
    """The mean over humans of each one's agreement with the mean of the others; nan for fewer than two."""
    if len(humans) < 2:
        return dict.fromkeys(MEASURES, float("nan"))
    each = [
        agreement(human, mean_expression([*humans[:i], *humans[i + 1 :]])) for i, human in enumerate(humans)
    ]
    return {name: nan_average([one[name] for one in each]) for name in MEASURES}


def relative_spread(one: Expression, humans: Sequence[Expression]) -> dict[str, float]:
    """Standard deviation relative to the mean standard deviation of the humans; nan where no human varies."""
    ratios = {}
    for name in MEASURES:
        human = nan_average([_std(getattr(one_of_them, name)) for one_of_them in humans])
        ratios[name] = _std(getattr(one, name)) / human if human > 0 else float("nan")
    return ratios


def distribution_distance(one: Expression, humans: Sequence[Expression]) -> dict[str, float]:
    """The distance of an attribute's distribution from that of all humans together.

    1-Wasserstein distance (Villani, "Optimal Transport", 2009, chapter 6) in standard deviations of the
    humans' values: 0 is the same distribution, wherever in the piece the values occur. nan where humans do
    not vary or either has fewer than ``FEWEST`` values.
    """
    from scipy.stats import wasserstein_distance

    distances = {}
    for name in MEASURES:
        mine = _finite(getattr(one, name))
        theirs = np.concatenate([_finite(getattr(human, name)) for human in humans])
        enough = min(len(mine), len(theirs)) >= FEWEST and theirs.std() > 1e-9
        distances[name] = float(wasserstein_distance(mine, theirs) / theirs.std()) if enough else float("nan")
    return distances


def share_within(one: Expression, humans: Sequence[Expression]) -> dict[str, float]:
    """The share of values between the least and the greatest of the humans' at the same place.

    A further human who plays like n others reaches (n - 1) / (n + 1) on average. nan for fewer than two
    humans, or where nothing can be compared.
    """
    shares = {}
    for name in MEASURES:
        mine = getattr(one, name)
        theirs = np.stack([getattr(human, name) for human in humans])
        known = np.isfinite(mine) & (np.isfinite(theirs).sum(axis=0) >= 2)
        low = np.where(np.isfinite(theirs), theirs, np.inf).min(axis=0)
        high = np.where(np.isfinite(theirs), theirs, -np.inf).max(axis=0)
        inside = (mine[known] >= low[known]) & (mine[known] <= high[known])
        shares[name] = float(inside.mean()) if known.any() else float("nan")
    return shares


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's r of the entries that are finite in both; 0 where one is constant, since it then predicts
    nothing; nan for fewer than ``FEWEST`` entries."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < FEWEST:
        return float("nan")
    x, y = a[both] - a[both].mean(), b[both] - b[both].mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 1e-9 else 0.0


def nan_average(values: Sequence[float]) -> float:
    """The mean of the values that are not nan; nan where all are."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


# ------------------------------------------------------------------------------------------ attributes


def _by_score_note(score: Grid, performance: Performance) -> Floats:
    """[N, 3] onset, offset, velocity of each score note; nan where it was not played.

    Of several notes for one (an ornament), the first onset, its velocity, and the last offset.
    """
    if performance.score_ids is None:
        raise ValueError("the performance does not say which score note is behind each of its notes")
    place = np.array([score.index.get(name, -1) for name in performance.score_ids], np.int64)
    known = np.flatnonzero(place >= 0)[::-1]
    played = np.full((len(score.onset), 3), np.nan)
    # Assigned from last to first, so the first note of an ornament wins.
    played[place[known], 0] = performance.onset[known]
    played[place[known], 2] = performance.velocity[known]
    last = np.full(len(score.onset), -np.inf)
    np.maximum.at(last, place[known], performance.offset[known])
    played[:, 1] = np.where(np.isfinite(last), last, np.nan)
    return played


def _performed_onsets(score: Grid, played: Floats) -> tuple[Floats, Floats]:
    """Score onsets (quarters) and when they were played (seconds), both strictly increasing."""
    usable = score.plain & np.isfinite(played[:, 0])
    order = np.lexsort((played[usable, 0], score.onset[usable]))
    quarters, seconds = score.onset[usable][order], played[usable, 0][order]
    first = np.flatnonzero(np.r_[True, np.diff(quarters) > 1e-9]) if len(quarters) else np.zeros(0, np.int64)
    after = np.r_[first[1:], len(quarters)]
    # The median, since a wrong note in one hand must not move the beat.
    median = (seconds[(first + after - 1) // 2] + seconds[(first + after) // 2]) / 2
    kept = _longest_increasing(median)
    return quarters[first][kept], median[kept]


def _longest_increasing(values: Floats) -> NDArray[np.int64]:
    """Indices of a longest strictly increasing subsequence (patience sorting)."""
    tails: list[float] = []
    tail_index: list[int] = []
    previous = np.full(len(values), -1, np.int64)
    for i, value in enumerate(values.tolist()):
        pile = bisect_left(tails, value)
        previous[i] = tail_index[pile - 1] if pile else -1
        tails[pile : pile + 1] = [value]
        tail_index[pile : pile + 1] = [i]
    kept = []
    i = tail_index[-1] if tail_index else -1
    while i >= 0:
        kept.append(i)
        i = int(previous[i])
    return np.array(kept[::-1], np.int64)


def _line(x: Floats, knots: Floats, values: Floats) -> Floats:
    """Linear interpolation, extended beyond the ends by the first and the last piece."""
    piece = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    slope = np.diff(values) / np.diff(knots)
    return np.asarray(values[piece] + (x - knots[piece]) * slope[piece])


def _articulation(score: Grid, played: Floats, quarters: Floats, seconds: Floats) -> Floats:
    piece = np.clip(np.searchsorted(quarters, score.onset + 1e-9, side="right") - 1, 0, len(quarters) - 2)
    period = (np.diff(seconds) / np.diff(quarters))[piece]
    notated = score.duration * period
    held = played[:, 1] - played[:, 0]
    known = np.isfinite(held) & (held > 0) & (notated > 0)
    return np.log2(np.where(known, held, np.nan) / np.where(known, notated, 1.0))


def _around(score: Grid, velocity: Floats) -> Floats:
    """[N] mean over the chords before and after in the same voice; nan where the voice has none."""
    known = np.isfinite(velocity)
    count = np.bincount(score.chord[known], minlength=len(score.chord_voice))
    total = np.bincount(score.chord[known], weights=velocity[known], minlength=len(score.chord_voice))
    chord = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    near = []
    for step in range(1, NEIGHBOURHOOD + 1):
        for shift in (step, -step):
            moved, voice = np.roll(chord, shift), np.roll(score.chord_voice, shift)
            edge = slice(0, shift) if shift > 0 else slice(shift, None)
            moved = np.where(voice == score.chord_voice, moved, np.nan)
            moved[edge] = np.nan
            near.append(moved)
    return np.asarray(_nanmean(np.stack(near)))[score.chord]


def moving_mean(values: Floats, reach: int) -> Floats:
    """[B] mean over ``reach`` values on either side and the value itself, nan left out."""
    known = np.isfinite(values)
    kernel = np.ones(2 * reach + 1)
    # "full" and cut to size: "same" would give the kernel's length for short pieces.
    cut = slice(reach, reach + len(values))
    total = np.convolve(np.where(known, values, 0.0), kernel)[cut]
    count = np.convolve(known.astype(np.float64), kernel)[cut]
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def _pedal(performance: Performance, beat_times: Floats) -> Floats:
    """[B, ``PEDAL_PLACES``] sustain pedal, 0..1, at places spread evenly over each beat."""
    controls = performance.controls
    sustain = controls.number == SUSTAIN
    time, value = controls.time[sustain], controls.value[sustain] / 127.0
    share = (np.arange(PEDAL_PLACES) + 0.5) / PEDAL_PLACES
    places = beat_times[:-1, None] + np.diff(beat_times)[:, None] * share
    held = np.searchsorted(time, places, side="right")
    return np.r_[0.0, value][held]


def _combined(expressions: Sequence[Expression], how: Callable[[Floats], Floats]) -> Expression:
    return Expression(
        **{name: how(np.stack([getattr(one, name) for one in expressions])) for name in MEASURES}
    )


def _nanmean(stack: Floats) -> Floats:
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    total = np.where(known, stack, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _std(values: Floats) -> float:
    known = _finite(values)
    return float(known.std()) if len(known) else float("nan")

"""Written tempo as a map from score time (quarter notes) to performed time (seconds).

Tempo marks, gradual changes, fermatas and caesuras become a piecewise linear, strictly increasing
``TimeMap``. Expressive renderers change it with ``TimeMap.scaled``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renderers.meter import signature_at
from score_to_audio.types import Direction, ParsedScore, ScoreNotes, TimeSignature

Floats = NDArray[np.float64]

DEFAULT_TEMPO = 100.0
"""Quarter notes per minute of scores without a tempo. The geometric mean over the 188 scores of ASAP's
training split (Foscarin et al., ISMIR 2020) of the pianists' median tempo is 103."""

SLOWEST, FASTEST = 10.0, 1000.0
"""Quarter notes per minute; written values beyond are errors or attacks and are limited."""

TEMPO_WORDS: tuple[tuple[str, float], ...] = (
    (r"larghissimo", 30),
    (r"larghetto", 52),
    (r"largo|large\b", 38),
    (r"grave\b", 30),
    (r"adagietto", 50),
    (r"adagio|adagissimo", 38),
    (r"lent(?:o|issimo|amente|ement)?\b|langsam|slow", 46),
    (r"andantino", 54),
    (r"andante", 48),
    (r"moderato|mod[eé]r[eé]|m[aä](?:ß|ss)ig", 80),
    (r"maestoso", 66),
    (r"allegretto", 112),
    (r"allegro", 134),
    (r"anim[eé]|bewegt", 116),
    (r"lebhaft|rasch|schnell|geschwind|vif\b|lively|fast", 138),
    (r"vivacissimo|vivacissimamente", 160),
    (r"vivace|vivo\b", 130),
    (r"prestissimo", 220),
    (r"presto", 200),
)
"""Word -> quarter notes per minute, in meters whose lower number is 4 or more.

Fitted to the pianists' tempo over the first 32 beats of the scores in ASAP's training split that begin with
the word (34 x allegro, 15 adagio, 12 presto, 12 vivace, 11 andante, 8 allegretto, 6 lento, 5 largo); rarer
words are placed in their traditional order. With modifiers the table misses the pianists by a factor of 1.33
(mean of the absolute log); one tempo of 100 misses by 1.75. The ranges on metronomes (Adagio 66-76, Andante
76-108) are half as fast again for slow words. """

ALLA_BREVE = 1.4
"""Factor of a word's tempo where the lower number is 1 or 2 (training split: 1.37 allegro, 1.45 presto)."""

EMPHASIS = 1.15
"""Factor of "molto" or "assai" on a tempo word, away from ``DEFAULT_TEMPO``; reversed by "non troppo"."""
_MORE = re.compile(r"\bmolto|\bassai|\bsehr\b|\btr[eè]s\b|con brio|con fuoco|äußerst")
_LESS = re.compile(r"non troppo|non tanto|\bpoco\b|\bquasi\b|\betwas\b|un peu|nicht zu|\bassez\b")

COMPARATIVES: tuple[tuple[str, float], ...] = (
    (r"doppio movimento|doppelt so schnell", 2.0),
    (r"istesso|stesso|m[eê]me mouv", 1.0),
    (r"meno|moins", 0.8),
    (r"(?:pi[uùú]|plus) (?:\w+ )?(?:lent|adagio|larg|tranquillo|moderato|sostenuto|calm)", 0.8),
    (r"langsamer|ruhiger|slower", 0.8),
    (r"pi[uùú]|plus|schneller|bewegter|lebhafter|rascher|faster", 1.25),
)
"""Tempo relative to the tempo before. "poco" takes the square root of the factor."""

MOODS: tuple[tuple[str, float], ...] = (
    (r"animato|agitato|con moto|mosso", 1.15),
    (r"tranquill|ruhig|calm|largamente|sostenuto|pesante", 0.85),
)
"""Words that change the tempo before where they stand alone; beside a tempo word they change nothing."""

GRADUAL_CHANGES: tuple[tuple[str, float], ...] = (
    (r"\briten|\breten|\bc[eé]d", 0.85),
    (r"\bmorendo|\bsmorz|\bcalando|\bperdend|\bmancando", 0.8),
    (r"\bmeno|\bmoins|\bsosten", 0.8),
    (r"\bstring|\bstrett|\bprecipit", 1.15),
    (r"\baccel|\baffrett|\bpress|\banim|\bserr|\bschneller|\beilen|\bbeschleun|\blebhafter|\bbewegter", 1.33),
    (r"\bmosso|\ballegro|\bpresto|\bvite|\bagitato", 1.33),
    (r"\brit|\brall|\ballent|\blent|\bslent|\ballarg|\btard|\bralent|[eé]largi|\blargo", 0.65),
    (r"\blangsamer|\bzurück|\bzöger|\bnachlass|\bverbreit|\bruhiger", 0.65),
)
"""Word -> tempo at the end of a gradual change relative to the tempo before; the first match counts. "poco"
takes the square root, "molto" the power 1.5 of the factor.

A compromise between the pianists of ASAP's training split (median over the last half, at most two quarters,
of each change) and the defaults of MuseScore 4: ritardando 0.60 in 216 performed changes and 0.75,
rallentando 0.39 (29, few pieces) and 0.75, ritenuto 0.88 (93), smorzando and calando 0.87 (64) and 0.5,
accelerando 1.55 (26) and 1.33, stringendo and stretto 1.02 (58) and 1.5. """

_IMMEDIATE = re.compile(r"\briten|\breten|\bc[eé]d")
"""Ritenuto acts at once: in the training split its first notes are as slow as its last ones (0.86)."""

_MOMENTARY = re.compile(r"\W*(?:ten\b|tenuto|lung[ao]\b|long\b)")

LARGEST_CHANGE = 2.5
"""Largest factor between a gradual change and the last tempo mark."""

CURVATURE = 3.0
"""q of v(x) = (1 + (w^q - 1) x)^(1/q), tempo over score position: q = 2 is constant deceleration, as of a
runner; listeners prefer q = 3 (Friberg & Sundberg 1999, JASA 105(3))."""

CHANGE_KNOTS = 32
"""Linear pieces per gradual change; each knot lies exactly on the curve."""

UNENDED_CHANGE = 4.0
"""Length in quarter notes of a gradual change without a written end."""

HELD_FOR = 8.0
"""Quarter notes for which the tempo reached by a gradual change is held if an "a tempo" or new tempo follows.
Otherwise the old tempo returns at the end of the change: most scores omit the "a tempo", and pianists return
(median tempo after such a ritardando in the training split: 0.98 of the tempo before)."""

CONTINUED_WITHIN = 1.0
"""Largest gap in quarter notes between two gradual changes of which the second continues the first."""

FERMATA_SECONDS, FERMATA_STRETCH = 1.3, 4.0
"""A fermata adds ``FERMATA_SECONDS`` to its note, which becomes at most ``FERMATA_STRETCH`` times as long.

Medians of 400 performed fermatas in ASAP's training split: 1.3 s are added to notes of 0.5 to 4 s, shorter
notes become 3.6 times as long. A note of a slow beat thus lasts about twice its value and a quick one four
times, as in Türk (Klavierschule, 1789, I.6 §84). """

CAESURA_SECONDS = 1.0
"""Silence at a caesura ("railway tracks"), about a slow beat."""

SEPARATION = 1e-9
"""Smallest distance of the knots of a time map, relative to its extent (at least a quarter note)."""

_POINT = 1 / 64
"""Quarter notes before a barline over which the time of its fermata or caesura is spread."""


@dataclass(frozen=True)
class TimeMap:
    """Score time -> performed time, linear between K >= 2 knots and extended linearly beyond them.

    Raises ``ValueError`` where the knots do not increase strictly.
    """

    quarters: Floats
    """[K] quarter notes from the start, strictly increasing."""
    seconds: Floats
    """[K] seconds from the start, strictly increasing."""

    def __post_init__(self) -> None:
        if self.quarters.shape != self.seconds.shape or self.quarters.ndim != 1 or len(self.quarters) < 2:
            raise ValueError("a time map needs two columns of equal length, two knots at least")
        if not (np.diff(self.quarters) > 0).all() or not (np.diff(self.seconds) > 0).all():
            raise ValueError("the knots of a time map must increase strictly")

    def to_seconds(self, quarters: ArrayLike) -> Floats:
        """Performed time of score positions (any shape)."""
        x = np.asarray(quarters, np.float64)
        piece = self._piece(x)
        slope = np.diff(self.seconds) / np.diff(self.quarters)
        return np.asarray(self.seconds[piece] + (x - self.quarters[piece]) * slope[piece])

    def beat_period(self, quarters: ArrayLike) -> Floats:
        """Seconds per quarter note at score positions (any shape); at a knot, of the piece after it."""
        piece = self._piece(np.asarray(quarters, np.float64))
        return (np.diff(self.seconds) / np.diff(self.quarters))[piece]

    def _piece(self, quarters: Floats) -> NDArray[np.intp]:
        """Index of the linear piece for each position, also beyond the first and the last knot."""
        return np.clip(np.searchsorted(self.quarters, quarters, side="right") - 1, 0, len(self.quarters) - 2)

    def scaled(self, positions: Floats, factors: Floats) -> TimeMap:
        """The map with the time between positions[i] and positions[i + 1] multiplied by factors[i] > 0.

        ``positions``: [P] quarter notes, strictly increasing; ``factors``: [P - 1]. Outside of the
        positions the tempo stays.
        """
        knots = _distinct(np.union1d(self.quarters, positions))
        # One more knot at each end separates the tempo beyond them from a scaled first or last piece.
        knots = np.r_[knots[0] - 1, knots, knots[-1] + 1]
        index = np.searchsorted(positions, knots[:-1], side="right") - 1
        inside = (index >= 0) & (index < len(factors))
        lengths = np.diff(self.to_seconds(knots)) * np.append(factors, 1.0)[np.where(inside, index, -1)]
        start = self.to_seconds(knots[0])
        return TimeMap(knots, start + np.concatenate([[0.0], np.cumsum(lengths)]))


def _distinct(knots: Floats) -> Floats:
    """Sorted knots without those that rounding could make equal in seconds."""
    apart = SEPARATION * max(1.0, float(np.abs(knots[[0, -1]]).max()))
    return knots[np.r_[True, np.diff(knots) > apart]]


def time_map(score: ParsedScore, *, default_tempo: float = DEFAULT_TEMPO, speed: float = 1.0) -> TimeMap:
    """The score as written: tempo marks, gradual changes, fermatas and caesuras.

    ``default_tempo``: quarter notes per minute until the first tempo mark; ``speed`` multiplies every tempo.
    """
    end = score_end(score)
    segments = tempo_segments(score.directions, score.time_signatures, default_tempo)
    plain = _integrate(
        [replace(segment, start=segment.start * speed, stop=segment.stop * speed) for segment in segments],
        end,
    )
    return _with_holds(plain, [*_fermatas(score), *_caesuras(score.notes)])


def score_end(score: ParsedScore) -> float:
    """Quarter notes to the end of the last measure or note; at least 1, as a time map needs an extent."""
    ends = [measure.end for measure in score.measures] + [1.0]
    if len(score.notes):
        ends.append(float((score.notes.onset + score.notes.duration).max()))
    return max(ends)


# ------------------------------------------------------------------------------------------- tempo marks


@dataclass(frozen=True)
class TempoSegment:
    """Tempo from ``onset`` (quarter notes) to the next segment's onset, or to ``end`` if that is sooner.

    ``start`` and ``stop``: quarter notes per minute at the two ends; equal for a steady tempo.
    """

    onset: float
    end: float
    start: float
    stop: float


def tempo_segments(
    directions: Sequence[Direction], time_signatures: Sequence[TimeSignature], default_tempo: float
) -> list[TempoSegment]:
    """The written tempo as steady and gradual segments in order, the first one from 0 on."""
    marks = _tempo_marks(directions)
    base = first = _clip(default_tempo)
    segments = [TempoSegment(0.0, np.inf, base, base)]
    first_marked = False
    for index, mark in enumerate(marks):
        if mark.kind == "tempo" and _MOMENTARY.match(mark.text.lower()):
            segments += _momentary_segments(mark, base)
        elif mark.kind == "tempo":
            base = _clip(tempo_of(mark, base, signature_at(time_signatures, mark.onset)) or base)
            if not first_marked:
                first, first_marked = base, True
            segments.append(TempoSegment(mark.onset, np.inf, base, base))
        elif mark.kind == "tempo-reset":
            base = _reset_tempo(mark, base, first)
            segments.append(TempoSegment(mark.onset, np.inf, base, base))
        else:
            segments += _change_segments(marks[index:], segments[-1], base, time_signatures)
    return [segment for segment in segments if segment.end > segment.onset]


def _reset_tempo(mark: Direction, base: float, first: float) -> float:
    """Tempo of "a tempo" (the last marked one) or "tempo primo" (the first one)."""
    if value := _written_value(mark):
        return _clip(value)
    return first if re.search(r"prim|\bi\b|\b1\b|erste|1er|anfang", mark.text.lower()) else base


def _written_value(mark: Direction) -> float | None:
    """Quarter notes per minute of a metronome mark; None without a positive value."""
    return mark.value if mark.value is not None and mark.value > 0 else None


def _momentary_segments(mark: Direction, base: float) -> Iterator[TempoSegment]:
    """A value for the playback of a held note ("ten." with 24) applies to one quarter note."""
    value = _clip(_written_value(mark) or base)
    yield TempoSegment(mark.onset, mark.onset + 1, value, value)
    yield TempoSegment(mark.onset + 1, np.inf, base, base)


def tempo_of(mark: Direction, before: float, signature: TimeSignature) -> float | None:
    """Quarter notes per minute of a "tempo" direction: its metronome value, otherwise from its text; None
    where the text names no tempo.

    ``before``: the tempo to which "più mosso" and the like relate.
    """
    if value := _written_value(mark):
        return value
    text = mark.text.lower()
    if (factor := _first_match(COMPARATIVES, text)) is not None:
        return before * _moderated(factor, text)
    named = [tempo for expression, tempo in TEMPO_WORDS if re.search(expression, text)]
    if not named:
        factor = _first_match(MOODS, text)
        return None if factor is None else before * _moderated(factor, text)
    tempo = float(np.exp(np.mean(np.log(named))))
    away = EMPHASIS if tempo > DEFAULT_TEMPO else 1 / EMPHASIS
    tempo *= away ** (bool(_MORE.search(text)) - bool(_LESS.search(text)))
    return tempo * (ALLA_BREVE if signature.beat_type <= 2 else 1.0)


def change_factor(text: str) -> float:
    """Tempo at the end of a gradual change relative to its start; 1 where the text is not understood."""
    factor = _first_match(GRADUAL_CHANGES, text.lower())
    return 1.0 if factor is None else _moderated(factor, text.lower())


def _first_match(table: Sequence[tuple[str, float]], text: str) -> float | None:
    return next((value for expression, value in table if re.search(expression, text)), None)


def _moderated(factor: float, text: str) -> float:
    text = re.sub(r"poco a poco|peu à peu", "", text)
    if re.search(r"\bpoco|\betwas\b|un peu", text):
        return float(factor**0.5)
    return float(factor**1.5) if re.search(r"\bmolto|\bsehr\b", text) else factor


def _tempo_marks(directions: Sequence[Direction]) -> list[Direction]:
    """Tempo directions in order, one per kind and place, because both staves may carry the same mark.

    A metronome value takes precedence, then the first mark that is understood, then the first.
    """
    order = {"tempo": 0, "tempo-reset": 1, "tempo-change": 2}
    chosen: dict[tuple[float, int], Direction] = {}
    for mark in directions:
        if mark.kind not in order or not np.isfinite(mark.onset):
            continue
        mark = replace(mark, onset=max(mark.onset, 0.0))
        place = (round(mark.onset, 6), order[mark.kind])
        if place not in chosen or _clarity(mark) > _clarity(chosen[place]):
            chosen[place] = mark
    return [chosen[place] for place in sorted(chosen)]


def _clarity(mark: Direction) -> int:
    if mark.kind != "tempo":
        return int(mark.end > mark.onset)
    return 2 if mark.value else int(tempo_of(mark, 1.0, signature_at((), 0.0)) is not None)


def _change_segments(
    marks: Sequence[Direction], before: TempoSegment, base: float, time_signatures: Sequence[TimeSignature]
) -> Iterator[TempoSegment]:
    """The gradual change marks[0] after the segment ``before``, and the tempo from its end on."""
    mark = marks[0]
    here = before.stop if mark.onset >= before.end else _tempo_in(before, mark.onset)
    following = next((other for other in marks if other.onset > mark.onset), None)
    stop = mark.end if mark.end > mark.onset else mark.onset + UNENDED_CHANGE
    stop = min(stop, following.onset) if following else stop
    arrival = next((o for o in marks if o.onset > mark.onset and o.kind != "tempo-change"), None)
    near = arrival is not None and arrival.onset - stop <= HELD_FOR
    continued = following is not None and following.onset - stop <= CONTINUED_WITHIN
    target = _change_target(mark, arrival if near else None, here, base, time_signatures)
    yield TempoSegment(mark.onset, stop, target if _IMMEDIATE.search(mark.text.lower()) else here, target)
    after = target if near or continued else base
    yield TempoSegment(stop, np.inf, after, after)


def _change_target(
    mark: Direction,
    arrival: Direction | None,
    here: float,
    base: float,
    time_signatures: Sequence[TimeSignature],
) -> float:
    """Tempo at the end of a gradual change: its own value or the tempo after it if that lies in its
    direction, otherwise from its word."""
    factor = change_factor(mark.text)
    written = [_written_value(mark)]
    if arrival is not None and arrival.kind == "tempo":
        written.append(tempo_of(arrival, base, signature_at(time_signatures, arrival.onset)))
    for tempo in written:
        if tempo is not None and (tempo - here) * (factor - 1) > 0:
            return _clip(tempo)
    return _clip(float(np.clip(here * factor, base / LARGEST_CHANGE, base * LARGEST_CHANGE)))


def _tempo_in(segment: TempoSegment, onset: float) -> float:
    if segment.start == segment.stop:
        return segment.start
    x = (onset - segment.onset) / (segment.end - segment.onset)
    w = segment.stop / segment.start
    return float(segment.start * (1 + (w**CURVATURE - 1) * x) ** (1 / CURVATURE))


def _clip(tempo: float) -> float:
    return min(max(tempo, SLOWEST), FASTEST)


def _integrate(segments: Sequence[TempoSegment], end: float) -> TimeMap:
    """Knots at the ends of the segments and along gradual changes, up to ``end``."""
    quarters, seconds = [np.zeros(1)], [np.zeros(1)]
    nexts = [*(segment.onset for segment in segments[1:]), end]
    for segment, following in zip(segments, nexts, strict=True):
        stop = min(segment.end, following)
        if stop - quarters[-1][-1] <= SEPARATION * max(1.0, end):
            continue
        gradual = segment.start != segment.stop
        knots = np.linspace(segment.onset, stop, CHANGE_KNOTS + 1 if gradual else 2)[1:]
        quarters.append(knots)
        seconds.append(seconds[-1][-1] + _elapsed(segment, knots))
    return TimeMap(np.concatenate(quarters), np.concatenate(seconds))


def _elapsed(segment: TempoSegment, knots: Floats) -> Floats:
    """Seconds from the segment's onset to the knots: the integral of 1 / v(x) in closed form."""
    period = 60 / segment.start
    if not np.isfinite(segment.end):
        return (knots - segment.onset) * period
    length = segment.end - segment.onset
    x = (knots - segment.onset) / length
    a = (segment.stop / segment.start) ** CURVATURE - 1
    if abs(a) < 1e-9:
        return (knots - segment.onset) * period
    power = 1 - 1 / CURVATURE
    # expm1 and log1p keep small changes of tempo (a near 0) accurate.
    return np.asarray(length * period * np.expm1(power * np.log1p(a * x)) / (a * power))


# ---------------------------------------------------------------------------------- fermatas and caesuras


@dataclass(frozen=True)
class Hold:
    """Time that is added between two score positions (quarter notes).

    ``written``: the span (onset, end) that a fermata lengthens; None for a caesura.
    """

    onset: float
    end: float
    written: tuple[float, float] | None


def fermata_seconds(written: float) -> float:
    """Seconds that a fermata adds to a note of ``written`` seconds (see ``FERMATA_SECONDS``)."""
    return min(FERMATA_SECONDS, (FERMATA_STRETCH - 1) * written)


def _fermatas(score: ParsedScore) -> list[Hold]:
    """One hold per fermata, for all voices; its time is added after the last onset that it covers.

    Simultaneous fermatas in several voices are joined: from the last of their onsets to the first of their
    ends."""
    notes = score.notes
    spans = [
        (float(notes.onset[i]), float(notes.onset[i] + notes.duration[i]))
        for i, marks in enumerate(notes.marks)
        if "fermata" in marks and notes.duration[i] > 0
    ]
    spans += [
        (d.onset, d.end) if d.end > d.onset else (d.onset - _POINT, d.onset)
        for d in score.directions
        if d.kind == "fermata" and np.isfinite([d.onset, d.end]).all()
    ]
    holds = []
    for onset, end in _common_spans(spans):
        before_end = np.searchsorted(notes.onset, end)
        last = max(onset, float(notes.onset[before_end - 1])) if before_end else onset
        holds.append(Hold(last, end, (onset, end) if end - onset > _POINT else (end - 1, end)))
    return holds


def _common_spans(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The intersection of each group of overlapping spans."""
    common: list[tuple[float, float]] = []
    for onset, end in sorted(spans):
        if common and onset < common[-1][1]:
            common[-1] = (onset, min(end, common[-1][1]))
        else:
            common.append((onset, end))
    return common


def _caesuras(notes: ScoreNotes) -> list[Hold]:
    ends = {
        float(notes.onset[i] + notes.duration[i])
        for i, marks in enumerate(notes.marks)
        if "caesura" in marks and notes.duration[i] > 0
    }
    return [Hold(end - _POINT, end, None) for end in sorted(ends)]


def _with_holds(plain: TimeMap, holds: Sequence[Hold]) -> TimeMap:
    if not holds:
        return plain
    spans = np.array([_wide_enough(hold, float(plain.quarters[0])) for hold in holds])
    positions = np.unique(spans)
    factors = np.ones(len(positions) - 1)
    for hold, (onset, end) in zip(holds, spans, strict=True):
        inside = slice(*np.searchsorted(positions, [onset, end]))
        factors[inside] += _added(hold, plain) / _seconds_between(plain, onset, end)
    return plain.scaled(positions, factors)


def _wide_enough(hold: Hold, start: float) -> tuple[float, float]:
    """The span of a hold: not before the start, and at least ``_POINT`` long."""
    onset = max(min(hold.onset, hold.end - _POINT), start)
    return onset, max(hold.end, onset + _POINT)


def _added(hold: Hold, plain: TimeMap) -> float:
    if hold.written is None:
        return CAESURA_SECONDS
    return fermata_seconds(_seconds_between(plain, *hold.written))


def _seconds_between(times: TimeMap, onset: float, end: float) -> float:
    return float(np.diff(times.to_seconds([onset, end]))[0])

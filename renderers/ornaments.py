"""Realisation of ornaments: grace notes, arpeggios, trills, mordents, turns, tremolos.

All lengths are in seconds, because the speed of ornaments hardly depends on the tempo (Timmers et al. 2002,
Music Perception 20(1), for grace notes). ``realise`` takes notes that a renderer has already timed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from renderers.keyboard import TimedNotes, concatenate
from renderers.voices import is_grace, neighbours, voice_numbers
from score_to_audio.types import KeySignature, ParsedScore, ScoreNotes

Floats = NDArray[np.float64]

TRILL_RATE = 12.0
"""Notes per second of trills, mordents and turns: the median of 282 trills in performances of ASAP's
training split (Bach 11.8, Beethoven 11.7, Mozart 12.7, Chopin 10.2)."""

SHORTEST_STEP = 0.035
"""Seconds; an ornament that needs shorter notes is left out and its main note played plainly."""

MOST_NOTES = 1000
"""Largest number of notes per ornament: about 80 s of trill. Longer main notes are errors or attacks."""

TERMINATED_FROM = 0.4
"""Seconds from which a trill gets a termination (lower neighbour, main note) before a note one step above."""

GRACE_SECONDS = 0.07
"""Seconds of a grace note before the beat, at any tempo. Medians in ASAP's training split: 55 ms for single
acciaccaturas (986), 67 to 97 ms per note in groups of two or three in music after Mozart (526); the main
notes fall on the beat (3 ms after the other hand). Independent of tempo also in Windsor et al. (2001,
Psychology of Music 29)."""

GRACE_SHARE = 0.5
"""Largest part of the time since the preceding note for grace notes or an arpeggio before the beat."""

APPOGGIATURA_SHARE, LONGEST_APPOGGIATURA = 0.5, 0.12
"""A single appoggiatura takes half of its main note (C.P.E. Bach 1753, part I, chapter 2), but at most 0.12
s: parsed scores lack its written note value, and most grace notes without a slash are short (medians in the
training split: 84 ms in Bach, Haydn and Mozart, 66 ms in later music; at most 0.15 s for any main note)."""

ARPEGGIO_STEP = 0.057
"""Seconds between neighbouring notes of an arpeggio: the median of 1306 arpeggios in the training split. The
last note falls on the beat."""

REPETITION_RATE = 14.0
"""Strokes per second of the fastest tremolo on one key that a grand piano's action allows."""

UPPER_START = (
    "bach", "händel", "handel", "haendel", "scarlatti", "couperin", "rameau", "telemann", "haydn", "mozart",
    "clementi", "soler", "purcell", "pachelbel",
)  # fmt: skip
"""Composers whose trills begin with the upper note (C.P.E. Bach 1753, part I, chapter 2). From Hummel's
Anweisung (1828) on trills begin with the main note."""

STEPS = "CDEFGAB"
SEMITONES = dict(zip(STEPS, (0, 2, 4, 5, 7, 9, 11), strict=True))
"""Step -> semitones above C."""
_SHARPS = "FCGDAEB"
_ACCIDENTALS = {
    "sharp": 1, "natural-sharp": 1, "double-sharp": 2, "sharp-sharp": 2, "natural": 0,
    "flat": -1, "natural-flat": -1, "flat-flat": -2, "double-flat": -2,
}  # fmt: skip


def begins_on_upper_note(composer: str) -> bool:
    """True for the composers of ``UPPER_START``."""
    return re.search(rf"\b({'|'.join(UPPER_START)})\b", composer.lower()) is not None


# ------------------------------------------------------------------------------- neighbouring notes of a key


def key_alteration(fifths: int, step: str) -> int:
    """Semitones by which a key signature (-7..7 fifths) alters a step "C" ... "B"."""
    if fifths >= 0:
        return int(step in _SHARPS[:fifths])
    return -int(step in _SHARPS[fifths:])


def spelled(spelling: str) -> tuple[str, int, int]:
    """ "Bb3" -> ("B", -1, 3): step, alteration in semitones, octave."""
    step, rest = spelling[0], spelling[1:]
    accidentals = rest.rstrip("-0123456789")
    alteration = 2 * accidentals.count("x") + accidentals.count("#") - accidentals.count("b")
    return step, alteration, int(rest[len(accidentals) :])


def written_alteration(marks: frozenset[str], direction: int) -> int | None:
    """Alteration in semitones of the upper (direction 1) or lower (-1) neighbour by an accidental at the
    ornament; None without one. Marks: "accidental-mark-sharp", "accidental-mark-below-flat" and so on."""
    prefix = "accidental-mark-" if direction > 0 else "accidental-mark-below-"
    values = (_ACCIDENTALS.get(mark.removeprefix(prefix)) for mark in marks if mark.startswith(prefix))
    return next((value for value in values if value is not None), None)


class Scale:
    """The upper and lower neighbours of notes, by accidentals of ornament and measure, and by the key."""

    def __init__(self, notes: ScoreNotes, keys: Sequence[KeySignature]) -> None:
        self._spelled = [spelled(spelling) for spelling in notes.spelling]
        self._marks = notes.marks
        self._measure = list(zip(notes.part.tolist(), notes.measure.tolist(), strict=True))
        self._onset = notes.onset
        self._key_onsets = [key.onset for key in keys]
        self._fifths = [key.fifths for key in keys]
        self._notes_at: dict[tuple[tuple[int, int], str, int], list[int]] = defaultdict(list)
        for index, (step, _, octave) in enumerate(self._spelled):
            self._notes_at[self._measure[index], step, octave].append(index)

    def interval(self, index: int, direction: int) -> int:
        """Semitones from a note to its upper (direction 1: 1 to 3) or lower (-1: -3 to -1) neighbour."""
        step, alteration, octave = self._spelled[index]
        position = STEPS.index(step) + direction
        other, other_octave = STEPS[position % 7], octave + position // 7
        natural = SEMITONES[other] - SEMITONES[step] + 12 * (other_octave - octave)
        written = written_alteration(self._marks[index], direction)
        if written is not None:
            return direction * min(max(direction * (natural + written - alteration), 1), 3)
        interval = natural + self._alteration(index, other, other_octave) - alteration
        # An altered main note can give an interval of 0 or 3 semitones, which is not meant unless written.
        return direction * min(max(direction * interval, 1), 2)

    def _alteration(self, index: int, step: str, octave: int) -> int:
        """Alteration of a step at a note: as last written in the measure, otherwise that of the key."""
        written = self._notes_at[self._measure[index], step, octave]
        if earlier := bisect_right(written, index):
            return self._spelled[written[earlier - 1]][1]
        current = bisect_right(self._key_onsets, self._onset[index]) - 1
        return key_alteration(self._fifths[current], step) if current >= 0 else 0


# ------------------------------------------------------------------------------------------------- figures


@dataclass(frozen=True)
class Figure:
    """An ornament of one note: M consecutive notes that fill its time."""

    intervals: NDArray[np.int64]
    """[M] semitones from the main note."""
    starts: Floats
    """[M] seconds from the main note's onset, increasing from 0."""


def trill(length: float, upper: int, *, on_upper: bool, lower: int | None = None) -> Figure | None:
    """Main and upper note in alternation over ``length`` seconds, ending on the main note.

    ``lower``: interval of the lower neighbour if the trill ends with a termination. None where there is no
    time for three notes.
    """
    ending = [] if lower is None else [lower, 0]
    most = min(int(length / SHORTEST_STEP), MOST_NOTES) - len(ending)
    count = min(max(round(length * TRILL_RATE) - len(ending), 4 if on_upper else 3), most)
    # From the upper note an even number ends on the main note, from the main note an odd one.
    count -= count % 2 if on_upper else (count + 1) % 2
    if count < (2 if on_upper else 3):
        return None
    first = np.arange(count) + (0 if on_upper else 1)
    intervals = np.concatenate([np.where(first % 2 == 0, upper, 0), np.array(ending, np.int64)])
    step = min(length / len(intervals), 1.5 / TRILL_RATE)
    return Figure(intervals.astype(np.int64), np.arange(len(intervals), dtype=np.float64) * step)


def quick_figure(length: float, intervals: Sequence[int]) -> Figure | None:
    """Quick notes at the start, in half of the time at most; the last of ``intervals`` is held. None where
    there is no time."""
    quick = len(intervals) - 1
    step = min(1 / TRILL_RATE, length / 2 / quick)
    if step < SHORTEST_STEP:
        return None
    return Figure(np.array(intervals, np.int64), np.arange(len(intervals), dtype=np.float64) * step)


def delayed_turn(length: float, first: int, second: int) -> Figure | None:
    """The main note, then a turn in its last part; None where there is no time.

    ``first`` and ``second``: intervals of the upper and the lower neighbour, swapped for an inverted turn.
    """
    step = min(1 / TRILL_RATE, length / 8)
    if step < SHORTEST_STEP:
        return None
    return Figure(
        np.array([0, first, 0, second, 0], np.int64),
        np.r_[0.0, length - step * np.array([4.0, 3.0, 2.0, 1.0])],
    )


def tremolo(length: float, quarters: float, strokes: int) -> Figure | None:
    """One note repeated in eighths (1 stroke), sixteenths (2) ..., over its written ``quarters``, at most at
    ``REPETITION_RATE``; None for a single stroke."""
    count = min(round(quarters * 2**strokes), int(length * REPETITION_RATE), MOST_NOTES)
    if count < 2:
        return None
    return Figure(np.zeros(count, np.int64), np.arange(count) * (length / count))


def ornament(
    notes: ScoreNotes, index: int, length: float, scale: Scale, *, upper_start: bool
) -> Figure | None:
    """The figure for the marks of a note over ``length`` seconds; None where it is played plainly."""
    marks = notes.marks[index]
    if strokes := _strokes(marks, _TREMOLOS):
        return tremolo(length, float(notes.duration[index]), strokes)
    if not marks & _FIGURES:
        return None
    upper, lower = scale.interval(index, 1), scale.interval(index, -1)
    if marks & _TRILLS:
        return trill(length, upper, on_upper=upper_start)
    if "mordent" in marks:
        return quick_figure(length, [0, lower, 0])
    if "inverted-mordent" in marks:
        return quick_figure(length, [upper, 0, upper, 0] if upper_start else [0, upper, 0])
    if "delayed-turn" in marks:
        return delayed_turn(length, upper, lower)
    if "delayed-inverted-turn" in marks:
        return delayed_turn(length, lower, upper)
    if "turn" in marks:
        return quick_figure(length, [upper, 0, lower, 0] if upper_start else [0, upper, 0, lower, 0])
    return quick_figure(length, [lower, 0, upper, 0])


_TRILLS = frozenset({"trill-mark", "wavy-line", "shake"})
_TURNS = frozenset({"turn", "inverted-turn", "delayed-turn", "delayed-inverted-turn"})
_FIGURES = _TRILLS | _TURNS | {"mordent", "inverted-mordent"}
_TREMOLOS = {f"tremolo-{strokes}": strokes for strokes in (1, 2, 3, 4)}
_ALTERNATIONS = {f"tremolo-{end}-{strokes}": strokes for end in ("start", "stop") for strokes in (1, 2, 3, 4)}


def _strokes(marks: frozenset[str], table: Mapping[str, int]) -> int:
    return next((table[mark] for mark in marks if mark in table), 0)


# ------------------------------------------------------------------------------------------- in the score


def realise(score: ParsedScore, timed: TimedNotes, *, upper_start: bool | None = None) -> TimedNotes:
    """The notes with every grace note, arpeggio and ornament realised: M >= N notes, some perhaps before 0.

    ``timed``: the N notes of the score in order, timed by the renderer; grace notes have the onset of their
    main notes and any release. ``upper_start``: trills, short trills and turns begin with the upper note, as
    in the 18th century, or with the main note; None: depends on the composer.
    """
    if upper_start is None:
        upper_start = begins_on_upper_note(score.composer)
    timed = grace_notes(score.notes, arpeggios(score.notes, timed))
    return figures(score.notes, score.key_signatures, timed, upper_start=upper_start)


def arpeggios(notes: ScoreNotes, timed: TimedNotes) -> TimedNotes:
    """Spread chords marked "arpeggiate" (upward) or "arpeggiate-down", so that they end on the beat.

    Staves are spread separately and simultaneously. One marked note spreads the whole chord of its voice.
    """
    spread = np.array([_spread_direction(marks) for marks in notes.marks], np.int64).reshape(-1)
    if not spread.any():
        return timed
    onset = timed.onset.copy()
    voice, (preceding, _) = voice_numbers(notes), neighbours(notes)
    for chord in _marked_chords(notes, spread):
        marked = chord[spread[chord] != 0]
        members = marked if len(marked) > 1 else chord[voice[chord] == voice[marked[0]]]
        rising = members[np.argsort(notes.pitch[members], kind="stable")]
        sequence = rising if spread[marked[0]] > 0 else rising[::-1]
        before = preceding[sequence]
        available = float(np.min(onset[sequence] - np.where(before >= 0, onset[before], -np.inf)))
        step = min(ARPEGGIO_STEP, GRACE_SHARE * max(available, 0.0) / len(sequence))
        onset[sequence] -= step * np.arange(len(sequence))[::-1]
    return replace(timed, onset=onset)


def grace_notes(notes: ScoreNotes, timed: TimedNotes) -> TimedNotes:
    """The notes with times for grace notes.

    A single appoggiatura is played on the beat and shortens its main note (of a chord the nearest in pitch).
    All others are played before the beat and shorten the preceding note of their voice: acciaccaturas,
    groups, terminations of trills, and grace notes without a main note."""
    grace = is_grace(notes)
    if not grace.any():
        return timed
    voice, (preceding, _) = voice_numbers(notes), neighbours(notes)
    onset, offset = timed.onset.copy(), timed.offset.copy()
    for group in _grace_groups(notes, voice, grace):
        first = int(group[0])
        chord = _chord_of(notes, voice, grace, first)
        before = int(preceding[first])
        trilled = before >= 0 and bool(notes.marks[before] & _TRILLS)
        # Notes of a grace chord after the first one are marked "chord" and share its place.
        place = np.maximum(np.cumsum(["chord" not in notes.marks[i] for i in group]) - 1, 0)
        places = int(place[-1]) + 1
        if places == 1 and notes.grace[first] == "appoggiatura" and len(chord) and not trilled:
            nearest = [chord[np.argmin(np.abs(notes.pitch[chord] - notes.pitch[i]))] for i in group]
            main = np.unique(nearest)
            # Relative to what sounds of the main note, which may be short (staccato).
            sounding = float((offset[main] - onset[main]).min())
            length = min(APPOGGIATURA_SHARE * max(sounding, 0.0), LONGEST_APPOGGIATURA)
            onset[group] = onset[main].min()
            offset[group] = onset[group] + length
            onset[main] += length
        else:
            beat = float(min([onset[first], *onset[chord]]))
            available = beat - onset[before] if before >= 0 else np.inf
            step = min(GRACE_SECONDS, GRACE_SHARE * max(available, 0.0) / places)
            onset[group] = beat - step * (places - place)
            offset[group] = onset[group] + step
            held = _chord_of(notes, voice, grace, before)
            offset[held] = np.maximum(onset[held], np.minimum(offset[held], onset[first]))
    return replace(timed, onset=onset, offset=offset)


def figures(
    notes: ScoreNotes, keys: Sequence[KeySignature], timed: TimedNotes, *, upper_start: bool
) -> TimedNotes:
    """The notes with each trill, mordent, turn and tremolo replaced by the notes of its figure."""
    signs = _FIGURES | _TREMOLOS.keys() | _ALTERNATIONS.keys()
    marked = [i for i, marks in enumerate(notes.marks) if marks & signs]
    if not marked:
        return timed
    scale, (preceding, following) = Scale(notes, keys), neighbours(notes)
    before_grace = _notes_before_grace(notes)
    realised, plain = [], np.ones(len(timed), dtype=bool)
    for index in marked:
        if notes.marks[index] & _ALTERNATIONS.keys():
            strokes = _alternating(notes, timed, index, int(preceding[index]), int(following[index]))
            if strokes is not None:
                plain[index] = False
                realised.append(strokes)
            continue
        length = float(timed.offset[index] - timed.onset[index])
        figure = ornament(notes, index, length, scale, upper_start=upper_start)
        if figure is None:
            continue
        if notes.marks[index] & _TRILLS and index not in before_grace:
            figure = _terminated(notes, index, int(following[index]), length, scale, figure, upper_start)
        plain[index] = False
        realised.append(_figure_notes(timed, index, figure))
    return concatenate([timed.take(plain), *realised])


def _alternating(
    notes: ScoreNotes, timed: TimedNotes, index: int, preceding: int, following: int
) -> TimedNotes | None:
    """The strokes of one note of a tremolo between two chords ("tremolo-start-3", "tremolo-stop-3").

    Each chord is written with half of the tremolo's length; both are struck in turn over all of it. None
    where the other chord is missing or there is no time for two strokes of each."""
    strokes = _strokes(notes.marks[index], _ALTERNATIONS)
    is_first = f"tremolo-start-{strokes}" in notes.marks[index]
    other = following if is_first else preceding
    if other < 0 or f"tremolo-{'stop' if is_first else 'start'}-{strokes}" not in notes.marks[other]:
        return None
    first, second = (index, other) if is_first else (other, index)
    start, end = timed.onset[first], timed.offset[second]
    quarters = float(notes.duration[first] + notes.duration[second])
    count = min(round(quarters * 2**strokes), int((end - start) * 2 * REPETITION_RATE), MOST_NOTES) // 2
    if count < 2:
        return None
    step = (end - start) / (2 * count)
    onset = start + step * (2 * np.arange(count) + (0 if is_first else 1))
    return TimedNotes(
        source=np.full(count, timed.source[index]),
        onset=onset,
        offset=onset + step,
        pitch=np.full(count, timed.pitch[index]),
        velocity=np.full(count, timed.velocity[index]),
    )


def _terminated(
    notes: ScoreNotes,
    index: int,
    following: int,
    length: float,
    scale: Scale,
    figure: Figure,
    upper_start: bool,
) -> Figure:
    """The trill, with a termination if long enough and resolving to the step above (Türk 1789, IV.3 §36)."""
    if length < TERMINATED_FROM or following < 0:
        return figure
    joins = abs(notes.onset[index] + notes.duration[index] - notes.onset[following]) < 1e-6
    if not joins or notes.pitch[following] - notes.pitch[index] not in (1, 2):
        return figure
    upper, lower = scale.interval(index, 1), scale.interval(index, -1)
    return trill(length, upper, on_upper=upper_start, lower=lower) or figure


def _figure_notes(timed: TimedNotes, index: int, figure: Figure) -> TimedNotes:
    starts = timed.onset[index] + figure.starts
    count = len(starts)
    return TimedNotes(
        source=np.full(count, timed.source[index]),
        onset=starts,
        offset=np.append(starts[1:], timed.offset[index]),
        pitch=timed.pitch[index] + figure.intervals,
        velocity=np.full(count, timed.velocity[index]),
    )


def _spread_direction(marks: frozenset[str]) -> int:
    return -1 if "arpeggiate-down" in marks else int("arpeggiate" in marks)


def _marked_chords(notes: ScoreNotes, spread: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of the main notes of each onset and staff with a marked note."""
    main = np.flatnonzero(~is_grace(notes))
    order = main[np.lexsort((notes.staff[main], notes.part[main], notes.onset[main]))]
    columns = (notes.onset[order], notes.part[order], notes.staff[order])
    breaks = np.any([np.diff(column) != 0 for column in columns], axis=0)
    return [chord for chord in np.split(order, np.flatnonzero(breaks) + 1) if spread[chord].any()]


def _grace_groups(
    notes: ScoreNotes, voice: NDArray[np.int64], grace: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    """Indices of the grace notes of each voice and onset, in playing order."""
    index = np.flatnonzero(grace)
    order = index[np.lexsort((notes.onset[index], voice[index]))]
    breaks = (np.diff(voice[order]) != 0) | (np.diff(notes.onset[order]) != 0)
    return np.split(order, np.flatnonzero(breaks) + 1)


def _chord_of(
    notes: ScoreNotes, voice: NDArray[np.int64], grace: NDArray[np.bool_], index: int
) -> NDArray[np.int64]:
    """Indices of the main notes at the onset and in the voice of a note; none for index -1."""
    if index < 0:
        return np.zeros(0, np.int64)
    onset = notes.onset[index]
    together = np.arange(
        np.searchsorted(notes.onset, onset), np.searchsorted(notes.onset, onset, side="right")
    )
    return together[(voice[together] == voice[index]) & ~grace[together]]


def _notes_before_grace(notes: ScoreNotes) -> set[int]:
    """Main notes before written grace notes: their trills need no added termination."""
    grace, (preceding, _) = is_grace(notes), neighbours(notes)
    voice = voice_numbers(notes)
    before = {int(i) for i in preceding[grace] if i >= 0}
    return {int(i) for index in before for i in _chord_of(notes, voice, grace, index)}

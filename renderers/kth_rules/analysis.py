"""The score features that the rules use: melody, meter, phrases, harmony. Each is computed once, on demand.

Arrays are [N] over the notes of the score, [S] over its slices (from one onset of main notes to the next) or
[B] over its beats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from renderers import articulation, dynamics, meter, voices
from renderers.kth_rules import grouping, harmony
from renderers.tempo import TimeMap
from score_to_audio.types import KeySignature, ParsedScore, ScoreNotes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SAME = 1e-6
"""Quarter notes within which two positions are one."""

NEAR = 4.0
"""Width in quarter notes of the window that texture is averaged over."""

MELODY_WINDOW = 8.0
"""Width in quarter notes of the window over which a voice is compared with the others to find the melody."""

MOST_SLICES = 256
"""Number of slices after which a held note no longer counts as sounding."""

SLUR_BOUNDARY, WRITTEN_BOUNDARY, BARLINE = 0.4, 1.0, 0.1
"""Strength of the boundary at the end of a melodic slur; at a fermata, breath mark, caesura, change of key or
meter, jump or general rest; and what a barline adds. A long note or a leap reaches about 1 (LBDM)."""

_DIVIDING = frozenset({"fermata", "breath-mark", "caesura"})


@dataclass(frozen=True)
class ScoreAnalysis:
    """Features of a score with at least one main note."""

    score: ParsedScore
    times: TimeMap
    """Score time to seconds, as written."""

    @property
    def notes(self) -> ScoreNotes:
        return self.score.notes

    # ------------------------------------------------------------------------------------- notes and slices

    @cached_property
    def grace(self) -> Bools:
        """[N] True for grace notes."""
        return voices.is_grace(self.notes)

    @cached_property
    def voice(self) -> Ints:
        """[N] number of the voice."""
        return voices.voice_numbers(self.notes)

    @cached_property
    def following(self) -> Ints:
        """[N] index of a note of the voice's next chord, or -1."""
        return voices.neighbours(self.notes)[1]

    @cached_property
    def note_end(self) -> Floats:
        """[N] quarter notes."""
        return self.notes.onset + self.notes.duration

    @cached_property
    def seconds(self) -> Floats:
        """[N] written length in seconds."""
        return self.times.to_seconds(self.note_end) - self.times.to_seconds(self.notes.onset)

    @cached_property
    def slice_onset(self) -> Floats:
        """[S] quarter notes."""
        onsets = np.unique(self.notes.onset[~self.grace])
        return onsets[np.r_[True, np.diff(onsets) > SAME]]

    @cached_property
    def slice_end(self) -> Floats:
        """[S] quarter notes; the last slice ends with the last note."""
        return np.r_[self.slice_onset[1:], max(self.note_end.max(), self.slice_onset[-1] + SAME)]

    @cached_property
    def slice_seconds(self) -> Floats:
        """[S] written length in seconds."""
        return self.times.to_seconds(self.slice_end) - self.times.to_seconds(self.slice_onset)

    @cached_property
    def slice_of(self) -> Ints:
        """[N] index of the slice in which a note starts; a grace note has that of its main note or the one
        before."""
        index = np.searchsorted(self.slice_onset, self.notes.onset + SAME, side="right") - 1
        return np.maximum(index, 0)

    @cached_property
    def struck(self) -> Ints:
        """[S] main notes that start."""
        return np.bincount(self.slice_of[~self.grace], minlength=len(self.slice_onset))

    @cached_property
    def _sounding(self) -> tuple[Ints, Ints]:
        """Pairs (note, slice) for all slices in which a main note sounds."""
        main = np.flatnonzero(~self.grace)
        first = self.slice_of[main]
        last = np.searchsorted(self.slice_onset, self.note_end[main] - SAME)
        # A tone has faded after this many onsets; without a limit a hostile score exhausts the memory.
        count = np.clip(last - first, 1, MOST_SLICES)
        offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(main, count), np.repeat(first, count) + offsets

    @cached_property
    def sounding(self) -> Ints:
        """[S] main notes that sound."""
        return np.bincount(self._sounding[1], minlength=len(self.slice_onset))

    @cached_property
    def highest(self) -> Ints:
        """[S] highest sounding pitch; 0 where none sounds."""
        highest = np.zeros(len(self.slice_onset), np.int64)
        np.maximum.at(highest, self._sounding[1], self.notes.pitch[self._sounding[0]])
        return highest

    @cached_property
    def lowest(self) -> Ints:
        """[S] lowest sounding pitch."""
        lowest = np.full(len(self.slice_onset), 128, np.int64)
        np.minimum.at(lowest, self._sounding[1], self.notes.pitch[self._sounding[0]])
        return lowest

    @cached_property
    def middle(self) -> Floats:
        """[S] quarter notes of the middle of each slice."""
        return (self.slice_onset + self.slice_end) / 2

    def share(self, values: NDArray[np.generic]) -> Floats:
        """[S] mean of a column [N] over the main notes that start in each slice."""
        main = ~self.grace
        total = np.bincount(
            self.slice_of[main], weights=values[main].astype(np.float64), minlength=len(self.slice_onset)
        )
        return total / np.maximum(self.struck, 1)

    def around(self, values: Floats, window: float) -> Floats:
        """[S] mean of a column [S] over the slices that start within ``window`` / 2 quarter notes."""
        total = np.r_[0.0, np.cumsum(values)]
        low = np.searchsorted(self.slice_onset, self.slice_onset - window / 2 - SAME)
        high = np.searchsorted(self.slice_onset, self.slice_onset + window / 2 + SAME)
        return (total[high] - total[low]) / (high - low)

    @cached_property
    def density(self) -> Floats:
        """[N] log2 of the notes per second around each note."""
        rate = self.struck / np.maximum(self.slice_seconds, 0.02)
        return np.log2(np.maximum(self.around(rate, NEAR), 0.1))[self.slice_of]

    # -------------------------------------------------------------------------------------------- the melody

    @cached_property
    def top(self) -> Bools:
        """[N] True where nothing higher sounds when the note starts."""
        return self.notes.pitch >= self.highest[self.slice_of]

    @cached_property
    def bass(self) -> Bools:
        """[N] True where nothing lower sounds when the note starts."""
        return self.notes.pitch <= self.lowest[self.slice_of]

    @cached_property
    def melody(self) -> Ints:
        """Indices of the melody notes: the highest note of each slice, where it starts in that slice."""
        main = np.flatnonzero(self.top & ~self.grace)
        order = main[np.lexsort((-self.notes.pitch[main], self.notes.onset[main]))]
        first = np.r_[True, np.diff(self.slice_of[order]) > 0]
        return order[first]

    @cached_property
    def leading(self) -> Floats:
        """[N] 0..1: share of the voice's notes within ``MELODY_WINDOW`` that are on top."""
        order = np.lexsort((self.notes.onset, self.voice))
        # Voices lie one after the other, further apart than the window reaches.
        lane = self.voice[order] * (self.score.end + 2 * MELODY_WINDOW + 1) + self.notes.onset[order]
        low = np.searchsorted(lane, lane - MELODY_WINDOW / 2 - SAME)
        high = np.searchsorted(lane, lane + MELODY_WINDOW / 2 + SAME)
        total = np.r_[0, np.cumsum((self.top & ~self.grace)[order])]
        count = np.r_[0, np.cumsum(~self.grace[order])]
        share = np.empty(len(order))
        share[order] = (total[high] - total[low]) / np.maximum(count[high] - count[low], 1)
        return share

    @cached_property
    def leap_after(self) -> Floats:
        """[N] octaves to the next note of the voice, at most 2; 0 where none follows."""
        interval = np.abs(self.notes.pitch[self.following] - self.notes.pitch)
        return np.where(self.following >= 0, np.minimum(interval, 24), 0) / 12.0

    @cached_property
    def repeated(self) -> Bools:
        """[N] True where the voice continues without a rest on the same pitch."""
        joins = np.abs(self.notes.onset[self.following] - self.note_end) < 1e-3
        same = self.notes.pitch[self.following] == self.notes.pitch
        return (self.following >= 0) & joins & same

    @cached_property
    def restruck(self) -> Bools:
        """[N] True where the key is struck again, by any voice, before or as the note ends."""
        order = np.lexsort((self.notes.onset, self.notes.pitch))
        one, other = order[:-1], order[1:]
        again = (self.notes.pitch[one] == self.notes.pitch[other]) & (
            self.notes.onset[other] < self.note_end[one] + 0.02
        )
        restruck = np.zeros(len(order), dtype=bool)
        restruck[one[again]] = True
        return restruck

    @cached_property
    def chord_size(self) -> Ints:
        """[N] notes of the voice with the same onset."""
        keys = np.stack([self.voice, self.notes.onset, self.grace], axis=1)
        _, of_note, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        return np.asarray(count[of_note.reshape(-1)], np.int64)

    # --------------------------------------------------------------------------------------------- the meter

    @cached_property
    def beats(self) -> Floats:
        """[B + 1] quarter notes; the last one is the end of the score."""
        return meter.beats(self.score)

    @cached_property
    def beat_of_slice(self) -> Ints:
        """[S] index of the beat in which a slice starts."""
        return self._beat_at(self.slice_onset + SAME)

    @cached_property
    def last_beat_of_slice(self) -> Ints:
        """[S] index of the beat in which a slice ends."""
        return self._beat_at(self.slice_end - SAME)

    def _beat_at(self, quarters: Floats) -> Ints:
        return np.clip(np.searchsorted(self.beats, quarters, side="right") - 1, 0, len(self.beats) - 2)

    def mean_of_beats(self, values: Floats, reach: int) -> Floats:
        """[B] mean of a column [B] over ``reach`` beats on either side and the beat itself."""
        total = np.r_[0.0, np.cumsum(values)]
        beat = np.arange(len(values))
        low, high = np.maximum(beat - reach, 0), np.minimum(beat + reach + 1, len(values))
        return (total[high] - total[low]) / (high - low)

    def of_beats(self, values: Floats) -> Floats:
        """[B] mean of a column [S] over each beat, weighted by time."""
        knots = np.r_[self.slice_onset, self.slice_end[-1]]
        total = np.r_[0.0, np.cumsum(values * np.diff(knots))]
        return np.diff(np.interp(self.beats, knots, total)) / np.diff(self.beats)

    @cached_property
    def silent(self) -> Bools:
        """[S] True where all voices rest in a part of the slice."""
        reached = np.maximum.accumulate(self.note_end)
        last = np.searchsorted(self.notes.onset, self.slice_onset + SAME) - 1
        return reached[last] < self.slice_end - SAME

    @cached_property
    def beat_on_barline(self) -> Bools:
        """[B] True for the first beat of a measure."""
        barlines = np.array([measure.onset for measure in self.score.measures])
        return np.isin(np.round(self.beats[:-1], 6), np.round(barlines, 6))

    @cached_property
    def new_bass(self) -> Bools:
        """[B] True where a beat starts with a bass note that has another pitch class than the lowest note of
        the beat before and lies at most a major third above it."""
        beats = len(self.beats) - 1
        start = self.beats[self.beat_of_slice[self.slice_of]]
        main = ~self.grace
        on_beat = main & (np.abs(self.notes.onset - start) < SAME)
        lowest, struck = np.full(beats, 200), np.full(beats, 200)
        np.minimum.at(lowest, self.beat_of_slice[self.slice_of[main]], self.notes.pitch[main])
        np.minimum.at(struck, self.beat_of_slice[self.slice_of[on_beat]], self.notes.pitch[on_beat])
        before = np.r_[200, lowest[:-1]]
        return (struck < 200) & (struck <= before + 4) & (struck % 12 != before % 12)

    @cached_property
    def beat_bass(self) -> Floats:
        """[B] mean over the slices that start in a beat of the lowest sounding pitch; beats without such a
        slice have the value of the beat before."""
        count = np.bincount(self.beat_of_slice, minlength=len(self.beats) - 1)
        total = np.bincount(self.beat_of_slice, weights=self.lowest, minlength=len(count))
        filled = np.maximum.accumulate(np.where(count > 0, np.arange(len(count)), 0))
        filled = np.maximum(filled, int(np.argmax(count > 0)))
        return (total / np.maximum(count, 1))[filled]

    @cached_property
    def metrical_level(self) -> Floats:
        """[S] as ``meter.levels``: 3 on a barline to 0 between beats."""
        return meter.levels(self.score, self.slice_onset)

    # ------------------------------------------------------------------------------------------- the phrases

    @cached_property
    def boundary_after(self) -> Floats:
        """[S] strength of the phrase boundary at the end of a slice: LBDM of the melody, slurs, notation."""
        notes, melody = self.notes, self.melody
        strength = np.zeros(len(self.slice_onset))
        of_melody = grouping.local_boundaries(
            self.times.to_seconds(notes.onset[melody]),
            self.times.to_seconds(self.note_end[melody]),
            notes.pitch[melody].astype(np.float64),
        )
        # The boundary after a melody note lies just before the next one.
        before_next = np.r_[self.slice_of[melody][1:] - 1, len(strength) - 1]
        np.maximum.at(strength, before_next, of_melody)
        slurs = [slur.end for slur in self.score.slurs if self.leading[slur.end] > 0.5]
        self._mark_ends(strength, self.note_end[slurs], SLUR_BOUNDARY)
        self._mark_ends(strength, self._written_boundaries, WRITTEN_BOUNDARY)
        return strength

    def _mark_ends(self, strength: Floats, positions: Floats, value: float) -> None:
        """Raise the boundary of the slices that end at the positions (quarter notes)."""
        before = np.searchsorted(self.slice_onset, positions - SAME) - 1
        inside = (before >= 0) & (before < len(strength))
        np.maximum.at(strength, before[inside], value)

    @cached_property
    def _written_boundaries(self) -> Floats:
        """Quarter notes at which the notation divides phrases."""
        score = self.score
        marked = np.array([bool(marks & _DIVIDING) for marks in self.notes.marks], dtype=bool)
        jumps = [
            after.onset
            for before, after in zip(score.measures, score.measures[1:], strict=False)
            if after.written != before.written + 1
        ]
        changes = [sign.onset for sign in score.time_signatures[1:]]
        changes += [sign.onset for sign in score.key_signatures[1:]]
        written = [mark.end for mark in score.directions if mark.kind == "fermata"]
        return np.r_[self.note_end[marked], jumps, changes, written, self.slice_end[self.silent]]

    @cached_property
    def beat_boundary(self) -> Floats:
        """[B] strength of the phrase boundary at the end of each beat."""
        strength = np.zeros(len(self.beats) - 1)
        # A phrase with an upbeat starts in the beat that contains the upbeat.
        beat = np.searchsorted(self.beats, self.slice_end + SAME, side="right") - 2
        inside = (beat >= 0) & (beat < len(strength))
        np.maximum.at(strength, beat[inside], self.boundary_after[inside])
        return strength + BARLINE * np.r_[self.beat_on_barline[1:], True]

    def phrases(self, seconds: float) -> Floats:
        """Ends (quarter notes) of phrases of about the given length, rounded to 2^n measures."""
        times = self.times.to_seconds(self.beats)
        beat = float(np.median(np.diff(times)))
        measures = np.array([measure.end - measure.onset for measure in self.score.measures])
        per_measure = max(float(np.median(measures) / np.median(np.diff(self.beats))), 1.0)
        length = per_measure * 2.0 ** np.round(np.log2(seconds / (beat * per_measure)))
        ideal = max(round(length), 2)
        return self.beats[grouping.segments(self.beat_boundary, ideal)]

    def arch(self, seconds: float, quarters: Floats) -> Floats:
        """Height of the phrase arch at score positions (any number): 0 at the ends of phrases of about the
        given length, 1 in their middle."""
        ends = self.phrases(seconds)
        bounds = np.r_[min(0.0, float(self.beats[0])), ends]
        segment = np.clip(np.searchsorted(bounds, quarters + SAME, side="right") - 1, 0, len(ends) - 1)
        length = bounds[segment + 1] - bounds[segment]
        return grouping.arch(np.clip((quarters - bounds[segment]) / np.maximum(length, SAME), 0.0, 1.0))

    # ------------------------------------------------------------------------------- dynamics, articulation

    @cached_property
    def level(self) -> Floats:
        """[N] written dynamics without accents, as a level of ``renderers.dynamics``."""
        return dynamics.note_levels(self.score) - self.accent

    @cached_property
    def accent(self) -> Floats:
        """[N] levels that accents and sforzati add."""
        return dynamics.accents(self.score)

    @cached_property
    def fraction(self) -> Floats:
        """[N] sounding part of the written value according to the articulation marks."""
        return articulation.sounding_fractions(self.notes, self.score.slurs)

    @cached_property
    def slurred(self) -> Bools:
        """[N] True where a slur joins the note to the next."""
        return articulation.under_slur(self.notes, self.score.slurs)

    @cached_property
    def slur_last(self) -> Bools:
        """[N] True for the last note of a slur."""
        return articulation.under_slur(self.notes, self.score.slurs, with_last=True) & ~self.slurred

    # ------------------------------------------------------------------------------------------- the harmony

    @cached_property
    def beat_pitch_classes(self) -> Floats:
        """[B, 12] quarter notes for which each pitch class sounds in each beat."""
        note, slice_ = self._sounding
        weights = np.zeros((len(self.beats) - 1, 12))
        length = np.minimum(self.slice_end[slice_], self.note_end[note]) - self.slice_onset[slice_]
        np.add.at(weights, (self.beat_of_slice[slice_], self.notes.pitch[note] % 12), np.maximum(length, 0.0))
        return weights

    @cached_property
    def tonic_of_beat(self) -> Ints:
        """[B] pitch class of the tonic, estimated once per key signature."""
        starts = [sign.onset for sign in self.score.key_signatures]
        bounds = np.searchsorted(self.beats[:-1], np.array(starts) - SAME) if starts else np.zeros(0, int)
        tonics = np.zeros(len(self.beats) - 1, np.int64)
        pieces: list[tuple[int, KeySignature | None]] = [(0, None)]
        pieces += zip(bounds.tolist(), self.score.key_signatures, strict=True)
        ends = [*bounds.tolist(), len(tonics)]
        for (low, sign), high in zip(pieces, ends, strict=True):
            if high > low:
                weights = self.beat_pitch_classes[low:high].sum(axis=0)
                tonics[low:high] = harmony.tonic(weights, harmony.keys_of(sign))[0]
        return tonics

    @cached_property
    def chord_of_beat(self) -> Ints:
        """[B] index of the triad, as ``harmony.chords``."""
        return harmony.chords(self.beat_pitch_classes)

    @cached_property
    def melodic_charge(self) -> Floats:
        """[N] charge of each note in its chord."""
        root = self.chord_of_beat[self.beat_of_slice[self.slice_of]] % 12
        return harmony.MELODIC_CHARGE[(self.notes.pitch - root) % 12]

    @cached_property
    def harmonic_tension(self) -> Floats:
        """[S] square root of the chord's charge, interpolated linearly between changes of chord."""
        chord = self.chord_of_beat
        tension = np.sqrt(harmony.harmonic_charge(chord, self.tonic_of_beat))
        change = np.flatnonzero(np.r_[True, np.diff(chord) != 0])
        return np.interp(self.slice_onset, self.beats[change], tension[change])


Rule = Callable[[ScoreAnalysis, float], Floats]


def rules_by_name(*rules: Rule) -> Mapping[str, Rule]:
    """Name -> rule, in the given order."""
    return {rule.__name__: rule for rule in rules}

"""The slices and the grid of a score, and what sounds in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from renderers import meter, voices
from renderers.expression import PEDAL_PLACES
from score_to_audio.types import ParsedScore

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SAME = 1e-6
"""Quarter notes within which two positions are one."""

LONGEST = 256
"""Slices or places after which a held note no longer counts as sounding."""


@dataclass(frozen=True)
class Texture:
    """Of a score with N notes, at least one of them a main note; S slices (from one onset of main notes to
    the next), B beats, each divided into ``PEDAL_PLACES`` places."""

    score: ParsedScore

    @cached_property
    def grace(self) -> Bools:
        """[N]"""
        return voices.is_grace(self.score.notes)

    @cached_property
    def voice(self) -> Ints:
        """[N] number of the voice."""
        return voices.voice_numbers(self.score.notes)

    @cached_property
    def neighbours(self) -> tuple[Ints, Ints]:
        """[N] index of a note of the voice's previous and next chord, or -1."""
        return voices.neighbours(self.score.notes)

    @cached_property
    def end(self) -> Floats:
        """[N] quarter notes."""
        return self.score.notes.onset + self.score.notes.duration

    @cached_property
    def slice_onset(self) -> Floats:
        """[S] quarter notes."""
        onsets = np.unique(self.score.notes.onset[~self.grace])
        return onsets[np.r_[True, np.diff(onsets) > SAME]]

    @cached_property
    def slice_end(self) -> Floats:
        """[S] quarter notes."""
        return np.r_[self.slice_onset[1:], max(self.end.max(), self.slice_onset[-1] + SAME)]

    @cached_property
    def slice_of(self) -> Ints:
        """[N] slice in which a note starts; of a grace note that of its main note or the one before."""
        return np.maximum(np.searchsorted(self.slice_onset, self.score.notes.onset + SAME) - 1, 0)

    @cached_property
    def beats(self) -> Floats:
        """[B + 1] quarter notes."""
        return meter.beats(self.score)

    @cached_property
    def beat_of_slice(self) -> Ints:
        """[S]"""
        return self._beat_at(self.slice_onset)

    def _beat_at(self, quarters: Floats) -> Ints:
        beat = np.searchsorted(self.beats, quarters + SAME, side="right") - 1
        return np.clip(beat, 0, len(self.beats) - 2)

    @cached_property
    def places(self) -> Floats:
        """[B * places + 1] quarter notes where the places of the beats begin, and the end."""
        inside = np.arange(PEDAL_PLACES) / PEDAL_PLACES
        starts = self.beats[:-1, None] + np.diff(self.beats)[:, None] * inside
        return np.r_[starts.reshape(-1), self.beats[-1]]

    @cached_property
    def place_of(self) -> Ints:
        """[N] place in which a note starts, rounded to the nearest."""
        beat = self._beat_at(self.score.notes.onset)
        share = (self.score.notes.onset - self.beats[beat]) / np.diff(self.beats)[beat]
        place = beat * PEDAL_PLACES + np.rint(share * PEDAL_PLACES).astype(np.int64)
        return np.clip(place, 0, len(self.places) - 2)

    def sounding(self, bounds: Floats) -> tuple[Ints, Ints, Floats]:
        """Pairs (main note, span, quarter notes) for all spans [K + 1] in which a note sounds."""
        main = np.flatnonzero(~self.grace)
        onset = self.score.notes.onset[main]
        first = np.maximum(np.searchsorted(bounds, onset + SAME, side="right") - 1, 0)
        last = np.searchsorted(bounds, self.end[main] - SAME)
        first = np.minimum(first, len(bounds) - 2)
        count = np.clip(np.minimum(last, len(bounds) - 1) - first, 1, LONGEST)
        inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        note, span = np.repeat(main, count), np.repeat(first, count) + inside
        begins = np.maximum(bounds[span], self.score.notes.onset[note])
        length = np.minimum(bounds[span + 1], self.end[note]) - begins
        return note, span, np.maximum(length, 0.0)

    @cached_property
    def _in_slices(self) -> tuple[Ints, Ints, Floats]:
        return self.sounding(np.r_[self.slice_onset, self.slice_end[-1]])

    @cached_property
    def highest(self) -> Ints:
        """[S] highest sounding pitch."""
        highest = np.zeros(len(self.slice_onset), np.int64)
        np.maximum.at(highest, self._in_slices[1], self.score.notes.pitch[self._in_slices[0]])
        return highest

    @cached_property
    def lowest(self) -> Ints:
        """[S] lowest sounding pitch."""
        lowest = np.full(len(self.slice_onset), 128, np.int64)
        np.minimum.at(lowest, self._in_slices[1], self.score.notes.pitch[self._in_slices[0]])
        return lowest

    @cached_property
    def keys_held(self) -> Floats:
        """[S] notes that sound."""
        return np.bincount(self._in_slices[1], minlength=len(self.slice_onset)).astype(np.float64)

    @cached_property
    def pitch_classes(self) -> Floats:
        """[B * places, 12] quarter notes for which each pitch class sounds."""
        note, place, length = self.sounding(self.places)
        weights = np.zeros((len(self.places) - 1, 12))
        np.add.at(weights, (place, self.score.notes.pitch[note] % 12), length)
        return weights


def window_mean(values: Floats, positions: Floats, width: float, weights: Floats | None = None) -> Floats:
    """[K] mean of values over the entries within ``width`` / 2 of each position (increasing)."""
    weights = np.ones(len(values)) if weights is None else weights
    total = np.r_[0.0, np.cumsum(values * weights)]
    count = np.r_[0.0, np.cumsum(weights)]
    low = np.searchsorted(positions, positions - width / 2 - SAME)
    high = np.searchsorted(positions, positions + width / 2 + SAME)
    return np.asarray((total[high] - total[low]) / np.maximum(count[high] - count[low], SAME))

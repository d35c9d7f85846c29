"""The network's inputs: named columns per note and per beat, from the score alone.

The first part of a column's name is its group; training omits whole groups at random (``training.batches``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from renderers import articulation, meter
from renderers.expression import PEDAL_PLACES
from renderers.pianist_mean import rules, written
from renderers.pianist_mean.texture import SAME, Floats, Ints, Texture, window_mean
from renderers.tempo import TimeMap
from score_to_audio.types import ParsedScore

COMPOSERS = (
    *("bach", "haydn", "mozart", "beethoven", "schubert", "chopin", "schumann", "liszt", "brahms"),
    *("debussy", "ravel", "rachmaninoff", "scriabin"),
)
MARKS = {
    "staccato": ("staccato", "spiccato"),
    "staccatissimo": ("staccatissimo",),
    "tenuto": ("tenuto", "detached-legato"),
    "accent": ("accent",),
    "strong_accent": ("strong-accent",),
    "fermata": ("fermata",),
    "arpeggio": ("arpeggiate", "arpeggiate-down"),
    "trill": ("trill-mark", "wavy-line", "shake"),
    "turn": ("mordent", "inverted-mordent", "turn", "inverted-turn", "delayed-turn"),
    "tremolo": ("tremolo-1", "tremolo-2", "tremolo-3", "tremolo-4"),
}
PHRASE_WIDTHS = (2.0, 8.0)
"""Widths in quarter notes of the windows that pitch and density are compared with."""

HARMONY_PLACES = 2 * PEDAL_PLACES
"""Places before and after a place whose pitch classes are compared."""


@dataclass(frozen=True)
class Features:
    """Inputs for N notes, S slices and B beats."""

    notes: Floats
    """[N, columns]"""
    beats: Floats
    """[B, columns]"""
    slice_of: Ints
    """[N] slice of each note."""
    beat_of_slice: Ints
    """[S] beat of each slice."""
    preceding: Ints
    """[N] index of a note of the voice's previous chord, or of the note itself."""
    following: Ints
    """[N] index of a note of the voice's next chord, or of the note itself."""
    note_names: tuple[str, ...]
    beat_names: tuple[str, ...]


def features(score: ParsedScore) -> Features:
    """The features of a score with at least one main note."""
    texture = Texture(score)
    times = written.times(score)
    notes = {**_pitch(texture), **_rhythm(texture, times), **_notation(texture), **_place(texture)}
    notes |= {f"dynamic_{name}": column for name, column in written.dynamics(score).items()}
    beats = {**_beat_place(texture), **_tempo(texture, times), **_grid(texture), **_piece(texture, times)}
    rules_of_notes, rules_of_beats = rules.columns(score, times)
    notes, beats = {**notes, **rules_of_notes}, {**beats, **rules_of_beats}
    before, after = texture.neighbours
    own = np.arange(len(score.notes))
    return Features(
        notes=np.stack([np.asarray(column, np.float64) for column in notes.values()], axis=1),
        beats=np.stack([np.asarray(column, np.float64) for column in beats.values()], axis=1),
        slice_of=texture.slice_of,
        beat_of_slice=texture.beat_of_slice,
        preceding=np.where(before >= 0, before, own),
        following=np.where(after >= 0, after, own),
        note_names=tuple(notes),
        beat_names=tuple(beats),
    )


Columns = Mapping[str, Floats]


def _pitch(t: Texture) -> Columns:
    notes, slices = t.score.notes, t.slice_of
    pitch = notes.pitch.astype(np.float64)
    before, after = t.neighbours
    from_before = np.where(before >= 0, pitch - pitch[before], 0.0).clip(-24, 24)
    to_after = np.where(after >= 0, pitch[after] - pitch, 0.0).clip(-24, 24)
    highest, lowest = t.highest[slices], t.lowest[slices]
    top, bass = pitch >= highest, pitch <= lowest
    struck = np.bincount(slices[~t.grace], minlength=len(t.slice_onset))
    fifths = _fifths(t.score, notes.onset)
    degree = (notes.pitch - 7 * fifths) % 12
    order = np.lexsort((notes.onset, t.voice))
    lane = (t.voice * (t.score.end + 64.0) + notes.onset)[order]
    leading, line = np.empty(len(pitch)), np.empty(len(pitch))
    leading[order] = window_mean((top & ~t.grace)[order].astype(np.float64), lane, 8.0)
    line[order] = window_mean(pitch[order], lane, 8.0)
    rank = _rank_in_slice(t)
    top_line = window_mean(t.highest.astype(np.float64), t.slice_onset, 4.0)
    melody_slope = np.gradient(top_line) if len(top_line) > 1 else np.zeros(1)
    columns = {
        "key_pitch": (pitch - 60) / 12,
        "pitch_of_piece": (pitch - pitch.mean()) / 12,
        "pitch_of_line": (pitch - line) / 12,
        "pitch_below_top": (highest - pitch) / 12,
        "pitch_above_bass": (pitch - lowest) / 12,
        "pitch_before": from_before / 12,
        "pitch_after": to_after / 12,
        "pitch_leap_before": np.abs(from_before) / 12,
        "pitch_leap_after": np.abs(to_after) / 12,
        "pitch_peak": ((from_before > 0) & (to_after < 0)) * 1.0,
        "pitch_trough": ((from_before < 0) & (to_after > 0)) * 1.0,
        "pitch_slope": melody_slope[slices],
        "texture_top": top * 1.0,
        "texture_bass": bass * 1.0,
        "texture_leading": leading,
        "texture_rank": rank,
        "texture_struck": np.log2(1 + struck[slices]),
        "texture_held": np.log2(1 + t.keys_held[slices]),
        "harmony_chromatic": np.isin(degree, (1, 3, 6, 8, 10)) * 1.0,
        "harmony_clash": _clash(t),
    }
    columns |= {f"harmony_degree_{k}": (degree == k) * 1.0 for k in range(12)}
    for width in PHRASE_WIDTHS:
        columns[f"pitch_around_{width:g}"] = (pitch - window_mean(pitch, notes.onset, width)) / 12
    return columns


def _rank_in_slice(t: Texture) -> Floats:
    """[N] 0 for the lowest to 1 for the highest note struck in the slice; 1 for a single note."""
    pitch = t.score.notes.pitch
    order = np.lexsort((pitch, t.slice_of))
    _, first, count = np.unique(t.slice_of[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(first, count)
    size = np.repeat(count, count)
    rank = np.empty(len(order))
    rank[order] = np.where(size > 1, place / np.maximum(size - 1, 1), 1.0)
    return rank


def _clash(t: Texture) -> Floats:
    """[N] share of the place's sounding pitch classes a semitone or tritone from the note's."""
    weights = t.pitch_classes[t.place_of]
    pitch_class = t.score.notes.pitch % 12
    rows = np.arange(len(pitch_class))
    clashing = sum(weights[rows, (pitch_class + step) % 12] for step in (1, 6, 11))
    return np.asarray(clashing / np.maximum(weights.sum(axis=1), SAME))


def _fifths(score: ParsedScore, onset: Floats) -> Ints:
    """[N] fifths of the key signature in force."""
    signs = score.key_signatures
    if not signs:
        return np.zeros(len(onset), np.int64)
    at = np.searchsorted([sign.onset for sign in signs], onset + SAME, side="right") - 1
    return np.array([sign.fifths for sign in signs], np.int64)[np.maximum(at, 0)]


def _rhythm(t: Texture, times: TimeMap) -> Columns:
    notes = t.score.notes
    before, after = t.neighbours
    length = np.maximum(notes.duration, 1 / 32)
    period = times.beat_period(notes.onset)
    to_next = np.where(after >= 0, notes.onset[after] - notes.onset, 8.0).clip(1 / 32, 8.0)
    from_last = np.where(before >= 0, notes.onset - notes.onset[before], 8.0).clip(1 / 32, 8.0)
    rest = np.where(after >= 0, notes.onset[after] - t.end, 4.0).clip(0.0, 4.0)
    rest_before = np.where(before >= 0, notes.onset - t.end[before], 4.0).clip(0.0, 4.0)
    ioi = (t.slice_end - t.slice_onset)[t.slice_of].clip(1 / 32, 8.0)
    ioi_before = np.r_[8.0, np.diff(t.slice_onset)][t.slice_of].clip(1 / 32, 8.0)
    same_next = (after >= 0) & (notes.pitch[after] == notes.pitch) & (rest < 1e-3)
    same_last = (before >= 0) & (notes.pitch[before] == notes.pitch) & (rest_before < 1e-3)
    columns = {
        "rhythm_length": np.log2(length),
        "rhythm_next": np.log2(to_next),
        "rhythm_last": np.log2(from_last),
        "rhythm_ioi": np.log2(ioi),
        "rhythm_ioi_before": np.log2(ioi_before),
        "rhythm_of_next": np.log2(np.where(after >= 0, length[after], length) / length),
        "rhythm_of_last": np.log2(np.where(before >= 0, length[before], length) / length),
        "rhythm_held": np.log2(length / ioi).clip(-1, 5),
        "rhythm_rest": rest,
        "rhythm_rests": (rest > 0.01) * 1.0,
        "rhythm_rest_before": rest_before,
        "rhythm_same_next": same_next * 1.0,
        "rhythm_same_last": same_last * 1.0,
        "rhythm_grace": t.grace * 1.0,
        "rhythm_restruck": _restruck(t),
        "tempo_length": np.log2(length * period),
        "tempo_ioi": np.log2(ioi * period),
    }
    rate = np.ones(len(notes))
    for width in PHRASE_WIDTHS:
        low = np.searchsorted(notes.onset, notes.onset - width / 2 - SAME)
        high = np.searchsorted(notes.onset, notes.onset + width / 2 + SAME)
        rate = np.log2((high - low) / width)
        columns[f"density_{width:g}"] = rate
        columns[f"density_of_piece_{width:g}"] = rate - rate.mean()
    return columns


def _restruck(t: Texture) -> Floats:
    """[N] 1 where the key is struck again, by any voice, before or as the note ends."""
    notes = t.score.notes
    order = np.lexsort((notes.onset, notes.pitch))
    one, other = order[:-1], order[1:]
    again = (notes.pitch[one] == notes.pitch[other]) & (notes.onset[other] < t.end[one] + 0.02)
    restruck = np.zeros(len(notes))
    restruck[one[again]] = 1.0
    return restruck


def _notation(t: Texture) -> Columns:
    notes, slurs = t.score.notes, t.score.slurs
    columns = {
        f"mark_{name}": np.array([not marks.isdisjoint(of) for marks in notes.marks], np.float64)
        for name, of in MARKS.items()
    }
    joined = articulation.under_slur(notes, slurs)
    covered = articulation.under_slur(notes, slurs, with_last=True)
    position, length = np.zeros(len(notes)), np.zeros(len(notes))
    for slur in slurs:
        start, end = notes.onset[slur.start], notes.onset[slur.end]
        if end > start:
            low, high = np.searchsorted(notes.onset, [start - SAME, end + SAME])
            inside = np.flatnonzero(t.voice[low:high] == t.voice[slur.start]) + low
            position[inside] = (notes.onset[inside] - start) / (end - start)
            length[inside] = np.log2(1 + end - start)
    columns["slur_joined"] = np.where(joined, 1.0, 0.0)
    columns["slur_last"] = np.where(covered & ~joined, 1.0, 0.0)
    columns["slur_first"] = np.where(covered & (position <= SAME), 1.0, 0.0)
    columns["slur_position"] = position
    columns["slur_arch"] = 4 * position * (1 - position)
    columns["slur_length"] = length
    columns["slur_any"] = np.full(len(notes), float(len(slurs) > 0))
    return columns


def _place(t: Texture) -> Columns:
    notes = t.score.notes
    starts = np.array([measure.onset for measure in t.score.measures] or [0.0])
    at = np.maximum(np.searchsorted(starts, notes.onset + SAME, side="right") - 1, 0)
    ends = np.array([measure.end for measure in t.score.measures] or [max(t.score.end, 1.0)])
    in_measure = ((notes.onset - starts[at]) / np.maximum(ends - starts, SAME)[at]).clip(0, 1)
    beat = t.beat_of_slice[t.slice_of]
    in_beat = ((notes.onset - t.beats[beat]) / np.diff(t.beats)[beat]).clip(0, 1)
    level = meter.levels(t.score, t.slice_onset)[t.slice_of]
    columns = {
        "staff_upper": (notes.staff == 1) * 1.0,
        "meter_level": level,
        "place_of_piece": notes.onset / max(t.score.end, 1.0),
    }
    for name, share in (("measure", in_measure), ("beat", in_beat)):
        columns[f"meter_{name}_sine"] = np.sin(2 * np.pi * share)
        columns[f"meter_{name}_cosine"] = np.cos(2 * np.pi * share)
    return columns


def _beat_place(t: Texture) -> Columns:
    beats = t.beats[:-1]
    count = len(beats)
    starts = np.array([measure.onset for measure in t.score.measures] or [0.0])
    on_barline = np.isin(np.round(beats, 5), np.round(starts, 5))
    measure = np.maximum(np.searchsorted(starts, beats + SAME, side="right") - 1, 0)
    signs = [meter.signature_at(t.score.time_signatures, onset) for onset in starts]
    in_measure = (
        (beats - starts[measure]) / np.array([4 * s.beats / s.beat_type for s in signs])[measure]
    ).clip(0, 1)
    index = np.arange(count)
    written_measure = np.array([m.written for m in t.score.measures] or [0])
    jump = np.r_[np.diff(written_measure) != 1, True][measure]
    _, first, number = np.unique(written_measure, return_index=True, return_inverse=True)
    repeated = (np.arange(len(number)) > first[number])[measure]
    return {
        "meter_barline": on_barline * 1.0,
        "meter_level": meter.levels(t.score, beats),
        "meter_measure_sine": np.sin(2 * np.pi * in_measure),
        "meter_measure_cosine": np.cos(2 * np.pi * in_measure),
        "meter_beat_quarters": np.log2(np.diff(t.beats)),
        "place_of_piece": index / max(count, 1),
        "place_from_start": np.exp(-index / 4),
        "place_to_end": np.exp(-(count - 1 - index) / 2),
        "place_to_end_far": np.exp(-(count - 1 - index) / 8),
        "place_from_start_far": np.exp(-index / 16),
        "place_jump": jump * 1.0,
        "place_repeated": repeated * 1.0,
        "place_of_two": (measure % 2) * 1.0,
        "place_of_four": np.cos(2 * np.pi * ((measure + in_measure) % 4) / 4),
        "place_of_four_sine": np.sin(2 * np.pi * ((measure + in_measure) % 4) / 4),
        "place_of_eight": np.cos(2 * np.pi * ((measure + in_measure) % 8) / 8),
        "place_of_eight_sine": np.sin(2 * np.pi * ((measure + in_measure) % 8) / 8),
    }


def _tempo(t: Texture, times: TimeMap) -> Columns:
    length = np.diff(t.beats)
    period = np.log2(np.diff(times.to_seconds(t.beats)) / length)
    seconds = np.log2(np.diff(times.to_seconds(t.beats)))
    columns = {
        "tempo_period": period - period.mean(),
        "tempo_seconds": seconds,
        "tempo_later": np.r_[period[1:], period[-1:]] - period,
        "tempo_earlier": np.r_[period[:1], period[:-1]] - period,
    }
    return columns | {
        f"tempo_{name}": column for name, column in written.tempo_changes(t.score, t.beats).items()
    }


def _grid(t: Texture) -> Columns:
    """What happens at each place of the beat, and how the harmony changes there."""
    notes = t.score.notes
    main = ~t.grace
    places = len(t.places) - 1
    struck = np.bincount(t.place_of[main], minlength=places).astype(np.float64)
    lowest = np.full(places, 128.0)
    np.minimum.at(lowest, t.place_of[main], notes.pitch[main])
    note, place, length = t.sounding(t.places)
    held = np.bincount(place, weights=length, minlength=places) / np.diff(t.places)
    high, low = np.zeros(places), np.full(places, 128.0)
    np.maximum.at(high, place, notes.pitch[note])
    np.minimum.at(low, place, notes.pitch[note])
    change, soon = (
        _harmonic_change(t.pitch_classes, reach) for reach in (HARMONY_PLACES, HARMONY_PLACES // 4)
    )
    bass = (lowest <= low + SAME) & (lowest < 60)
    fraction = articulation.sounding_fractions(notes, t.score.slurs)
    detached = np.bincount(t.place_of[main], weights=(fraction[main] < 1), minlength=places) / np.maximum(
        struck, 1
    )
    per_place = {
        "struck": np.log2(1 + struck),
        "held": np.log2(1 + held),
        "bass": bass * 1.0,
        "harmony": change,
        "harmony_soon": soon,
        "written": written.pedal(t.score, t.places),
    }
    columns = {}
    for name, values in per_place.items():
        for k, column in enumerate(values.reshape(-1, PEDAL_PLACES).T):
            columns[f"{'pedal' if name == 'written' else 'grid'}_{name}_{k}"] = column
    by_beat = (len(t.beats) - 1, PEDAL_PLACES)
    columns["grid_range"] = np.where(high > 0, high - low, 0).reshape(by_beat).max(axis=1) / 12
    columns["grid_low"] = np.where(low < 128, low, 60).reshape(by_beat).min(axis=1) / 12 - 5
    columns["grid_high"] = np.where(high > 0, high, 60).reshape(by_beat).max(axis=1) / 12 - 5
    columns["mark_detached"] = detached.reshape(by_beat).mean(axis=1)
    total = t.pitch_classes.reshape(len(t.beats) - 1, PEDAL_PLACES, 12).sum(axis=1)
    share = total / np.maximum(total.sum(axis=1, keepdims=True), SAME)
    degrees = (np.arange(12)[None, :] + 7 * _fifths(t.score, t.beats[:-1])[:, None]) % 12
    relative = np.take_along_axis(share, degrees, axis=1)
    columns |= {f"harmony_degree_{k}": relative[:, k] for k in range(12)}
    return columns


def _harmonic_change(weights: Floats, reach: int) -> Floats:
    """[P] one minus the cosine similarity of the pitch classes before and from each place on."""
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(weights, axis=0)])
    place = np.arange(len(weights))
    before = total[place] - total[np.maximum(place - reach, 0)]
    after = total[np.minimum(place + reach // 2, len(weights))] - total[place]
    norm = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return np.asarray(1.0 - (before * after).sum(axis=1) / np.where(norm > 0, norm, 1.0))


def _piece(t: Texture, times: TimeMap) -> Columns:
    """Constant columns."""
    notes, count = t.score.notes, len(t.beats) - 1
    per_beat = len(notes) / count
    seconds = np.median(np.diff(times.to_seconds(t.beats)))
    names = re.split(r"[^\w]+", t.score.composer.lower())
    sign = meter.signature_at(t.score.time_signatures, 0.0)
    values = {
        "density_piece": np.log2(per_beat),
        "density_slices": np.log2(len(t.slice_onset) / count),
        "tempo_piece": np.log2(seconds),
        "meter_piece_three": float(sign.beats % 3 == 0),
        "meter_piece_compound": float(meter.beat_length(sign) * sign.beat_type not in (2.0, 4.0, 8.0)),
        "slur_piece": len(t.score.slurs) / max(len(notes), 1) * 10,
        "place_length": np.log2(count),
        "pitch_piece_spread": float(notes.pitch.std()) / 12,
        "pedal_piece": float(any(mark.kind == "pedal" for mark in t.score.directions)),
        "dynamic_piece": np.log2(1 + sum(mark.kind == "dynamic" for mark in t.score.directions)),
        "composer_known": float(any(name in COMPOSERS for name in names)),
        **{f"composer_{name}": float(name in names) for name in COMPOSERS},
    }
    return {name: np.full(count, value) for name, value in values.items()}

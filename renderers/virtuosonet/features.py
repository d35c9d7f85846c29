"""The 84 columns of VirtuosoNet's input for each note.

Fact sheet of the golden vectors, section 3; Jeong et al., ISMIR 2019, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet.score import NoteScore, total_length
from renderers.virtuosonet.vocabulary import COMPOSERS
from renderers.virtuosonet.words import DYNAMIC_WIDTH, TEMPO_WIDTH, dynamic_vector, tempo_vector

NORMALISED = (
    *("midi_pitch", "duration", "beat_importance", "measure_length", "qpm_primo", "section_tempo"),
    *("following_rest", "distance_from_abs_dynamic", "distance_from_recent_tempo"),
)
"""Features that are normalised by mean and standard deviation; the others are not."""

UNNORMALISED_COPIES = ("midi_pitch", "duration", "beat_importance", "measure_length", "following_rest")
"""Features of which an unnormalised copy follows all others."""
COPY_SUFFIX = "_unnorm"

WIDTHS = {
    **dict.fromkeys(NORMALISED, 1),
    "beat_position": 1,
    "xml_position": 1,
    "grace_order": 1,
    "preceded_by_grace_note": 1,
    "followed_by_fermata_rest": 1,
    "pitch": 13,
    "tempo": TEMPO_WIDTH,
    "dynamic": DYNAMIC_WIDTH,
    "time_sig_vec": 9,
    "slur_beam_vec": 6,
    "composer_vec": len(COMPOSERS) + 1,
    "notation": 9,
    "tempo_primo": 2,
}
"""Feature -> number of columns, in the order of the published checkpoint."""

BEAT_TEMPO, VELOCITY, ONSET_DEVIATION, ARTICULATION = 0, 1, 2, 3
PEDAL_REFRESH_TIME, PEDAL_CUT_TIME, PEDAL_AT_START, PEDAL_AT_END = 4, 5, 6, 7
SOFT_PEDAL, PEDAL_REFRESH, PEDAL_CUT = 8, 9, 10
"""Columns of a performance [N, 11]."""
OUTPUT_KEYS = (
    *("beat_tempo", "velocity", "onset_deviation", "articulation"),
    *("pedal_refresh_time", "pedal_cut_time"),
    *("pedal_at_start", "pedal_at_end", "soft_pedal", "pedal_refresh", "pedal_cut"),
)
"""Names of the columns of a performance. Units: log10 of quarter notes per minute, MIDI velocity, quarter
notes, log10 of the ratio of sounding to written duration; seconds; MIDI controller values."""

NOTATIONS = (
    *("is_trill", "is_tenuto", "is_accent", "is_staccato", "is_fermata", "is_arpeggiate", "is_strong_accent"),
    *("is_cue", "is_slash"),
)
SLURS_AND_BEAMS = (
    *("is_slur_start", "is_slur_continue", "is_slur_stop"),
    *("beam_start", "beam_continue", "beam_stop"),
)
NUMERATOR_SLOTS = {2: (0,), 3: (1,), 4: (0, 2), 6: (0, 3), 9: (1, 3), 12: (0, 2, 3), 24: (0, 2, 3)}
OTHER_NUMERATOR_SLOT = 4
DENOMINATOR_SLOTS = {1: 5, 2: 5, 4: 6, 8: 7, 16: 8, 32: 8}
"""The model was trained with 2, 4, 8 and 16 (32 as 16); 1 shares the slot of 2."""
FINEST_DENOMINATOR_SLOT = 8


@dataclass(frozen=True)
class NoteFeatures:
    """Raw features of N notes: name -> [N, width] float64."""

    columns: dict[str, NDArray[np.float64]]

    def matrix(self, keys: Sequence[str]) -> NDArray[np.float64]:
        """[N, sum of widths] the features called ``keys``, and the unnormalised copies."""
        copies = [self.columns[name] for name in UNNORMALISED_COPIES]
        return np.concatenate([*(self.columns[key] for key in keys), *copies], axis=1)


def note_features(score: NoteScore, *, composer: str, qpm: float | None = None) -> NoteFeatures:
    """The features of the notes.

    ``composer``: one of ``COMPOSERS`` or any other name. ``qpm``: replaces the notated tempo of the first
    note (quarter notes per minute); notated changes keep their proportion. It changes the features only: the
    network does not necessarily play that tempo."""
    notes, marks = score.notes, score.marks
    position, divisions = score.column("position"), score.column("divisions")
    measure = np.minimum(score.column("measure_number").astype(int), len(score.measure_lengths)) - 1
    starts, lengths = np.array(score.meter.measures)[measure], np.array(score.measure_lengths)[measure]
    # A measure without length contains nothing but a <backup>.
    beat_position = np.divide(position - starts, lengths, out=np.zeros(len(notes)), where=lengths > 0)
    signatures = [score.meter.time_signature_at(note.position) for note in notes]
    section_tempo = np.log10(score.column("qpm"))
    if qpm is not None:
        section_tempo = section_tempo + (math.log10(qpm) - section_tempo[0])
    qpm_primo = np.full(len(notes), math.log10(qpm) if qpm is not None else section_tempo[0])
    dynamic_position = np.array([entry.dynamic_position for entry in marks], dtype=np.float64)
    tempo_position = np.array([entry.tempo_changed_position for entry in marks], dtype=np.float64)
    tempo = np.array([tempo_vector(entry.tempo_words) for entry in marks])
    columns = {
        "midi_pitch": score.column("pitch"),
        "duration": score.column("duration") / divisions,
        "beat_importance": np.array(
            [beat_importance(b, s.numerator) for b, s in zip(beat_position.tolist(), signatures, strict=True)]
        ),
        "measure_length": lengths / divisions,
        "qpm_primo": qpm_primo,
        "section_tempo": section_tempo,
        "following_rest": score.column("following_rest_duration") / divisions,
        "distance_from_abs_dynamic": (position - dynamic_position) / divisions,
        "distance_from_recent_tempo": (position - tempo_position) / divisions,
        "beat_position": beat_position,
        "xml_position": position / total_length(notes),
        "grace_order": score.column("grace_order"),
        "preceded_by_grace_note": score.column("preceded_by_grace"),
        "followed_by_fermata_rest": score.column("followed_by_fermata_rest"),
        "pitch": pitch_vectors(score.column("pitch").astype(int)),
        "tempo": tempo,
        "dynamic": np.array([dynamic_vector(entry.dynamic_words) for entry in marks]),
        "time_sig_vec": np.array([time_signature_vector(s.numerator, s.denominator) for s in signatures]),
        "slur_beam_vec": np.stack([score.column(name) for name in SLURS_AND_BEAMS], axis=1),
        "composer_vec": np.tile(composer_vector(composer), (len(notes), 1)),
        "notation": np.stack([score.column(name) for name in NOTATIONS], axis=1),
        "tempo_primo": np.tile(tempo[0, :2], (len(notes), 1)),
    }
    return NoteFeatures({name: values.reshape(len(notes), -1) for name, values in columns.items()})


def composer_named(text: str) -> str:
    """The composer of ``COMPOSERS`` whose name is in the text, or ""."""
    words = text.replace(",", " ").replace(".", " ").lower().split()
    return next((composer for composer in COMPOSERS if composer.lower() in words), "")


def composer_vector(composer: str) -> NDArray[np.float64]:
    """[17] one-hot; the last slot is for composers that are not in ``COMPOSERS``."""
    vector = np.zeros(len(COMPOSERS) + 1)
    vector[COMPOSERS.index(composer) if composer in COMPOSERS else -1] = 1
    return vector


def pitch_vectors(pitch: NDArray[np.int64]) -> NDArray[np.float64]:
    """[N, 13] (octave - 4) / 4 and a one-hot pitch class."""
    vectors = np.zeros((len(pitch), 13))
    vectors[:, 0] = (pitch // 12 - 1 - 4) / 4
    vectors[np.arange(len(pitch)), 1 + pitch % 12] = 1
    return vectors


@lru_cache(maxsize=256)
def time_signature_vector(numerator: int, denominator: int) -> tuple[float, ...]:
    """[9] numerator as a combination of (2, 3, 4, 6, other), denominator as one of (2, 4, 8, 16)."""
    vector = [0.0] * 9
    for slot in NUMERATOR_SLOTS.get(numerator, (OTHER_NUMERATOR_SLOT,)):
        vector[slot] = 1.0
    vector[DENOMINATOR_SLOTS.get(denominator, FINEST_DENOMINATOR_SLOT)] = 1.0
    return tuple(vector)


@lru_cache(maxsize=65536)
def beat_importance(beat_position: float, numerator: int) -> float:
    """Metrical weight, 4 (downbeat) to 0, of a position 0..1 in a measure; the first matching rule counts."""
    if beat_position == 0:
        return 4.0
    rules = (
        (beat_position == 0.5 and numerator in (2, 4, 6, 12), 3.0),
        (abs(beat_position - 1 / 3) < 0.001 and numerator in (3, 9), 2.0),
        (beat_position * 4 % 1 == 0 and numerator in (2, 4), 1.0),
        (beat_position * 5 % 1 == 0 and numerator == 5, 2.0),
        (beat_position * 6 % 1 == 0 and numerator in (3, 6, 12), 1.0),
        (beat_position * 8 % 1 == 0 and numerator in (2, 4), 0.5),
        (beat_position * 9 % 1 == 0 and numerator == 9, 1.0),
        (beat_position * 12 % 1 == 0 and numerator in (3, 6, 12), 0.5),
        (numerator == 7 and abs(beat_position * 7 - 2) < 0.001, 2.0),
        (numerator == 7 and abs(beat_position * 5 - 2) < 0.001, 2.0),
    )
    return next((weight for applies, weight in rules if applies), 0.0)

"""Quantities k of all rules: how much of each rule goes into a performance.

A name is "<group>_<rule>"; the groups are loudness, tempo, touch (the rules for articulation) and pedal.
``tools/tune_kth.py`` fitted the quantities to the train split of the (n)ASAP corpus; those of the pedal were
chosen on its validation split (method: docs/reference/kth-rules.md). Melody lead, asynchrony and noise come
from the literature (see the rules), because the measures of expression do not capture them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Quantities = Mapping[str, float]

_TABLE: Mapping[str, tuple[float, float, float, float]] = {
    #                               neutral  baroque classical romantic
    "loudness_overall":           (  65.7,   64.5,   67.7,   65.3),
    "loudness_score_dynamics":    ( 0.409,  0.461,  0.456,  0.378),
    "loudness_score_accents":     (  1.23,      0,   1.26,   1.17),
    "loudness_high_loud":         ( 0.267,  0.358,  0.258,  0.204),
    "loudness_melody_high_loud":  ( 0.204,  0.216,   0.27,  0.141),
    "loudness_melody":            ( 0.878,  0.773,   1.03,  0.987),
    "loudness_upper_hand":        ( 0.198,  0.192,   0.22,  0.134),
    "loudness_bass":              ( 0.049,  0.104,  0.351,      0),
    "loudness_thick_chords":      (  1.11,  0.727,   1.45,  0.979),
    "loudness_density":           (   1.7,   1.27,   1.77,   1.94),
    "loudness_wide_range":        (  1.39,   1.36,   1.38,   1.51),
    "loudness_duration_contrast": (     0,      0,      0,      0),
    "loudness_melodic_charge":    ( 0.345,  0.266,  0.468,  0.388),
    "loudness_harmonic_charge":   ( 0.113, 0.0582,  0.158,  0.172),
    "loudness_phrase_arch":       (0.0903, 0.0602,  0.132,  0.122),
    "loudness_subphrase_arch":    ( 0.279,  0.291,  0.264,  0.247),
    "loudness_punctuation":       ( 0.286,  0.299,   0.57,      0),
    "loudness_metrical_accent":   ( 0.485,  0.211,  0.554,   1.03),
    "loudness_staccato":          (  2.42,   3.75,   2.65,   1.84),
    "loudness_growth":            (  1.41,   1.96,  0.869,  0.936),
    "tempo_final_ritard":         (   1.3,   1.43,   0.91,   1.01),
    "tempo_last_beats":           (  2.21,   2.36,   1.36,   2.48),
    "tempo_duration_contrast":    ( 0.572,  0.559,  0.571,   0.45),
    "tempo_held_notes":           (  1.44,   1.74,   1.41,   1.23),
    "tempo_double_duration":      (     0, 0.0153, 0.0216,      0),
    "tempo_melodic_charge":       (0.0398,      0,  0.258,      0),
    "tempo_harmonic_charge":      (     0,      0,      0,      0),
    "tempo_phrase_arch":          (0.0402,      0, 0.0686,  0.351),
    "tempo_subphrase_arch":       ( 0.155, 0.0828, 0.0982,  0.398),
    "tempo_gesture_arch":         ( 0.897,  0.663,  0.859,   1.02),
    "tempo_punctuation":          (     0,      0,      0,  0.424),
    "tempo_phrase_start":         ( 0.485,  0.451,  0.391,  0.796),
    "tempo_phrase_end":           ( 0.454,  0.389,  0.396,  0.699),
    "tempo_legato_flow":          ( 0.985,  0.774,  0.815,   1.34),
    "tempo_leap_time":            (  1.15,  0.643,   1.31,   1.73),
    "tempo_deep_bass":            ( 0.855,  0.781,  0.714,   1.35),
    "tempo_agogic_accent":        (  1.74,      0,    1.5,   2.69),
    "tempo_thick_chords":         (  1.87,   1.98,   1.89,   1.54),
    "touch_overall":              (-0.393, -0.345, -0.486, -0.361),
    "touch_score_staccato":       ( 0.462,  0.155,  0.493,  0.401),
    "touch_score_legato":         (  1.07,   1.19,   1.19,  0.881),
    "touch_short_notes":          (   3.1,   3.11,   2.87,   3.61),
    "touch_repetition":           ( 0.986,    1.1,   1.13,  0.736),
    "touch_repeated_note":        (   1.5,   1.68,   1.33,   1.53),
    "touch_punctuation":          ( 0.697,  0.875,  0.717,   0.55),
    "touch_slur_end":             ( 0.669,  0.696,  0.673,  0.664),
    "touch_leap":                 ( 0.803,  0.576,  0.823,  0.951),
    "touch_accompaniment_leap":   ( 0.294,  0.222,  0.039,  0.467),
    "touch_chords":               (  3.86,   2.58,   3.94,   3.89),
    "touch_melody":               ( 0.835,  0.812,  0.684,   1.27),
    "touch_busy":                 (  1.38,   1.13,   1.15,    1.9),
    "touch_metrical":             (  1.21,   1.14,   1.36,    1.3),
    "pedal_depth":                (   0.8,   0.35,    0.8,      1),
    "pedal_wide":                 ( 0.225,  0.225,  0.225,  0.225),
    "pedal_staccato":             (   1.2,    1.2,    1.2,    1.2),
    "pedal_rests":                ( 0.525,  0.525,  0.525,  0.525),
    "pedal_slow":                 (  0.12,   0.12,   0.12,   0.12),
    "pedal_harmony":              (   0.8,    0.8,    0.8,    0.8),
    "pedal_bass":                 (   0.2,    0.2,    0.2,    0.2),
    "pedal_barline":              (   0.4,    0.4,    0.4,    0.4),
    "melody_lead":                (     1,      1,      1,      1),
    "chord_asynchrony":           (     1,      1,      1,      1),
    "swing":                      (     0,      0,      0,      0),
    "noise_clock":                (     1,      1,      1,      1),
    "noise_motor":                (     1,      1,      1,      1),
    "noise_touch":                (     1,      1,      1,      1),
}  # fmt: skip


def _column(index: int) -> Quantities:
    return MappingProxyType({name: row[index] for name, row in _TABLE.items()})


NEUTRAL = _column(0)
"""Fitted to all pieces of the corpus."""

AS_WRITTEN = ("loudness_overall", "loudness_score_dynamics", "loudness_score_accents")
"""What stands in the score, not in the performance style."""

PALETTES: Mapping[str, Quantities] = MappingProxyType(
    {
        "neutral": NEUTRAL,
        "baroque": _column(1),
        "classical": _column(2),
        "romantic": _column(3),
        "deadpan": MappingProxyType(
            dict.fromkeys(NEUTRAL, 0.0)
            | {name: NEUTRAL[name] for name in AS_WRITTEN}
            | {"touch_score_staccato": 1.0}
        ),
    }
)
"""baroque is fitted to Bach, classical to Haydn, Mozart and Beethoven, romantic to all later composers;
deadpan has the marks of the score only, so that options can add single rules."""

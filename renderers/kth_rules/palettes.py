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
    "loudness_high_loud":         ( 0.347,  0.465,  0.335,  0.265),
    "loudness_melody_high_loud":  ( 0.265,  0.281,  0.351,  0.183),
    "loudness_melody":            (  1.14,      1,   1.34,   1.28),
    "loudness_upper_hand":        ( 0.257,   0.25,  0.286,  0.174),
    "loudness_bass":              (0.0637,  0.135,  0.456,      0),
    "loudness_thick_chords":      (  1.44,  0.945,   1.89,   1.27),
    "loudness_density":           (  2.21,   1.65,    2.3,   2.52),
    "loudness_wide_range":        (  1.81,   1.77,   1.79,   1.96),
    "loudness_duration_contrast": (     0,      0,      0,      0),
    "loudness_melodic_charge":    ( 0.448,  0.346,  0.608,  0.504),
    "loudness_harmonic_charge":   ( 0.147, 0.0757,  0.205,  0.224),
    "loudness_phrase_arch":       ( 0.117, 0.0783,  0.172,  0.159),
    "loudness_subphrase_arch":    ( 0.363,  0.378,  0.343,  0.321),
    "loudness_punctuation":       ( 0.372,  0.389,  0.741,      0),
    "loudness_metrical_accent":   (  0.63,  0.274,   0.72,   1.34),
    "loudness_staccato":          (  3.15,   4.88,   3.44,   2.39),
    "loudness_growth":            (  1.83,   2.55,   1.13,   1.22),
    "tempo_final_ritard":         (   1.3,   1.43,   0.91,   1.01),
    "tempo_last_beats":           (  2.21,   2.36,   1.36,   2.48),
    "tempo_duration_contrast":    ( 0.686,  0.671,  0.685,   0.54),
    "tempo_held_notes":           (  1.73,   2.09,   1.69,   1.48),
    "tempo_double_duration":      (     0, 0.0184, 0.0259,      0),
    "tempo_melodic_charge":       (0.0478,      0,   0.31,      0),
    "tempo_harmonic_charge":      (     0,      0,      0,      0),
    "tempo_phrase_arch":          (0.0482,      0, 0.0823,  0.421),
    "tempo_subphrase_arch":       ( 0.186, 0.0994,  0.118,  0.478),
    "tempo_gesture_arch":         (  1.08,  0.796,   1.03,   1.22),
    "tempo_punctuation":          (     0,      0,      0,  0.509),
    "tempo_phrase_start":         ( 0.582,  0.541,  0.469,  0.955),
    "tempo_phrase_end":           ( 0.545,  0.467,  0.475,  0.839),
    "tempo_legato_flow":          (  1.18,  0.929,  0.978,   1.61),
    "tempo_leap_time":            (  1.38,  0.772,   1.57,   2.08),
    "tempo_deep_bass":            (  1.03,  0.937,  0.857,   1.62),
    "tempo_agogic_accent":        (  2.09,      0,    1.8,   3.23),
    "tempo_thick_chords":         (  2.24,   2.38,   2.27,   1.85),
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

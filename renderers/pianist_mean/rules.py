"""What the KTH rules say about a score, as columns: phrases, harmony, and the performance by the rules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from renderers.expression import PEDAL_PLACES
from renderers.kth_rules import articulation, loudness, palettes, pedal, timing
from renderers.kth_rules.analysis import Floats, ScoreAnalysis
from renderers.kth_rules.rendering import group, summed
from renderers.tempo import TimeMap
from score_to_audio.types import ParsedScore

QUANTITIES = palettes.NEUTRAL

PHRASE, SUBPHRASE = 10.0, 2.5
"""Seconds."""


def columns(score: ParsedScore, times: TimeMap) -> tuple[Mapping[str, Floats], Mapping[str, Floats]]:
    """Columns [N] of the notes and [B] of the beats; ``times``: the score as written."""
    analysis = ScoreAnalysis(score, times)
    arches = {
        name: analysis.arch(seconds, analysis.notes.onset)
        for name, seconds in (("phrase", PHRASE), ("subphrase", SUBPHRASE))
    }
    touch = group(QUANTITIES, "touch")
    loudness_of_rules = summed(loudness.RULES, analysis, group(QUANTITIES, "loudness"), len(analysis.notes))
    notes = {
        "rules_loudness": loudness_of_rules - loudness_of_rules.mean(),
        "rules_articulation": summed(articulation.RULES, analysis, touch, len(analysis.notes)),
        "rules_melodic_charge": analysis.melodic_charge,
        "rules_tension": analysis.harmonic_tension[analysis.slice_of],
        "rules_boundary": analysis.boundary_after[analysis.slice_of],
        "rules_boundary_before": np.r_[1.0, analysis.boundary_after[:-1]][analysis.slice_of],
        **{f"rules_{name}": arch for name, arch in arches.items()},
    }
    return notes, _beat_columns(analysis)


def _beat_columns(analysis: ScoreAnalysis) -> Mapping[str, Floats]:
    slices = len(analysis.slice_onset)
    change = summed(timing.RULES, analysis, group(QUANTITIES, "tempo"), slices)
    change = timing.ending_limited(analysis, change.clip(-1, 1))
    middle = (analysis.beats[1:] + analysis.beats[:-1]) / 2
    foot = group(QUANTITIES, "pedal")
    controls = pedal.pedal(
        analysis, analysis.times, foot, float(analysis.times.to_seconds(analysis.beats[-1]))
    )
    share = (np.arange(PEDAL_PLACES) + 0.5) / PEDAL_PLACES
    places = analysis.beats[:-1, None] + np.diff(analysis.beats)[:, None] * share
    held = np.searchsorted(controls.time, analysis.times.to_seconds(places), side="right")
    depth = np.r_[0.0, controls.value / 127.0][held]
    return {
        "rules_period": analysis.of_beats(change),
        "rules_boundary": analysis.beat_boundary,
        "rules_boundary_before": np.r_[1.0, analysis.beat_boundary[:-1]],
        "rules_tension": analysis.of_beats(analysis.harmonic_tension),
        "rules_phrase": analysis.arch(PHRASE, middle),
        "rules_subphrase": analysis.arch(SUBPHRASE, middle),
        "rules_new_bass": analysis.new_bass * 1.0,
        **{f"rules_pedal_{k}": depth[:, k] for k in range(PEDAL_PLACES)},
    }

"""Renders a score by rules: the written score, shaped by the sum of what each rule adds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from renderers import keyboard, ornaments, score_playback, tempo
from renderers.kth_rules import articulation, asynchrony, loudness, noise, palettes, pedal, timing
from renderers.kth_rules.analysis import Floats, Rule, ScoreAnalysis
from renderers.kth_rules.palettes import Quantities
from renderers.tempo import TimeMap
from renderers.voices import is_grace
from score_to_audio.seeding import numpy_generator
from score_to_audio.types import ParsedScore, Performance

VELOCITY_PER_DB = 3.0
"""MIDI velocity per dB: about the slope of a computer-controlled grand between velocities 30 and 100 (Goebl &
Bresin 2003, JASA 114(4))."""

FURTHEST_TEMPO = 1.0
"""ln of the largest factor by which the rules together may lengthen or shorten a slice."""

SHORTEST_ARTICULATION, LONGEST_ARTICULATION = -3.0, 0.6
"""log2 of the shortest and longest part of its written value that a key is held."""

LAST_RELEASE = 0.3
"""Seconds for which the pedal is held after the last key."""


def render(
    score: ParsedScore,
    quantities: Quantities = palettes.NEUTRAL,
    *,
    seed: int = 0,
    default_tempo: float = tempo.DEFAULT_TEMPO,
    speed: float = 1.0,
    upper_start: bool | None = None,
) -> Performance:
    """A performance of the score by the rules.

    ``quantities``: k of every rule (see ``palettes``); ``seed``: of the noise; ``default_tempo``: quarter
    notes per minute where no tempo is written; ``speed`` multiplies every tempo; ``upper_start``: trills
    begin with the upper note (None: depends on the composer). Every performed note has the id of its score
    note."""
    if is_grace(score.notes).all():
        return score_playback.render(score, default_tempo=default_tempo, speed=speed, upper_start=upper_start)
    generator = numpy_generator(seed)
    analysis = ScoreAnalysis(score, tempo.time_map(score, default_tempo=default_tempo, speed=speed))
    times = shaped_time(analysis, quantities, generator)
    notes = score.notes
    start, end = times.to_seconds(notes.onset), times.to_seconds(analysis.note_end)
    shift = onset_shifts(analysis, quantities, generator)
    plain = keyboard.TimedNotes(
        source=np.arange(len(notes)),
        onset=start + shift,
        offset=start + shift + (end - start) * 2.0 ** articulations(analysis, quantities),
        pitch=notes.pitch,
        velocity=velocities(analysis, quantities, generator),
    )
    timed = ornaments.realise(score, plain, upper_start=upper_start)
    last = float(timed.offset.max()) + LAST_RELEASE
    controls = pedal.pedal(analysis, times, group(quantities, "pedal"), last)
    return keyboard.to_performance(timed, notes.id, controls)


def group(quantities: Quantities, name: str) -> dict[str, float]:
    """The quantities of a group of rules, without the group's name."""
    start = f"{name}_"
    return {key.removeprefix(start): k for key, k in quantities.items() if key.startswith(start)}


def summed(rules: Mapping[str, Rule], analysis: ScoreAnalysis, quantities: Quantities, size: int) -> Floats:
    """[size] the sum of the rules' effects; rules with k = 0 are not computed."""
    total = np.zeros(size)
    for name, rule in rules.items():
        if k := quantities[name]:
            total = total + rule(analysis, k)
    return total


def shaped_time(analysis: ScoreAnalysis, quantities: Quantities, generator: np.random.Generator) -> TimeMap:
    """The written time with every slice lengthened or shortened; the length of the piece does not change."""
    change = summed(timing.RULES, analysis, group(quantities, "tempo"), len(analysis.slice_onset))
    change = change + noise.clock_noise(analysis, generator, quantities["noise_clock"])
    change = timing.ending_limited(analysis, np.clip(change, -FURTHEST_TEMPO, FURTHEST_TEMPO))
    change = change + timing.swing(analysis, quantities["swing"])
    factor = np.exp(change)
    seconds = analysis.slice_seconds
    factor *= seconds.sum() / (factor * seconds).sum()
    positions = np.r_[analysis.slice_onset, analysis.slice_end[-1]]
    return analysis.times.scaled(positions, factor)


def onset_shifts(analysis: ScoreAnalysis, quantities: Quantities, generator: np.random.Generator) -> Floats:
    """[N] seconds that are added to the onsets of the shaped time."""
    return (
        asynchrony.melody_lead(analysis, quantities["melody_lead"])
        + asynchrony.chord_asynchrony(analysis, generator, quantities["chord_asynchrony"])
        + noise.motor_noise(analysis, generator, quantities["noise_motor"])
    )


def articulations(analysis: ScoreAnalysis, quantities: Quantities) -> Floats:
    """[N] log2 of the part of its written value that each key is held."""
    rules = group(quantities, "touch")
    total = rules["overall"] + summed(articulation.RULES, analysis, rules, len(analysis.notes))
    total = np.where(articulation.held_out(analysis), np.maximum(total, 0.0), total)
    return np.clip(total, SHORTEST_ARTICULATION, LONGEST_ARTICULATION)


def velocities(analysis: ScoreAnalysis, quantities: Quantities, generator: np.random.Generator) -> Floats:
    """[N] MIDI velocity, not rounded.

    ``loudness_overall`` is the mean at mf; only written dynamics change the mean of the piece.
    """
    rules = group(quantities, "loudness")
    written = loudness.score_dynamics(analysis, rules["score_dynamics"])
    others = {name: rule for name, rule in loudness.RULES.items() if name != "score_dynamics"}
    shape = summed(others, analysis, rules, len(analysis.notes))
    shape = shape - shape.mean() + noise.loudness_noise(analysis, generator, quantities["noise_touch"])
    return rules["overall"] + VELOCITY_PER_DB * (written + shape)

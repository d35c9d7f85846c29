"""Plays a score by rules: what is written, shaped by the sum of what each rule adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from renderers import ornaments, playing, score_playback, tempo
from renderers.kth_rules import loudness, noise, palettes, pedal, timing, together, touch
from renderers.kth_rules.reading import Floats, Reading
from renderers.tempo import TimeMap
from renderers.voices import is_grace
from score_to_audio.types import ParsedScore, Performance

VELOCITY_PER_DB = 3.0
"""MIDI velocity per dB: about the slope of a computer-controlled grand between velocities 30 and 100 (Goebl &
Bresin 2003, JASA 114(4))."""

FURTHEST_TEMPO = 1.0
"""ln of the largest factor by which the rules together may lengthen or shorten a slice."""

SHORTEST_TOUCH, LONGEST_TOUCH = -3.0, 0.6
"""log2 of the shortest and longest part of its written value that a key is held."""

LAST_RELEASE = 0.3
"""Seconds that the pedal outlasts the last key."""

Quantities = Mapping[str, float]
Rules = Mapping[str, Callable[[Reading, float], Floats]]


def play(
    score: ParsedScore,
    quantities: Quantities = palettes.NEUTRAL,
    *,
    seed: int = 0,
    default_tempo: float = tempo.DEFAULT_TEMPO,
    speed: float = 1.0,
    upper_start: bool | None = None,
) -> Performance:
    """The score in the performance of the rules.

    ``quantities``: k of every rule (see ``palettes``); ``seed``: of the noise; ``default_tempo``: quarter
    notes per minute where no tempo is written; ``speed`` multiplies every tempo; ``upper_start``: trills
    begin with the upper note (None: as in the composer's time). Every performed note bears the id of the
    score note behind it.
    """
    if is_grace(score.notes).all():
        return score_playback.play(score, default_tempo=default_tempo, speed=speed, upper_start=upper_start)
    generator = np.random.default_rng(seed)
    reading = Reading(score, tempo.time_map(score, default_tempo=default_tempo, speed=speed))
    times = shaped_time(reading, quantities, generator)
    notes = score.notes
    start, end = times.to_seconds(notes.onset), times.to_seconds(reading.note_end)
    shift = onset_shifts(reading, quantities, generator)
    plain = playing.Played(
        source=np.arange(len(notes)),
        onset=start + shift,
        offset=start + shift + (end - start) * 2.0 ** touches(reading, quantities),
        pitch=notes.pitch,
        velocity=velocities(reading, quantities, generator),
    )
    if upper_start is None:
        upper_start = ornaments.begins_on_upper_note(score.composer)
    played = ornaments.realise(notes, score.key_signatures, plain, upper_start=upper_start)
    last = float(played.offset.max()) + LAST_RELEASE
    controls = pedal.pedal(reading, times, group(quantities, "pedal"), last)
    return playing.performance(played, notes.id, controls)


def group(quantities: Quantities, name: str) -> dict[str, float]:
    """The quantities whose names begin with ``name`` and an underscore, without that beginning."""
    start = f"{name}_"
    return {key.removeprefix(start): k for key, k in quantities.items() if key.startswith(start)}


def summed(rules: Rules, reading: Reading, quantities: Quantities, size: int) -> Floats:
    """What the rules add together; those with k = 0 are not computed."""
    total = np.zeros(size)
    for name, rule in rules.items():
        if k := quantities[name]:
            total = total + rule(reading, k)
    return total


def shaped_time(reading: Reading, quantities: Quantities, generator: np.random.Generator) -> TimeMap:
    """The written time with every slice lengthened or shortened; the piece as a whole keeps its length."""
    change = summed(timing.RULES, reading, group(quantities, "tempo"), len(reading.slice_onset))
    change = change + noise.clock_noise(reading, generator, quantities["noise_clock"])
    change = np.clip(change, -FURTHEST_TEMPO, FURTHEST_TEMPO) + together.swing(reading, quantities["swing"])
    factor = np.exp(change)
    seconds = reading.slice_seconds
    factor *= seconds.sum() / (factor * seconds).sum()
    positions = np.r_[reading.slice_onset, reading.slice_end[-1]]
    return reading.times.scaled(positions, factor)


def onset_shifts(reading: Reading, quantities: Quantities, generator: np.random.Generator) -> Floats:
    """[N] seconds that are added to the onsets of the shaped time."""
    return (
        together.melody_lead(reading, quantities["melody_lead"])
        + together.chord_asynchrony(reading, generator, quantities["chord_asynchrony"])
        + noise.motor_noise(reading, generator, quantities["noise_motor"])
    )


def touches(reading: Reading, quantities: Quantities) -> Floats:
    """[N] log2 of the part of its written value that each key is held."""
    rules = group(quantities, "touch")
    total = rules["overall"] + summed(touch.RULES, reading, rules, len(reading.notes))
    return np.clip(total, SHORTEST_TOUCH, LONGEST_TOUCH)


def velocities(reading: Reading, quantities: Quantities, generator: np.random.Generator) -> Floats:
    """[N] MIDI velocity, not rounded.

    ``loudness_overall`` is the mean at mf; only the written dynamics move the mean of the piece.
    """
    rules = group(quantities, "loudness")
    written = loudness.score_dynamics(reading, rules["score_dynamics"])
    others = {name: rule for name, rule in loudness.RULES.items() if name != "score_dynamics"}
    shape = summed(others, reading, rules, len(reading.notes))
    shape = shape - shape.mean() + noise.touch_noise(reading, generator, quantities["noise_touch"])
    return rules["overall"] + VELOCITY_PER_DB * (written + shape)

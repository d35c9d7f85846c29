"""A score as the network learnt to read it: the notes of a MIDI file that MuseScore exports."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from renderers import articulation, dynamics, ornaments
from renderers.keyboard import TimedNotes
from renderers.pianist_transformer.midi import MidiMusic
from renderers.pianist_transformer.tokens import Ints, Notes, Pedal, milliseconds, one_stroke_at_a_time
from renderers.tempo import TimeMap, time_map
from score_to_audio.formats.midi_events import DEFAULT_TEMPO
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, ParsedScore

VELOCITIES = (16, 33, 49, 64, 80, 96, 112, 126)
"""Of ppp to fff."""
TICKS_PER_QUARTER = 480
"""Notes end one tick before their written end."""


def score_notes(
    score: ParsedScore, tempo_scale: float, played: MidiMusic | None = None
) -> tuple[Notes, Pedal]:
    """Notes in the piano's range and pedal of a score; ``source`` is the index of the score's note.

    ``tempo_scale`` multiplies all tempi. ``played``: the MIDI file that the score was read from, whose
    velocities, releases and pedal are then kept.
    """
    times = time_map(score, default_tempo=DEFAULT_TEMPO, speed=tempo_scale)
    timed = _written(score, times)
    pedal = _written_pedal(score, times)
    if played is not None:
        timed, pedal = _as_played(timed, score, times, played), _played_pedal(times, played)
    lead = max(0.0, -float(timed.onset.min(initial=0.0)))
    start, end = milliseconds(timed.onset + lead), milliseconds(timed.offset + lead)
    notes = Notes(
        start=start,
        end=np.maximum(end, start + 1),
        pitch=timed.pitch,
        velocity=np.clip(np.rint(timed.velocity), 1, 127).astype(np.int64),
        source=timed.source,
    )
    playable = (notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH)
    seconds, value = pedal
    return one_stroke_at_a_time(notes.take(playable)), Pedal(milliseconds(seconds + lead), value)


def matches(score: ParsedScore, music: MidiMusic) -> Ints:
    """[N] for each note of a MIDI file the index of the score's note that was read from it, else -1."""
    waiting: dict[tuple[int, int], deque[int]] = defaultdict(deque)
    ticks = np.rint(score.notes.onset * music.ticks_per_beat).astype(np.int64)
    for index, key in enumerate(zip(ticks.tolist(), score.notes.pitch.tolist(), strict=True)):
        waiting[key].append(index)
    keys = zip(music.notes.start.tolist(), music.notes.pitch.tolist(), strict=True)
    return np.array([waiting[key].popleft() if waiting[key] else -1 for key in keys], np.int64)


Events = tuple[NDArray[np.float64], Ints]
"""Seconds and values, sorted by time."""


def _written(score: ParsedScore, times: TimeMap) -> TimedNotes:
    notes = score.notes
    sounding = notes.duration * articulation.sounding_fractions(notes, score.slurs)
    released = notes.onset + np.maximum(sounding - 1 / TICKS_PER_QUARTER, 0)
    plain = TimedNotes(
        source=np.arange(len(notes)),
        onset=times.to_seconds(notes.onset),
        offset=times.to_seconds(released),
        pitch=notes.pitch,
        velocity=np.interp(dynamics.note_levels(score), np.arange(len(VELOCITIES)), VELOCITIES),
    )
    return ornaments.realise(score, plain, upper_start=None)


def _written_pedal(score: ParsedScore, times: TimeMap) -> Events:
    events = sorted(
        event
        for mark in score.directions
        if mark.kind == "pedal" and mark.text == "sustain" and mark.end > mark.onset
        for event in ((mark.onset, 127), (mark.end, 0))
    )
    quarters, value = np.array(events).reshape(-1, 2).T
    return times.to_seconds(quarters), value.astype(np.int64)


def _as_played(timed: TimedNotes, score: ParsedScore, times: TimeMap, music: MidiMusic) -> TimedNotes:
    source = matches(score, music)
    found = source >= 0
    velocity, offset = np.full(len(score.notes), np.nan), np.full(len(score.notes), np.nan)
    velocity[source[found]] = music.notes.velocity[found]
    offset[source[found]] = times.to_seconds(music.notes.end[found] / music.ticks_per_beat)
    # A note that is never released in the file keeps its written end.
    velocity, offset = velocity[timed.source], offset[timed.source]
    return replace(
        timed,
        velocity=np.where(np.isnan(velocity), timed.velocity, velocity),
        offset=np.where(np.isnan(offset), timed.offset, offset),
    )


def _played_pedal(times: TimeMap, music: MidiMusic) -> Events:
    """All of the file's, also of tracks without notes."""
    tick = np.concatenate([music.pedal.time, music.stray_pedal.time])
    value = np.concatenate([music.pedal.value, music.stray_pedal.value])
    order = np.argsort(tick, kind="stable")
    return times.to_seconds(tick[order] / music.ticks_per_beat), value[order]

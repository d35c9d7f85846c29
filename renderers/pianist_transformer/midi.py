"""The notes, pedal and time of a MIDI file, as the published program groups them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from renderers.pianist_transformer.tokens import Ints, Notes, Pedal, milliseconds, one_stroke_at_a_time
from score_to_audio.formats.midi_events import (
    CONTROL_CHANGE,
    DEFAULT_TEMPO,
    KEY_SIGNATURE,
    META,
    NOTE_OFF,
    NOTE_ON,
    PERCUSSION_CHANNEL,
    PROGRAM_CHANGE,
    TEMPO,
    TIME_SIGNATURE,
    Event,
    read_midi_file,
)
from score_to_audio.types import SUSTAIN


@dataclass(frozen=True)
class MidiMusic:
    """What a MIDI file plays, without percussion; times are ticks."""

    ticks_per_beat: int
    notes: Notes
    """Group by group (program, channel and track), in the order of their ends."""
    pedal: Pedal
    """Of the groups, in their order: not sorted by time."""
    stray_pedal: Pedal
    """Of tracks and channels without notes, and after a change to a program without notes."""
    tempi: tuple[tuple[int, float], ...]
    """(tick, beats per minute), sorted, the first at 0."""
    time_signatures: tuple[tuple[int, int, int], ...]
    """(tick, numerator, denominator)."""
    key_signatures: tuple[tuple[int, bytes], ...]
    """(tick, content of the MIDI event)."""

    def seconds(self, tick: Ints) -> NDArray[np.float64]:
        starts = np.array([start for start, _ in self.tempi])
        per_tick = np.array([60 / bpm / self.ticks_per_beat for _, bpm in self.tempi])
        begun = np.concatenate([[0.0], np.cumsum(per_tick[:-1] * np.diff(starts))])
        segment = np.searchsorted(starts, tick, side="right") - 1
        return np.asarray(begun[segment] + per_tick[segment] * (tick - starts[segment]))


PedalEvents = list[tuple[int, int]]
"""(tick, value)."""


@dataclass(frozen=True)
class _Group:
    pedal: PedalEvents
    notes: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(start, end, pitch, velocity)."""


def read_midi(content: bytes) -> MidiMusic:
    """Raises ``ValueError`` for bytes that are no MIDI file with ticks per quarter note."""
    file = read_midi_file(content)
    if not 0 < file.division < 0x8000:
        raise ValueError("it counts time in video frames")
    groups: list[_Group] = []
    strays: list[PedalEvents] = []
    for track in file.tracks:
        found, waiting = _read_track(track)
        groups += found
        strays += [events for events in waiting if not any(events is group.pedal for group in found)]
    meta = [event for track in file.tracks for event in track if event.status == META]
    return MidiMusic(
        ticks_per_beat=file.division,
        notes=_columns([note for group in groups for note in group.notes]),
        pedal=_pedal([event for group in groups for event in group.pedal]),
        stray_pedal=_pedal([event for events in strays for event in events]),
        tempi=_tempi(meta),
        time_signatures=tuple(
            (event.tick, event.data[1], 2 ** event.data[2])
            for event in meta
            if event.data[0] == TIME_SIGNATURE
        ),
        key_signatures=tuple(
            (event.tick, event.data[1:]) for event in meta if event.data[0] == KEY_SIGNATURE
        ),
    )


def _columns(notes: Sequence[tuple[int, int, int, int]]) -> Notes:
    start, end, pitch, velocity = np.array(notes, np.int64).reshape(-1, 4).T
    return Notes(start, end, pitch, velocity, np.arange(len(notes)))


def _pedal(events: Sequence[tuple[int, int]]) -> Pedal:
    time, value = np.array(events, np.int64).reshape(-1, 2).T
    return Pedal(time, value)


def _read_track(track: Sequence[Event]) -> tuple[list[_Group], list[PedalEvents]]:
    """The groups of a track, and the pedal events that waited for a group of their channel."""
    groups: dict[tuple[int, int], _Group] = {}
    waiting: dict[int, PedalEvents] = {}
    sounding: dict[tuple[int, int], deque[tuple[int, int]]] = defaultdict(deque)
    programs: dict[int, int] = defaultdict(int)
    for tick, status, data in track:
        kind, channel = status & 0xF0, status & 0x0F
        if status == META or channel == PERCUSSION_CHANNEL:
            continue
        group = programs[channel], channel
        if kind == PROGRAM_CHANGE:
            programs[channel] = data[0]
        elif kind == NOTE_ON and data[1]:
            sounding[channel, data[0]].append((tick, data[1]))
        elif kind in (NOTE_ON, NOTE_OFF) and sounding[channel, data[0]]:
            start, velocity = sounding[channel, data[0]].popleft()
            if group not in groups:
                groups[group] = _Group(waiting.get(channel, []))
            groups[group].notes.append((start, tick, data[0], velocity))
        elif kind == CONTROL_CHANGE and data[0] == SUSTAIN:
            events = groups[group].pedal if group in groups else waiting.setdefault(channel, [])
            events.append((tick, data[1]))
    return list(groups.values()), list(waiting.values())


def _tempi(meta: Sequence[Event]) -> tuple[tuple[int, float], ...]:
    tempi = [(0, DEFAULT_TEMPO)]
    for event in meta:
        if event.data[0] != TEMPO:
            continue
        bpm = 60 * 1e6 / int.from_bytes(event.data[1:])
        if event.tick == 0:
            tempi = [(0, bpm)]
        elif bpm != tempi[-1][1]:
            tempi.append((event.tick, bpm))
    return tuple(sorted(tempi, key=lambda tempo: tempo[0]))


def in_milliseconds(music: MidiMusic) -> tuple[Notes, Pedal]:
    """The notes, without overlaps of one pitch, and the pedal of the groups, both sorted."""
    start, end = (milliseconds(music.seconds(tick)) for tick in (music.notes.start, music.notes.end))
    notes = replace(music.notes, start=start, end=np.maximum(end, start + 1))
    time = milliseconds(music.seconds(music.pedal.time))
    order = np.argsort(time, kind="stable")
    return one_stroke_at_a_time(notes), Pedal(time[order], music.pedal.value[order])

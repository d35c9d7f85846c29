"""MIDI file that holds a score -> written score.

A MIDI file tells times in ticks of a quarter note, so that a file written by a notation program is exact
as it is: nothing is quantised, except that key releases shortly before a grid point (programs release
keys early) are moved there. A recorded performance has no score in it; it is read all the same, and a
notice says that its onsets lie on no grid.
"""

from __future__ import annotations

import bisect
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from score_to_audio.errors import InputError
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
    TRACK_NAME,
    Event,
    MidiFile,
    read_midi_file,
)
from score_to_audio.formats.scores.partitura_bridge import spell
from score_to_audio.formats.scores.written import (
    Place,
    WrittenDirection,
    WrittenMeasure,
    WrittenNote,
    WrittenScore,
)
from score_to_audio.types import SUSTAIN
from score_to_audio.wording import counted

MAX_MIDI_BYTES = 4 * 2**20
"""Largest MIDI file read as a score: about a million events."""
MAX_QUARTERS = 100_000
"""Longest MIDI score in quarter notes; 10 hours at a moderate tempo."""
MAX_MEASURES = 20_000
GRIDS = (16, 12)
"""Parts of a quarter note on which the notes of a score lie: 64th notes and 32nd triplets."""
RELEASE_GRIDS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Parts of a quarter note on which written notes end."""
ON_GRID_SHARE = 0.6
"""Share of onsets on the grids below which a file does not look like a score; by chance it is 0.4."""
EARLY_RELEASE_SHARE = 0.12
"""How much of a note programs cut off at most before releasing the key."""
PIANO_PROGRAMS = range(0, 8)
"""General MIDI programs of the piano family, counted from 0."""
MIDDLE_C = 60


@dataclass(slots=True)
class _Note:
    onset: int
    end: int
    pitch: int


@dataclass(slots=True)
class _Voice:
    """The notes of one channel in one track: those with a piano sound, or those without."""

    name: str
    is_piano: bool
    notes: list[_Note] = field(default_factory=list)
    pedals: list[tuple[int, bool]] = field(default_factory=list)


@dataclass(slots=True)
class _Timeline:
    """What holds for all tracks, as (tick, value)."""

    tempos: list[tuple[int, float]] = field(default_factory=list)
    times: list[tuple[int, tuple[int, int]]] = field(default_factory=list)
    keys: list[tuple[int, tuple[int, Literal["major", "minor"]]]] = field(default_factory=list)
    programs: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """Channel -> (tick, General MIDI program counted from 0)."""
    end: int = 0


def read_midi(content: bytes, parts: Literal["piano", "all"], name: str) -> WrittenScore:
    """The score in the bytes of a MIDI file (format 0 or 1). Raises ``InputError``."""
    file = _open(content, name)
    ticks = file.division
    timeline = _read_timeline(file, name)
    voices = [voice for track in file.tracks for voice in _read_voices(track, timeline)]
    has_percussion = any(map(_is_percussion, chain(*file.tracks)))
    score = WrittenScore(ticks=ticks)
    if has_percussion:
        score.notices.append("left out the percussion")
    chosen = _choose(voices, parts, score.notices)
    if not chosen:
        reason = "percussion only" if has_percussion else "no notes"
        raise InputError(f"{name} has {reason}; give a score with pitched notes")
    timeline.end = max(note.end for voice in voices for note in voice.notes)
    score.parts = [chosen[0].name or "Piano"]
    score.measures, starts = _measures(timeline, ticks, name)
    _add_notes(score, chosen, starts)
    _add_tempos(score, timeline, starts)
    _add_pedals(score, chosen, starts)
    if _share_on_grid(chosen, ticks) < ON_GRID_SHARE:
        score.notices.append("its onsets lie on no grid, as in a recorded performance, not a score")
    return score


def _open(content: bytes, name: str) -> MidiFile:
    if len(content) > MAX_MIDI_BYTES:
        raise InputError(
            f"{name} has {len(content) >> 20} MiB, a MIDI score may have {MAX_MIDI_BYTES >> 20} MiB; split it"
        )
    try:
        file = read_midi_file(content)
    except ValueError as error:
        raise InputError(f"{name} is a damaged MIDI file ({error}); export it again") from error
    if file.format == 2:
        raise InputError(f"{name} is a MIDI file of format 2 (independent patterns); save it as format 1")
    if not 0 < file.division < 0x8000:
        raise InputError(f"{name} counts time in video frames; save it with ticks per quarter note")
    return file


def _read_timeline(file: MidiFile, name: str) -> _Timeline:
    """What all tracks say about tempo, metre, key and programs; 120 quarter notes per minute at first."""
    timeline = _Timeline()
    for event in chain(*file.tracks):
        if event.tick > MAX_QUARTERS * file.division:
            raise InputError(f"{name} is longer than {MAX_QUARTERS:,} quarter notes; split it")
        if event.status & 0xF0 == PROGRAM_CHANGE:
            timeline.programs[event.status & 0x0F].append((event.tick, event.data[0]))
        elif event.status == META:
            kind, content = event.data[0], event.data[1:]
            if kind == TEMPO:
                timeline.tempos.append((event.tick, 60e6 / int.from_bytes(content)))
            elif kind == TIME_SIGNATURE:
                timeline.times.append((event.tick, (content[0], 2 ** content[1])))
            elif kind == KEY_SIGNATURE:
                fifths = int.from_bytes(content[:1], signed=True)
                timeline.keys.append((event.tick, (fifths, "minor" if content[1] else "major")))
    if all(tick > 0 for tick, _ in timeline.tempos):
        timeline.tempos.append((0, DEFAULT_TEMPO))
    for changes in timeline.programs.values():
        changes.sort(key=lambda change: change[0])
    return timeline


def _is_percussion(event: Event) -> bool:
    return event.status == NOTE_ON | PERCUSSION_CHANNEL


def _read_voices(track: Sequence[Event], timeline: _Timeline) -> list[_Voice]:
    voices: dict[tuple[int, bool], _Voice] = {}
    sounding: dict[tuple[int, int], list[int]] = defaultdict(list)
    pedals: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    name = _track_name(track)

    def end(channel: int, pitch: int, tick: int) -> None:
        onset = sounding[channel, pitch].pop(0)
        is_piano = _program(timeline.programs[channel], onset) in PIANO_PROGRAMS
        voice = voices.setdefault((channel, is_piano), _Voice(name, is_piano))
        voice.notes.append(_Note(onset, tick, pitch))

    for tick, status, data in track:
        message, channel = status & 0xF0, status & 0x0F
        if status == META or channel == PERCUSSION_CHANNEL:
            continue
        if message == NOTE_ON and data[1]:
            sounding[channel, data[0]].append(tick)
        elif message in (NOTE_ON, NOTE_OFF) and sounding[channel, data[0]]:
            end(channel, data[0], tick)
        elif message == CONTROL_CHANGE and data[0] == SUSTAIN:
            pedals[channel].append((tick, data[1] >= 64))
    for channel, pitch in list(sounding):
        while sounding[channel, pitch]:
            end(channel, pitch, track[-1].tick)
    own = {channel for channel, _ in voices}
    shared = [press for channel, presses in pedals.items() if channel not in own for press in presses]
    for (channel, _), voice in voices.items():
        voice.notes.sort(key=lambda note: (note.onset, note.pitch, note.end))
        voice.pedals = [*pedals[channel], *shared]
    return [voices[key] for key in sorted(voices)]


def _track_name(track: Sequence[Event]) -> str:
    for event in track:
        if (
            event.status == META
            and event.data[0] == TRACK_NAME
            and (text := event.data[1:].decode("latin-1"))
        ):
            return " ".join(text.split())[:80]
    return ""


def _program(changes: Sequence[tuple[int, int]], tick: int) -> int:
    """The program in force; before any is given the first of General MIDI, a piano."""
    before = bisect.bisect_right(changes, tick, key=lambda change: change[0])
    return changes[before - 1][1] if before else 0


def _choose(voices: Sequence[_Voice], parts: Literal["piano", "all"], notices: list[str]) -> list[_Voice]:
    pianos = [voice for voice in voices if voice.is_piano]
    if parts == "all" or len(pianos) == len(voices):
        return list(voices)
    if not pianos:
        notices.append("merged all channels, since none has a piano sound")
        return list(voices)
    notices.append(
        f"left out {counted(len(voices) - len(pianos), 'channel')} without a piano sound; "
        "set the score option parts=all to merge them"
    )
    return pianos


def _measures(timeline: _Timeline, ticks: int, name: str) -> tuple[list[WrittenMeasure], list[int]]:
    """Measures up to the end, and the tick at which each starts; a new time signature starts a measure."""
    changes = dict(timeline.times)
    changes.setdefault(0, (4, 4))
    places = sorted(tick for tick in changes if tick < max(timeline.end, 1))
    measures: list[WrittenMeasure] = []
    starts: list[int] = []
    for tick, stop in zip(places, [*places[1:], max(timeline.end, 1)], strict=True):
        beats, beat_type = changes[tick]
        nominal = max(1, ticks * 4 * beats // beat_type)
        is_last = stop == max(timeline.end, 1)
        start = tick
        while start < stop:
            length = nominal if is_last else min(nominal, stop - start)
            measures.append(WrittenMeasure(number=str(len(measures) + 1), length=length))
            starts.append(start)
            if start == tick:
                measures[-1].times.append((0, (beats, beat_type)))
            start += length
            if len(measures) > MAX_MEASURES:
                raise InputError(f"{name} has more than {MAX_MEASURES:,} measures; split it")
    for tick, key in sorted(dict(timeline.keys).items()):
        if tick < timeline.end:
            place = _place(tick, starts)
            measures[place.measure].keys.append((place.offset, key))
    return measures, starts


def _place(tick: int, starts: Sequence[int]) -> Place:
    measure = max(0, bisect.bisect_right(starts, tick) - 1)
    return Place(measure, tick - starts[measure])


def _add_notes(score: WrittenScore, voices: Sequence[_Voice], starts: Sequence[int]) -> None:
    """The notes with a staff each: the first of two voices is the upper one, one voice splits at middle C."""
    for number, voice in enumerate(voices, start=1):
        mean_pitch = statistics.fmean(note.pitch for note in voice.notes)
        for count, note in enumerate(voice.notes, start=1):
            is_upper = (note.pitch if len(voices) == 1 else mean_pitch) >= MIDDLE_C
            if len(voices) == 2:
                is_upper = number == 1
            place = _place(note.onset, starts)
            score.notes.append(
                WrittenNote(
                    id=f"t{number}n{count}",
                    part=0,
                    measure=place.measure,
                    offset=place.offset,
                    duration=_written_duration(note, score.ticks),
                    pitch=note.pitch,
                    spelling="",
                    voice=number if len(voices) > 1 else 1 if is_upper else 2,
                    staff=1 if is_upper else 2,
                )
            )
    onsets = [starts[note.measure] + note.offset for note in score.notes]
    durations, pitches = [note.duration for note in score.notes], [note.pitch for note in score.notes]
    spellings = spell(onsets, durations, pitches, score.ticks)
    for written, spelling in zip(score.notes, spellings, strict=True):
        written.spelling = spelling


def _written_duration(note: _Note, ticks: int) -> int:
    """Up to the next point of the coarsest grid of which the key was released just before one."""
    played = max(1, note.end - note.onset)
    for grid in RELEASE_GRIDS:
        next_point = -(-note.end * grid // ticks) * ticks // grid
        if 0 <= next_point - note.end <= EARLY_RELEASE_SHARE * played:
            return max(1, next_point - note.onset)
    return played


def _add_tempos(score: WrittenScore, timeline: _Timeline, starts: Sequence[int]) -> None:
    for tick, tempo in sorted(dict(timeline.tempos).items()):
        if tick < timeline.end:
            place = _place(tick, starts)
            score.directions.append(WrittenDirection("tempo", place, place, "", tempo))


def _add_pedals(score: WrittenScore, voices: Sequence[_Voice], starts: Sequence[int]) -> None:
    last = Place(len(score.measures) - 1, score.measures[-1].length)
    for begin, end in _pedal_spans(sorted(event for voice in voices for event in voice.pedals)):
        stop = last if end is None else _place(end, starts)
        score.directions.append(
            WrittenDirection("pedal", _place(begin, starts), min(stop, last), "sustain", part=0)
        )


def _pedal_spans(events: Sequence[tuple[int, bool]]) -> Iterator[tuple[int, int | None]]:
    down: int | None = None
    for tick, pressed in events:
        if pressed and down is None:
            down = tick
        elif not pressed and down is not None:
            if tick > down:
                yield down, tick
            down = None
    if down is not None:
        yield down, None


def _share_on_grid(voices: Sequence[_Voice], ticks: int) -> float:
    """Share of onsets within 1 % of a quarter note of a grid point."""
    onsets = [note.onset for voice in voices for note in voice.notes]
    near = sum(
        any(abs(onset * grid / ticks - round(onset * grid / ticks)) / grid <= 0.01 for grid in GRIDS)
        for onset in onsets
    )
    return near / len(onsets)

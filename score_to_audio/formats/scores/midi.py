"""MIDI file that holds a score -> written score.

A MIDI file tells times in ticks of a quarter note, so that a file written by a notation program is exact
as it is: nothing is quantised, except that key releases shortly before a grid point (programs release
keys early) are moved there. A recorded performance has no score in it; it is read all the same, and a
notice says that its onsets lie on no grid.
"""

from __future__ import annotations

import io
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.partitura_bridge import spell
from score_to_audio.formats.scores.written import (
    MAX_BEAT_TYPE,
    Place,
    WrittenDirection,
    WrittenMeasure,
    WrittenNote,
    WrittenScore,
)
from score_to_audio.types import SUSTAIN
from score_to_audio.wording import brief

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
PERCUSSION_CHANNEL = 9
MIDDLE_C = 60
_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
"""Major keys from 7 flats to 7 sharps."""
_MINOR_KEYS = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")


@dataclass(slots=True)
class _Note:
    onset: int
    end: int
    pitch: int


@dataclass(slots=True)
class _Track:
    name: str = ""
    program: int = 0
    notes: list[_Note] = field(default_factory=list)
    pedals: list[tuple[int, bool]] = field(default_factory=list)
    percussion: int = 0


@dataclass(slots=True)
class _Timeline:
    """What holds for all tracks, as (tick, value)."""

    tempos: list[tuple[int, float]] = field(default_factory=list)
    times: list[tuple[int, tuple[int, int]]] = field(default_factory=list)
    keys: list[tuple[int, tuple[int, Literal["major", "minor"]]]] = field(default_factory=list)
    end: int = 0


def read_midi(content: bytes, parts: Literal["piano", "all"], name: str) -> WrittenScore:
    """The score in the bytes of a MIDI file (format 0 or 1). Raises ``InputError``."""
    file = _open(content, name)
    ticks = int(file.ticks_per_beat)
    timeline = _Timeline()
    tracks = [_read_track(track, timeline, ticks, name) for track in file.tracks]
    score = WrittenScore(ticks=ticks)
    chosen = _choose(tracks, parts, score.notices)
    if not chosen:
        reason = "percussion only" if any(track.percussion for track in tracks) else "no notes"
        raise InputError(f"{name} has {reason}; give a score with pitched notes")
    score.parts = [chosen[0].name or "Piano"]
    score.measures, starts = _measures(timeline, ticks, name)
    _add_notes(score, chosen, starts)
    _add_tempos(score, timeline, starts)
    _add_pedals(score, chosen, starts)
    if _share_on_grid(chosen, ticks) < ON_GRID_SHARE:
        score.notices.append("its onsets lie on no grid, as in a recorded performance, not a score")
    return score


def _open(content: bytes, name: str) -> Any:
    import mido

    if len(content) > MAX_MIDI_BYTES:
        raise InputError(
            f"{name} has {len(content) >> 20} MiB, a MIDI score may have {MAX_MIDI_BYTES >> 20} MiB; split it"
        )
    try:
        file = mido.MidiFile(file=io.BytesIO(content), clip=True)
    except Exception as error:  # mido raises whatever its parser stumbles over, and errors of its own
        raise InputError(
            f"{name} is a damaged MIDI file ({brief(error) or 'cut off'}); export it again"
        ) from error
    if file.type == 2:
        raise InputError(f"{name} is a MIDI file of format 2 (independent patterns); save it as format 1")
    if not 0 < file.ticks_per_beat < 0x8000:
        raise InputError(f"{name} counts time in video frames; save it with ticks per quarter note")
    return file


def _read_track(messages: Any, timeline: _Timeline, ticks: int, name: str) -> _Track:
    track = _Track()
    sounding: dict[tuple[int, int], list[int]] = defaultdict(list)
    tick = 0
    for message in messages:
        tick += message.time
        if tick > MAX_QUARTERS * ticks:
            raise InputError(f"{name} is longer than {MAX_QUARTERS:,} quarter notes; split it")
        kind = message.type
        if kind in ("note_on", "note_off"):
            if message.channel == PERCUSSION_CHANNEL:
                track.percussion += 1
                continue
            key = (message.channel, message.note)
            if kind == "note_on" and message.velocity:
                sounding[key].append(tick)
            elif sounding[key]:
                track.notes.append(_Note(sounding[key].pop(0), tick, message.note))
        elif kind == "control_change" and message.control == SUSTAIN:
            track.pedals.append((tick, message.value >= 64))
        elif kind == "program_change" and not track.notes:
            track.program = message.program
        elif kind == "track_name" and not track.name:
            track.name = " ".join(message.name.split())[:80]
        elif kind == "set_tempo" and message.tempo:
            timeline.tempos.append((tick, 60e6 / message.tempo))
        elif kind == "time_signature" and message.numerator and message.denominator <= MAX_BEAT_TYPE:
            timeline.times.append((tick, (message.numerator, message.denominator)))
        elif kind == "key_signature":
            timeline.keys.append((tick, _key(message.key)))
    for (_, pitch), onsets in sounding.items():
        track.notes.extend(_Note(onset, tick, pitch) for onset in onsets)
    track.notes.sort(key=lambda note: (note.onset, note.pitch, note.end))
    timeline.end = max([timeline.end, *(note.end for note in track.notes)])
    return track


def _key(text: str) -> tuple[int, Literal["major", "minor"]]:
    if text.endswith("m"):
        return _MINOR_KEYS.index(text[:-1]) - 7, "minor"
    return _KEYS.index(text) - 7, "major"


def _choose(tracks: Sequence[_Track], parts: Literal["piano", "all"], notices: list[str]) -> list[_Track]:
    filled = [track for track in tracks if track.notes]
    pianos = [track for track in filled if track.program in PIANO_PROGRAMS]
    if sum(track.percussion for track in tracks):
        notices.append("left out the percussion")
    if parts == "all" or len(pianos) == len(filled):
        return filled
    if not pianos:
        notices.append("merged all tracks, since none has a piano sound")
        return filled
    notices.append(
        f"left out {len(filled) - len(pianos)} tracks without a piano sound; "
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
    import bisect

    measure = max(0, bisect.bisect_right(starts, tick) - 1)
    return Place(measure, tick - starts[measure])


def _add_notes(score: WrittenScore, tracks: Sequence[_Track], starts: Sequence[int]) -> None:
    """The notes with a staff each: tracks from high to low, a single track divided at middle C."""
    for number, track in enumerate(tracks, start=1):
        mean_pitch = statistics.fmean(note.pitch for note in track.notes)
        is_upper = number == 1 if len(tracks) == 2 else mean_pitch >= MIDDLE_C
        for count, note in enumerate(track.notes, start=1):
            upper = (
                note.pitch >= MIDDLE_C if len(tracks) == 1 else number == 1 if len(tracks) == 2 else is_upper
            )
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
                    voice=number if len(tracks) > 1 else 1 if upper else 2,
                    staff=1 if upper else 2,
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


def _add_pedals(score: WrittenScore, tracks: Sequence[_Track], starts: Sequence[int]) -> None:
    last = Place(len(score.measures) - 1, score.measures[-1].length)
    for begin, end in _pedal_spans(sorted(event for track in tracks for event in track.pedals)):
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


def _share_on_grid(tracks: Sequence[_Track], ticks: int) -> float:
    """Share of onsets within 1 % of a quarter note of a grid point."""
    onsets = [note.onset for track in tracks for note in track.notes]
    near = sum(
        any(abs(onset * grid / ticks - round(onset * grid / ticks)) / grid <= 0.01 for grid in GRIDS)
        for onset in onsets
    )
    return near / len(onsets)

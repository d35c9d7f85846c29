"""A performance in the score's measures: as a MIDI file whose tempo map follows it, and as times of beats.

In the MIDI file, notes that begin a score position lie at its tick, and every event sounds at its time
rounded to microseconds. For that the tempo changes at every event; at 15,360 ticks per quarter note the
changes between two score positions are small.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mido
import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import ParsedScore, Performance, TimeSignature

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BASE_TICKS, MOST_BASE_TICKS = 960, 16
"""Ticks per quarter note are ``BASE_TICKS`` times 1 .. ``MOST_BASE_TICKS``."""
MOST_TICKS = 9_900_000
"""In a file: pretty_midi reads up to 10 million."""
LEAST_STEP = 0.002
"""Seconds between two score positions that fix the tempo."""
LEAST_LENGTH = 1 / 48
"""Quarter notes between them."""
SLOWEST = 2**24 - 1
"""Microseconds per quarter note that a MIDI file can say."""
SLOWEST_POSITIONS = 8.0
"""Seconds per quarter note between two positions; half of ``SLOWEST``, since ticks are rounded."""
LAST_TEMPI = 200_000, 3_000_000
"""Least and greatest microseconds per quarter note after the last position."""
NOTE_OFF, CONTROL, TEXT, NOTE_ON = range(4)
"""Order of the events of a tick."""

Event = tuple[int, int, mido.Message | mido.MetaMessage]
"""Tick, rank within the tick, message."""


@dataclass(frozen=True)
class Timing:
    """When score positions are played."""

    quarters: Floats
    """[P] from the start of the score, increasing."""
    seconds: Floats
    """[P] from the start of the performance, increasing."""

    def seconds_at(self, quarters: Floats) -> Floats:
        """Between positions linear; before the first and after the last at the tempo there."""
        if len(self.quarters) == 1:
            # 120 beats per minute, as where a MIDI file says nothing
            return self.seconds[0] + (quarters - self.quarters[0]) / 2
        slopes = np.diff(self.seconds) / np.diff(self.quarters)
        segment = np.clip(np.searchsorted(self.quarters, quarters, side="right") - 1, 0, len(slopes) - 1)
        return self.seconds[segment] + (quarters - self.quarters[segment]) * slopes[segment]


def timing(score: ParsedScore, performance: Performance) -> Timing:
    """Where the main notes of the score are played. Raises ``ValueError`` where none has a note's id."""
    index = {note: number for number, note in enumerate(score.notes.id)}
    pairs = sorted(
        (float(score.notes.onset[index[note]]), float(onset))
        for note, onset in zip(performance.score_ids or (), performance.onset, strict=False)
        if note in index and not score.notes.grace[index[note]]
    )
    kept: list[tuple[float, float]] = []
    for quarter, second in pairs:
        if not kept or _is_after(quarter - kept[-1][0], second - kept[-1][1]):
            kept.append((quarter, second))
    if not kept:
        raise ValueError("no note of the performance has the id of a note of the score")
    quarters, seconds = np.array(kept).T
    return Timing(quarters, seconds)


def _is_after(quarters: float, seconds: float) -> bool:
    """Whether a tempo leads from one position to the next."""
    return quarters >= LEAST_LENGTH and LEAST_STEP <= seconds <= SLOWEST_POSITIONS * quarters


def beats(score: ParsedScore, performance: Performance) -> Iterator[tuple[str, int, float]]:
    """Number of the measure as printed, beat of its time signature from 1, seconds; of the measures played.

    Raises ``ValueError`` as ``timing`` does.
    """
    played = timing(score, performance)
    for number, measure in enumerate(score.measures):
        if measure.end <= played.quarters[0] or measure.onset > played.quarters[-1]:
            continue
        signature = _signature(score, measure.onset)
        beat = 4 / signature.beat_type
        count = max(round((measure.end - measure.onset) / beat), 1)
        # a pickup measure ends with its last beat
        first = max(signature.beats - count, 0) if number == 0 else 0
        places: Floats = measure.onset + beat * np.arange(count, dtype=np.float64)
        for index, second in enumerate(played.seconds_at(places).tolist(), start=first + 1):
            if second >= 0:
                yield measure.number, index, second


def _signature(score: ParsedScore, quarter: float) -> TimeSignature:
    before = [one for one in score.time_signatures if one.onset <= quarter]
    return before[-1] if before else TimeSignature(0.0, 4, 4)


# ------------------------------------------------------------------------------------------- the file


def score_midi(score: ParsedScore, performance: Performance) -> bytes:
    """A MIDI file with the score's signatures, and the ids of its notes as ``formats.midi`` writes them.

    The time before the first note is a measure of its own. A passage begins with its first measure. Raises
    ``ValueError`` as ``timing`` does.
    """
    played = timing(score, performance)
    start = _start(score, float(played.quarters[0]))
    lead = _lead(played, start)
    per_quarter = _resolution(float(score.end) - start + lead)
    onset, offset, control = (
        np.rint(times * 1e6).astype(np.int64)
        for times in (performance.onset, performance.offset, performance.controls.time)
    )
    offset = np.maximum(offset, onset + 1)
    moments = np.unique(np.concatenate([[0], onset, offset, control]))
    places = np.rint((played.quarters - start + lead) * per_quarter).astype(np.int64)
    ticks = _ticks(moments, np.rint(played.seconds * 1e6).astype(np.int64), places, per_quarter)
    events = _events(
        performance, *(ticks[np.searchsorted(moments, one)].tolist() for one in (onset, offset, control))
    )
    return _file(
        per_quarter,
        [[*_tempi(ticks, moments, per_quarter), *_signatures(score, start, lead, per_quarter)], events],
    )


def _start(score: ParsedScore, first: float) -> float:
    """Quarter at which the measure of the first note begins."""
    return max((one.onset for one in score.measures if one.onset <= first), default=0.0)


def _lead(played: Timing, start: float) -> int:
    """Quarter notes of the measure before the first: at least as many as it takes at the first tempo."""
    if played.seconds[0] < LEAST_STEP:
        return 0
    first = float(played.quarters[0])
    here, next_quarter = played.seconds_at(np.array([first, first + 1])).tolist()
    tempo = next_quarter - here
    early = float(played.seconds[0]) - (played.quarters[0] - start) * tempo
    return min(max(math.ceil(early / tempo), 1), 255) if early > 0 or played.quarters[0] == start else 0


def _resolution(quarters: float) -> int:
    """Ticks per quarter note for a piece of this length and its last sounds."""
    return BASE_TICKS * min(max(int(MOST_TICKS / (BASE_TICKS * (quarters + 64))), 1), MOST_BASE_TICKS)


def _ticks(moments: Integers, seconds: Integers, places: Integers, per_quarter: int) -> Integers:
    """The tick of each moment, increasing. The tick ``places[i]`` is played at ``seconds[i]``; both times in
    microseconds."""
    if seconds[0] > 0:
        seconds, places = np.append(0, seconds), np.append(0, places)
    elif places[0] > 0:  # rests that take no time
        places = places - places[0]
    tempo = 500_000.0
    if len(places) > 1:
        tempo = float((seconds[-1] - seconds[-2]) / (places[-1] - places[-2]) * per_quarter)
    later = np.maximum(moments - seconds[-1], 0) * per_quarter / min(max(tempo, LAST_TEMPI[0]), LAST_TEMPI[1])
    wanted = np.rint(np.interp(moments, seconds, places) + later).astype(np.int64)
    count = np.arange(len(moments))
    increasing: Integers = np.maximum.accumulate(wanted - count) + count
    return increasing


def _tempi(ticks: Integers, moments: Integers, per_quarter: int) -> Iterator[Event]:
    """Tempi with which each tick comes at its moment in microseconds, or at most a quarter of one beside it.

    Each makes up for what the rounding of those before has left: a tempo is a whole number of microseconds
    per quarter note. Over more than half a quarter note two tempi that differ by one make the time exact.
    """
    at = 0
    """Of the tick before, in microseconds times ``per_quarter``."""
    for tick, next_tick, moment in zip(
        ticks[:-1].tolist(), ticks[1:].tolist(), moments[1:].tolist(), strict=True
    ):
        length = next_tick - tick
        missing = moment * per_quarter - at
        tempo, rest = divmod(missing, length)
        if 2 * length <= per_quarter:
            tempo, rest = round(missing / length), 0
        tempo = min(max(tempo, 1), SLOWEST)
        yield tick, 0, mido.MetaMessage("set_tempo", tempo=tempo)
        if rest and tempo < SLOWEST:
            yield next_tick - rest, 0, mido.MetaMessage("set_tempo", tempo=tempo + 1)
            at += rest
        at += tempo * length


def _events(
    performance: Performance, onsets: list[int], offsets: list[int], controls: list[int]
) -> list[Event]:
    events: list[Event] = []
    ids = performance.score_ids or ("",) * len(performance)
    notes = zip(onsets, offsets, performance.pitch.tolist(), performance.velocity.tolist(), ids, strict=True)
    for start, end, pitch, velocity, note_id in notes:
        events.append((start, NOTE_ON, mido.Message("note_on", note=pitch, velocity=velocity)))
        events.append((end, NOTE_OFF, mido.Message("note_off", note=pitch)))
        if note_id:
            events.append((start, TEXT, mido.MetaMessage("text", text=f"{pitch} {note_id}")))
    numbers, values = performance.controls.number.tolist(), performance.controls.value.tolist()
    for tick, number, value in zip(controls, numbers, values, strict=True):
        events.append((tick, CONTROL, mido.Message("control_change", control=number, value=value)))
    return events


def _signatures(score: ParsedScore, start: float, lead: int, per_quarter: int) -> Iterator[Event]:
    """Time and key signatures; of those before the start the last, at the start."""

    def place(quarter: float) -> int:
        return round((max(quarter - start, 0.0) + lead) * per_quarter)

    if lead:
        yield 0, 1, mido.MetaMessage("time_signature", numerator=lead, denominator=4)
    times = {
        place(one.onset): mido.MetaMessage(
            "time_signature", numerator=min(one.beats, 255), denominator=one.beat_type
        )
        for one in score.time_signatures
    }
    keys = {
        place(one.onset): mido.MetaMessage.from_bytes(
            [0xFF, 0x59, 2, one.fifths & 0xFF, int(one.mode == "minor")]
        )
        for one in score.key_signatures
    }
    yield from ((tick, 1, message) for tick, message in times.items())
    yield from ((tick, 2, message) for tick, message in keys.items())


def _file(per_quarter: int, tracks: Sequence[Sequence[Event]]) -> bytes:
    file = mido.MidiFile(ticks_per_beat=per_quarter, charset="utf-8")
    for events in tracks:
        ordered = sorted(events, key=lambda event: event[:2])
        before = [0, *(tick for tick, _, _ in ordered)]
        file.tracks.append(
            mido.MidiTrack(
                message.copy(time=tick - start)
                for start, (tick, _, message) in zip(before, ordered, strict=False)
            )
        )
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()

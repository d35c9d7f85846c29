"""A performance as a MIDI file in the score's measures, to be edited: the timing becomes a tempo map.

Notes that the score writes together begin at its tick, or within milliseconds of it; notes between are where
they are played. The file plays as the performance does.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import mido
import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import ParsedScore, Performance

Floats = NDArray[np.float64]

TICKS_PER_QUARTER = 960
LEAST_STEP = 0.002
"""Seconds between two tempi at least."""
LEAST_LENGTH = 1 / 24
"""Quarter notes between two tempi at least, so that no tick takes long."""
SLOWEST = 2**24 - 1
"""Microseconds per quarter note that a MIDI file can say."""
NOTE_OFF, CONTROL, NOTE_ON = range(3)
"""Order of the events of a tick."""


def editable_midi(score: ParsedScore, performance: Performance) -> bytes:
    """A MIDI file with the score's signatures. Raises ``ValueError`` where no note has the id of the score's.

    A performance that begins later than the score has time for is preceded by a measure.
    """
    quarters, seconds = _anchors(score, performance)
    lead = _measure(score) if quarters[0] < 1 / TICKS_PER_QUARTER and seconds[0] > LEAST_STEP else 0.0
    quarters = quarters + lead
    if quarters[0] > 0:
        quarters, seconds = np.append(0.0, quarters), np.append(0.0, seconds)
    ticks = np.rint(quarters * TICKS_PER_QUARTER).astype(np.int64)
    tempi, times = _tempo_map(ticks, seconds)
    starts = _ticks(performance.onset, ticks, times, tempi)
    ends = np.maximum(_ticks(performance.offset, ticks, times, tempi), starts + 1)
    controls = performance.controls
    events: list[tuple[int, int, mido.Message]] = []
    for start, end, pitch, velocity in zip(
        starts.tolist(), ends.tolist(), performance.pitch.tolist(), performance.velocity.tolist(), strict=True
    ):
        events.append((start, NOTE_ON, mido.Message("note_on", note=pitch, velocity=velocity)))
        events.append((end, NOTE_OFF, mido.Message("note_off", note=pitch)))
    for tick, number, value in zip(
        _ticks(controls.time, ticks, times, tempi).tolist(),
        controls.number.tolist(),
        controls.value.tolist(),
        strict=True,
    ):
        events.append((tick, CONTROL, mido.Message("control_change", control=number, value=value)))
    return _file([_signatures(score, lead, ticks, tempi), events])


def _anchors(score: ParsedScore, performance: Performance) -> tuple[Floats, Floats]:
    """Score positions in quarter notes and the seconds at which they are played, both increasing."""
    index = {note: number for number, note in enumerate(score.notes.id)}
    pairs = sorted(
        (float(score.notes.onset[index[note]]), float(onset))
        for note, onset in zip(performance.score_ids or (), performance.onset, strict=False)
        if note in index
    )
    kept: list[tuple[float, float]] = []
    for quarter, second in pairs:
        if not kept or (
            quarter >= kept[-1][0] + 1 / TICKS_PER_QUARTER and second >= kept[-1][1] + LEAST_STEP
        ):
            kept.append((quarter, second))
    if not kept:
        raise ValueError("no note of the performance has the id of a note of the score")
    quarters, seconds = np.array(kept).T
    return quarters, seconds


def _measure(score: ParsedScore) -> float:
    """Quarter notes of the first measure's time signature."""
    if not score.time_signatures:
        return 4.0
    return 4.0 * score.time_signatures[0].beats / score.time_signatures[0].beat_type


def _tempo_map(ticks: NDArray[np.int64], seconds: Floats) -> tuple[list[int], Floats]:
    """Microseconds per quarter from each tick on, and the seconds at which the ticks come to lie.

    Each tempo makes up for what the rounding of those before has left.
    """
    tempi: list[int] = []
    times = [0.0]
    lengths = np.diff(ticks) / TICKS_PER_QUARTER
    for length, until in zip(lengths.tolist(), seconds[1:].tolist(), strict=True):
        tempi.append(min(max(round((until - times[-1]) * 1e6 / length), 1), SLOWEST))
        times.append(times[-1] + tempi[-1] * length / 1e6)
    return [*tempi, tempi[-1] if tempi else 500_000], np.array(times)


def _ticks(
    seconds: Floats, ticks: NDArray[np.int64], times: Floats, tempi: Sequence[int]
) -> NDArray[np.int64]:
    segment = np.maximum(np.searchsorted(times, seconds, side="right") - 1, 0)
    since = (seconds - times[segment]) * 1e6 / np.array(tempi)[segment] * TICKS_PER_QUARTER
    return np.maximum(np.rint(ticks[segment] + since), 0).astype(np.int64)


def _signatures(
    score: ParsedScore, lead: float, ticks: NDArray[np.int64], tempi: Sequence[int]
) -> list[tuple[int, int, mido.MetaMessage]]:
    def place(quarter: float) -> int:
        return round((quarter + lead) * TICKS_PER_QUARTER) if quarter > 0 else 0

    times = [
        mido.MetaMessage("time_signature", numerator=min(one.beats, 255), denominator=one.beat_type)
        for one in score.time_signatures
    ]
    keys = [
        mido.MetaMessage.from_bytes([0xFF, 0x59, 2, one.fifths & 0xFF, int(one.mode == "minor")])
        for one in score.key_signatures
    ]
    return [
        *(
            (int(tick), 0, mido.MetaMessage("set_tempo", tempo=tempo))
            for tick, tempo in zip(ticks, tempi, strict=True)
        ),
        *((place(one.onset), 1, message) for one, message in zip(score.time_signatures, times, strict=True)),
        *((place(one.onset), 2, message) for one, message in zip(score.key_signatures, keys, strict=True)),
    ]


def _file(tracks: Sequence[Sequence[tuple[int, int, mido.Message | mido.MetaMessage]]]) -> bytes:
    file = mido.MidiFile(ticks_per_beat=TICKS_PER_QUARTER)
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

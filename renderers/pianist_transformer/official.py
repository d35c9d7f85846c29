"""What the published program does otherwise, for ``compatibility="official"``. Section numbers are those of
the fact sheet of the golden vectors."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import mido
import numpy as np
from torch import Tensor

from renderers.pianist_transformer.midi import MidiMusic
from renderers.pianist_transformer.tokens import NOTE_TOKENS, PAD, Ints, Notes, Pedal, one_stroke_at_a_time

TICKS_PER_BEAT = 500
"""Of the files that it writes: at 120 bpm a tick is a millisecond."""
SAME_ANCHOR = 20
"""Ticks up to which an onset belongs to the anchor before."""
SLOWEST, FASTEST = 10, 300
"""Beats per minute in editable files."""
BEYOND = 5000
"""Ticks and milliseconds for which the time map goes on after the last anchor."""


def shifted_prompt(previous: Tensor, first: int, count: int) -> Tensor:
    """Counts from BOS (section 4b): begins a token too early and lacks the last one."""
    return previous[:, first : first + count]


def visibility(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Notes [B, N] of a padded batch that the encoder and cross-attention see; the latter takes the mask of
    the first N tokens for that of the notes (section 3)."""
    is_token = tokens != PAD
    notes = is_token.unflatten(1, (-1, NOTE_TOKENS)).any(-1)
    return notes, is_token[:, : notes.shape[1]]


# ------------------------------------------------------------------------------------------- files


def midi_file(
    notes: Notes,
    pedal: Pedal,
    *,
    tempi: Sequence[tuple[int, int]] = ((0, 120),),
    time_signatures: Sequence[tuple[int, int, int]] = ((0, 4, 4),),
    key_signatures: Sequence[tuple[int, bytes]] = (),
) -> bytes:
    """The file of notes and pedal in ticks (sections 5 and 6). Of one tick's notes those that end come first,
    so that a note without length stays down; notes begin in the order of their ends."""
    if not tempi or tempi[0][0] > 0:
        tempi = [(0, 120), *tempi]
    header = [
        *((tick, mido.MetaMessage("set_tempo", tempo=round(6e7 / bpm))) for tick, bpm in tempi),
        *(
            (tick, mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator))
            for tick, numerator, denominator in time_signatures
        ),
        *((tick, mido.MetaMessage.from_bytes([0xFF, 0x59, 2, *key])) for tick, key in key_signatures),
    ]
    events = [
        (tick, 0, 0, mido.Message("control_change", control=64, value=value))
        for tick, value in zip(pedal.time.tolist(), pedal.value.tolist(), strict=True)
    ]
    rows = zip(
        *(column.tolist() for column in (notes.start, notes.end, notes.pitch, notes.velocity)), strict=True
    )
    for start, end, pitch, velocity in rows:
        events.append((start, 2, end, mido.Message("note_on", note=pitch, velocity=velocity)))
        events.append((end, 1, 0, mido.Message("note_off", note=pitch, velocity=velocity)))
    events.sort(key=lambda event: event[:3])
    piano = [(0, mido.MetaMessage("track_name", name="Piano")), (0, mido.Message("program_change"))]
    file = mido.MidiFile(ticks_per_beat=TICKS_PER_BEAT)
    header.sort(key=lambda entry: entry[0])
    for track in (header, [*piano, *((tick, message) for tick, _, _, message in events)]):
        file.tracks.append(_track(track))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _track(timed: Sequence[tuple[int, mido.Message | mido.MetaMessage]]) -> mido.MidiTrack:
    ticks = [0, *(tick for tick, _ in timed)]
    return mido.MidiTrack(
        message.copy(time=tick - before) for before, (tick, message) in zip(ticks, timed, strict=False)
    )


# --------------------------------------------------------------------------------- the editable file


@dataclass(frozen=True)
class Editable:
    """A performance in the score's ticks (section 6)."""

    grid: Notes
    """The score's notes."""
    notes: Notes
    pedal: Pedal
    tempi: list[tuple[int, int]]
    """(tick, beats per minute)."""
    time_signatures: list[tuple[int, int, int]]
    key_signatures: list[tuple[int, bytes]]

    def file(self) -> bytes:
        return midi_file(
            self.notes,
            self.pedal,
            tempi=self.tempi,
            time_signatures=self.time_signatures or ((0, 4, 4),),
            key_signatures=self.key_signatures,
        )


def score_grid(score: MidiMusic) -> Notes:
    """The score's notes at 500 ticks per quarter."""
    start, end = (_rescaled(tick, score) for tick in (score.notes.start, score.notes.end))
    return one_stroke_at_a_time(replace(score.notes, start=start, end=end))


def _rescaled(tick: Ints, score: MidiMusic) -> Ints:
    return np.rint(tick * (TICKS_PER_BEAT / score.ticks_per_beat)).astype(np.int64)


def editable(score: MidiMusic, grid: Notes, notes: Notes, pedal: Pedal) -> Editable:
    """``notes``, ``pedal``: the performance in milliseconds, one note per note of the ``grid``.

    The tempi are whole numbers within limits, so that the timing drifts; the lead-in is the score's; the last
    chord and the notes before it lose their timing. Raises ``ValueError`` where the counts differ or a pedal
    lies more than five seconds after the last onset.
    """
    performed = one_stroke_at_a_time(replace(notes, end=np.maximum(notes.end, notes.start + 1)))
    if len(performed) != len(grid):
        raise ValueError(f"{len(performed)} performed notes for {len(grid)} of the score")
    anchors = _anchors(grid.start.tolist())
    ticks = [int(grid.start[index]) for index in anchors]
    times = [int(performed.start[index]) for index in anchors]
    tempi = [
        (tick, int(np.clip(round((after - tick) / (until - time) * 120), SLOWEST, FASTEST)))
        for tick, after, time, until in zip(ticks, ticks[1:], times, times[1:], strict=False)
    ]
    start = grid.start.copy()
    for j in range(len(anchors) - 2):
        for index in range(anchors[j] + 1, anchors[j + 1]):
            share = (performed.start[index] - times[j]) / (times[j + 1] - times[j])
            start[index] = ticks[j] + int(share * (ticks[j + 1] - ticks[j]))
    lengths = zip(start.tolist(), (performed.end - performed.start).tolist(), strict=True)
    end = np.array([tick + _ticks(tick, length, tempi) for tick, length in lengths], np.int64)
    ticks, times = [0, *ticks, ticks[-1] + BEYOND], [0, *times, times[-1] + BEYOND]
    placed = [_placed(time, times, ticks) for time in pedal.time.tolist()]
    return Editable(
        grid=grid,
        notes=Notes(start, end, grid.pitch, performed.velocity, grid.source),
        pedal=Pedal(np.array(placed, np.int64), pedal.value),
        tempi=tempi,
        time_signatures=[
            (int(_rescaled(np.array(tick), score)), numerator, denominator)
            for tick, numerator, denominator in score.time_signatures
        ],
        key_signatures=[(int(_rescaled(np.array(tick), score)), key) for tick, key in score.key_signatures],
    )


def _anchors(starts: Sequence[int]) -> list[int]:
    found, last = [], -1
    for index, start in enumerate(starts):
        if abs(start - last) > SAME_ANCHOR:
            found.append(index)
            last = start
    return found


def _ticks(start: int, length: float, tempi: Sequence[tuple[int, int]]) -> int:
    """Ticks that ``length`` milliseconds take from a tick on."""
    if not tempi:
        tempi = [(0, 120)]
    segment = max(0, bisect_right(tempi, start, key=lambda tempo: tempo[0]) - 1)
    place, total = start, 0.0
    for (_, bpm), following in zip(tempi[segment:], [*tempi[segment + 1 :], None], strict=True):
        per_tick = (60 * 1000 / bpm) / TICKS_PER_BEAT
        if following is None or length <= (following[0] - place) * per_tick:
            return round(total + length / per_tick)
        total += following[0] - place
        length -= (following[0] - place) * per_tick
        place = following[0]
    raise AssertionError("the last tempo holds for ever")


def _placed(time: int, times: Sequence[int], ticks: Sequence[int]) -> int:
    segment = bisect_right(times, time) - 1
    if segment + 1 >= len(times):
        raise ValueError("a pedal after the end of the time map")
    share = (time - times[segment]) / (times[segment + 1] - times[segment])
    return ticks[segment] + round(share * (ticks[segment + 1] - ticks[segment]))

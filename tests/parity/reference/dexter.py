"""Parts of the published DExter that only parity tests need: its MIDI events, its sampler for trained
transfer, and the tie rule of its fork of partitura."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from renderers.dexter.performance_codec import DecodedNotes
from renderers.dexter.sampler import Predict, Schedule, ddpm_step

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

TICKS_PER_BEAT = 480
TICKS_PER_SECOND = 960
"""At the published script's tempo of 500,000 microseconds per quarter."""
TEMPO, PROGRAM, CONTROL, NOTE_ON, NOTE_OFF, END = range(6)
CHANNEL = 1


def midi_events(notes: DecodedNotes) -> NDArray[np.int64]:
    """The published script's MIDI file as rows (tick, kind, number, value, channel), -1 for missing values.

    Within a tick come the controls, then the notes' ons and offs in note order; a program change ends the
    first tick.
    """
    on = np.rint(np.maximum(notes.onset, 0) * TICKS_PER_SECOND).astype(np.int64)
    off = np.rint(np.maximum(notes.offset, 0) * TICKS_PER_SECOND).astype(np.int64)
    count = len(on)
    control = _rows(on, CONTROL, 64, notes.pedal, priority=0, rank=np.arange(count))
    start = _rows(on, NOTE_ON, notes.pitch, notes.velocity, priority=1, rank=2 * np.arange(count))
    end = _rows(off, NOTE_OFF, notes.pitch, 0, priority=1, rank=2 * np.arange(count) + 1)
    table = np.concatenate([control, start, end])
    table = table[np.lexsort((table[:, 6], table[:, 5], table[:, 0]))][:, :5]
    in_first_tick = int((table[:, 0] == table[0, 0]).sum())
    program = [[table[0, 0], PROGRAM, -1, -1, CHANNEL]]
    tempo, last = [[0, TEMPO, -1, -1, -1]], [[table[-1, 0], END, -1, -1, -1]]
    return np.concatenate([tempo, table[:in_first_tick], program, table[in_first_tick:], last])


def _rows(
    tick: NDArray[np.int64],
    kind: int,
    number: object,
    value: object,
    *,
    priority: int,
    rank: NDArray[np.int64],
) -> NDArray[np.int64]:
    columns = (tick, kind, number, value, CHANNEL, priority, rank)
    return np.stack([np.broadcast_to(np.asarray(column, np.int64), tick.shape) for column in columns], axis=1)


def ddpm_means(x: Tensor, predict: Predict, s: Schedule, steps: list[int]) -> Iterator[Tensor]:
    """``sampler.ddpm`` without any noise, as for models trained for transfer."""
    for step in steps:
        x = ddpm_step(x, predict(x, step), step, s, None)
        yield x


def tie_by_fork_rule(parts: Sequence[Any], xml_parts: Sequence[Element]) -> None:
    """Replace the ties of partitura's parts by those of the fork (fact sheet, section 9): in document order,
    a note with a "stop" continues the open note of its pitch, whatever its voice or time; a "start" opens its
    note. Rests share one key."""
    from partitura.score import GenericNote, Note

    for part, xml_part in zip(parts, xml_parts, strict=True):
        elements = list(xml_part.iter("note"))
        notes = {note.doc_order: note for note in part.iter_all(GenericNote, include_subclasses=True)}
        assert len(notes) == len(elements)
        opened: dict[object, Any] = {}
        for note in notes.values():
            if isinstance(note, Note):
                note.tie_prev = note.tie_next = None
        for index, element in enumerate(elements):
            kinds = {tie.get("type") for tie in element.findall("tie")}
            note = notes[index]
            pitch = getattr(note, "midi_pitch", "rest")
            if "stop" in kinds and (first := opened.pop(pitch, None)) is not None:
                first.tie_next, note.tie_prev = note, first
            if "start" in kinds:
                opened[pitch] = note

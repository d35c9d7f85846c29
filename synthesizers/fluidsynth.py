"""Any SoundFont, played offline by FluidSynth through pyfluidsynth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from ctypes import c_int, c_void_p
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import SOFT, SOSTENUTO, SUSTAIN, Performance
from synthesizers.restrikes import next_onset

SAMPLE_RATE = 48000
"""Hz."""
BLOCK = SAMPLE_RATE
"""Samples per block."""
MAX_DECAY = 10.0
"""Seconds of sound after the last event."""
SETTINGS = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.polyphony": 1024}
"""Dry; with FluidSynth's default polyphony of 256 a long pedal cuts notes off."""
CHANNEL, BANK, PIANO = 0, 0, 0
CONTROL, NOTE_OFF, NOTE_ON = 0, 1, 2
"""Kinds of event, in the order in which simultaneous ones take place."""

Block = NDArray[np.float32]
Events = NDArray[np.int64]
"""[E, 4] by time: sample, kind, MIDI pitch or controller number, velocity or controller value."""


class UnreadableSoundFont(ValueError):
    """The file is no SoundFont that FluidSynth can read, or has no piano."""


def play(performance: Performance, soundfont: Path, *, gain: float) -> Iterator[Block]:
    """The performance on the SoundFont's first preset: [2, samples] per block, 48 kHz, not limited.

    FluidSynth starts events every 64 samples (1.3 ms). Raises ``UnreadableSoundFont``, and ``ImportError``
    without pyfluidsynth or libfluidsynth.
    """
    events = events_of(performance)
    end = int(events[-1, 0]) + 1 if len(events) else 0
    with closing(_Piano(soundfont, gain)) as piano:
        for start in range(0, end, BLOCK):
            yield piano.block(events, start, min(start + BLOCK, end))
        for _ in range(int(MAX_DECAY * SAMPLE_RATE / BLOCK)):
            if not piano.is_sounding():
                break
            yield piano.block(events[:0], 0, BLOCK)


def events_of(performance: Performance) -> Events:
    """Notes and pedals; a key that is struck again is released first."""
    offset = np.minimum(performance.offset, next_onset(performance))
    controls = performance.controls
    pedals = np.isin(controls.number, (SUSTAIN, SOSTENUTO, SOFT))
    parts = [
        (performance.onset, NOTE_ON, performance.pitch, performance.velocity),
        (offset, NOTE_OFF, performance.pitch, np.zeros_like(performance.pitch)),
        (controls.time[pedals], CONTROL, controls.number[pedals], controls.value[pedals]),
    ]
    rows = [
        np.stack([np.rint(time * SAMPLE_RATE).astype(np.int64), np.full(len(time), kind), number, value])
        for time, kind, number, value in parts
    ]
    events = np.concatenate(rows, axis=1).T
    return events[np.lexsort((events[:, 1], events[:, 0]))]


class _Piano:
    """A FluidSynth instance with one SoundFont loaded."""

    def __init__(self, soundfont: Path, gain: float) -> None:
        import fluidsynth

        self._synth = fluidsynth.Synth(gain=gain, samplerate=SAMPLE_RATE, **SETTINGS)
        self._write = _float_writer(fluidsynth)
        loaded = self._synth.sfload(str(soundfont))
        if loaded == fluidsynth.FLUID_FAILED or self._synth.program_select(CHANNEL, loaded, BANK, PIANO):
            self._synth.delete()
            raise UnreadableSoundFont(str(soundfont))

    def block(self, events: Events, start: int, end: int) -> Block:
        """The samples from ``start`` to ``end``, with the events between."""
        first, last = np.searchsorted(events[:, 0], (start, end))
        out = np.zeros((2, end - start), np.float32)
        done = start
        for sample, kind, number, value in events[first:last].tolist():
            self._render_into(out[:, done - start : sample - start])
            done = sample
            if kind == NOTE_ON:
                self._synth.noteon(CHANNEL, number, value)
            elif kind == NOTE_OFF:
                self._synth.noteoff(CHANNEL, number)
            else:
                self._synth.cc(CHANNEL, number, value)
        self._render_into(out[:, done - start :])
        return out

    def is_sounding(self) -> bool:
        return bool(self._synth.get_active_voice_count())

    def close(self) -> None:
        self._synth.delete()

    def _render_into(self, out: Block) -> None:
        if out.shape[1]:
            left, right = out
            self._write(self._synth.synth, len(left), left.ctypes.data, 0, 1, right.ctypes.data, 0, 1)


def _float_writer(library: ModuleType) -> Callable[..., int]:
    """pyfluidsynth renders only 16-bit samples, which clip and carry dither from an unseeded table."""
    arguments = ("synth", c_void_p), ("len", c_int), ("lout", c_void_p), ("loff", c_int), ("lincr", c_int)
    more = ("rout", c_void_p), ("roff", c_int), ("rincr", c_int)
    writer: Callable[..., int] = library.cfunc(
        "fluid_synth_write_float", c_int, *((*each, 1) for each in arguments + more)
    )
    return writer

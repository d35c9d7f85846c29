"""Any SoundFont, played offline by FluidSynth through pyfluidsynth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from ctypes import c_int, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import SOFT, SOSTENUTO, SUSTAIN, Performance

SAMPLE_RATE = 48000
"""Hz."""
BLOCK = SAMPLE_RATE
"""Samples per block."""
LONGEST_RING = 10.0
"""Seconds that strings may ring after the last event."""
POLYPHONY = 1024
"""Voices; with FluidSynth's default of 256 a pedal over a long passage cuts notes off."""
CHANNEL, BANK, PIANO = 0, 0, 0
CONTROL, NOTE_OFF, NOTE_ON = 0, 1, 2
"""Kinds of event, in the order in which those of one moment take place."""

Block = NDArray[np.float32]


class UnreadableSoundFont(ValueError):
    """The file is no SoundFont that FluidSynth can read, or has no piano."""


@dataclass(frozen=True)
class Events:
    """What the synthesizer is told, as columns sorted by time."""

    sample: NDArray[np.int64]
    kind: NDArray[np.int64]
    number: NDArray[np.int64]
    """MIDI pitch, or controller number."""
    value: NDArray[np.int64]
    """Velocity, or controller value."""


def play(performance: Performance, soundfont: Path, *, gain: float) -> Iterator[Block]:
    """The performance on the SoundFont's first preset: [2, samples] per block, 48 kHz, not limited.

    FluidSynth takes events every 64 samples (1.3 ms). Dry: neither reverberation nor chorus. Raises
    ``UnreadableSoundFont``, ``ImportError`` without pyfluidsynth or libfluidsynth.
    """
    events = events_of(performance)
    end = int(events.sample[-1]) + 1 if len(events.sample) else 0
    with closing(_Piano(soundfont, gain)) as piano:
        for begin in range(0, end, BLOCK):
            yield piano.block(events, begin, min(begin + BLOCK, end))
        for _ in range(int(LONGEST_RING * SAMPLE_RATE / BLOCK)):
            if not piano.is_sounding():
                break
            yield piano.render(BLOCK)


def events_of(performance: Performance) -> Events:
    """Notes and pedals; a key that is struck again is let go first."""
    count = len(performance)
    pedals = np.isin(performance.controls.number, (SUSTAIN, SOSTENUTO, SOFT))
    controls = performance.controls
    columns = [
        (performance.onset, NOTE_ON, performance.pitch, performance.velocity),
        (_offsets_before_restrike(performance), NOTE_OFF, performance.pitch, np.zeros(count, np.int64)),
        (controls.time[pedals], CONTROL, controls.number[pedals], controls.value[pedals]),
    ]
    sample = np.concatenate([np.rint(time * SAMPLE_RATE).astype(np.int64) for time, *_ in columns])
    kind = np.concatenate([np.full(len(time), kind) for time, kind, *_ in columns])
    order = np.lexsort((kind, sample))
    number = np.concatenate([number for *_, number, _ in columns])
    value = np.concatenate([value for *_, value in columns])
    return Events(sample[order], kind[order], number[order], value[order])


def _offsets_before_restrike(performance: Performance) -> NDArray[np.float64]:
    offset = performance.offset.copy()
    order = np.lexsort((performance.onset, performance.pitch))
    same_key = np.diff(performance.pitch[order]) == 0
    before, after = order[:-1][same_key], order[1:][same_key]
    offset[before] = np.minimum(offset[before], performance.onset[after])
    return offset


class _Piano:
    """A FluidSynth instance with one SoundFont loaded."""

    def __init__(self, soundfont: Path, gain: float) -> None:
        import fluidsynth

        self._library = fluidsynth
        self._synth = fluidsynth.Synth(gain=gain, samplerate=SAMPLE_RATE, **self._settings())
        self._write = _float_writer(fluidsynth)
        loaded = self._synth.sfload(str(soundfont))
        if loaded == fluidsynth.FLUID_FAILED or self._synth.program_select(CHANNEL, loaded, BANK, PIANO):
            self._synth.delete()
            raise UnreadableSoundFont(str(soundfont))

    @staticmethod
    def _settings() -> dict[str, Any]:
        return {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.polyphony": POLYPHONY}

    def block(self, events: Events, begin: int, end: int) -> Block:
        """The samples from ``begin`` to ``end``, with the events that fall between."""
        first, last = np.searchsorted(events.sample, (begin, end))
        out = np.zeros((2, end - begin), np.float32)
        done = begin
        for index in range(first, last):
            sample = int(events.sample[index])
            self._render_into(out[:, done - begin : sample - begin])
            done = sample
            self._apply(int(events.kind[index]), int(events.number[index]), int(events.value[index]))
        self._render_into(out[:, done - begin :])
        return out

    def render(self, length: int) -> Block:
        out = np.zeros((2, length), np.float32)
        self._render_into(out)
        return out

    def is_sounding(self) -> bool:
        return bool(self._synth.get_active_voice_count())

    def close(self) -> None:
        self._synth.delete()

    def _render_into(self, out: Block) -> None:
        if out.shape[1]:
            left, right = out
            self._write(self._synth.synth, len(left), left.ctypes.data, 0, 1, right.ctypes.data, 0, 1)

    def _apply(self, kind: int, number: int, value: int) -> None:
        if kind == NOTE_ON:
            self._synth.noteon(CHANNEL, number, value)
        elif kind == NOTE_OFF:
            self._synth.noteoff(CHANNEL, number)
        else:
            self._synth.cc(CHANNEL, number, value)


def _float_writer(library: Any) -> Any:
    """pyfluidsynth renders 16-bit samples only, which clip, and carry dither from an unseeded table."""
    arguments = ("synth", c_void_p), ("len", c_int), ("lout", c_void_p), ("loff", c_int), ("lincr", c_int)
    more = ("rout", c_void_p), ("roff", c_int), ("rincr", c_int)
    return library.cfunc("fluid_synth_write_float", c_int, *((*each, 1) for each in arguments + more))

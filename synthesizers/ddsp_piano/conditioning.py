"""From notes to what the networks see, 250 times a second: piano rolls, pedal events, voices."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH
from synthesizers.ddsp_piano.notes import Notes

FRAME_RATE = 250
"""Frames per second."""
KEYS = HIGHEST_PITCH - LOWEST_PITCH + 1
VOICES = 16
"""That the context network sees."""
FULL_VELOCITY = 127
CONTROLLERS = (64, 65, 66, 67)
"""Columns of the pedal input. Portamento (65) is no pedal, and was hardly ever seen in training."""
FULL_PEDAL = 128
"""A controller's value plus 1 is a part of this."""
WARM_UP = 0.5
"""Seconds of silence that the networks hear first; their sound is thrown away."""

Bytes = NDArray[np.uint8]


# ------------------------------------------------------------------------------------------------ rolls


@dataclass(frozen=True)
class Roll:
    """What sounds in each of T frames, for the 88 keys from A0 on."""

    velocity: Bytes
    """[T, 88] MIDI velocity of the key while it sounds, else 0."""
    onset: NDArray[np.bool_]
    """[T, 88] True around the start of a note."""

    @property
    def onset_velocity(self) -> Bytes:
        """[T, 88] velocity around the start of a note, else 0."""
        return self.velocity * self.onset


def piano_roll(notes: Notes, end: float) -> Roll:
    """The roll up to ``end`` seconds. Of notes of a key that overlap, the one that begins later is shown."""
    shape = (roll_frames(end), KEYS)
    inside = np.flatnonzero((notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH))
    order = inside[np.argsort(notes.onset[inside], kind="stable")]
    key = notes.pitch[order] - LOWEST_PITCH
    first = (notes.onset[order] * FRAME_RATE).astype(np.int64)
    last = np.maximum(first + 1, np.ceil(notes.offset[order] * FRAME_RATE).astype(np.int64))
    velocity, onset = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    _fill(velocity, first, last, key, notes.velocity[order].astype(np.uint8))
    _fill(onset, np.maximum(first - 1, 0), first + 2, key, np.ones(len(order), bool))
    return Roll(velocity, onset)


def roll_frames(end: float) -> int:
    return int(end * FRAME_RATE + 1)


def _fill(
    roll: NDArray[np.generic],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    key: NDArray[np.int64],
    value: NDArray[np.generic],
) -> None:
    """roll[first:last, key] = value, note by note."""
    lengths = np.maximum(np.minimum(last, len(roll)) - first, 0)
    begins = np.cumsum(lengths) - lengths
    places = np.arange(lengths.sum()) + np.repeat(first - begins, lengths)
    places *= roll.shape[1]
    places += np.repeat(key, lengths)
    roll.reshape(-1)[places] = np.repeat(value, lengths)


def controller_roll(
    time: NDArray[np.float64], number: NDArray[np.int64], value: NDArray[np.int64], frames: int
) -> Bytes:
    """[frames, 4]: value + 1 of a controller on the frame of the event, else 0; the last event of a frame
    counts. ``time`` [C] in seconds, ``number`` [C], ``value`` [C]: events in file order."""
    roll = np.zeros((frames, len(CONTROLLERS)), np.uint8)
    frame, column = (time * FRAME_RATE).astype(np.int64), number - CONTROLLERS[0]
    inside = (frame < frames) & (column >= 0) & (column < len(CONTROLLERS))
    roll[frame[inside], column[inside]] = value[inside] + 1
    return roll


# ----------------------------------------------------------------------------------------------- voices


@dataclass(frozen=True)
class Conditioning:
    """What the networks see in T frames of V voices; the first 16 voices are those of the context."""

    pitch: Bytes
    """[T, V] MIDI pitch, 0 for a silent voice."""
    velocity: Bytes
    """[T, V] MIDI velocity around the start of a note, else 0."""
    pedal: Bytes
    """[T, 4] as ``controller_roll``."""

    def __len__(self) -> int:
        return len(self.pitch)

    @property
    def voices(self) -> int:
        return self.pitch.shape[1]


def conditioning(
    roll: Roll, controllers: Bytes, frames: int, *, warm_up: float = WARM_UP, polyphony: int | None = None
) -> Conditioning:
    """The roll and the controllers, shared among voices: ``warm_up`` seconds of silence, then ``frames``.

    ``polyphony``: how many of the highest pitches sound at once; None for all, in as many voices as it takes.
    """
    pitch = voice_pitches(roll.velocity > 0, polyphony)
    columns = (pitch, voice_velocities(roll.onset_velocity, pitch), controllers)
    return Conditioning(*(_padded(column, int(warm_up * FRAME_RATE), frames) for column in columns))


def whole_seconds(end: float) -> int:
    """Frames of the published length: up to the next whole second."""
    return ceil(end) * FRAME_RATE


def _padded(rows: Bytes, before: int, count: int) -> Bytes:
    result = np.zeros((before + count, rows.shape[1]), rows.dtype)
    result[before : before + len(rows)] = rows[:count]
    return result


def voice_pitches(sounding: NDArray[np.bool_], polyphony: int | None) -> Bytes:
    """[T, V] MIDI pitch of each voice from the keys that sound [T, 88]; V is at least 16.

    A pitch keeps its voice while it sounds. New ones take the next free voice, going round, so that notes
    have time to fade; where all 16 are taken, they take further voices.
    """
    if polyphony is not None:
        highest = np.cumsum(sounding[:, ::-1], axis=1, dtype=np.uint8)[:, ::-1] <= polyphony
        sounding = sounding & highest
    changed = np.flatnonzero((sounding[1:] != sounding[:-1]).any(axis=1)) + 1
    frames = np.concatenate([[0], changed])
    voices = _Voices()
    states = [voices.take(np.flatnonzero(sounding[frame]) + LOWEST_PITCH) for frame in frames]
    table = np.zeros((len(states), max(map(len, states))), np.uint8)
    for row, state in zip(table, states, strict=True):
        row[: len(state)] = state
    return np.repeat(table, np.diff(np.append(frames, len(sounding))), axis=0)


class _Voices:
    """Which pitch each voice plays, 0 for none."""

    def __init__(self) -> None:
        self._pitches = [0] * VOICES
        self._next: int | None = 0
        self._silent: list[int] = []
        """Voices beyond the 16 that are free, the one that has been so for the longest time first."""

    def take(self, sounding: NDArray[np.int64]) -> list[int]:
        """The pitches of the voices once ``sounding`` (ascending) is shared among them."""
        wanted = set(sounding.tolist())
        for voice, pitch in enumerate(self._pitches):
            if pitch and pitch not in wanted:
                self._release(voice)
        for pitch in sorted(wanted.difference(self._pitches)):
            self._assign(pitch)
        return list(self._pitches)

    def _release(self, voice: int) -> None:
        self._pitches[voice] = 0
        if voice >= VOICES:
            self._silent.append(voice)
        elif self._next is None:
            self._next = voice

    def _assign(self, pitch: int) -> None:
        if self._next is not None:
            self._pitches[self._next] = pitch
            following = ((self._next + step) % VOICES for step in range(1, VOICES))
            self._next = next((voice for voice in following if not self._pitches[voice]), None)
        elif self._silent:
            self._pitches[self._silent.pop(0)] = pitch
        else:
            self._pitches.append(pitch)


def voice_velocities(onset_velocity: Bytes, pitch: Bytes) -> Bytes:
    """[T, V] the onset velocity [T, 88] of the pitch that each voice plays."""
    key = np.maximum(pitch, LOWEST_PITCH) - LOWEST_PITCH
    return np.where(pitch > 0, np.take_along_axis(onset_velocity, key, axis=1), 0).astype(np.uint8)

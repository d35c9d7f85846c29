"""A renderer that plays like a metronome, and a synthesizer that sounds like a music box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from score_to_audio import Checkpoint, Parameters, Performance, Prompt, Score, Spec, Waveform
from score_to_audio.errors import InputError


class MetronomeParameters(Parameters):
    tempo: float = Field(100, gt=0, le=400, description="quarter notes per minute")


class Metronome:
    """Every note exactly where it stands, all equally loud."""

    spec: ClassVar[Spec] = Spec(
        name="metronome",
        version="1",
        summary="plays every note in strict time, all equally loud (example plug-in)",
        parameters=MetronomeParameters,
        code_licence="CC0-1.0",
        limits="ignores everything but the notes",
    )

    def __init__(
        self, parameters: MetronomeParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self.parameters = parameters

    def render(self, score: Score, *, seed: int) -> Performance:
        notes = score.parsed.notes
        playable = (notes.pitch >= 21) & (notes.pitch <= 108)
        if not playable.any():
            raise InputError(f"{score.path}: has no notes that a piano can play")
        seconds_per_quarter = 60 / self.parameters.tempo
        onset = notes.onset[playable] * seconds_per_quarter
        length = np.maximum(notes.duration[playable] * seconds_per_quarter, 0.05)
        return Performance(
            onset=onset,
            offset=onset + length,
            pitch=notes.pitch[playable],
            velocity=np.full(playable.sum(), 64),
            score_ids=tuple(np.array(notes.id)[playable].tolist()),
        )


class MusicBoxParameters(Parameters):
    decay: float = Field(1.0, gt=0, le=10, description="seconds until a tone has lost 60 dB")


class MusicBox:
    """A decaying sine with one inharmonic overtone per note."""

    spec: ClassVar[Spec] = Spec(
        name="music-box",
        version="1",
        summary="decaying sines (example plug-in)",
        parameters=MusicBoxParameters,
        code_licence="CC0-1.0",
        limits="no pedals; tones ring as long as they like",
    )
    sample_rate = 32000

    def __init__(
        self, parameters: MusicBoxParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self.parameters = parameters

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        time = np.arange(round(self.parameters.decay * self.sample_rate)) / self.sample_rate
        envelope = 10 ** (-3 * time / self.parameters.decay) * np.minimum(1, (time[-1:] - time) / 0.005)
        sound = np.zeros(round((performance.end + self.parameters.decay) * self.sample_rate) + 1)
        notes = zip(performance.onset, performance.pitch, performance.velocity, strict=True)
        for onset, pitch, velocity in notes:
            frequency = 440 * 2 ** ((pitch - 69) / 12)
            tone = np.sin(2 * np.pi * frequency * time) + 0.3 * np.sin(2 * np.pi * 5.4 * frequency * time)
            start = round(onset * self.sample_rate)
            sound[start : start + len(tone)] += (velocity / 127) ** 2 * envelope * tone
        peak = np.abs(sound).max(initial=0.0)
        return Waveform((sound / max(2.0, 1.1 * peak)).astype(np.float32)[None], self.sample_rate)

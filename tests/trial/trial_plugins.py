"""A renderer and a synthesizer for tests: quick, or as slow and as clumsy as their options say."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from score_to_audio import (
    AudioStream,
    Checkpoint,
    Parameters,
    Performance,
    Prompt,
    Score,
    Spec,
    Waveform,
    report,
)

RATE = 8000


class TrialParameters(Parameters):
    log: str = Field("", description="file that gets a line for every piece of work done")
    pause: float = Field(0.0, description="seconds that a piece of work takes")
    burn: float = Field(0.0, description="seconds that a piece of work keeps a processor busy")
    trouble: str = Field(
        "",
        description="what goes wrong with which score: score-001=hang,score-002=eat (raise, hang, eat, die)",
    )
    stumble: str = Field(
        "", description="file whose existence makes the next work fail once, with an OSError"
    )


class Trial:
    def __init__(
        self, parameters: TrialParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self.parameters = parameters
        self.note("loaded")

    def note(self, line: str) -> None:
        if self.parameters.log:
            descriptor = os.open(self.parameters.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, f"{line}\n".encode())
            os.close(descriptor)

    def stumble(self) -> None:
        if self.parameters.stumble and Path(self.parameters.stumble).exists():
            Path(self.parameters.stumble).unlink()
            raise OSError("the disk hiccuped")

    def burn(self) -> None:
        end = time.process_time() + self.parameters.burn
        while time.process_time() < end:
            pass

    def rest(self, steps: int) -> Iterator[int]:
        for step in range(steps):
            time.sleep(self.parameters.pause / steps)
            report(step + 1, steps, "steps")
            yield step


def make_trouble(kind: str) -> None:
    """As models do in native code, where no exception and no other thread gets a chance."""
    if kind == "raise":
        raise KeyError("a defect")
    if kind == "hang":
        ctypes.PyDLL(None).sleep(100_000)  # does not let go of the interpreter
    if kind == "eat":
        np.zeros(1 << 40, dtype=np.uint8)
    if kind == "die":
        os.kill(os.getpid(), signal.SIGSEGV)


class TrialRenderer(Trial):
    spec: ClassVar[Spec] = Spec("trial", "1", "for tests", TrialParameters)

    def render(self, score: Score, *, seed: int) -> Performance:
        self.stumble()
        notes = score.parsed.notes
        troubles = dict(pair.split("=") for pair in self.parameters.trouble.split(",") if pair)
        make_trouble(troubles.get(score.path.stem, ""))
        self.burn()
        list(self.rest(10))
        self.note(f"rendered {score.path.name}")
        return Performance(
            onset=notes.onset * 0.5,
            offset=notes.onset * 0.5 + 0.4,
            pitch=notes.pitch,
            velocity=np.full(len(notes), 64),
        )


class TrialSynthesizer(Trial):
    """Half a second of a sine per note, delivered in ten blocks."""

    spec: ClassVar[Spec] = Spec("trial", "1", "for tests", TrialParameters)

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream:
        self.stumble()
        self.burn()
        time_axis = np.arange(RATE // 2) / RATE
        tones = [
            0.5 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_axis)
            for pitch in performance.pitch
        ]
        sound = np.concatenate(tones).astype(np.float32)[None]

        def blocks() -> Iterator[Any]:
            parts = np.array_split(sound, 10, axis=1)
            yield from (parts[step] for step in self.rest(10))
            self.note(f"synthesized {'-'.join(map(str, performance.pitch))}")

        return AudioStream(RATE, 1, blocks())

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        blocks = list(self.stream(performance, prompt=prompt, seed=seed).blocks)
        return Waveform(np.concatenate(blocks, axis=1), RATE)

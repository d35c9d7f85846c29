"""The synthesizer ``ddsp-piano``: performance -> voices -> recurrent networks -> partials and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from score_to_audio.errors import InputError
from score_to_audio.parameters import CheckpointName, Parameters
from score_to_audio.plugins import Checkpoint, Prompt, Spec
from score_to_audio.progress import report
from score_to_audio.types import SOFT, SOSTENUTO, SUSTAIN, AudioStream, Performance, Waveform

if TYPE_CHECKING:
    from synthesizers.ddsp_piano.conditioning import Conditioning
    from synthesizers.ddsp_piano.network import DdspPiano

Samples = NDArray[np.float32]
Year = Literal["2004", "2006", "2008", "2009", "2011", "2013", "2014", "2015", "2017", "2018"]
"""The years of the MAESTRO recordings, one piano and room each, in the order of the checkpoint."""

LONGEST = 2 * 3600.0
"""Seconds; the networks' memory of that length takes 0.5 GB."""
LAST_FADE = 0.05
"""Seconds over which the recorded room goes silent at the end."""
LONGEST_RELEASE = 60.0
"""Seconds; the published one is 1."""
HEARING = 0.7
"""Share of the work that is done when the networks have heard the piece."""


class DdspPianoParameters(Parameters):
    """Options of the synthesizer ``ddsp-piano``."""

    checkpoint: CheckpointName = Field("ddsp-piano", description="Weights: a name of the table, or a file.")
    piano: Annotated[Year, BeforeValidator(str)] = Field(
        "2017", description="Piano and room: the year of the MAESTRO recordings that they are learnt from."
    )
    background: Literal["muted", "learnt"] = Field(
        "muted",
        description="muted: voices make noise only while they have a note; learnt: always, as published, "
        "which sounds like the room and tape of the recordings.",
    )
    compatibility: Literal["none", "official"] = Field(
        "none",
        description="official: the voices, length, background and oscillators of the published scripts, with "
        "what they lose (slower).",
    )


class DdspPianoSynthesizer:
    """Recurrent networks that play an additive synthesizer and filtered noise; 16 kHz, mono."""

    spec: ClassVar[Spec] = Spec(
        name="ddsp-piano",
        version="1",
        summary="DDSP-Piano: recurrent networks play partials and noise; ten pianos of MAESTRO.",
        parameters=DdspPianoParameters,
        paper="Renault, Mignot and Roebel, DDSP-Piano: A Neural Sound Synthesizer Informed by Instrument "
        "Knowledge, JAES 71(9), 2023, doi 10.17743/jaes.2022.0102; the same, DAFx 2022",
        code_licence="Apache-2.0 (re-implemented)",
        weights_licence="Apache-2.0 (trained on MAESTRO, recordings under CC BY-NC-SA 4.0)",
        limits="16 kHz, mono; notes know the sustain pedal as up or down; the networks hear other pedalling",
        uses_seed=True,
    )

    def __init__(
        self, parameters: DdspPianoParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self._official = parameters.compatibility == "official"
        self._mute = parameters.background == "muted" and not self._official
        self._piano = get_args(Year).index(parameters.piano)
        self._model = read_model(checkpoints["checkpoint"].weights)

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        from score_to_audio.formats.audio import collect

        return collect(self.stream(performance, prompt=prompt, seed=seed))

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream:
        """The same samples as ``synthesize``, in blocks. Raises ``InputError`` for hours of playing.

        The networks hear the whole piece before the first block.
        """
        from score_to_audio.formats.audio import stream_of
        from synthesizers.ddsp_piano.partials import SAMPLE_RATE
        from synthesizers.limiter import limit_peaks

        if performance.end > LONGEST:
            raise InputError(
                f"a performance of {performance.end / 3600:.1f} hours; ddsp-piano takes up to "
                f"{LONGEST / 3600:.0f}, cut it into pieces"
            )
        if not len(performance):
            silence = np.zeros((1, int(SAMPLE_RATE * performance.end)), np.float32)
            return stream_of(Waveform(silence, SAMPLE_RATE))
        given = self._conditioning(performance)
        blocks = self._blocks(given, seed)
        if self._official:
            return AudioStream(SAMPLE_RATE, 1, (block.clip(-1, 1) for block in blocks))
        return limit_peaks(AudioStream(SAMPLE_RATE, 1, _faded_out(blocks, _samples(given))))

    def _conditioning(self, performance: Performance) -> Conditioning:
        from synthesizers.ddsp_piano.conditioning import (
            conditioning,
            controller_roll,
            piano_roll,
            whole_seconds,
        )
        from synthesizers.ddsp_piano.notes import Notes, sustained
        from synthesizers.ddsp_piano.official import POLYPHONY

        time, number, value = (getattr(performance.controls, name) for name in ("time", "number", "value"))
        keys = Notes(performance.onset, performance.offset, performance.pitch, performance.velocity)
        pedal = number == SUSTAIN
        notes, end = sustained(keys, time[pedal], value[pedal], float(keys.offset.max()))
        roll = piano_roll(notes, end)
        frames = len(roll.velocity)
        if self._official:
            controllers = controller_roll(time, number, value, frames)
            return conditioning(roll, controllers, whole_seconds(end), polyphony=POLYPHONY)
        pedals = np.isin(number, (SUSTAIN, SOSTENUTO, SOFT))
        controllers = controller_roll(time[pedals], number[pedals], value[pedals], frames)
        return conditioning(roll, controllers, frames + self._model.tail)

    def _blocks(self, given: Conditioning, seed: int) -> Iterator[Samples]:
        """[1, samples] each, without the warm-up."""
        from synthesizers.ddsp_piano.noise import white_noise
        from synthesizers.ddsp_piano.official import PublishedOscillators
        from synthesizers.ddsp_piano.partials import HOP, partials
        from synthesizers.ddsp_piano.playing import hear, play

        model, piano, total = self._model, self._piano, _samples(given)
        heard = hear(model, given, piano, mute=self._mute, progress=_part(0, HEARING, total))
        oscillators = PublishedOscillators(partials(model, piano), given.voices) if self._official else None
        share, skipped, done = _part(HEARING, 1, total), len(given) * HOP - total, 0
        for block in play(model, heard, piano, white_noise(seed), oscillators=oscillators):
            sound = block[skipped:]
            skipped -= len(block) - len(sound)
            done += len(sound)
            share(done / total)
            yield sound[None]


def _samples(given: Conditioning) -> int:
    """Of the sound, without the warm-up."""
    from synthesizers.ddsp_piano.conditioning import WARM_UP
    from synthesizers.ddsp_piano.partials import HOP, SAMPLE_RATE

    return len(given) * HOP - int(WARM_UP * SAMPLE_RATE)


def _part(start: float, end: float, total: int) -> Callable[[float], None]:
    """What takes the share done, 0 to 1, of this part of the work and reports it as seconds of sound."""
    from synthesizers.ddsp_piano.partials import SAMPLE_RATE

    seconds = total / SAMPLE_RATE
    return lambda done: report((start + (end - start) * done) * seconds, seconds, "seconds of sound")


def _faded_out(blocks: Iterator[Samples], total: int) -> Iterator[Samples]:
    from synthesizers.ddsp_piano.partials import SAMPLE_RATE

    fade, left = LAST_FADE * SAMPLE_RATE, total
    for block in blocks:
        remaining = np.arange(left - 1, left - 1 - block.shape[1], -1, dtype=np.float32)
        left -= block.shape[1]
        yield block * np.minimum(remaining / fade, 1) if left < fade else block


# ---------------------------------------------------------------------------------------- checkpoint


def read_model(path: Path) -> DdspPiano:
    """The networks of a published checkpoint, or of a safetensors file with the same tensors, on the CPU.

    Raises ``InputError``.
    """
    import torch

    from score_to_audio.weights import load_checkpoint, load_strictly
    from synthesizers.ddsp_piano.conditioning import FRAME_RATE
    from synthesizers.ddsp_piano.network import DdspPiano
    from synthesizers.ddsp_piano.weights import renamed

    content = load_checkpoint(path)
    entries = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(name): value for name, value in entries if isinstance(value, torch.Tensor)}
    model = DdspPiano().eval().requires_grad_(False)
    load_strictly(model, renamed(tensors), source=f"{path} (DDSP-Piano of 2022)")
    if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
        raise InputError(f"{path}: holds weights that are not numbers; get it again")
    release = float(model.note_release.seconds)
    if not 0 <= release <= LONGEST_RELEASE or not (release * FRAME_RATE).is_integer():
        raise InputError(f"{path}: releases notes within {release:g} s, not whole frames of 4 ms up to 60 s")
    return model

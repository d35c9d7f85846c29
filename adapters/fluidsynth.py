"""The synthesizer ``fluidsynth``: any SoundFont, offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from score_to_audio.errors import InputError
from score_to_audio.imports import import_quietly
from score_to_audio.plugins import Checkpoint, CheckpointName, Parameters, Prompt, Spec
from score_to_audio.types import AudioStream, Performance, Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Block = NDArray[np.float32]


def bundled_soundfont() -> str:
    """TimGM6mb, the small General MIDI SoundFont that pretty_midi brings; "" where it does not."""
    package = find_spec("pretty_midi")
    folders = package.submodule_search_locations if package else None
    found = Path(folders[0]) / "TimGM6mb.sf2" if folders else Path()
    return str(found) if found.is_file() else ""


class FluidSynthParameters(Parameters):
    soundfont: CheckpointName = Field(
        default_factory=bundled_soundfont,
        description="Path of an SF2 or SF3 file; its preset 0 of bank 0 is played.",
        validate_default=True,
    )
    gain: float = Field(default=1.5, gt=0, le=10, description="Factor on the SoundFont's own level.")

    @field_validator("soundfont")
    @classmethod
    def _exists(cls, value: str) -> str:
        if not Path(value).expanduser().is_file():
            raise ValueError(f"no SoundFont at {value!r}; use --set synthesizer.soundfont=FILE.sf2")
        return value


class FluidSynth:
    """Plays a performance on a SoundFont: 48 kHz, stereo, dry, sustain pedal down from CC64 = 64."""

    spec: ClassVar[Spec] = Spec(
        name="fluidsynth",
        version="1",
        summary="Any SF2 or SF3 SoundFont through FluidSynth, offline",
        parameters=FluidSynthParameters,
        code_licence="Apache-2.0 (FluidSynth: LGPL-2.1)",
        weights_licence="the SoundFont's",
        limits="No half-pedalling; notes start on a grid of 1.3 ms",
        process_memory=400,
    )

    def __init__(
        self, parameters: FluidSynthParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self._parameters = parameters
        self._soundfont = checkpoints["soundfont"].weights
        _check_library()

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        from score_to_audio.formats.audio import collect

        return collect(self.stream(performance, prompt=prompt, seed=seed))

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream:
        """The same samples as ``synthesize``, in blocks of at most a second."""
        from synthesizers.fluidsynth import SAMPLE_RATE
        from synthesizers.limiter import limit_peaks, with_progress

        stream = limit_peaks(AudioStream(SAMPLE_RATE, 2, self._blocks(performance)))
        return with_progress(stream, performance.end)

    def _blocks(self, performance: Performance) -> Iterator[Block]:
        from synthesizers.fluidsynth import UnreadableSoundFont, play

        try:
            yield from play(performance, self._soundfont, gain=self._parameters.gain)
        except UnreadableSoundFont as error:
            raise InputError(
                f"{self._soundfont}: not a SoundFont with a piano at bank 0, preset 0; "
                "choose another with --set synthesizer.soundfont=FILE.sf2"
            ) from error


def _check_library() -> None:
    if not find_spec("fluidsynth"):
        raise InputError("fluidsynth needs pyfluidsynth; run `pip install 'score-to-audio[fluidsynth]'`")
    try:
        import_quietly("fluidsynth")
    except (ImportError, OSError) as error:
        raise InputError(
            "fluidsynth needs the FluidSynth library; run `apt install libfluidsynth3` "
            f"(macOS: `brew install fluid-synth`) ({error})"
        ) from error

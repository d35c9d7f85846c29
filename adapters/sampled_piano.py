"""The synthesizer ``sampled-piano``: the bundled recordings of a grand piano."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from score_to_audio.plugins import Checkpoint, Parameters, Prompt, Spec
from score_to_audio.types import AudioStream, Performance, Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synthesizers.sampled_piano.instrument import Instrument, Recordings

GAIN = 0.28
"""Factor with which the densest music stays below -1 dBTP (docs/measurements.md)."""
DECLICK = 19
"""Samples (0.4 ms) over which a recording fades in after the silence that precedes it in its file."""


class SampledPianoParameters(Parameters):
    """Options of the synthesizer ``sampled-piano``."""

    room: Literal["off", "small", "hall"] = Field(
        default="small",
        description="Room around the piano, with resonance and noise of the pedal; off: dry recordings.",
    )


class SampledPiano:
    """Plays a performance on Salamander Grand Piano V3 (Alexander Holm, CC BY 3.0); 48 kHz, stereo."""

    spec: ClassVar[Spec] = Spec(
        name="sampled-piano",
        version="3",
        summary="A sampled Yamaha C5 with half-pedalling, bundled: the default",
        parameters=SampledPianoParameters,
        paper="Salamander Grand Piano V3 by Alexander Holm",
        code_licence="Apache-2.0",
        weights_licence="CC BY 3.0",
        limits="Notes fade out by 10 s",
        process_memory=400,
    )

    def __init__(
        self, parameters: SampledPianoParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self._parameters = parameters

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        from score_to_audio.formats.audio import collect

        return collect(self.stream(performance, prompt=prompt, seed=seed))

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream:
        """The same samples as ``synthesize``, in blocks of at most a second."""
        from synthesizers.limiter import with_progress

        return with_progress(played(performance, self._parameters.room), performance.end)


def played(performance: Performance, room: str) -> AudioStream:
    """The performance with its peaks limited, without reports of progress."""
    from synthesizers.limiter import limit_peaks
    from synthesizers.sampled_piano.mixing import play

    recordings = bundled_recordings()
    blocks = play(performance, recordings, gain=GAIN, room=room)
    return limit_peaks(AudioStream(recordings.instrument.sample_rate, 2, blocks))


@cache
def bundled_recordings() -> Recordings:
    """One object per process, so that recordings are decoded once."""
    from synthesizers.sampled_piano.instrument import Recordings

    return Recordings(bundled_instrument())


def bundled_instrument() -> Instrument:
    import numpy as np
    import soundfile

    from synthesizers.sampled_piano.instrument import Instrument

    folder = files("synthesizers.sampled_piano") / "samples"
    index: dict[str, Any] = json.loads((folder / "index.json").read_text("utf-8"))
    strengths = len(index["strength_levels"])
    notes, noises = index["notes"], index["release_noises"]

    def table(name: str) -> NDArray[np.float64]:
        """[K, S]; nan for the coherence of the strongest, which has no next."""
        return np.array([note.get(name, np.nan) for note in notes], np.float64).reshape(-1, strengths)

    lead: int = index["codec_lead"]
    fade = (0.5 - 0.5 * np.cos(np.pi * (np.arange(DECLICK) + 0.5) / DECLICK))[:, None]

    def read(name: str, samples: int | None = None) -> NDArray[np.float32]:
        with (folder / name).open("rb") as file:
            frames = -1 if samples is None else lead + samples
            found = soundfile.read(file, frames=frames, dtype="float32", always_2d=True)[0][lead:]
        found[:DECLICK] *= fade[: len(found)]
        return np.asarray(found)

    return Instrument(
        sample_rate=index["sample_rate"],
        keys=np.array([note["key"] for note in notes[::strengths]]),
        seconds=table("seconds"),
        levels=table("level"),
        coherence=table("coherence_with_next")[:, :-1],
        key_levels=np.array(index["key_levels"]),
        noise_gains=np.array([noise["gain"] for noise in noises]),
        noise_seconds=np.array([noise["seconds"] for noise in noises]),
        read_note=lambda key, strength, samples: read(notes[key * strengths + strength]["file"], samples),
        read_noise=lambda key: read(noises[key]["file"]),
    )

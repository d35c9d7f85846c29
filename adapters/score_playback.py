"""The renderer ``score``: plays exactly what is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from score_to_audio.plugins import Checkpoint, Parameters, Spec
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, Performance, Score

log = logging.getLogger(__name__)


class PlaybackParameters(Parameters):
    """Options of renderers that start from the written score."""

    default_tempo: float = Field(
        100.0, ge=20, le=400, description="Quarter notes per minute where the score has no tempo."
    )
    speed: float = Field(1.0, ge=0.25, le=4, description="Times every written tempo; 0.5 is half as fast.")
    trill_start: Literal["auto", "main", "upper"] = Field(
        "auto", description="First note of a trill; auto: the upper one for composers up to Mozart."
    )

    @property
    def upper_start(self) -> bool | None:
        """Whether trills begin with the upper note; None: depends on the composer."""
        return None if self.trill_start == "auto" else self.trill_start == "upper"


class ScorePlaybackParameters(PlaybackParameters):
    """Options of the renderer ``score``."""

    default_dynamic: Literal["ppp", "pp", "p", "mp", "mf", "f", "ff", "fff"] = Field(
        "mf", description="Dynamic before the first mark."
    )
    softest: int = Field(16, ge=1, le=127, description="MIDI velocity of ppp.")
    loudest: int = Field(126, ge=1, le=127, description="MIDI velocity of fff; linear between ppp and fff.")


class ScorePlayback:
    """Written tempo, dynamics, articulation, ornaments and pedal; no interpretation."""

    spec: ClassVar[Spec] = Spec(
        name="score",
        version="1",
        summary="Plays exactly what is written: the baseline, and the fallback for any score.",
        parameters=ScorePlaybackParameters,
        code_licence="Apache-2.0",
        limits="No interpretation: no phrasing, no rubato, no pedal that is not written.",
        process_memory=200,
    )

    def __init__(
        self, parameters: ScorePlaybackParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self._parameters = parameters

    def render(self, score: Score, *, seed: int) -> Performance:
        """The score as written; the seed has no effect."""
        from renderers.score_playback import render

        parsed, options = score.parsed, self._parameters
        pitch = parsed.notes.pitch
        if beyond := int(((pitch < LOWEST_PITCH) | (pitch > HIGHEST_PITCH)).sum()):
            log.warning("%s: %d notes outside the piano's A0 to C8 are left out", score.path, beyond)
        return render(parsed, **options.model_dump(exclude={"trill_start"}), upper_start=options.upper_start)

"""The renderer ``pianist-mean``: binds ``renderers.pianist_mean`` to scores and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from adapters.score_playback import PlaybackParameters
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, Spec
from score_to_audio.types import Performance, Score

if TYPE_CHECKING:
    from renderers.pianist_mean.model import Model


class PianistMeanParameters(PlaybackParameters):
    """Options of the renderer ``pianist-mean``."""

    checkpoint: CheckpointName = Field(
        "pianist-mean", description="Weights: pianist-mean (shipped), or a file of `train pianist-mean`."
    )
    default_tempo: float | None = Field(  # type: ignore[assignment]
        None,
        ge=20,
        le=400,
        description="Quarter notes per minute where the score has no tempo; none: as the texture suggests.",
    )


class PianistMean:
    """Networks that were trained on the mean of several pianists' performances of each piece."""

    spec: ClassVar[Spec] = Spec(
        name="pianist-mean",
        version="1",
        summary="Plays what pianists have in common: networks trained on the mean of their performances.",
        parameters=PianistMeanParameters,
        code_licence="Apache-2.0",
        weights_licence="CC BY-NC-SA 4.0, that of the corpus they were trained on",
        limits="Trained on Western classical piano music of 14 composers; one interpretation per score; MIDI "
        "scores, which lack what it reads, are played by kth-rules.",
        process_memory=200,
    )

    def __init__(
        self,
        parameters: PianistMeanParameters,
        *,
        checkpoints: Mapping[str, Checkpoint],
        device: str,  # not used: the networks are small
    ) -> None:
        self._parameters = parameters
        self._model = read_checkpoint(checkpoints["checkpoint"].weights)

    def notices(self, score: Score) -> tuple[str, ...]:
        """That the rules play the score, where they do."""
        reason = _played_by_rules(score)
        return (f"played by kth-rules: {reason}",) if reason else ()

    def render(self, score: Score, *, seed: int) -> Performance:
        """The score as the networks play it, or by rules (``notices``); the seed has no effect."""
        import numpy as np

        from renderers import tempo
        from renderers.kth_rules.rendering import render
        from renderers.pianist_mean.features import features
        from renderers.pianist_mean.performance import perform

        options = self._parameters
        if _played_by_rules(score):
            default = options.default_tempo or tempo.DEFAULT_TEMPO
            return render(
                score.parsed, default_tempo=default, speed=options.speed, upper_start=options.upper_start
            )
        shape = self._model.shape(
            score.parsed, features(score.parsed), default_tempo=options.default_tempo, speed=options.speed
        )
        if not all(np.isfinite(column).all() for column in vars(shape).values()):
            raise InputError(
                f"{score.path}: the networks' output is not a number; is the checkpoint damaged "
                "(`score-to-audio models check pianist-mean`)?"
            )
        return perform(score.parsed, shape, upper_start=options.upper_start)


def _played_by_rules(score: Score) -> str:
    """Why the networks cannot play the score; "" where they can."""
    from score_to_audio.formats.midi_events import is_midi

    if is_midi(score.content):
        return "a MIDI file lacks the notation that pianist-mean reads"
    if all(score.parsed.notes.grace):
        return "pianist-mean needs a note that is not a grace note"
    return ""


def read_checkpoint(path: Path) -> Model:
    """The model of a ``.safetensors`` file. Raises ``InputError``."""
    from renderers.pianist_mean.model import from_arrays
    from score_to_audio.weights import load_arrays, safetensors_metadata

    if path.suffix != ".safetensors":
        raise InputError(f"{path}: not a checkpoint of pianist-mean, which is a .safetensors file")
    arrays, header = load_arrays(path), safetensors_metadata(path)
    try:
        return from_arrays(arrays, json.loads(header["model"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint of pianist-mean ({error})") from error

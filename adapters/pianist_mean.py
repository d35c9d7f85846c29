"""The renderer ``pianist-mean``: binds the networks of ``renderers.pianist_mean`` to scores and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, Parameters, Spec
from score_to_audio.types import Performance, Score

if TYPE_CHECKING:
    from renderers.pianist_mean.model import Model

LICENCE = "CC BY-NC-SA 4.0, that of the corpus they were trained on"


class PianistMeanParameters(Parameters):
    """Options of the renderer ``pianist-mean``."""

    checkpoint: CheckpointName = Field(
        "pianist-mean", description="Weights: pianist-mean (shipped), or a file of `train pianist-mean`."
    )
    speed: float = Field(1.0, ge=0.25, le=4, description="Times the tempo; 0.5 is half as fast.")
    trill_start: Literal["auto", "main", "upper"] = Field(
        "auto", description="First note of a trill; auto: the upper one for composers up to Mozart."
    )


class PianistMean:
    """Networks that were trained on the mean of several pianists' performances of each piece."""

    spec: ClassVar[Spec] = Spec(
        name="pianist-mean",
        version="1",
        summary="Plays what pianists have in common: networks trained on the mean of their performances.",
        parameters=PianistMeanParameters,
        code_licence="Apache-2.0",
        weights_licence=f"{LICENCE}: no commercial use; -r kth-rules has no such condition",
        limits="Trained on Western classical piano music of 14 composers; one interpretation per score; plays "
        "MIDI scores, which lack what it reads, by kth-rules.",
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
        """What is said with the performance: that the rules play it."""
        reason = _played_by_rules(score)
        return (f"played by kth-rules, since {reason}",) if reason else ()

    def render(self, score: Score, *, seed: int) -> Performance:
        """The score as the networks play it, or by rules (``notices``); the seed has no effect."""
        import numpy as np

        from renderers.kth_rules.rendering import render
        from renderers.pianist_mean.features import features
        from renderers.pianist_mean.performance import perform

        options = self._parameters
        upper_start = None if options.trill_start == "auto" else options.trill_start == "upper"
        if _played_by_rules(score):
            return render(score.parsed, speed=options.speed, upper_start=upper_start)
        shape = self._model.shape(score.parsed, features(score.parsed), speed=options.speed)
        if not all(np.isfinite(column).all() for column in vars(shape).values()):
            raise InputError(f"{score.path}: the network's output is not a number; is the checkpoint damaged?")
        return perform(score.parsed, shape, upper_start=upper_start)


def _played_by_rules(score: Score) -> str:
    """Why the networks cannot play the score; "" where they can."""
    from score_to_audio.formats.midi_events import is_midi

    if is_midi(score.content):
        return "a MIDI file has none of the notation that pianist-mean reads"
    if all(score.parsed.notes.grace):
        return "the score has grace notes only"
    return ""


def read_checkpoint(path: Path) -> Model:
    """The model of a ``.safetensors`` file. Raises ``InputError``."""
    from renderers.pianist_mean.model import from_tensors
    from score_to_audio.weights import load_checkpoint, safetensors_metadata

    if path.suffix != ".safetensors":
        raise InputError(f"{path}: not a checkpoint of pianist-mean, which is a .safetensors file")
    tensors, header = load_checkpoint(path), safetensors_metadata(path)
    try:
        return from_tensors(tensors, json.loads(header["model"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: not a checkpoint of pianist-mean ({error})") from error

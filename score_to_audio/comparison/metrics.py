"""The measures that a comparison takes of its cells, each kept in the store; the definitions are in
``score_to_audio.comparison.evaluation``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from renderers import expression
from score_to_audio import checkpoints
from score_to_audio.comparison import files
from score_to_audio.comparison.config import MeasureName
from score_to_audio.comparison.files import File
from score_to_audio.comparison.listening.comparison import Measured
from score_to_audio.errors import InputError
from score_to_audio.files import sha256_of
from score_to_audio.plugins import Checkpoint
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Score

Values = dict[str, float]
"""Key of a figure -> value; nan where it is not defined."""

EXTRA = "install it with `pip install 'score-to-audio[evaluation]'`"
SHAPES = ("velocity", "local_beat_period", "articulation", "pedal_within_beat")
"""Of ``expression.MEASURES``, those that a comparison shows."""


@dataclass(frozen=True)
class Heard:
    """A cell as the measures see it."""

    audio: File
    performance: File | None
    """What is to be heard in the audio."""
    reference: File | None
    """A sound of the same performance that the audio is measured against."""
    score: Score | None
    humans: tuple[File, ...]
    """Human performances of the score, this one left out."""


@dataclass(frozen=True)
class Measure:
    """A group of figures that are taken together."""

    name: MeasureName
    version: str
    figures: tuple[Measured, ...]
    missing: Callable[[], str]
    """What is to be installed before it can be taken; "" where it can."""
    inputs: Callable[[Heard], Sequence[File] | None]
    """Beside the audio, the files that the figures depend on; None where it says nothing of this cell."""
    take: Callable[[Heard], Mapping[str, float]]


def take(measure: Measure, heard: Heard, store: ArtifactStore) -> Values:
    """The figures of a cell, from the store where they were taken before; none where they say nothing."""
    inputs = measure.inputs(heard)
    if inputs is None:
        return {}
    parameters: dict[str, Any] = {"inputs": [sha256_of(file.path) for file in inputs]}
    if measure.name == "expression" and heard.score:
        parameters["score"] = heard.score.sha256

    def make(path: Path) -> None:
        values = {name: float(value) for name, value in measure.take(heard).items()}
        path.write_text(json.dumps({name: _as_json(value) for name, value in values.items()}))

    kept = files.derived(
        heard.audio,
        store,
        stage="measure",
        model=measure.name,
        version=measure.version,
        name="measures.json",
        parameters=parameters,
        make=make,
    )
    return {name: float(value) for name, value in json.loads(kept.path.read_text()).items()}


def _as_json(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)  # "nan", "inf", "-inf": JSON has no such numbers


# ------------------------------------------------------------------------------------------- levels


def _levels(heard: Heard) -> Mapping[str, float]:
    from score_to_audio.comparison.evaluation.levels import levels
    from score_to_audio.formats.audio import read_audio

    found = levels(read_audio(heard.audio.path))
    return {
        "loudness": found.loudness,
        "true_peak": found.true_peak,
        "silence": 100 * found.silence,
        "clipped": found.clipped,
    }


LEVELS = Measure(
    name="levels",
    version="1",
    figures=(
        Measured("loudness", "loudness", "LUFS", "", "Integrated loudness, ITU-R BS.1770-4.", 1),
        Measured("true_peak", "true peak", "dBTP", "", "True peak, ITU-R BS.1770-4.", 1),
        Measured("silence", "silence", "%", "", "Of the length, below -60 dBFS.", 0),
        Measured("clipped", "clipped", "samples", "lower", "In runs of three or more at full scale.", 0),
    ),
    missing=lambda: "",
    inputs=lambda _: (),
    take=_levels,
)


# ------------------------------------------------------------------------------------------ distances


def _distance(heard: Heard) -> Mapping[str, float]:
    from score_to_audio.comparison.evaluation.spectral import (
        chroma,
        chroma_distance,
        midi_spectrogram,
        spectrogram_distance,
    )

    assert heard.reference is not None
    target, other = _prepared(heard.audio.path), _prepared(heard.reference.path)
    return {
        "chroma_distance": chroma_distance(chroma(target), chroma(other)),
        "spectrogram_distance": spectrogram_distance(midi_spectrogram(target), midi_spectrogram(other)),
    }


def _prepared(path: Path) -> Any:
    from score_to_audio.comparison.evaluation.spectral import prepared
    from score_to_audio.formats.audio import read_audio

    return prepared(read_audio(path))


DISTANCE = Measure(
    name="distance",
    version="1",
    figures=(
        Measured(
            "chroma_distance",
            "chroma distance",
            "",
            "lower",
            "Constant-Q chroma against the reference, frame by frame (Tang et al., ICASSP 2025).",
            3,
        ),
        Measured(
            "spectrogram_distance",
            "spectrogram distance",
            "",
            "lower",
            "MIDI-filtered log spectrogram against the reference, relative (Tang et al., ICASSP 2025).",
            3,
        ),
    ),
    missing=lambda: "" if find_spec("librosa") else f"chroma needs librosa; {EXTRA}",
    inputs=lambda heard: (heard.reference,) if heard.reference else None,
    take=_distance,
)


# --------------------------------------------------------------------------------------- transcription


def _transcription(heard: Heard) -> Mapping[str, float]:
    from adapters.transcription import transcribe
    from score_to_audio.comparison.evaluation.transcription import scores
    from score_to_audio.formats.audio import read_audio
    from score_to_audio.formats.midi import read_performance

    assert heard.performance is not None
    found = scores(read_performance(heard.performance.path), transcribe(read_audio(heard.audio.path)))
    return {
        "onset_f1": found.onset_f1,
        "offset_f1": found.offset_f1,
        "velocity_f1": found.velocity_f1,
        "velocity_correlation": found.velocity_correlation,
        "pedal_f1": found.pedal_f1,
        "onset_error": 1000 * found.onset_error,
    }


_HEARD = "of what transkun (Yan & Duan, ISMIR 2024) hears against what was played; mir_eval."
TRANSCRIPTION = Measure(
    name="transcription",
    version="1",
    figures=(
        Measured("onset_f1", "onset F1", "", "higher", f"Pitch and onset within 50 ms, {_HEARD}", 3),
        Measured("offset_f1", "offset F1", "", "higher", f"And offset, pedal included, {_HEARD}", 3),
        Measured("velocity_f1", "velocity F1", "", "higher", f"Onset and velocity within 0.1, {_HEARD}", 3),
        Measured("velocity_correlation", "velocity r", "", "higher", f"Pearson's r of velocity, {_HEARD}", 2),
        Measured("pedal_f1", "pedal F1", "", "higher", f"Sustain pedal in frames of 10 ms, {_HEARD}", 3),
        Measured("onset_error", "onset error", "ms", "lower", f"Median |difference| of onsets, {_HEARD}", 1),
    ),
    missing=lambda: (
        ""
        if find_spec("transkun") and find_spec("mir_eval")
        else f"transcription needs transkun and mir_eval; {EXTRA}"
    ),
    inputs=lambda heard: (heard.performance,) if heard.performance else None,
    take=_transcription,
)


# ------------------------------------------------------------------------------------------- expression


def _expression(heard: Heard) -> Mapping[str, float]:
    assert heard.performance is not None
    assert heard.score is not None
    mine = _shape(heard.score, heard.performance.path)
    humans = [_shape(heard.score, human.path) for human in heard.humans]
    agreement = expression.agreement(mine, expression.mean_expression(humans))
    distance = expression.distribution_distance(mine, humans)
    within = expression.share_within(mine, humans)
    return {
        f"human_{name}_{what}": values[name]
        for name in SHAPES
        for what, values in (("correlation", agreement), ("distance", distance), ("within", within))
    }


@lru_cache(maxsize=64)
def _shape(score: Score, midi: Path) -> expression.Expression:
    from score_to_audio.formats.midi import read_performance

    try:
        return expression.measure(expression.grid(score.parsed), read_performance(midi))
    except ValueError as error:
        raise InputError(f"{midi.name}: its expression cannot be measured: {error}") from error


def _expression_inputs(heard: Heard) -> Sequence[File] | None:
    if heard.performance is None or heard.score is None or not heard.humans:
        return None
    return (heard.performance, *heard.humans)


_SHAPE_NAMES = {
    "velocity": "velocity",
    "local_beat_period": "log beat period",
    "articulation": "articulation",
    "pedal_within_beat": "pedal",
}


def _expression_figures(name: str, label: str) -> tuple[Measured, ...]:
    agreement = f"Pearson's r of {label} with the mean of the humans; see docs/evaluation.md."
    distance = f"1-Wasserstein distance of the {label} values from the humans', in their standard deviations."
    within = f"Share of {label} values between the least and the greatest of the humans' at the same place."
    return (
        Measured(f"human_{name}_correlation", f"human {label} r", "", "higher", agreement, 2),
        Measured(f"human_{name}_distance", f"human {label} distance", "sd", "lower", distance, 2),
        Measured(f"human_{name}_within", f"human {label} within", "", "higher", within, 2),
    )


EXPRESSION = Measure(
    name="expression",
    version="2",
    figures=tuple(
        figure for name, label in _SHAPE_NAMES.items() for figure in _expression_figures(name, label)
    ),
    missing=lambda: "",
    inputs=_expression_inputs,
    take=_expression,
)

MEASURES: Mapping[MeasureName, Measure] = {
    measure.name: measure for measure in (LEVELS, DISTANCE, TRANSCRIPTION, EXPRESSION)
}
"""Those of single cells; the Frechet audio distance is one of sets."""


# --------------------------------------------------------------------------------------------- Frechet


def frechet_figure(embedding: str) -> Measured:
    return Measured(
        "frechet_distance",
        f"FAD ({embedding})",
        "",
        "lower",
        f"Frechet audio distance of the column from the references (Kilgour et al., Interspeech 2019) in the "
        f"quantized latents of {embedding}; values of other embeddings cannot be compared.",
        2,
    )


def frechet_codec(embedding: str) -> Checkpoint:
    """Raises ``InputError`` that says how to get it."""
    try:
        return checkpoints.find(embedding)
    except InputError as error:
        raise InputError(f"the Frechet audio distance needs its embedding: {error}") from error


def embedded(audio: File, codec: Checkpoint, device: str, store: ArtifactStore) -> File:
    """The moments of a sound's embedding, kept in the store."""
    from score_to_audio.comparison.evaluation.frechet import codec_embedding, moments

    def make(path: Path) -> None:
        from score_to_audio.formats.audio import read_audio

        vectors = codec_embedding(files.codec_of(codec, device), codec.name).embed(read_audio(audio.path))
        found = moments(vectors)
        with path.open("wb") as file:
            np.savez(file, count=found.count, total=found.total, products=found.products)

    return files.derived(
        audio,
        store,
        stage="measure",
        model="embedding",
        name="moments.npz",
        checkpoints={"codec": codec.sha256},
        device=device,
        make=make,
    )


def frechet(sounds: Sequence[File], references: Sequence[File]) -> float:
    """Between two sets of ``embedded`` sounds."""
    from score_to_audio.comparison.evaluation.frechet import Moments, frechet_distance, joined

    def read(file: File) -> Moments:
        with np.load(file.path, allow_pickle=False) as kept:
            return Moments(int(kept["count"]), kept["total"], kept["products"])

    if not sounds or not references:
        return float("nan")
    return frechet_distance(
        joined([read(file) for file in sounds]), joined([read(file) for file in references])
    )

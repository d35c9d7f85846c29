"""Whether the weights of a checkpoint behave like trained ones: loaded strictly, measured, played and judged.

The phrase is Chopin's prelude op. 28 no. 7, typeset for this project. The ranges come from ``asap-small`` and
``ddsp-piano``, the trained weights that were at hand; those of codecs are expected, not measured.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from importlib.resources import files as package_files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from score_to_audio import checkpoints, registry
from score_to_audio.checkpoints import Published
from score_to_audio.errors import ScoreToAudioError
from score_to_audio.plugins import Checkpoint, Prompt
from score_to_audio.types import Performance, Score, Waveform

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = 10.0
"""Of the phrase that synthesizers play."""
SMALLEST_MATRIX = 1000
"""Values of a matrix whose scale is measured."""
AUDIBLE = 60.0
"""Decibels below the loudest place of a spectrogram that count as silence."""
PIANO_BANDS = slice(21, 96)
"""MIDI numbers, up to 2 kHz: all synthesizers have the partials below."""
STATISTICS_FRAMES = {"m2a": 7_552_510}
"""Frames that the published statistics were made of."""


@dataclass(frozen=True)
class Figure:
    """One measured value and the range of trained models."""

    name: str
    value: float
    low: float
    high: float
    example: str
    """What a trained model shows, or that none was measured."""
    otherwise: str
    """What a value outside the range says, as a sentence."""

    @property
    def ok(self) -> bool:
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        upper = f" to {self.high:g}" if math.isfinite(self.high) else " at least"
        verdict = "ok" if self.ok else self.otherwise
        return f"{self.name}: {self.value:.3g} (trained: {self.low:g}{upper}; {self.example}): {verdict}"


@dataclass(frozen=True)
class Verification:
    """What was found about a checkpoint."""

    name: str
    files: tuple[str, ...]
    """Name, size and hash of each."""
    figures: tuple[Figure, ...] = ()
    notices: tuple[str, ...] = ()
    failure: str = ""
    """Why the model cannot be loaded or played; "" where it can."""

    @property
    def ok(self) -> bool:
        return not self.failure and all(figure.ok for figure in self.figures)

    @property
    def verdict(self) -> str:
        if self.failure:
            return f"{self.name} cannot be used: {self.failure}"
        if self.ok:
            return f"{self.name} behaves like a trained model"
        wrong = ", ".join(figure.name for figure in self.figures if not figure.ok)
        return f"{self.name} does not behave like a trained model: {wrong}"

    def lines(self) -> list[str]:
        return [*self.files, *map(str, self.figures), *self.notices, self.verdict]

    def report(self) -> str:
        """The same for a letter to the project; no path of this machine is in it."""
        machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        versions = ", ".join(f"{name} {version(name)}" for name in ("score-to-audio", "torch"))
        return "\n".join([f"models verify {self.name}", f"{versions}, {machine}", *self.lines(), ""])


def verify(name: str, file: Path | None = None) -> Verification:
    """Load the checkpoint ``name``, or ``file`` in its place, and judge what it plays.

    Raises ``InputError`` where there is no such checkpoint.
    """
    entry = checkpoints.published(name)
    found = checkpoints.find(str(file) if file else name)
    files = tuple(
        f"{path.name}: {path.stat().st_size} bytes, sha256 {checkpoints.sha256_of(path)}"
        for path in found.files.values()
    )
    result = Verification(name, files)
    figures: list[Figure] = []
    try:
        figures += _weights(entry, found)
        figures += _played(entry, found, str(file) if file else name)
    except (ScoreToAudioError, ValueError) as error:
        result = replace(result, failure=_without_paths(str(error), found))
    notices = () if find_spec("transkun") or _kind(entry) != "synthesizer" else (WITHOUT_TRANSKUN,)
    return replace(result, figures=tuple(figures), notices=notices)


WITHOUT_TRANSKUN = "not judged by ear: transkun is absent (`pip install 'score-to-audio[evaluation]'`)"


def _without_paths(text: str, found: Checkpoint) -> str:
    for path in found.files.values():
        text = text.replace(str(path), path.name).replace(str(path.parent), "")
    return text.replace(str(Path.home()), "~")


def _kind(entry: Published) -> str:
    if entry.role == "codec":
        return "codec"
    return "renderer" if entry.model in registry.entries("renderer") else "synthesizer"


def _played(entry: Published, found: Checkpoint, checkpoint: str) -> Iterator[Figure]:
    kind = _kind(entry)
    if kind == "codec":
        yield from _reconstruction(found)
    elif kind == "renderer":
        renderer = registry.resolve("renderer", entry.model, {entry.role: checkpoint}, device="cpu")
        yield from _rendering(registry.build(renderer).render(phrase(), seed=0))
    else:
        synthesizer = registry.resolve("synthesizer", entry.model, {entry.role: checkpoint}, device="cpu")
        prompt = _prompt() if synthesizer.spec.uses_prompt else None
        sound = registry.build(synthesizer).synthesize(_excerpt(), prompt=prompt, seed=0)
        yield from _sound(sound)


# ------------------------------------------------------------------------------------------- weights


def _weights(entry: Published, found: Checkpoint) -> Iterator[Figure]:
    from score_to_audio.weights import load_checkpoint, tensors_in

    tensors = list(tensors_in(load_checkpoint(found.weights, foreign=entry.foreign)))
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    broken = sum(int((~tensor.isfinite()).sum()) for tensor in floats)
    yield Figure("values that are not numbers", broken, 0, 0, "none", "the file is damaged")
    scales = [_scale(tensor) for tensor in floats if tensor.ndim > 1 and tensor.numel() >= SMALLEST_MATRIX]
    if scales := [scale for scale in scales if scale > 0]:
        yield Figure(
            "ratio of the largest to the smallest scale of a matrix",
            max(scales) / min(scales),
            1.3,
            math.inf,
            "asap-small 3.3, ddsp-piano 27; 1.0 if drawn at random by one rule",
            "the weights look as if no training had changed them",
        )
    if "statistics" in found.files and entry.name in STATISTICS_FRAMES:
        from adapters.m2a import statistics_frames

        known = STATISTICS_FRAMES[entry.name]
        frames = statistics_frames(found.files["statistics"])
        yield Figure(
            "frames of the statistics",
            frames,
            known,
            known,
            "as published",
            "other data, such as those of valid",
        )


def _scale(matrix: Tensor) -> float:
    """Standard deviation times the root of the inputs: 1 for weights that keep the variance."""
    values = matrix.double()
    return float(values.std() * math.sqrt(values[0].numel()))


# ------------------------------------------------------------------------------------------- renderers


@cache
def phrase() -> Score:
    from score_to_audio.formats.scores.reader import read_score

    return read_score(Path(str(package_files("score_to_audio.comparison").joinpath("phrase.musicxml"))))


@cache
def _rules() -> Performance:
    return registry.build(registry.resolve("renderer", "kth-rules")).render(phrase(), seed=0)


def _rendering(performance: Performance) -> Iterator[Figure]:
    from renderers import expression

    ids = phrase().parsed.notes.id
    played = len(set(performance.score_ids or ()) & set(ids)) / len(ids)
    yield Figure("share of notes played", played, 0.95, 1, "asap-small 1", "notes are missing")
    grid = expression.grid(phrase().parsed)
    own, rules = (expression.measure(grid, one) for one in (performance, _rules()))
    agreement = expression.agreement(own, rules)
    slower = float(np.exp2(np.nanmean(own.beat_period) - np.nanmean(rules.beat_period)))
    liveliness = float(np.nanstd(own.beat_period))
    spread = float(performance.velocity.std())
    yield Figure("time against the rules'", slower, 0.5, 2, "asap-small 1.14", "the tempo is wrong")
    yield Figure(
        "spread of tempo, octaves", liveliness, 0.05, 0.8, "asap-small 0.20", "the tempo is stiff or wild"
    )
    yield Figure("spread of velocity", spread, 4, 32, "asap-small 15", "the dynamics are flat or wild")
    for name, least, example in (("velocity", 0.3, "0.79"), ("beat_period", 0.1, "0.43")):
        yield Figure(
            f"correlation of {name.replace('_', ' ')} with the rules",
            agreement[name],
            least,
            1,
            f"asap-small {example}",
            "it does not follow the music",
        )


# ------------------------------------------------------------------------------------------- sound


@cache
def _excerpt() -> Performance:
    from score_to_audio.adjustments import cut_notes

    return cut_notes(_rules(), 0, SECONDS)


@cache
def _piano() -> Waveform:
    sampled = registry.build(registry.resolve("synthesizer", "sampled-piano"))
    return sampled.synthesize(_excerpt(), prompt=None, seed=0)


def _prompt() -> Prompt:
    return Prompt(_piano(), _excerpt(), sha256="phrase")


def _sound(sound: Waveform) -> Iterator[Figure]:
    from score_to_audio.comparison.evaluation.levels import levels

    loudness = levels(sound).loudness
    yield Figure("loudness, LUFS", loudness, -50, -15, "ddsp-piano -34", "it is nearly silent, or overdriven")
    yield _likeness(sound, 0.4, "ddsp-piano 0.69 to 0.72")
    if find_spec("transkun"):
        from adapters.transcription import transcribe
        from score_to_audio.comparison.evaluation.transcription import scores

        heard = scores(_excerpt(), transcribe(sound))
        wrong = "the notes are not those that were asked for"
        yield Figure("onset F1 of what transkun hears", heard.onset_f1, 0.6, 1, "ddsp-piano 1", wrong)
        correlation = heard.velocity_correlation
        yield Figure("correlation of its velocities", correlation, 0.4, 1, "ddsp-piano 0.91", wrong)


def _likeness(sound: Waveform, least: float, example: str) -> Figure:
    one, other = _spectrogram(_piano()), _spectrogram(sound)
    frames = min(len(one), len(other))
    likeness = float(np.corrcoef(one[:frames].ravel(), other[:frames].ravel())[0, 1])
    name = "correlation of the spectrogram with the sampled piano's"
    return Figure(name, likeness, least, 1, example, "it does not sound like a piano that plays this")


def _spectrogram(sound: Waveform) -> NDArray[np.float32]:
    """[frames, bands] decibels."""
    from score_to_audio.comparison.evaluation import spectral

    bands = spectral.midi_spectrogram(spectral.prepared(sound))[:, PIANO_BANDS]
    return np.maximum(bands, bands.max() - AUDIBLE)


def _reconstruction(found: Checkpoint) -> Iterator[Figure]:
    from adapters.codec import load_codec, reconstruct
    from score_to_audio.comparison.evaluation.levels import levels

    again = reconstruct(load_codec(found), _piano())
    louder = levels(again).loudness - levels(_piano()).loudness
    yield Figure(
        "loudness against the original, LU", louder, -3, 3, "expected, not measured", "the level is lost"
    )
    yield _likeness(again, 0.8, "expected, not measured")

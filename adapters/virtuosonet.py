"""The renderer ``virtuosonet``: binds the network of ``renderers.virtuosonet`` to scores and checkpoints."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, InputFile, Parameters, Spec
from score_to_audio.types import Performance, Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from renderers.virtuosonet.generation import Generator
    from renderers.virtuosonet.network import VirtuosoNet as Network
    from renderers.virtuosonet.normalisation import Statistics
    from renderers.virtuosonet.recurrence import FrozenGrus
    from renderers.virtuosonet.score import NoteScore

log = logging.getLogger(__name__)

FOREIGN = ("omegaconf", "typing")
"""Packages whose pickled objects in a checkpoint are read as inert data: its configuration."""

OFFICIAL_STYLES = {
    84: (
        0.657626211643219,
        1.0957437753677368,
        -0.47967657446861267,
        0.19889968633651733,
        0.557790219783783,
        -0.5453814268112183,
        0.3515593111515045,
        1.6427799463272095,
        0.17767636477947235,
        -0.009562687017023563,
        0.9192827343940735,
        -1.3434727191925049,
        -0.8395991921424866,
        0.15634578466415405,
        1.0471582412719727,
        1.1158291101455688,
    ),
    79: (
        -0.1191,
        0.7385,
        -0.3194,
        1.1072,
        -0.9086,
        2.0408,
        0.3055,
        -1.2689,
        0.4398,
        1.0321,
        -0.1696,
        -0.3552,
        -0.7032,
        2.1380,
        0.1374,
        0.5021,
    ),
}
"""Width of the note embedder -> the style vector that the published command line uses, which calls it zero:
standard normal noise after seeding with 626 and building a network of that width."""


class VirtuosoNetParameters(Parameters):
    """Options of the renderer ``virtuosonet``."""

    checkpoint: CheckpointName = Field(
        "virtuosonet",
        description="Weights and statistics: virtuosonet (published), asap-small (shipped), a file.",
    )
    composer: str = Field(
        "", max_length=100, description="Whose style of writing it is; empty: as the score says."
    )
    tempo: float | None = Field(
        None,
        ge=10,
        le=400,
        description="Quarter notes per minute that the network is told for the start; none: as notated.",
    )
    style: Annotated[str, InputFile()] = Field(
        "official",
        max_length=4096,
        description="Style vector: official (the published constant; zero for asap-small), zero, sampled "
        "(by the seed), or a performance MIDI file to take it from (needs the extra `align`).",
    )
    style_score: Annotated[str, InputFile()] = Field(
        "",
        max_length=4096,
        description="The score that the performance of `style` plays; empty: the score that is rendered.",
    )
    velocity_multiplier: float = Field(
        1.0, ge=0, le=4, description="Times every velocity's distance from the mean of the piece."
    )
    trills: bool = Field(True, description="Play trills; else each is one long note.")
    pedal_inverse: bool = Field(
        False, description="Undo the squashing of pedal values that the network was trained with."
    )
    compatibility: Literal["none", "official"] = Field(
        "none", description="official: with the mistakes of the published code, for comparison with it."
    )


class VirtuosoNet:
    """Jeong et al., ISMIR 2019: a hierarchical recurrent network for timing, dynamics and pedal."""

    spec: ClassVar[Spec] = Spec(
        name="virtuosonet",
        version="1",
        summary="Hierarchical recurrent network; tempo, dynamics, articulation and both pedals.",
        parameters=VirtuosoNetParameters,
        paper="Jeong et al., VirtuosoNet: A Hierarchical RNN-based System for Modeling Expressive Piano "
        "Performance, ISMIR 2019",
        code_licence="Apache-2.0",
        weights_licence="none stated by the authors: all rights reserved; asap-small: CC BY-NC-SA 4.0, that "
        "of the corpus it was trained on",
        limits="Trained on Western classical piano music of 16 composers; needs a notated score (no MIDI).",
        uses_seed=True,
    )

    def __init__(
        self,
        parameters: VirtuosoNetParameters,
        *,
        checkpoints: Mapping[str, Checkpoint],
        device: str,  # the recurrence is fastest on one CPU core
    ) -> None:
        self._parameters = parameters
        self._network, self._statistics = read_checkpoint(checkpoints["checkpoint"].weights)
        self._runners = runners(self._network)

    def render(self, score: Score, *, seed: int) -> Performance:
        """The score as the network plays it. Raises ``InputError`` for a score that cannot be read."""
        from renderers.virtuosonet.performance import performance
        from renderers.virtuosonet.playing import play
        from renderers.virtuosonet.recurrence import one_thread

        options = self._parameters
        notes = read_notes(score, options.compatibility)
        with one_thread():
            features = self._features(score, notes, seed)
        played = play(notes, features, options.compatibility)
        return performance(
            notes,
            played,
            trills=options.trills and options.compatibility == "none",
            note_ids=note_ids(score, notes),
        )

    def _features(self, score: Score, notes: NoteScore, seed: int) -> NDArray[np.float32]:
        """[N, 11] what the network makes of the score, in the units of ``features.OUTPUT_KEYS``."""
        import torch

        from renderers.virtuosonet.playing import with_pedal_unsquashed, with_velocity_spread

        with torch.inference_mode():
            style = self._style(score, notes, seed)
            features = generated(
                self._network, self._statistics, self._inputs(score, notes), notes, style, self._runners
            )
        if self._parameters.velocity_multiplier != 1:
            features = with_velocity_spread(features, self._parameters.velocity_multiplier)
        if self._parameters.pedal_inverse:
            features = with_pedal_unsquashed(features)
        _check_finite(features, score)
        return features

    def _inputs(self, score: Score, notes: NoteScore) -> Tensor:
        import torch

        from renderers.virtuosonet.features import composer_named, note_features

        composer = self._parameters.composer or score.parsed.composer
        features = note_features(notes, composer=composer_named(composer), qpm=self._parameters.tempo)
        return torch.from_numpy(self._statistics.inputs(features))

    # ------------------------------------------------------------------------------------- style

    def _style(self, score: Score, notes: NoteScore, seed: int) -> Tensor:
        """[style] the style vector that was asked for."""
        import torch

        width = self._network.sizes.style
        choice = self._parameters.style
        if choice == "official":
            official = OFFICIAL_STYLES.get(self._network.sizes.inputs, ())
            return torch.tensor(official) if len(official) == width else torch.zeros(width)
        if choice == "zero":
            return torch.zeros(width)
        if choice == "sampled":
            return torch.randn(width, generator=torch.Generator().manual_seed(seed))
        return self._style_of(Path(choice).expanduser(), score, notes)

    def _style_of(self, midi: Path, score: Score, notes: NoteScore) -> Tensor:
        """[style] of a performance: the mean of what the style encoder finds in it."""
        if not midi.is_file():
            raise InputError(
                f"{midi}: no such performance; renderer.style is official, zero, sampled or a MIDI file"
            )
        if self._parameters.style_score:
            from score_to_audio.formats.scores.reader import read_score

            score = read_score(Path(self._parameters.style_score).expanduser())
            notes = read_notes(score, self._parameters.compatibility)
        performance = self._encoded_performance(midi, score, notes)
        import torch

        with torch.inference_mode():
            encoded = self._network.encode(self._inputs(score, notes), places(notes), self._runners.run_gru)
            mean, _ = self._network.style(
                encoded, torch.from_numpy(performance), run_gru=self._runners.run_gru
            )
        return mean

    def _encoded_performance(self, midi: Path, score: Score, notes: NoteScore) -> NDArray[np.float32]:
        """[N, 11] normalised features of a performance of the score; notes that it lacks are zeros."""
        from adapters.alignment import align
        from renderers.virtuosonet.encoding import encode
        from score_to_audio.formats.midi import read_performance

        performance = read_performance(midi)
        divisions = notes.column("divisions")
        match = align(
            onset=notes.column("position") / divisions,
            duration=notes.column("duration") / divisions,
            pitch=notes.column("pitch").astype(int),
            performance=performance,
        )
        if 2 * (match >= 0).sum() < len(match):
            raise InputError(
                f"{midi}: only {(match >= 0).sum()} of the {len(match)} notes of {score.path} are in it; "
                "give a performance of that score, or name its score as renderer.style_score"
            )
        try:
            encoded = encode(notes, performance, match)
        except ValueError as error:
            raise InputError(f"{midi}: too short to take a style from ({error})") from error
        normalised = self._statistics.normalised(encoded.features)
        normalised[~encoded.played] = 0
        return normalised


# ------------------------------------------------------------------------------------- what it reads


def read_notes(score: Score, compatibility: Literal["none", "official"] = "none") -> NoteScore:
    """The score as the network sees it.

    Officially all parts, with the repeats that the published code knows; else the parts and measures that
    ``Score.parsed`` plays. Raises ``InputError``.
    """
    from renderers.virtuosonet.notation import PlayedMeasure
    from renderers.virtuosonet.score import read_score
    from score_to_audio.formats.scores.parts import part_names
    from score_to_audio.formats.scores.reader import notated

    name = str(score.path)
    root = notated(score, as_written=compatibility == "official")
    if compatibility == "official":
        return read_score(root, name=name, compatibility="official")
    wanted = set(score.parsed.parts)
    for part, label in zip(root.findall("part"), part_names(root), strict=True):
        if label not in wanted:
            root.remove(part)
    order = [PlayedMeasure(measure.written, measure.onset) for measure in score.parsed.measures]
    return read_score(root, name=name, order=order)


@dataclass(frozen=True)
class Runners:
    """How a network whose weights no longer change is run fast."""

    run_gru: FrozenGrus
    generate: Generator


def runners(network: Network) -> Runners:
    """For ``generated``."""
    from renderers.virtuosonet.generation import Generator
    from renderers.virtuosonet.recurrence import FrozenGrus

    return Runners(FrozenGrus(), Generator(network.performance_decoder))


def generated(
    network: Network, statistics: Statistics, inputs: Tensor, notes: NoteScore, style: Tensor, run: Runners
) -> NDArray[np.float32]:
    """[N, 11] what the network plays, in the units of ``features.OUTPUT_KEYS``.

    ``inputs`` [N, columns], normalised; ``style`` [style]. Needs inference mode.
    """
    from renderers.virtuosonet.generation import residual_info

    encoded = network.encode(inputs, places(notes), run.run_gru)
    residuals = residual_info(
        inputs,
        [*statistics.columns("qpm_primo"), *statistics.columns("tempo_primo")],
        statistics.columns("tempo"),
        encoded.places.measures,
    )
    return statistics.denormalised(run.generate(encoded, residuals, style).notes)


def note_ids(score: Score, notes: NoteScore) -> list[str]:
    """[N] the ids that ``Score.parsed`` gives the notes, "" where it has no such note."""
    known = set(score.parsed.notes.id)

    def known_id(xml_id: str, play: int) -> str:
        return next((one for one in (f"{xml_id}-{play}", xml_id) if one in known), "")

    return [known_id(note.xml_id, note.play) for note in notes.notes]


def places(notes: NoteScore) -> Any:
    """Where the notes are, for the network; beats and measures counted from those of the first note."""
    import torch

    from renderers.virtuosonet.network import Places

    at = notes.locations
    beat, measure, voice = (torch.from_numpy(index) for index in (at.beat, at.measure, at.voice))
    return Places(beat - beat[0], measure - measure[0], voice)


def _check_finite(features: NDArray[np.float32], score: Score) -> None:
    import numpy as np

    if not np.isfinite(features).all():
        raise InputError(
            f"{score.path}: the network gives no numbers for it; is the checkpoint whole "
            "(`score-to-audio models check virtuosonet`)?"
        )


def read_checkpoint(path: Path) -> tuple[Network, Statistics]:
    """Network and statistics of a checkpoint in the published layout; its code is not run.

    Raises ``InputError`` that says what differs.
    """
    from renderers.virtuosonet.network import NetworkSizes
    from renderers.virtuosonet.network import VirtuosoNet as Network
    from renderers.virtuosonet.normalisation import Statistics
    from score_to_audio.weights import config_of, load_checkpoint, load_strictly

    is_exported = path.suffix == ".safetensors"
    content = _exported(path) if is_exported else load_checkpoint(path, foreign=FOREIGN)
    _require(path, content, ("state_dict", "stats", "network_params"))
    tensors = content["state_dict"]
    _require(path, tensors, ("note_embedder.fc.weight",))
    config, stats = config_of(content["network_params"]), config_of(content["stats"])
    try:
        sizes = NetworkSizes.from_config(config, inputs=tensors["note_embedder.fc.weight"].shape[1])
        statistics = Statistics.from_checkpoint(stats)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint of this model ({error!r})") from error
    network = Network(sizes)
    load_strictly(network, tensors, source=str(path))
    return network.eval().requires_grad_(False), statistics


def _exported(path: Path) -> dict[str, Any]:
    """What ``virtuosonet_training.export`` wrote: what is no tensor is JSON in the header."""
    from score_to_audio.weights import load_checkpoint, safetensors_metadata

    header = safetensors_metadata(path)
    _require(path, header, ("stats", "network_params"))
    try:
        plain = {key: json.loads(header[key]) for key in ("stats", "network_params")}
    except ValueError as error:
        raise InputError(f"{path}: not a checkpoint of this model ({error})") from error
    return {"state_dict": load_checkpoint(path), **plain}


def _require(path: Path, content: Any, keys: Sequence[str]) -> None:
    absent = [key for key in keys if not isinstance(content, Mapping) or key not in content]
    if absent:
        raise InputError(f"{path}: not a checkpoint of this model: it lacks {', '.join(absent)}")

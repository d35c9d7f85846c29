"""The renderer ``virtuosonet``: binds the network of ``renderers.virtuosonet`` to scores and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, InputFile, Parameters, Spec
from score_to_audio.seeding import generator
from score_to_audio.types import Performance, Score

if TYPE_CHECKING:
    from torch import Tensor

    from renderers.virtuosonet.network import VirtuosoNetwork
    from renderers.virtuosonet.normalisation import Statistics
    from renderers.virtuosonet.score import NoteScore

FOREIGN = ("omegaconf", "typing")
"""Packages whose pickled objects in a checkpoint, its configuration, are read as inert data."""

OFFICIAL_STYLES = {
    84: (
        *(0.657626211643219, 1.0957437753677368, -0.47967657446861267, 0.19889968633651733),
        *(0.557790219783783, -0.5453814268112183, 0.3515593111515045, 1.6427799463272095),
        *(0.17767636477947235, -0.009562687017023563, 0.9192827343940735, -1.3434727191925049),
        *(-0.8395991921424866, 0.15634578466415405, 1.0471582412719727, 1.1158291101455688),
    ),
    79: (
        *(-0.1191, 0.7385, -0.3194, 1.1072, -0.9086, 2.0408, 0.3055, -1.2689),
        *(0.4398, 1.0321, -0.1696, -0.3552, -0.7032, 2.1380, 0.1374, 0.5021),
    ),
}
"""Width of the note embedder -> the style vector that the published command line calls zero: standard normal
noise drawn after seeding with 626 and building a network of that width."""


class VirtuosoNetParameters(Parameters):
    """Options of the renderer ``virtuosonet``."""

    checkpoint: CheckpointName = Field(
        "virtuosonet",
        description="Weights and statistics: virtuosonet (published), asap-small (shipped), a file.",
    )
    composer: str = Field(
        "", max_length=100, description="Composer, for the style of the writing; empty: as in the score."
    )
    tempo: float | None = Field(
        None,
        ge=10,
        le=400,
        description="Quarter notes per minute at the start, as input of the network; none: as notated.",
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
        description="The score of the performance of `style`; empty: the score that is rendered.",
    )
    velocity_multiplier: float = Field(
        1.0, ge=0, le=4, description="Times every velocity's distance from the mean of the piece."
    )
    trills: bool = Field(True, description="Realise trills; otherwise each is one long note.")
    pedal_inverse: bool = Field(
        False, description="Invert the squashing of pedal values in the training data."
    )
    compatibility: Literal["none", "official"] = Field(
        "none", description="official: with the mistakes of the published code, for comparison with it."
    )


class VirtuosoNet:
    """Jeong et al., ISMIR 2019: a hierarchical recurrent network for timing, dynamics and pedal."""

    spec: ClassVar[Spec] = Spec(
        name="virtuosonet",
        version="2",
        summary="Hierarchical recurrent network; tempo, dynamics, articulation and both pedals.",
        parameters=VirtuosoNetParameters,
        paper="Jeong et al., VirtuosoNet: A Hierarchical RNN-based System for Modeling Expressive Piano "
        "Performance, ISMIR 2019",
        code_licence="Apache-2.0",
        weights_licence="none stated by the authors: all rights reserved; asap-small: CC BY-NC-SA 4.0, that "
        "of the corpus it was trained on",
        limits="Trained on Western classical piano music of 16 composers; needs a notated score (no MIDI).",
        uses_seed=True,
        process_memory=900,
    )

    def __init__(
        self,
        parameters: VirtuosoNetParameters,
        *,
        checkpoints: Mapping[str, Checkpoint],
        device: str,  # not used: the recurrence is fastest on one CPU core
    ) -> None:
        from renderers.virtuosonet.inference import FrozenModel

        self._parameters = parameters
        self._model = FrozenModel(*read_checkpoint(checkpoints["checkpoint"].weights))

    def render(self, score: Score, *, seed: int) -> Performance:
        """The score as the network performs it. Raises ``InputError`` for a score that cannot be read."""
        from renderers.virtuosonet.decoding import decode
        from renderers.virtuosonet.performance import to_performance
        from renderers.virtuosonet.recurrence import single_thread

        options = self._parameters
        notes = read_notes(score, options.compatibility)
        with single_thread():
            features = self._features(score, notes, seed)
        return to_performance(
            notes,
            decode(notes, features, options.compatibility),
            trills=options.trills and options.compatibility == "none",
            note_ids=note_ids(score, notes),
        )

    def _features(self, score: Score, notes: NoteScore, seed: int) -> NDArray[np.float32]:
        """[N, 11] performance features in the units of ``features.OUTPUT_KEYS``."""
        import torch

        from renderers.virtuosonet.decoding import scaled_velocities, unsquashed_pedals
        from renderers.virtuosonet.inference import group_indices

        with torch.inference_mode():
            style = self._style(score, notes, seed)
            features = self._model.perform(self._inputs(score, notes), group_indices(notes), style)
        if self._parameters.velocity_multiplier != 1:
            features = scaled_velocities(features, self._parameters.velocity_multiplier)
        if self._parameters.pedal_inverse:
            features = unsquashed_pedals(features)
        if not np.isfinite(features).all():
            raise InputError(
                f"{score.path}: the network's output is not a number; is the checkpoint damaged "
                "(`score-to-audio models check virtuosonet`)?"
            )
        return features

    def _inputs(self, score: Score, notes: NoteScore) -> Tensor:
        from renderers.virtuosonet.features import composer_named, note_features

        composer = composer_named(self._parameters.composer or score.parsed.composer)
        return self._model.inputs(note_features(notes, composer=composer, qpm=self._parameters.tempo))

    # ------------------------------------------------------------------------------------- style

    def _style(self, score: Score, notes: NoteScore, seed: int) -> Tensor:
        """[style] the chosen style vector."""
        import torch

        sizes, choice = self._model.network.sizes, self._parameters.style
        if choice == "sampled":
            return torch.randn(sizes.style, generator=generator(seed))
        if choice not in ("official", "zero"):
            return self._style_of(Path(choice).expanduser(), score, notes)
        official = OFFICIAL_STYLES.get(sizes.inputs, ())
        if choice == "official" and len(official) == sizes.style:
            return torch.tensor(official)
        return torch.zeros(sizes.style)

    def _style_of(self, midi: Path, score: Score, notes: NoteScore) -> Tensor:
        """[style] of a performance: the mean of the style encoder's distribution."""
        import torch

        from renderers.virtuosonet.inference import group_indices

        if not midi.is_file():
            raise InputError(
                f"{midi}: no such performance; renderer.style is official, zero, sampled or a MIDI file"
            )
        if self._parameters.style_score:
            from score_to_audio.formats.scores.reader import read_score

            score = read_score(Path(self._parameters.style_score).expanduser())
            notes = read_notes(score, self._parameters.compatibility)
        performance = self._encoded_performance(midi, score, notes)
        encoded = self._model.encode(self._inputs(score, notes), group_indices(notes))
        return self._model.style(encoded, torch.from_numpy(performance))[0]

    def _encoded_performance(self, midi: Path, score: Score, notes: NoteScore) -> NDArray[np.float32]:
        """[N, 11] normalised features of a performance of the score; zeros for notes that it lacks."""
        from adapters.alignment import aligned_performance
        from renderers.virtuosonet.encoding import encode

        divisions = notes.column("divisions")
        performance, match = aligned_performance(
            midi,
            score,
            onset=notes.column("position") / divisions,
            duration=notes.column("duration") / divisions,
            pitch=notes.column("pitch").astype(int),
            advice="give a performance of that score, or name its score as renderer.style_score",
        )
        try:
            encoded = encode(notes, performance, match)
        except ValueError as error:
            raise InputError(f"{midi}: too short to take a style from ({error})") from error
        normalised = self._model.statistics.normalised(encoded.features)
        normalised[~encoded.played] = 0
        return normalised


# ----------------------------------------------------------------------------------------- scores


def read_notes(score: Score, compatibility: Literal["none", "official"] = "none") -> NoteScore:
    """The score for the network. Raises ``InputError``.

    Official: all parts, with repeats as in the published code. Otherwise the parts and measures of
    ``Score.parsed``.
    """
    from renderers.virtuosonet.notation import PlayedMeasure
    from renderers.virtuosonet.score import read_note_score
    from score_to_audio.formats.scores.parts import part_names
    from score_to_audio.formats.scores.reader import notated

    name = str(score.path)
    root = notated(score, as_written=compatibility == "official")
    if compatibility == "official":
        return read_note_score(root, name=name, compatibility="official")
    for part, label in zip(root.findall("part"), part_names(root), strict=True):
        if label not in score.parsed.parts:
            root.remove(part)
    order = [PlayedMeasure(measure.written, measure.onset) for measure in score.parsed.measures]
    return read_note_score(root, name=name, order=order)


def note_ids(score: Score, notes: NoteScore) -> list[str]:
    """[N] the ids of the notes in ``Score.parsed``, "" for notes that it lacks."""
    known = set(score.parsed.notes.id)

    def known_id(xml_id: str, pass_number: int) -> str:
        return next((name for name in (f"{xml_id}-{pass_number}", xml_id) if name in known), "")

    return [known_id(note.xml_id, note.pass_number) for note in notes.notes]


# ------------------------------------------------------------------------------------ checkpoints


def read_checkpoint(path: Path) -> tuple[VirtuosoNetwork, Statistics]:
    """Network and statistics of a checkpoint in the published layout; code in the file is not executed.

    Raises ``InputError`` that names the differences.
    """
    from renderers.virtuosonet.network import NetworkSizes, VirtuosoNetwork
    from renderers.virtuosonet.normalisation import Statistics
    from score_to_audio.weights import config_of, load_checkpoint, load_strictly

    is_exported = path.suffix == ".safetensors"
    content = _read_exported(path) if is_exported else load_checkpoint(path, foreign=FOREIGN)
    _require(path, content, ("state_dict", "stats", "network_params"))
    tensors = content["state_dict"]
    _require(path, tensors, ("note_embedder.fc.weight",))
    config, stats = config_of(content["network_params"]), config_of(content["stats"])
    try:
        sizes = NetworkSizes.from_config(config, inputs=tensors["note_embedder.fc.weight"].shape[1])
        statistics = Statistics.from_checkpoint(stats)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint of this model ({error!r})") from error
    network = VirtuosoNetwork(sizes)
    load_strictly(network, tensors, source=str(path))
    return network.eval().requires_grad_(False), statistics


def _read_exported(path: Path) -> dict[str, Any]:
    """A file of ``virtuosonet_training.export``: the other entries are JSON in the safetensors header."""
    from score_to_audio.weights import load_checkpoint, safetensors_metadata

    header = safetensors_metadata(path)
    _require(path, header, ("stats", "network_params"))
    try:
        plain = {key: json.loads(header[key]) for key in ("stats", "network_params")}
    except ValueError as error:
        raise InputError(f"{path}: not a checkpoint of this model ({error})") from error
    return {"state_dict": load_checkpoint(path), **plain}


def _require(path: Path, content: object, keys: Sequence[str]) -> None:
    missing = [key for key in keys if not isinstance(content, Mapping) or key not in content]
    if missing:
        raise InputError(f"{path}: not a checkpoint of this model: it lacks {', '.join(missing)}")

"""The renderer ``m2m``: binds the token labeller of ``renderers.m2m`` to scores, options and checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, Parameters, Spec
from score_to_audio.progress import report
from score_to_audio.seeding import generator
from score_to_audio.types import Controls, Performance, Score

if TYPE_CHECKING:
    from torch import Tensor

    from renderers.m2m.network import M2MNetwork
    from renderers.m2m.tokens import TickNotes
    from renderers.m2m.windows import NoteOrder

log = logging.getLogger(__name__)

PERFORMERS = ("brendel", "arrau", "barenboim", "gulda", "richter", "kempff")
"""Style ids 0 to 5 of the released model."""
FOREIGN = (
    *("src", "transformers", "functools", "torch.nn", "torch.optim", "torch._C"),
    *("lightning", "pytorch_lightning", "typing"),
)
"""Packages whose objects a Lightning checkpoint of M2M contains beside its tensors."""
NOTE_ORDER = "note_order"
"""Entry of the ``hyper_parameters`` of our own checkpoints."""


class M2MParameters(Parameters):
    """Options of the renderer ``m2m``."""

    checkpoint: CheckpointName = Field("m2m", description="Weights: a name of the table, or a file.")
    performer: Literal["brendel", "arrau", "barenboim", "gulda", "richter", "kempff"] = Field(
        "brendel", description="The pianist of Beethoven's sonatas to imitate."
    )
    decoding: Literal["draw", "mean"] = Field(
        "draw",
        description="draw: by the seed, as published; mean: the expected velocity, interval and duration, "
        "which vary less than a pianist's.",
    )
    temperature: float = Field(1.0, gt=0, le=5, description="Below 1: more probable, above: more varied.")
    top_k: int = Field(0, ge=0, description="Draw from the most probable classes only; 0: from all.")
    top_p: float = Field(1.0, gt=0, le=1, description="Draw from this share of the probability only.")
    pedal: Literal["score", "none"] = Field(
        "score",
        description="The model has none. score: the written marks, else a pedal that follows the harmony.",
    )
    compatibility: Literal["none", "official"] = Field(
        "none",
        description="official: the first track of a MIDI score only, its tempo ignored, in separate "
        "segments, as the published script does.",
    )


class M2M:
    """A label per note for velocity, inter-onset interval and duration, in the manner of six pianists."""

    spec: ClassVar[Spec] = Spec(
        name="m2m",
        version="2",
        summary="M2M: velocity, timing and duration of every note in the manner of one of six pianists.",
        parameters=M2MParameters,
        paper="Tang et al., Towards an Integrated Approach for Expressive Piano Performance Synthesis from "
        "Music Scores, ICASSP 2025, arXiv 2501.10222",
        code_licence="Apache-2.0 (re-implemented from the paper; the authors' code is Apache-2.0)",
        weights_licence="CC BY 4.0",
        limits="trained on Beethoven's sonatas (731 of 735 performances); uses notes only, gives no pedal",
        uses_seed=True,
        runs_on_gpu=True,
    )

    def __init__(
        self, parameters: M2MParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        from renderers.m2m.network import M2MNetwork, config_from_tensors
        from score_to_audio.weights import load_strictly

        path = checkpoints["checkpoint"].weights
        tensors = read_checkpoint(path)
        network = M2MNetwork(config_from_tensors(tensors))
        load_strictly(network, tensors, source=str(path))
        self._network = network.requires_grad_(False).to(device).eval()
        self._parameters = parameters
        self._order = read_note_order(path)
        self._style = PERFORMERS.index(parameters.performer)
        if self._style >= network.config.styles:
            raise InputError(
                f"{path}: has {network.config.styles} performers only, without {parameters.performer!r}"
            )

    def render(self, score: Score, *, seed: int) -> Performance:
        """Raises ``InputError`` for a score without playable notes."""
        import torch

        with torch.inference_mode():
            if self._parameters.compatibility == "official":
                return self._render_officially(score, seed)
            pianist = Pianist(self._network, self._style, self._order)
            return perform(pianist, score, self._parameters, seed)

    def _render_officially(self, score: Score, seed: int) -> Performance:
        import torch

        from renderers.keyboard import TimedNotes, to_performance
        from renderers.m2m import official, sampling
        from renderers.m2m.tokens import TICKS_PER_SECOND, encode

        device = self._network.out_linear.weight.device
        style = torch.tensor([self._style], device=device)
        rows = []
        segments = official.segments(encode(official_notes(score)), self._network.config.positions)
        for index, (segment, mask) in enumerate(zip(*segments, strict=True)):
            heads = self._network(
                torch.from_numpy(segment)[None].to(device), torch.from_numpy(mask)[None].to(device), style
            )
            velocity, ioi, duration = (
                sampling.draw(
                    (logits[0].float().cpu() / self._parameters.temperature).softmax(dim=-1),
                    _noise(logits.shape[1:], seed, index, head),
                ).numpy()
                for head, logits in enumerate(heads)
            )
            rows.append(official.predicted_rows(segment, velocity, ioi, duration))
        notes = official.performed_notes(np.concatenate(rows))
        if not len(notes):
            raise InputError(f"{score.path}: every note was dropped (a special id was drawn for each)")
        # The published writer does not define onsets before the start of the file.
        onset = np.maximum(notes.onset, 0) / TICKS_PER_SECOND
        timed = TimedNotes(
            source=np.zeros(len(notes), np.int64),
            onset=onset,
            offset=onset + notes.duration / TICKS_PER_SECOND,
            pitch=notes.pitch,
            velocity=notes.velocity.astype(np.float64),
        )
        return to_performance(timed, ("",), Controls.none())


@dataclass(frozen=True)
class Pianist:
    """A network in one of its styles."""

    network: M2MNetwork
    style: int
    order: NoteOrder
    """Of the notes in training."""


def perform(pianist: Pianist, score: Score, options: M2MParameters, seed: int) -> Performance:
    """A performance of the score. Raises ``InputError`` for a score without playable notes."""
    from renderers.keyboard import to_performance
    from renderers.m2m import performance, sampling
    from renderers.m2m.tokens import encode
    from renderers.m2m.windows import probabilities

    source, notes = performance.score_notes(score.parsed)
    if not len(notes):
        raise InputError(f"{score.path}: has no notes that a piano can play")
    distributions = probabilities(
        pianist.network,
        encode(notes),
        pianist.style,
        order=pianist.order,
        temperature=options.temperature,
        report=lambda done: report(done, len(notes), "notes"),
    )
    restricted = [
        sampling.restricted(distribution, top_k=options.top_k, top_p=options.top_p)
        for distribution in distributions
    ]
    velocity, ioi, duration = (
        sampling.expected(one).numpy()
        if options.decoding == "mean"
        else sampling.draw(one, _noise(one.shape, seed, head)).numpy()
        for head, one in enumerate(restricted)
    )
    timed = performance.timed_notes(source, notes.pitch, velocity, ioi, duration)
    pedal = Controls.none() if options.pedal == "none" else performance.pedal(score.parsed, timed)
    return to_performance(timed, score.parsed.notes.id, pedal)


def _noise(shape: Sequence[int], *seed: int) -> Tensor:
    """Standard exponential noise; ``seed``: as for ``seeding.generator``."""
    import torch

    return torch.empty(tuple(shape)).exponential_(generator=generator(*seed))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The network's tensors from a Lightning checkpoint or a bare state dict. Raises ``InputError``."""
    from score_to_audio.weights import load_checkpoint

    content = load_checkpoint(path, foreign=FOREIGN)
    tensors = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    named = {
        name.removeprefix("net."): tensor
        for name, tensor in tensors.items()
        if not str(name).startswith("loss_weighter.")  # used in training only
    }
    if "bert.in_linear.weight" not in named:
        raise InputError(f"{path}: not a checkpoint of M2M (it has no bert.in_linear.weight)")
    return named


def read_note_order(path: Path) -> NoteOrder:
    """The order of the notes in a checkpoint's training: published ones were trained in that of the
    performance."""
    from score_to_audio.weights import load_checkpoint

    content = load_checkpoint(path, foreign=FOREIGN)
    settings = content.get("hyper_parameters") if isinstance(content, Mapping) else None
    own = isinstance(settings, Mapping) and settings.get(NOTE_ORDER) == "score"
    return "score" if own else "performance"


def official_notes(score: Score) -> TickNotes:
    """The first track with notes of a MIDI score, which is all that the published script reads."""
    from renderers.m2m.official import midi_tracks, notes_of_track

    try:
        tracks, ticks_per_quarter = midi_tracks(score.content)
    except Exception as error:  # mido raises errors of many types
        raise InputError(
            f"{score.path}: the published script reads MIDI scores only, and this is none ({error}); "
            "leave out compatibility=official"
        ) from error
    if not tracks:
        raise InputError(f"{score.path}: has no notes that a piano can play")
    if len(tracks) > 1:
        log.warning("%s: the published script plays the first of %d tracks only", score.path, len(tracks))
    return notes_of_track(tracks[0], ticks_per_quarter)

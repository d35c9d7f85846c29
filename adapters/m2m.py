"""The renderer ``m2m``: score -> tokens -> distributions -> performance."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, Parameters, Spec
from score_to_audio.progress import report
from score_to_audio.types import Controls, ParsedScore, Performance, Score

if TYPE_CHECKING:
    from torch import Tensor

    from renderers.m2m.tokens import RawNote, TickNotes

log = logging.getLogger(__name__)

PERFORMERS = ("brendel", "arrau", "barenboim", "gulda", "richter", "kempff")
"""Style ids 0 to 5 of the released model."""
FOREIGN = (
    *("src", "transformers", "functools", "torch.nn", "torch.optim", "torch._C"),
    *("lightning", "pytorch_lightning", "typing"),
)
"""Packages whose objects a Lightning checkpoint of M2M carries beside its tensors."""


class M2MParameters(Parameters):
    """Options of the renderer ``m2m``."""

    checkpoint: CheckpointName = Field("m2m", description="Weights: a name of the table, or a file.")
    performer: Literal["brendel", "arrau", "barenboim", "gulda", "richter", "kempff"] = Field(
        "brendel", description="Whose playing of Beethoven's sonatas it imitates."
    )
    temperature: float = Field(1.0, gt=0, le=5, description="Below 1: more probable, above: more varied.")
    top_k: int = Field(0, ge=0, description="Draw from the most probable classes only; 0: from all.")
    top_p: float = Field(1.0, gt=0, le=1, description="Draw from this share of the probability only.")
    pedal: Literal["score", "none"] = Field(
        "score",
        description="M2M gives none: score takes the written marks, where there are none it follows the "
        "harmony.",
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
        version="1",
        summary="M2M: velocity, timing and duration of every note in the manner of one of six pianists.",
        parameters=M2MParameters,
        paper="Tang et al., Towards an Integrated Approach for Expressive Piano Performance Synthesis from "
        "Music Scores, ICASSP 2025, arXiv 2501.10222",
        code_licence="Apache-2.0 (re-implemented from the paper; the authors' code is Apache-2.0)",
        weights_licence="CC BY 4.0",
        limits="trained on Beethoven's sonatas (731 of 735 performances); knows notes only, gives no pedal",
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
        self._style = PERFORMERS.index(parameters.performer)
        if self._style >= network.config.styles:
            raise InputError(
                f"{path}: knows {network.config.styles} performers, not {parameters.performer!r}"
            )

    def render(self, score: Score, *, seed: int) -> Performance:
        """Raises ``InputError`` for a score without playable notes."""
        import torch

        with torch.inference_mode():
            if self._parameters.compatibility == "official":
                return self._official(score, seed)
            return self._rendered(score, seed)

    # ---------------------------------------------------------------------------------- as trained

    def _rendered(self, score: Score, seed: int) -> Performance:
        from renderers.keyboard import TimedNotes, to_performance
        from renderers.m2m import sampling
        from renderers.m2m.tokens import BAR_TICKS, SPECIALS, TICKS_PER_SECOND, encode, velocity_of
        from renderers.m2m.windows import probabilities

        parsed = score.parsed
        order, notes = score_notes(parsed)
        if not len(notes):
            raise InputError(f"{score.path}: has no notes that a piano can play")
        shares = probabilities(
            self._network,
            encode(notes),
            self._style,
            temperature=self._parameters.temperature,
            report=lambda done: report(done, len(notes), "notes"),
        )
        top_k, top_p = self._parameters.top_k, self._parameters.top_p
        velocity, ioi, duration = (
            sampling.draw(
                sampling.restricted(share, top_k=top_k, top_p=top_p), _noise(seed, head, share.shape)
            ).numpy()
            for head, share in enumerate(shares)
        )
        intervals = ioi - SPECIALS - BAR_TICKS
        onset = np.cumsum(np.concatenate([[0], intervals[1:]])) / TICKS_PER_SECOND
        played = TimedNotes(
            source=order,
            onset=onset,
            offset=onset + (duration - SPECIALS + 1) / TICKS_PER_SECOND,
            pitch=notes.pitch,
            velocity=velocity_of(velocity).astype(np.float64),
        )
        pedal = self._pedal(parsed, played)
        return to_performance(played, parsed.notes.id, pedal)

    def _pedal(self, parsed: ParsedScore, played: Any) -> Controls:
        from renderers.pedalling import harmonic_pedal, written_pedals
        from renderers.tempo import TimeMap

        if self._parameters.pedal == "none":
            return Controls.none()
        quarters, seconds = _matched_times(parsed.notes.onset[played.source], played.onset)
        if len(quarters) < 2:
            return Controls.none()
        times = TimeMap(quarters, seconds)
        if any(direction.kind == "pedal" for direction in parsed.directions):
            return _from_zero(written_pedals(parsed.directions, times))
        beats = times.to_seconds(np.arange(0.0, quarters[-1] + 1.0))
        return _from_zero(harmonic_pedal(played.onset, played.offset, played.pitch, beats))

    # ------------------------------------------------------------------------------------ as published

    def _official(self, score: Score, seed: int) -> Performance:
        import torch

        from renderers.keyboard import TimedNotes, to_performance
        from renderers.m2m import sampling, tokens

        notes = official_notes(score)
        rows, mask = tokens.segments(tokens.encode(notes), self._network.config.positions)
        device = self._network.out_linear.weight.device
        drawn = []
        for index, (row, kept) in enumerate(zip(rows, mask, strict=True)):
            heads = self._network(
                torch.from_numpy(row)[None].to(device),
                torch.from_numpy(kept)[None].to(device),
                torch.tensor([self._style], device=device),
            )
            classes = [
                sampling.draw(
                    (logits[0].float().cpu() / self._parameters.temperature).softmax(dim=-1),
                    _noise(seed + 1000 * (index + 1), head, logits.shape[1:]),
                ).numpy()
                for head, logits in enumerate(heads)
            ]
            drawn.append(_official_rows(row, classes))
        emitted = tokens.official_performance(np.concatenate(drawn))
        if not len(emitted):
            raise InputError(f"{score.path}: every note was dropped (a special id was drawn for each)")
        # What the published writer leaves undefined: an onset before the file's start.
        onset = np.maximum(emitted.onset, 0) / tokens.TICKS_PER_SECOND
        played = TimedNotes(
            source=np.zeros(len(emitted), np.int64),
            onset=onset,
            offset=onset + emitted.duration / tokens.TICKS_PER_SECOND,
            pitch=emitted.pitch,
            velocity=emitted.velocity.astype(np.float64),
        )
        return to_performance(played, ("",), Controls.none())


def _official_rows(row: NDArray[np.int64], classes: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """[L, 11] as the published script lines them up (fact sheet, section 5)."""
    velocity, ioi, duration = classes
    score = row[:, 1:]
    predicted = np.stack([row[:, 0], velocity, duration, ioi, row[:, 4], row[:, 5]], axis=1)
    return np.concatenate([predicted, score], axis=1)


def _noise(seed: int, head: int, shape: Any) -> Tensor:
    """Standard exponential numbers for one head."""
    import torch

    generator = torch.Generator().manual_seed(seed * 3 + head)
    return torch.empty(tuple(shape)).exponential_(generator=generator)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The network's tensors out of a Lightning checkpoint, or of a bare state dict. Raises ``InputError``."""
    from score_to_audio.weights import load_checkpoint

    content = load_checkpoint(path, foreign=FOREIGN)
    tensors = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    found = {
        name.removeprefix("net."): tensor
        for name, tensor in tensors.items()
        if not str(name).startswith("loss_weighter.")  # of training only
    }
    if "bert.in_linear.weight" not in found:
        raise InputError(f"{path}: not a checkpoint of M2M (it has no bert.in_linear.weight)")
    return found


# ----------------------------------------------------------------------------------------- the score


def score_notes(parsed: ParsedScore) -> tuple[NDArray[np.int64], TickNotes]:
    """(index of the score note, notes) as in training: all parts merged, in seconds on the grid, sorted by
    (onset, pitch), velocity 60. Notes beyond the piano are left out."""
    from renderers.m2m.tokens import SCORE_VELOCITY, TICKS_PER_SECOND, TickNotes
    from renderers.tempo import time_map
    from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH

    notes = parsed.notes
    if not len(notes):
        empty = np.zeros(0, np.int64)
        return empty, TickNotes(empty, empty, empty, empty)
    times = time_map(parsed)
    onset = np.floor(times.to_seconds(notes.onset) * TICKS_PER_SECOND).astype(np.int64)
    end = np.floor(times.to_seconds(notes.onset + notes.duration) * TICKS_PER_SECOND).astype(np.int64)
    playable = (notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH)
    order = np.lexsort((notes.pitch, onset))
    order = order[playable[order]]
    return order, TickNotes(
        onset=onset[order] - onset.min(),
        duration=np.maximum(end - onset, 1)[order],
        pitch=notes.pitch[order],
        velocity=np.full(len(order), SCORE_VELOCITY),
    )


def _matched_times(
    quarters: NDArray[np.float64], seconds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score onsets and the mean time at which each was played, both strictly increasing."""
    unique, inverse = np.unique(quarters, return_inverse=True)
    mean = np.bincount(inverse, seconds) / np.bincount(inverse)
    rising = mean > np.concatenate([[-np.inf], np.maximum.accumulate(mean)[:-1] + 1e-3])
    return unique[rising], mean[rising]


def _from_zero(controls: Controls) -> Controls:
    return Controls(np.maximum(controls.time, 0.0), controls.number, controls.value)


def official_notes(score: Score) -> TickNotes:
    """The first track with notes of a MIDI score, which is all that the published script reads."""
    from renderers.m2m.tokens import notes_of_track

    tracks, ticks_per_quarter = midi_tracks(score.content, str(score.path))
    if not tracks:
        raise InputError(f"{score.path}: has no notes that a piano can play")
    if len(tracks) > 1:
        log.warning("%s: the published script plays the first of %d tracks only", score.path, len(tracks))
    return notes_of_track(tracks[0], ticks_per_quarter)


def midi_tracks(content: bytes, name: str) -> tuple[list[list[RawNote]], int]:
    """(notes per track, ticks per quarter). A track is one channel and program of a MIDI track; notes of one
    pitch are paired first in, first out; what is never closed, or at once, is dropped. Tracks without a note
    of the piano are left out. Raises ``InputError``."""
    import io

    import mido

    from renderers.m2m.tokens import RawNote
    from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH

    try:
        midi = mido.MidiFile(file=io.BytesIO(content))
    except Exception as error:  # mido raises whatever it stumbles over
        raise InputError(
            f"{name}: the published script reads MIDI scores only, and this is none ({error}); "
            "leave out compatibility=official"
        ) from error
    tracks: list[list[RawNote]] = []
    for track in midi.tracks:
        groups: dict[tuple[int, int], list[RawNote]] = defaultdict(list)
        open_notes: dict[tuple[int, int], deque[tuple[int, int, int]]] = defaultdict(deque)
        programs: dict[int, int] = defaultdict(int)
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "program_change":
                programs[message.channel] = message.program
            elif message.type == "note_on" and message.velocity > 0:
                key = (message.channel, message.note)
                open_notes[key].append((tick, message.velocity, programs[message.channel]))
            elif message.type in ("note_on", "note_off") and open_notes[message.channel, message.note]:
                start, velocity, program = open_notes[message.channel, message.note].popleft()
                if tick > start:
                    groups[message.channel, program].append(
                        RawNote(start, message.note, tick - start, velocity)
                    )
        tracks += [groups[key] for key in sorted(groups)]
    playable = [
        notes for notes in tracks if any(LOWEST_PITCH <= note.pitch <= HIGHEST_PITCH for note in notes)
    ]
    return playable, midi.ticks_per_beat

"""PianoFlow, the flow-matching renderer of the package ``symupe``, as a renderer of score-to-audio."""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from score_to_audio import (
    Checkpoint,
    InputError,
    Parameters,
    Performance,
    Score,
    ScoreNotes,
    Spec,
    StageError,
)

TICKS = 480
"""Per quarter note of the score that the model reads."""
GRACE = TICKS // 8
"""Ticks of a grace note, before its main note."""
VELOCITY = 64
"""Of every note of the score."""
TEMPO = 120.0
"""Quarter notes per minute where the score has none."""


class PianoFlowParameters(Parameters):
    model: str = Field(
        "SyMuPe/PianoFlow-base",
        min_length=1,
        description="Folder with the published files, or a repository of Hugging Face. The key of a result "
        "has this name, not the content.",
    )
    steps: int = Field(10, ge=1, le=200, description="Steps of the flow; more take longer.")


class PianoFlow:
    """The score as MIDI goes in, the first sample of the package's generator comes out."""

    spec: ClassVar[Spec] = Spec(
        name="pianoflow",
        version="1",
        summary="PianoFlow of the package symupe: conditional flow matching (example plug-in).",
        parameters=PianoFlowParameters,
        paper="Borovik, Gavrilev and Viro, SyMuPe: Affective and Controllable Symbolic Music Performance, "
        "ACM Multimedia 2025, doi 10.1145/3746027.3755871",
        code_licence="CC0-1.0; symupe: Apache-2.0",
        weights_licence="CC BY-NC-SA 4.0: not for commercial use",
        limits="reads notes, time signatures and tempi of the score, no other marks",
        uses_seed=True,
        runs_on_gpu=True,
    )

    def __init__(
        self, parameters: PianoFlowParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self._parameters = parameters
        with global_generators_kept():
            self._generator = load_generator(parameters.model, device)

    def render(self, score: Score, *, seed: int) -> Performance:
        from score_to_audio.formats.midi import performance_from_midi

        content, ids = score_midi(score)
        with tempfile.TemporaryDirectory() as folder, global_generators_kept():
            path = Path(folder) / "score.mid"
            path.write_bytes(content)
            result = self._generator.perform_score(
                path,
                num_samples=1,
                cfm_steps=self._parameters.steps,
                seed=seed % 2**32,  # NumPy takes no more
                show_progress=False,
            )[0]
        if result.perf_midi is None:
            raise StageError(f"{score.path}: PianoFlow made no performance")
        return named(performance_from_midi(result.perf_midi.dumps_midi(), name="PianoFlow"), ids)


def load_generator(model: str, device: str) -> Any:
    """What ``symupe`` performs with. Raises ``InputError``."""
    symupe = import_symupe()
    try:
        return symupe.AutoGenerator.from_pretrained(model, device=device)
    except (OSError, ValueError, KeyError) as error:  # the errors of huggingface_hub among them
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"PianoFlow cannot be loaded from {model} ({reason}); download the repository "
            "SyMuPe/PianoFlow-base of Hugging Face and set renderer.model to its folder"
        ) from error


def import_symupe() -> Any:
    """The package, after partitura: imported by others, partitura may download a SoundFont."""
    from score_to_audio.formats.scores.partitura_bridge import import_partitura

    import_partitura()
    import symupe

    return symupe


@contextmanager
def global_generators_kept() -> Iterator[None]:
    """Afterwards the generators that all code shares, which ``symupe`` may seed, are as before."""
    import torch

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


# ------------------------------------------------------------------------------------------- the score


def score_midi(score: Score) -> tuple[bytes, dict[int, list[str]]]:
    """The score as a MIDI file of one track, and by pitch the ids of its notes in order.

    Of notes with the same pitch and onset, which the package takes for one, the longest. Raises
    ``InputError``.
    """
    import io

    import mido

    parsed = score.parsed
    ids: dict[int, list[str]] = defaultdict(list)
    events: list[tuple[int, int, Any]] = []
    for signature in parsed.time_signatures:
        message = mido.MetaMessage(
            "time_signature", numerator=signature.beats, denominator=signature.beat_type
        )
        events.append((round(signature.onset * TICKS), 0, message))
    for onset, tempo in tempi(score):
        events.append((round(onset * TICKS), 0, mido.MetaMessage("set_tempo", tempo=round(6e7 / tempo))))
    for start, end, pitch, name in timed(parsed.notes):
        ids[pitch].append(name)
        events.append((start, 2, mido.Message("note_on", note=pitch, velocity=VELOCITY)))
        events.append((end, 1, mido.Message("note_off", note=pitch, velocity=0)))
    if not ids:
        raise InputError(f"{score.path}: has no notes that a piano can play")
    track, now = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    file, content = mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track]), io.BytesIO()
    file.save(file=content)
    return content.getvalue(), ids


def tempi(score: Score) -> list[tuple[float, float]]:
    """(onset, quarter notes per minute), from the start on."""
    found = [(one.onset, one.value) for one in score.parsed.directions if one.kind == "tempo" and one.value]
    return found if found and found[0][0] == 0 else [(0.0, TEMPO), *found]


def timed(notes: ScoreNotes) -> list[tuple[int, int, int, str]]:
    """(start, end, pitch, id) in ticks, in order; a note ends where its key is struck again."""
    longest: dict[tuple[int, int], tuple[int, str]] = {}
    columns = zip(notes.onset.tolist(), notes.duration.tolist(), notes.pitch.tolist(), notes.id, strict=True)
    for onset, duration, pitch, name in columns:
        start, length = round(onset * TICKS), round(duration * TICKS)
        if length == 0:  # a grace note
            start, length = max(start - GRACE, 0), GRACE
        if 21 <= pitch <= 108 and length > longest.get((pitch, start), (0, ""))[0]:
            longest[pitch, start] = length, name
    strokes: dict[int, list[int]] = defaultdict(list)
    for pitch, start in sorted(longest):
        strokes[pitch].append(start)
    following = {
        (pitch, start): after for pitch, starts in strokes.items() for start, after in pairwise(starts)
    }
    rows = (
        (start, min(start + length, following.get((pitch, start), start + length)), pitch, name)
        for (pitch, start), (length, name) in longest.items()
    )
    return sorted(rows)


def named(performance: Performance, ids: Mapping[int, list[str]]) -> Performance:
    """With the ids of the score: the notes of a pitch are played in the score's order."""
    from dataclasses import replace

    left = {pitch: iter(names) for pitch, names in ids.items()}
    names = tuple(next(left.get(pitch, iter(())), "") for pitch in performance.pitch.tolist())
    return replace(performance, score_ids=names)

"""Making the cells of a comparison: the sound of one row in one column, and the performance behind it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from score_to_audio import stages
from score_to_audio.comparison import files
from score_to_audio.comparison.config import FirstSeconds
from score_to_audio.comparison.files import File
from score_to_audio.comparison.plan import Codec, Condition, Models, Source
from score_to_audio.errors import InputError
from score_to_audio.files import sha256_of
from score_to_audio.plugins import Prompt
from score_to_audio.store import ArtifactStore

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions

LONGEST = 10 * 3600.0
"""Seconds: where a cut ends that has no end."""


@dataclass(frozen=True)
class MadeCell:
    """The sound of a row in a column."""

    audio: File
    """WAV, or what the user gave."""
    performance: File | None
    """MIDI file of what is heard, in the audio's seconds; with the score's notes named, where known."""


def make_cell(source: Source, condition: Condition, options: ScoreOptions, store: ArtifactStore) -> MadeCell:
    """Raises ``InputError`` for what this row does not have, and whatever the models raise."""
    if failure := source.failure or condition.failure:
        raise InputError(failure)
    if isinstance(condition.how, Models):
        return _synthesized(source, condition.how, options, store)
    recording = own_recording(source, store)
    if recording is None:
        raise InputError("this row has no recording")
    performance = own_performance(source, options, store) if source.performance else None
    if isinstance(condition.how, Codec):
        how = condition.how
        recording = files.reconstructed(recording, how.checkpoint, how.device, store)
    return MadeCell(recording, performance)


def _synthesized(source: Source, models: Models, options: ScoreOptions, store: ArtifactStore) -> MadeCell:
    performance = _performance(source, models, options, store)
    prompt = models.prompt
    made = stages.synthesize(
        performance.path,
        models.synthesizer,
        store,
        prompt=_own_beginning(source, prompt, options, store) if isinstance(prompt, FirstSeconds) else prompt,
        name=source.name,
        parent=performance.key,
    )
    return MadeCell(files.made(made.artifact, performance, store), performance)


def _performance(source: Source, models: Models, options: ScoreOptions, store: ArtifactStore) -> File:
    """What a column plays of a row: the row's own performance, or its score as the renderer renders it, of
    which the same passage is kept where the row is a part of a longer performance."""
    if models.renderer is None:
        own = own_performance(source, options, store)
        if own is None:
            raise InputError("this row has no performance to synthesize, and this column no renderer")
        return own
    if source.score is None:
        if own := own_performance(source, options, store):  # stage 1 is skipped
            return own
        raise InputError("this row has no score to render")
    made = stages.render(source.score, models.renderer, store, score_options=options)
    rendered = files.made(made.artifact, None, store)
    if not source.is_cut or source.performance is None:
        return rendered
    return _same_passage(rendered, source, options, store)


def _same_passage(rendered: File, source: Source, options: ScoreOptions, store: ArtifactStore) -> File:
    from score_to_audio.formats.midi import read_performance

    own = own_performance(source, options, store)
    assert own is not None
    assert source.score is not None
    score = files.read_score_once(source.score, options)
    passage = files.passage(read_performance(own.path), score)
    return files.cut_to_passage(rendered, *passage, score, store) if passage else rendered


def own_performance(source: Source, options: ScoreOptions, store: ArtifactStore) -> File | None:
    """The row's performance as MIDI: aligned with the row's score as far as possible, and cut."""
    if source.performance is None:
        return None
    performance = files.as_midi(files.given(source.performance, "performance"), store)
    if source.score is not None and can_align(performance.path):
        performance = files.aligned(performance, source.score, options, store)
    if source.is_cut:
        performance = files.cut_performance(performance, source.start, source.end or LONGEST, store)
    return performance


def can_align(midi: Path) -> bool:
    """Whether the notes have names already, or parangonar can find them."""
    from importlib.util import find_spec

    from score_to_audio.formats.midi import read_performance

    return find_spec("parangonar") is not None or read_performance(midi).score_ids is not None


def own_recording(source: Source, store: ArtifactStore) -> File | None:
    if source.recording is None:
        return None
    recording = files.given(source.recording, "recording")
    if source.is_cut:
        recording = files.cut_recording(recording, source.start, source.end or LONGEST, store)
    return recording


def _own_beginning(
    source: Source, wanted: FirstSeconds, options: ScoreOptions, store: ArtifactStore
) -> Prompt:
    """The first seconds of the row's own recording, with its notes."""
    from score_to_audio.formats.audio import read_audio
    from score_to_audio.formats.midi import read_performance

    recording, performance = own_recording(source, store), own_performance(source, options, store)
    if recording is None:
        raise InputError("this row has no recording, whose first seconds are to be the prompt")
    seconds = wanted.first_seconds
    notes = files.cut_performance(performance, 0.0, seconds, store) if performance else None
    content = ":".join(sha256_of(file.path) for file in (recording, notes) if file)
    return Prompt(
        audio=read_audio(recording.path, seconds=seconds),
        performance=read_performance(notes.path) if notes else None,
        sha256=hashlib.sha256(f"{seconds}:{content}".encode()).hexdigest(),
    )


def human_references(source: Source, options: ScoreOptions, store: ArtifactStore) -> list[File]:
    """Human performances of the row's score with the notes named: the references, then the row's own."""
    if source.score is None:
        return []
    whole = replace(source, start=0.0, end=None)
    own = [source.performance] if source.performance else []
    found = []
    for path in dict.fromkeys([*source.references, *own]):
        if performance := own_performance(replace(whole, performance=path), options, store):
            found.append(performance)
    return found

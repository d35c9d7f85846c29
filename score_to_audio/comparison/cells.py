"""The cells of a comparison: the sound of a row in a column, and the performance heard in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from score_to_audio import stages
from score_to_audio.comparison import derived
from score_to_audio.comparison.config import FirstSeconds
from score_to_audio.comparison.derived import TracedFile
from score_to_audio.comparison.plan import Condition, ResolvedCodec, ResolvedSynthesis, Row
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import read_audio
from score_to_audio.formats.midi import read_performance
from score_to_audio.plugins import Prompt
from score_to_audio.store import ArtifactStore

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions

LONGEST = 10 * 3600.0
"""Seconds: where a cut ends that has no end."""


@dataclass(frozen=True)
class Cell:
    """The sound of a row in a column."""

    audio: TracedFile
    """WAV, or the user's own file."""
    performance: TracedFile | None
    """MIDI file of the notes heard, in the audio's seconds; it names the score's notes if they are known."""


def make_cell(row: Row, condition: Condition, options: ScoreOptions, store: ArtifactStore) -> Cell:
    """Raises ``InputError`` for inputs that the row lacks, and the models' own errors."""
    if failure := row.failure or condition.failure:
        raise InputError(failure)
    if isinstance(condition.method, ResolvedSynthesis):
        return _synthesized(row, condition.method, options, store)
    recording = own_recording(row, store)
    if recording is None:
        raise InputError("this row has no recording")
    performance = own_performance(row, options, store)
    if isinstance(condition.method, ResolvedCodec):
        codec = condition.method
        recording = derived.reconstructed(recording, codec.checkpoint, codec.device, store)
    return Cell(recording, performance)


def _synthesized(row: Row, method: ResolvedSynthesis, options: ScoreOptions, store: ArtifactStore) -> Cell:
    performance = _performance(row, method, options, store)
    prompt = method.prompt
    made = stages.synthesize(
        performance.path,
        method.synthesizer,
        store,
        prompt=first_seconds(row, prompt, options, store) if isinstance(prompt, FirstSeconds) else prompt,
        name=row.name,
        parent=performance.key,
    )
    return Cell(derived.stored_file(made.artifact, performance, store), performance)


def _performance(
    row: Row, method: ResolvedSynthesis, options: ScoreOptions, store: ArtifactStore
) -> TracedFile:
    """The row's own performance, or a rendering of its score. Of the rendering only the passage that the
    row's performance plays is kept, where that is cut."""
    if method.renderer is None or row.score is None:
        if own := own_performance(row, options, store):
            return own
        raise InputError(
            "this row has no performance to synthesize, and this column no renderer"
            if method.renderer is None
            else "this row has no score to render"
        )
    made = stages.render(
        row.score, method.renderer, store, score_options=options, adjustments=method.adjustments
    )
    rendered = derived.stored_file(made.artifact, None, store)
    if not row.is_cut or not (own := own_performance(row, options, store)):
        return rendered
    score = derived.cached_score(row.score, options)
    passage = derived.passage(read_performance(own.path), score)
    return derived.cut_to_passage(rendered, *passage, score, store) if passage else rendered


def own_performance(row: Row, options: ScoreOptions, store: ArtifactStore) -> TracedFile | None:
    """The row's performance as MIDI, cut; aligned with the row's score if possible."""
    if row.performance is None:
        return None
    performance = derived.as_midi(derived.input_file(row.performance, "performance"), store)
    if row.score is not None and _can_align(performance.path):
        performance = derived.aligned(performance, derived.cached_score(row.score, options), store)
    if row.is_cut:
        performance = derived.cut_performance(performance, row.start, row.end or LONGEST, store)
    return performance


def _can_align(midi: Path) -> bool:
    """Whether the performance names the score's notes, or parangonar can find them."""

    return find_spec("parangonar") is not None or read_performance(midi).score_ids is not None


def own_recording(row: Row, store: ArtifactStore) -> TracedFile | None:
    """The row's recording, cut."""
    if row.recording is None:
        return None
    recording = derived.input_file(row.recording, "recording")
    if row.is_cut:
        recording = derived.cut_recording(recording, row.start, row.end or LONGEST, store)
    return recording


def first_seconds(row: Row, wanted: FirstSeconds, options: ScoreOptions, store: ArtifactStore) -> Prompt:
    """The beginning of the row's own recording, with its notes."""
    recording, performance = own_recording(row, store), own_performance(row, options, store)
    if recording is None:
        raise InputError("this row has no recording, whose first seconds are to be the prompt")
    seconds = wanted.first_seconds
    notes = derived.cut_performance(performance, 0.0, seconds, store) if performance else None
    content = ":".join(file.sha256 for file in (recording, notes) if file)
    return Prompt(
        audio=read_audio(recording.path, seconds=seconds),
        performance=read_performance(notes.path) if notes else None,
        sha256=hashlib.sha256(f"{seconds}:{content}".encode()).hexdigest(),
    )


def human_performances(row: Row, options: ScoreOptions, store: ArtifactStore) -> list[TracedFile]:
    """Human performances of the row's score: the references, then the row's own, uncut."""
    if row.score is None:
        return []
    paths = dict.fromkeys([*row.references, *([row.performance] if row.performance else [])])
    whole = replace(row, start=0.0, end=None)
    found = (own_performance(replace(whole, performance=path), options, store) for path in paths)
    return [performance for performance in found if performance]
